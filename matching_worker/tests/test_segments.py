"""What a worker that had lost its lease still writes does not count, and nobody loses it silently."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from matching_worker import inspection, recovery, retention, wal_cut
from matching_worker.frames import WalDamagedError
from matching_worker.segments import VOID, segment_path, segment_paths, set_aside, void_paths
from matching_worker.tests.wal_files import SHARD, chain_hash, commands_from, contents, sequences_in, written
from matching_worker.wal import Tail, Wal


def opened(directory: Path, epoch: int, *, segment_bytes_max: int = 1 << 20) -> Wal:
    return Wal.open(directory, shard=SHARD, epoch=epoch, segment_bytes_max=segment_bytes_max)


def add(log: Wal, count: int, *, other: bool = False) -> None:
    """Append and sync; `other` commands show by their hash who wrote them."""
    last = log.tail.sequence + count
    log.append(commands_from(log.tail.sequence + 1, count), b"x" * 32 if other else chain_hash(last))
    log.sync()


@pytest.mark.parametrize("segment_bytes_max", [1, 1 << 20], ids=["begins a segment", "appends"])
@pytest.mark.parametrize("when", ["before its successor writes", "after", "before and after"])
def test_a_worker_that_goes_on_after_another_took_over_leaves_nothing_in_the_wal(
    tmp_path: Path, segment_bytes_max: int, when: str
) -> None:
    old = opened(tmp_path, 1, segment_bytes_max=segment_bytes_max)
    add(old, 3)
    new = opened(tmp_path, 2)

    if when != "after":
        add(old, 2, other=True)
    add(new, 4)
    if when != "before its successor writes":
        add(old, 2, other=True)
    new.close()
    old.close()

    assert sequences_in(tmp_path) == list(range(1, 8))
    third = opened(tmp_path, 3)
    assert third.tail == Tail(7, chain_hash(7))
    add(third, 1)
    third.close()
    assert sequences_in(tmp_path) == list(range(1, 9))
    assert inspection.verify(tmp_path, SHARD).void == []


def test_what_it_writes_does_not_count_where_its_successor_has_written_nothing_either(tmp_path: Path) -> None:
    old = opened(tmp_path, 1, segment_bytes_max=1)
    add(old, 3)
    opened(tmp_path, 2).close()

    add(old, 2)
    old.close()
    third = opened(tmp_path, 3)

    assert third.tail == Tail(3, chain_hash(3))
    assert sequences_in(tmp_path) == [1, 2, 3]
    assert sequences_in(tmp_path / VOID) == [4, 5]
    third.close()


def test_a_void_segment_is_passed_over_with_a_warning_and_set_aside_when_the_wal_is_opened(tmp_path: Path) -> None:
    old = opened(tmp_path, 1, segment_bytes_max=1)
    add(old, 3)
    written(tmp_path, 4, epoch=2)
    add(old, 2, other=True)
    old.close()
    late = segment_path(tmp_path, 1, 4)
    content = late.read_bytes()
    assert void_paths(tmp_path) == [late]

    with capture_logs() as said:
        assert sequences_in(tmp_path) == list(range(1, 8))
        assert recovery.wal_start(tmp_path) == 0
        listed = inspection.segments(tmp_path, SHARD)
        verified = inspection.verify(tmp_path, SHARD)
    assert {line["event"] for line in said} == {"wal_segment_void"}
    assert {line["path"] for line in said} == {str(late)}
    assert [(row.file, row.state) for row in listed] == [
        (late.name, "void"),
        (segment_path(tmp_path, 2, 1).name, "whole"),
    ]
    assert (verified.commands, verified.void) == (7, [late.name])

    with capture_logs() as said:
        opened(tmp_path, 3).close()
    assert {"wal_segment_set_aside"} <= {line["event"] for line in said}
    assert void_paths(tmp_path) == []
    assert contents(tmp_path / VOID) == {late.name: content}


def test_two_void_segments_of_one_name_are_both_kept(tmp_path: Path) -> None:
    for content in (b"one", b"two"):
        written(tmp_path, 1, epoch=2)
        segment_path(tmp_path, 1, 1).write_bytes(content)
        set_aside(tmp_path)

    assert sorted(contents(tmp_path / VOID).values()) == [b"one", b"two"]


def test_segments_of_one_epoch_after_another_are_not_void(tmp_path: Path) -> None:
    written(tmp_path, 2, 2, 2, epoch=1, segment_bytes_max=1)
    written(tmp_path, 2, 2, epoch=4, segment_bytes_max=1)

    assert void_paths(tmp_path) == []
    assert [path.name[:6] for path in segment_paths(tmp_path)] == ["000001", "000001", "000004", "000004", "000004"]
    assert sequences_in(tmp_path) == list(range(1, 11))


def test_a_void_segment_does_not_count_again_when_what_made_it_void_is_cut(tmp_path: Path) -> None:
    old = opened(tmp_path, 1, segment_bytes_max=1)
    add(old, 3)
    written(tmp_path, 4, epoch=2)
    add(old, 2, other=True)
    old.close()

    report = wal_cut.cut(tmp_path, shard=SHARD, after=Tail(3, chain_hash(3)), name="one")

    assert report.commands == 4
    assert sequences_in(tmp_path) == [1, 2, 3]
    assert void_paths(tmp_path) == []
    assert sequences_in(tmp_path / VOID) == [4, 5]


def test_a_void_segment_does_not_count_again_when_retention_removes_what_made_it_void(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = opened(tmp_path, 1, segment_bytes_max=1)
    add(old, 3)
    written(tmp_path, 4, 4, epoch=2, segment_bytes_max=1)
    add(old, 6, other=True)
    old.close()
    first = segment_path(tmp_path, 2, 1)
    monkeypatch.setattr(retention, "_good_snapshots", lambda _: ([(tmp_path / "stands for 7", 7)], []))

    removed = retention.apply(tmp_path, settled=7, now_ns=first.stat().st_mtime_ns + 10**9, wal_seconds=0)

    assert first in removed.segments
    assert (void_paths(tmp_path), sequences_in(tmp_path / VOID)) == ([], list(range(4, 10)))
    assert sequences_in(tmp_path) == list(range(8, 12))


@pytest.mark.parametrize(
    "dies_at", ["pathlib.Path.rename", "matching_worker.wal.sync_directory", "pathlib.Path.unlink"]
)
def test_a_crash_while_a_segment_is_taken_over_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_at: str
) -> None:
    written(tmp_path, 3, epoch=1)

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(dies_at, crash)
        with pytest.raises(KeyboardInterrupt):
            opened(tmp_path, 2)

    third = opened(tmp_path, 3)
    assert third.tail == Tail(3, chain_hash(3))
    add(third, 1)
    third.close()
    assert sequences_in(tmp_path) == [1, 2, 3, 4]


def test_a_frame_of_a_later_epoch_than_its_segment_s_is_damage(tmp_path: Path) -> None:
    written(tmp_path, 1, epoch=2)
    path = segment_path(tmp_path, 2, 1)
    lower = tmp_path / "lower"
    written(lower, 1, epoch=1)
    header = next(lower.iterdir()).read_bytes()[:64]
    path.write_bytes(header + path.read_bytes()[64:])

    with pytest.raises(WalDamagedError, match="of epoch 2 where 1 of epoch 0 to 1 was due"):
        opened(tmp_path, 3)
