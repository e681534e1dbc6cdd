"""Retention removes only what no recovery can need."""

import os
from pathlib import Path

import pytest

from matching_worker import recovery, retention, snapshot
from matching_worker.retention import snapshots_of
from matching_worker.tests.storage_files import COMMANDS, flip, history, worked
from matching_worker.tests.wal_files import SHARD

DAY_NS = 24 * 3600 * 10**9
NOW_NS = 1_800_000_000 * 10**9


def aged(wal_dir: Path, days: float) -> None:
    """Set the last write of every segment so many days back."""
    for path in wal_dir.glob("*.wal"):
        os.utime(path, ns=(NOW_NS, NOW_NS - int(days * DAY_NS)))


def sequences(wal_dir: Path) -> list[int]:
    return [snapshot.read_header(path).sequence for path in snapshot.paths(snapshots_of(wal_dir))]


def applied(wal_dir: Path, *, settled: int = COMMANDS, kept: int = 2, seconds: int | None = None) -> retention.Removed:
    wal_seconds = retention.WAL_SECONDS if seconds is None else seconds
    return retention.apply(wal_dir, settled=settled, now_ns=NOW_NS, snapshots_kept=kept, wal_seconds=wal_seconds)


def test_the_newest_snapshots_stay(tmp_path: Path) -> None:
    worked(tmp_path, history(), 500, 1000, 1500, 2000)

    removed = applied(tmp_path)

    assert sequences(tmp_path) == [2000, 1500]
    assert [snapshot_name.name for snapshot_name in removed.snapshots] == [
        "00000000000000001000-000001.snapshot",
        "00000000000000000500-000001.snapshot",
    ]


def test_segments_before_the_oldest_kept_snapshot_go_after_seven_days(tmp_path: Path) -> None:
    engine = worked(tmp_path, history(), 500, 1000, 1500)
    aged(tmp_path, 7.01)

    removed = applied(tmp_path)

    assert removed.byte_count > 0
    assert len(removed.segments) == 5
    assert sequences(tmp_path) == [1500, 1000]
    assert recovery.wal_start(tmp_path) == 1000
    rebuilt = recovery.rebuild(tmp_path, shard=SHARD)
    assert (rebuilt.engine.sequence, rebuilt.engine.state_hash) == (COMMANDS, engine.state_hash)


def test_younger_segments_stay(tmp_path: Path) -> None:
    worked(tmp_path, history(), 1000, 2000)
    aged(tmp_path, 6.99)

    assert applied(tmp_path).segments == []
    assert recovery.wal_start(tmp_path) == 0


def test_without_a_snapshot_the_whole_wal_stays(tmp_path: Path) -> None:
    worked(tmp_path, history())
    aged(tmp_path, 100)

    assert applied(tmp_path, seconds=0) == ([], [], 0, [])
    assert recovery.wal_start(tmp_path) == 0


def test_what_settlement_has_not_passed_stays(tmp_path: Path) -> None:
    worked(tmp_path, history(), 500, 1000, 1500, 2000)
    aged(tmp_path, 100)

    removed = applied(tmp_path, settled=700)

    assert sequences(tmp_path) == [2000, 1500, 1000, 500]
    assert removed.snapshots == []
    assert recovery.wal_start(tmp_path) == 400


def test_a_damaged_snapshot_is_told_left_alone_and_not_counted(tmp_path: Path) -> None:
    worked(tmp_path, history(), 500, 1000, 1500, 2000)
    aged(tmp_path, 100)
    damaged = snapshot.paths(snapshots_of(tmp_path))[0]
    flip(damaged, 5000)

    removed = applied(tmp_path)

    assert sequences(tmp_path) == [2000, 1500, 1000]
    assert len(removed.damaged) == 1
    assert str(damaged) in removed.damaged[0]
    assert recovery.wal_start(tmp_path) == 1000


def test_the_newest_segment_stays_even_when_a_snapshot_stands_for_all_of_it(tmp_path: Path) -> None:
    worked(tmp_path, history(), 2000, segment_bytes_max=1)
    aged(tmp_path, 100)

    removed = applied(tmp_path, kept=1)

    assert len(removed.segments) == COMMANDS // 100 - 1
    assert [path.name for path in tmp_path.glob("*.wal")] == ["000001-00000000000000001901.wal"]


def test_a_crash_while_segments_go_leaves_no_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = worked(tmp_path, history(), 1000, 2000)
    aged(tmp_path, 100)
    unlink = os.unlink
    left = [3]

    def crashing(path: Path) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise OSError(5, "Input/output error")
        unlink(path)

    monkeypatch.setattr(os, "unlink", crashing)

    with pytest.raises(OSError, match="Input/output"):
        applied(tmp_path)

    assert recovery.wal_start(tmp_path) == 400
    assert recovery.rebuild(tmp_path, shard=SHARD).engine.state_hash == engine.state_hash
