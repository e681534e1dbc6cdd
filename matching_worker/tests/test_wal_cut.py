"""A cut WAL ends where it was told to, is whole, and nothing of what was cut is lost."""

import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from matching_worker import inspection, recovery, snapshot, wal_cut
from matching_worker.frames import WalError
from matching_worker.retention import snapshots_of
from matching_worker.tests.storage_files import COMMANDS, hash_after, history, worked
from matching_worker.tests.wal_files import SHARD, chain_hash
from matching_worker.wal import NO_CHAIN_HASH, Tail, Wal, read


def tail_at(sequence: int) -> Tail:
    return Tail(sequence, chain_hash(sequence) if sequence else NO_CHAIN_HASH)


def all_in(folder: Path) -> bytes:
    return b"".join(commands.tobytes() for commands, _ in read(folder))


@pytest.mark.parametrize("after", [0, 1, 99, 100, 150, 200, 201, 1000, 1234, 1999])
def test_what_stays_and_what_is_cut_are_together_what_was(tmp_path: Path, after: int) -> None:
    commands = history()
    worked(tmp_path, commands, 500, 1000, 1500)

    report = wal_cut.cut(tmp_path, shard=SHARD, after=tail_at(after), name="one")

    assert report.folder == tmp_path / "cut" / "one"
    assert report.commands == COMMANDS - after
    assert all_in(tmp_path) == commands[:after].tobytes()
    assert all_in(report.folder) == commands[after:].tobytes()
    assert inspection.verify(tmp_path, SHARD).commands == after
    assert [snapshot.read_header(path).sequence for path in snapshot.paths(snapshots_of(tmp_path))] == [
        sequence for sequence in (1500, 1000, 500) if sequence <= after
    ]
    assert len(snapshot.paths(report.folder)) == report.snapshots == sum(after < kept for kept in (500, 1000, 1500))
    log = Wal.open(tmp_path, shard=SHARD, epoch=2)
    assert log.tail == tail_at(after)
    log.append(commands[after : after + 1], chain_hash(after + 1))
    log.close()
    assert recovery.rebuild(tmp_path, shard=SHARD).engine.state_hash == hash_after(commands[: after + 1])


def test_the_void_trades_are_those_of_the_commands_that_were_cut(tmp_path: Path) -> None:
    worked(tmp_path, history(), 500)
    made = [
        entry.as_json()
        for entry in inspection.dump(tmp_path, SHARD, after=700)
        if entry.entry_type == "trade" and entry.data["sequence"] > 700
    ]

    report = wal_cut.cut(tmp_path, shard=SHARD, after=tail_at(700), name="one")

    lines = (report.folder / wal_cut.VOID_TRADES).read_text().splitlines()
    assert [json.loads(line) for line in lines] == made
    assert report.void_trades == len(made) > 0


def test_a_wal_that_has_lost_its_beginning_keeps_where_it_continues(tmp_path: Path) -> None:
    worked(tmp_path, history())
    min(tmp_path.glob("*.wal")).unlink()

    report = wal_cut.cut(tmp_path, shard=SHARD, after=tail_at(200), name="one")

    assert (report.void_trades, report.commands) == (-1, 1800)
    log = Wal.open(tmp_path, shard=SHARD, epoch=1)
    assert log.tail == tail_at(200)
    log.close()


def test_nothing_is_changed_where_nothing_can_be_cut(tmp_path: Path) -> None:
    worked(tmp_path, history())
    min(tmp_path.glob("*.wal")).unlink()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    with pytest.raises(WalError, match="has no command after 2000; there is nothing to cut"):
        wal_cut.cut(tmp_path, shard=SHARD, after=tail_at(2000), name="one")
    with pytest.raises(WalError, match="begins after command 200; it cannot be cut before that"):
        wal_cut.cut(tmp_path, shard=SHARD, after=tail_at(150), name="one")

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("refused", range(1, 12))
def test_a_crash_at_any_step_leaves_a_wal_without_a_gap_that_can_be_cut_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: int
) -> None:
    commands = history()
    worked(tmp_path, commands, 500, 1500)
    unlink, replace = Path.unlink, Path.replace
    left = [refused]

    def crash_when_due() -> None:
        left[0] -= 1
        if left[0] == 0:
            raise OSError(5, "Input/output error")

    def crashing_unlink(self: Path, **named: bool) -> None:
        crash_when_due()
        unlink(self, **named)

    def crashing_replace(self: Path, target: Path) -> Path:
        crash_when_due()
        return replace(self, target)

    with monkeypatch.context() as dying:
        dying.setattr(Path, "unlink", crashing_unlink)
        dying.setattr(Path, "replace", crashing_replace)
        with suppress(OSError):
            wal_cut.cut(tmp_path, shard=SHARD, after=tail_at(1234), name="one")
    kept = inspection.verify(tmp_path, SHARD)
    assert kept.commands == kept.last >= 1234
    assert all_in(tmp_path / "cut" / "one") == commands[1234:].tobytes()

    if kept.last > 1234:
        wal_cut.cut(tmp_path, shard=SHARD, after=tail_at(1234), name="two")

    assert all_in(tmp_path) == commands[:1234].tobytes()
    assert recovery.rebuild(tmp_path, shard=SHARD).engine.state_hash == hash_after(commands[:1234])


@pytest.mark.parametrize("log_ends_at", [0, 99, 100, 1050, 1100, 2000, 5000])
def test_where_wal_and_log_agree_is_found_with_few_questions(tmp_path: Path, log_ends_at: int) -> None:
    worked(tmp_path, history())
    asked: list[int] = []

    def chain_hash_at(sequence: int) -> bytes | None:
        asked.append(sequence)
        if sequence > log_ends_at:
            return bytes(31) + b"x" if sequence % 3 else None  # new commands of another history, or none
        return chain_hash(sequence)

    assert wal_cut.last_common(tmp_path, chain_hash_at) == min(log_ends_at // 100 * 100, COMMANDS)
    assert len(asked) <= np.ceil(np.log2(COMMANDS / 100)) + 1
