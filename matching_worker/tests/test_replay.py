import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from matching_worker import protocol, replay
from matching_worker.protocol import CommandKind, Side, TimeInForce
from matching_worker.replay import Fill, ReplayFileError, TopOfBook
from matching_worker.tests.shared_data import shared_data

AAPL = shared_data() / "aapl"

COMMANDS = """seq,cmd,id,side,price,qty,ts
1,N,101,S,1000,5,initial
2,N,102,S,1000,5,34200.000000001
4,N,103,S,1010,5,34200.5
5,X,104,B,1005,8,34201
6,R,102,S,1000,1,34202
7,A,103,S,1002,9,34203
8,C,102,S,1000,1,34204.123456789
9,N,105,B,1002,20,34205
"""
FILLS = """seq,maker_id,price,qty
5,101,1000,5
5,102,1000,3
9,103,1002,9
"""
TOPS = """seq,ask,ask_qty,bid,bid_qty
2,1000,10,0,0
7,1000,1,,
8,1002,9,0,0
9,0,0,1002,11
"""


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """The small market above, as files."""
    paths = {name: tmp_path / f"{name}.csv" for name in ("commands", "fills", "l1")}
    paths["commands"].write_text(COMMANDS)
    paths["fills"].write_text(FILLS)
    paths["l1"].write_text(TOPS)
    return paths


def run(files: dict[str, Path], capsys: pytest.CaptureFixture[str], **options: object) -> dict[str, object]:
    """Run the command with --json; returns its last line."""
    call_command("replay_engine", files["commands"], fills=files["fills"], l1=files["l1"], json=True, **options)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    figures: dict[str, object] = json.loads(lines[-1])
    return figures


def test_commands_are_read_as_the_engine_takes_them(files: dict[str, Path]) -> None:
    file = replay.read_commands(files["commands"], instrument_id=5)

    assert file.labels.tolist() == [1, 2, 4, 5, 6, 7, 8, 9]
    assert file.commands["sequence"].tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert file.commands["kind"].tolist() == [1, 1, 1, 1, CommandKind.REDUCE, CommandKind.AMEND, CommandKind.CANCEL, 1]
    assert file.commands["time_in_force"][3] == TimeInForce.IOC
    assert file.commands["side"].tolist()[:4] == [Side.SELL, Side.SELL, Side.SELL, Side.BUY]
    assert file.commands["timestamp_ns"].tolist()[:3] == [0, 34_200_000_000_001, 34_200_500_000_000]
    assert file.commands["timestamp_ns"][6] == 34_204_123_456_789
    assert set(file.commands["instrument_id"].tolist()) == {5}


def test_every_fill_and_every_top_is_compared(files: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    figures = run(files, capsys)

    seconds, speed = figures.pop("seconds"), figures.pop("commands_per_second")
    assert isinstance(seconds, float)
    assert isinstance(speed, int)
    assert figures == {
        "commands": 8,
        "aggressors": 2,
        "aggressors_matched": 2,
        "fills": 3,
        "fills_matched": 3,
        "l1_rows": 4,
        "l1_matched": 4,
    }


def test_packed_files_give_the_same(files: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    plain = run(files, capsys)
    for path in files.values():
        path.write_bytes(gzip.compress(path.read_bytes()))

    packed = run(files, capsys)

    assert {name: packed[name] for name in plain if "second" not in name} == {
        name: plain[name] for name in plain if "second" not in name
    }


def test_the_fills_written_are_the_fills_read(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run(files, capsys, fills_out=tmp_path / "out.csv")
    run(files, capsys, fills_out=tmp_path / "out.csv.gz")

    assert (tmp_path / "out.csv").read_text() == FILLS
    assert gzip.decompress((tmp_path / "out.csv.gz").read_bytes()).decode() == FILLS


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("fills", "5,102,1000,3\n", "", "seq 5: "),
        ("fills", "5,101", "5,999", "seq 5: "),
        ("fills", "9,103,1002,9", "9,103,1002,8", "seq 9: "),
        ("fills", "9,103", "11,103", "seq 9: "),
        ("l1", "2,1000,10", "2,1000,11", "after seq 2 "),
        ("l1", "2,1000,10", "3,1000,10", "names a seq that is no command"),
    ],
)
def test_any_difference_ends_with_code_1_and_is_told(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str], name: str, old: str, new: str, message: str
) -> None:
    assert old in files[name].read_text()
    files[name].write_text(files[name].read_text().replace(old, new))

    with pytest.raises(CommandError, match=message) as difference:
        run(files, capsys)
    assert difference.value.returncode == 1
    figures = json.loads(capsys.readouterr().out)
    matched, total = ("l1_matched", "l1_rows") if name == "l1" else ("aggressors_matched", "aggressors")
    assert figures[matched] == figures[total] - (2 if new.startswith("11,") else 1)


BAD_LINES = {
    "": "line 1: the file is empty",
    "a,b\n": "line 1: the header must begin seq,cmd,id,side,price,qty",
    "HEADER1,N,1,B,10\n": "line 2: 5 fields, 6 needed",
    "HEADER1,N,1,B,10,5,1\n\n": "line 3: 0 fields, 6 needed",
    "HEADER1,Q,1,B,10,5,1\n": "line 2: 'Q' is no command or side",
    "HEADER1,N,1,b,10,5,1\n": "line 2: 'b' is no command or side",
    "HEADER1,N,1,B,1e3,5,1\n": "line 2: '1e3' is not a whole number",
    "HEADER1,N,1,B,,5,1\n": "line 2: '' is not a whole number",
    "HEADER1,N,9223372036854775808,B,10,5,1\n": "line 2: '9223372036854775808' does not fit 64 bits",
    "HEADER1,N," + "9" * 5000 + ",B,10,5,1\n": "line 2: '" + "9" * 40 + "' does not fit 64 bits",
    "HEADER1,N,1,B,10,5,noon\n": "line 2: 'noon' is not a whole number",
    "HEADER2,N,1,B,10,5,1\n2,N,2,B,10,5,1\n": "line 3: seq 2 does not follow 2",
    "HEADER1,N,1,B,10,5,1\n\xff\n": "cannot be read",
}


@pytest.mark.parametrize("content", BAD_LINES)
def test_a_bad_file_is_one_line_with_file_and_line_and_code_2(tmp_path: Path, content: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content.replace("HEADER", "seq,cmd,id,side,price,qty,ts\n").encode("latin-1"))

    with pytest.raises(CommandError) as refusal:
        call_command("replay_engine", path)

    assert refusal.value.returncode == 2
    assert str(refusal.value).startswith(f"{path}: line ")
    assert BAD_LINES[content] in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("option", ["fills", "l1"])
def test_a_missing_or_bad_file_to_compare_with_is_code_2(files: dict[str, Path], option: str) -> None:
    files[option].write_text(files[option].read_text().replace("1000", "ten"))
    with pytest.raises(CommandError, match=f"{option}.csv: line 2: 'ten' is not a whole number") as refusal:
        call_command("replay_engine", files["commands"], **{option: files[option]})
    assert refusal.value.returncode == 2

    files[option].unlink()
    with pytest.raises(CommandError, match=f"{option}.csv: cannot be read: No such file") as refusal:
        call_command("replay_engine", files["commands"], **{option: files[option]})
    assert refusal.value.returncode == 2


def test_a_packed_file_that_ends_early_names_the_line(files: dict[str, Path]) -> None:
    packed = gzip.compress(files["commands"].read_bytes())
    files["commands"].write_bytes(packed[:-10])

    with pytest.raises(ReplayFileError, match=r"commands.csv: line \d+: cannot be read: "):
        replay.read_commands(files["commands"])


def test_a_refused_command_is_counted_and_the_replay_goes_on(files: dict[str, Path]) -> None:
    files["commands"].write_text(COMMANDS + "10,C,999,B,1,1,34206\n11,N,106,B,0,1,34206\n12,N,106,B,1,1,34206\n")

    result = replay.replay(replay.read_commands(files["commands"]))

    assert (result.commands, result.rejected) == (11, 2)


def test_nothing_but_a_header_is_an_empty_replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "empty.csv"
    path.write_text("seq,cmd,id,side,price,qty,ts\n")

    call_command("replay_engine", path, json=True)

    figures = json.loads(capsys.readouterr().out)
    assert (figures["commands"], figures["fills"], figures["fills_matched"]) == (0, 0, None)


def test_progress_is_told_in_commands(files: dict[str, Path]) -> None:
    advanced: list[int] = []

    replay.replay(replay.read_commands(files["commands"]), advance=advanced.append)

    assert sum(advanced) == 8


def test_a_fill_too_many_is_a_difference() -> None:
    comparison = replay.compare_fills({1: [Fill(1, 10, 1)]}, {1: [Fill(1, 10, 1)], 2: [Fill(3, 10, 1)]})

    assert (comparison.aggressors, comparison.aggressors_matched) == (2, 1)
    assert (comparison.fills, comparison.fills_matched) == (1, 1)
    assert comparison.is_exact is False


def test_commands_are_replayed_as_stored_payloads(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    stored: list[bytes] = []
    original = protocol.decode

    def noted(sequences: Any, payloads: list[bytes]) -> protocol.Rows:
        stored.extend(payloads)
        return original(sequences, payloads)

    monkeypatch.setattr(protocol, "decode", noted)

    replay.replay(replay.read_commands(files["commands"]), [TopOfBook(2, 1000, 10, 0, 0)])

    assert [len(payload) for payload in stored] == [protocol.COMMAND_BYTES] * 8


def test_an_hour_of_aapl_is_reproduced_exactly(capsys: pytest.CaptureFixture[str]) -> None:
    if not AAPL.is_dir():
        pytest.skip(f"the recorded hour is not part of the project and not at {AAPL}")
    paths = {name: AAPL / f"{name}.csv.gz" for name in ("commands", "fills", "l1")}

    figures = run(paths, capsys)

    assert (figures["commands"], figures["aggressors"], figures["fills"]) == (89_088, 3_277, 4_038)
    assert (figures["aggressors_matched"], figures["fills_matched"]) == (3_277, 4_038)
    assert (figures["l1_rows"], figures["l1_matched"]) == (22_679, 22_679)
