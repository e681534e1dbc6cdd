"""From files to an engine: from whichever snapshot, the same end; what is passed over is told."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from matching_worker import recovery, snapshot
from matching_worker.frames import WalDamagedError
from matching_worker.protocol import COMMAND_BYTES
from matching_worker.retention import snapshots_of
from matching_worker.tests.storage_files import COMMANDS, FRAME, flip, history, started, worked
from matching_worker.tests.wal_files import SHARD, chain_hash, contents
from matching_worker.wal import Tail, Wal

GOLDEN = Path(__file__).parent / "golden" / "wal_v1"


def test_the_newest_snapshot_up_to_a_sequence_is_taken(tmp_path: Path) -> None:
    worked(tmp_path, history(), 500, 1000, 1500)

    assert [started(tmp_path, at_most=at_most).engine.sequence for at_most in (499, 500, 1499, 1500, 9999)] == [
        0,
        500,
        1000,
        1500,
        1500,
    ]
    assert recovery.newest_sequence(tmp_path, at_most=1499) == 1000
    assert recovery.newest_sequence(tmp_path / "none", at_most=1499) == 0


def test_a_damaged_snapshot_is_told_and_the_next_older_one_is_taken(tmp_path: Path) -> None:
    engine = worked(tmp_path, history(), 500, 1000, 1500)
    newest, older, _ = snapshot.paths(snapshots_of(tmp_path))
    flip(newest, 3000)
    flip(older, 20)

    found = started(tmp_path)
    rebuilt = recovery.rebuild(tmp_path, shard=SHARD)

    assert found.engine.sequence == 500
    assert [str(newest) in found.refused[0], str(older) in found.refused[1], len(found.refused)] == [True, True, 2]
    assert (rebuilt.engine.state_hash, rebuilt.replayed, rebuilt.refused) == (engine.state_hash, 1500, found.refused)


def test_without_any_good_snapshot_the_whole_wal_is_replayed(tmp_path: Path) -> None:
    engine = worked(tmp_path, history(), 1000)
    flip(snapshot.paths(snapshots_of(tmp_path))[0], 3000)

    rebuilt = recovery.rebuild(tmp_path, shard=SHARD)

    assert (rebuilt.engine.state_hash, rebuilt.replayed) == (engine.state_hash, COMMANDS)
    assert len(rebuilt.refused) == 1


def test_a_snapshot_that_the_caller_objects_to_is_told_and_passed_over(tmp_path: Path) -> None:
    worked(tmp_path, history(), 500, 1000)

    found = recovery.start(
        tmp_path,
        shard=SHARD,
        stream_epoch=1,
        at_most=COMMANDS,
        objection=lambda header: "is foreign" if header.sequence == 1000 else "",
    )

    assert found.engine.sequence == 500
    assert [reason.endswith("1000-000001.snapshot: is foreign") for reason in found.refused] == [True]


def test_replay_from_every_snapshot_in_another_process_gives_the_same_hash(tmp_path: Path) -> None:
    engine = worked(tmp_path, history(), *range(100, COMMANDS, 300))
    program = (
        "import sys; from pathlib import Path; from matching_worker import recovery, snapshot\n"
        "folder = Path(sys.argv[1])\n"
        "for path in snapshot.paths(folder / 'snapshots'):\n"
        "    engine, header = snapshot.load(path, shard=3)\n"
        "    for commands, _ in recovery.blocks(folder, after=engine.sequence):\n"
        "        engine.apply(commands)\n"
        "    print(header.sequence, engine.sequence, engine.state_hash)\n"
    )

    result = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )

    assert [line.split() for line in result.stdout.splitlines()] == [
        [str(sequence), str(COMMANDS), str(engine.state_hash)] for sequence in reversed(range(100, COMMANDS, 300))
    ]


def test_small_frames_are_joined_and_none_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = history()
    worked(tmp_path, commands, segment_bytes_max=9 * FRAME * COMMAND_BYTES)
    monkeypatch.setattr(recovery, "REPLAY_COMMANDS", 350)

    blocks = list(recovery.blocks(tmp_path, after=50))

    assert np.concatenate([block for block, _ in blocks]).tobytes() == commands[50:].tobytes()
    assert [len(block) for block, _ in blocks] == [350, 400, 100, 400, 400, 100, 200]
    assert [found for _, found in blocks] == [chain_hash(int(block["sequence"][-1])) for block, _ in blocks]


def test_a_rebuild_can_stop_inside_a_frame(tmp_path: Path) -> None:
    commands = history()
    worked(tmp_path, commands, 500, 1500)

    rebuilt = recovery.rebuild(tmp_path, shard=SHARD, at_most=1234)

    assert (rebuilt.engine.sequence, rebuilt.replayed) == (1234, 734)
    assert rebuilt.tail == Tail(1234, b"")


def test_a_wal_that_begins_after_the_snapshot_is_refused_in_words(tmp_path: Path) -> None:
    worked(tmp_path, history(), 1000)
    for path in sorted(tmp_path.glob("*.wal"))[:2]:
        path.unlink()
    shutil.rmtree(snapshots_of(tmp_path))

    with pytest.raises(WalDamagedError, match="only the command log has what is between"):
        recovery.rebuild(tmp_path, shard=SHARD)


def test_segments_that_a_snapshot_stands_for_are_not_read_when_the_wal_is_opened(tmp_path: Path) -> None:
    worked(tmp_path, history(), 1000)
    first = min(tmp_path.glob("*.wal"))
    flip(first, 300)
    before = contents_of_segments(tmp_path)

    log = Wal.open(tmp_path, shard=SHARD, epoch=1, after=1000)
    assert log.tail == Tail(COMMANDS, chain_hash(COMMANDS))
    log.close()

    with pytest.raises(WalDamagedError, match="damaged at offset"):
        Wal.open(tmp_path, shard=SHARD, epoch=1)
    assert contents_of_segments(tmp_path) == before
    assert recovery.rebuild(tmp_path, shard=SHARD).engine.sequence == COMMANDS


def contents_of_segments(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.wal"))}


def test_a_wal_of_version_1_is_replayed_to_the_hash_that_it_gave_then(tmp_path: Path) -> None:
    expected = json.loads((GOLDEN / "expected.json").read_text())
    shutil.copytree(GOLDEN, tmp_path / "wal", ignore=shutil.ignore_patterns("*.json"))

    rebuilt = recovery.rebuild(tmp_path / "wal", shard=expected["shard"])

    assert rebuilt.engine.sequence == expected["sequence"]
    assert f"{rebuilt.engine.state_hash:016x}" == expected["state_hash"]
    assert rebuilt.engine.open_order_count == expected["open_orders"]


def test_a_wal_of_version_1_is_gone_on_with(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN, tmp_path, ignore=shutil.ignore_patterns("*.json"), dirs_exist_ok=True)
    before = contents(tmp_path)
    more = history(9, 700)[600:]
    log = Wal.open(tmp_path, shard=SHARD, epoch=2)
    assert log.tail.sequence == 600

    log.append(more, chain_hash(700))
    log.close()

    after = contents(tmp_path)
    assert [content.startswith(before[name]) for name, content in after.items()] == [True, True]
    assert recovery.rebuild(tmp_path, shard=SHARD).engine.sequence == 700
