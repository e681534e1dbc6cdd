import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.kernel.errors import InvariantViolationError
from matching_worker import frames, wal
from matching_worker.benchmarks.streams import random_stream
from matching_worker.engine import Engine
from matching_worker.frames import SEGMENT_HEADER_BYTES
from matching_worker.tests.wal_files import (
    FRAME_BYTES,
    SEGMENT_1,
    SHARD,
    chain_hash,
    commands_from,
    contents,
    sequences_in,
    written,
)
from matching_worker.wal import NO_CHAIN_HASH, Tail, Wal, WalDamagedError, WalError, WalVersionError


def test_what_was_synced_is_read_back(tmp_path: Path) -> None:
    log = Wal.open(tmp_path / "new" / "folder", shard=SHARD, epoch=1)
    first, second = commands_from(1, 3), commands_from(4, 2)

    log.append(first, chain_hash(3))
    log.append(second, chain_hash(5))
    log.sync()
    log.close()

    frames_read = list(wal.read(log.directory))
    assert [commands.tobytes() for commands, _ in frames_read] == [first.tobytes(), second.tobytes()]
    assert [found for _, found in frames_read] == [chain_hash(3), chain_hash(5)]


def test_an_empty_wal_has_tail_zero(tmp_path: Path) -> None:
    log = Wal.open(tmp_path, shard=SHARD, epoch=1)

    assert log.tail == Tail(0, NO_CHAIN_HASH)
    assert log.torn is None
    assert sequences_in(tmp_path) == []
    assert sequences_in(tmp_path / "missing") == []


def test_opening_again_continues_at_the_tail(tmp_path: Path) -> None:
    written(tmp_path, 3, 2)

    log = Wal.open(tmp_path, shard=SHARD, epoch=1)

    assert log.tail == Tail(5, chain_hash(5))
    assert written(tmp_path, 4) == Tail(9, chain_hash(9))
    assert sequences_in(tmp_path) == list(range(1, 10))
    assert list(contents(tmp_path)) == [SEGMENT_1]


def test_reading_can_start_inside_a_frame(tmp_path: Path) -> None:
    written(tmp_path, 3, 4, 2, segment_bytes_max=1)

    assert sequences_in(tmp_path, after=5) == [6, 7, 8, 9]
    assert sequences_in(tmp_path, after=9) == []


def test_nothing_reaches_the_file_before_sync(tmp_path: Path) -> None:
    log = Wal.open(tmp_path, shard=SHARD, epoch=1)
    log.append(commands_from(1, 3), chain_hash(3))

    assert sequences_in(tmp_path) == []
    log.sync()
    assert sequences_in(tmp_path) == [1, 2, 3]


def test_several_appends_share_one_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Wal.open(tmp_path, shard=SHARD, epoch=1)
    log.append(commands_from(1, 1), chain_hash(1))
    log.sync()
    calls: list[int] = []
    original = os.fdatasync

    def counted(descriptor: int) -> None:
        calls.append(descriptor)
        original(descriptor)

    monkeypatch.setattr(os, "fdatasync", counted)

    for sequence in (2, 3, 4):
        log.append(commands_from(sequence, 1), chain_hash(sequence))
    log.sync()
    log.sync()

    assert len(calls) == 1


def test_a_full_segment_is_followed_by_another(tmp_path: Path) -> None:
    written(tmp_path, 1, 1, 1, segment_bytes_max=SEGMENT_HEADER_BYTES + 1)

    assert list(contents(tmp_path)) == [f"000001-{first:020d}.wal" for first in (1, 2, 3)]
    assert sequences_in(tmp_path) == [1, 2, 3]


def test_a_new_segment_makes_its_folder_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Wal.open(tmp_path, shard=SHARD, epoch=1)
    synced: list[bool] = []
    original = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").is_dir())
        original(descriptor)

    monkeypatch.setattr(os, "fsync", noted)

    log.append(commands_from(1, 1), chain_hash(1))

    assert synced == [True]
    assert list(contents(tmp_path)) == [SEGMENT_1]


def test_a_new_epoch_takes_the_newest_segment_over_into_a_file_of_its_own(tmp_path: Path) -> None:
    written(tmp_path, 2, 2, epoch=1, segment_bytes_max=1)
    before = contents(tmp_path)
    old = tmp_path / "000001-00000000000000000003.wal"
    with old.open("rb") as held:
        written(tmp_path, 3, epoch=2)
        unlisted = held.read()

    after = contents(tmp_path)
    assert list(after) == [SEGMENT_1, "000002-00000000000000000003.wal"]
    assert after[SEGMENT_1] == before[SEGMENT_1]
    assert unlisted == before[old.name]
    assert after["000002-00000000000000000003.wal"][SEGMENT_HEADER_BYTES:].startswith(unlisted[SEGMENT_HEADER_BYTES:])
    assert sequences_in(tmp_path) == [1, 2, 3, 4, 5, 6, 7]


def test_an_older_epoch_may_not_write(tmp_path: Path) -> None:
    written(tmp_path, 2, epoch=5)

    with pytest.raises(WalError, match="epoch 5 has written here; epoch 4 may not"):
        Wal.open(tmp_path, shard=SHARD, epoch=4)


def test_another_shard_may_not_use_the_folder(tmp_path: Path) -> None:
    written(tmp_path, 2)

    with pytest.raises(WalDamagedError, match="belongs to shard 3, not 4"):
        Wal.open(tmp_path, shard=4, epoch=1)


@pytest.mark.parametrize("first", [1, 2, 4, 100])
def test_commands_that_do_not_continue_the_tail_are_a_bug(tmp_path: Path, first: int) -> None:
    log = Wal.open(tmp_path, shard=SHARD, epoch=1)
    log.append(commands_from(1, 2), chain_hash(2))

    with pytest.raises(InvariantViolationError, match="do not continue 2"):
        log.append(commands_from(first, 2), chain_hash(first + 1))


def test_every_possible_cut_of_an_unsynced_write_is_repaired(tmp_path: Path) -> None:
    original = tmp_path / "original"
    written(original, 2)
    synced_bytes = (original / SEGMENT_1).stat().st_size
    log = Wal.open(original, shard=SHARD, epoch=1)
    log.append(commands_from(3, 1), chain_hash(3))
    log.append(commands_from(4, 2), chain_hash(5))
    log.close()
    whole = (original / SEGMENT_1).read_bytes()
    frame_ends = {synced_bytes: 2, synced_bytes + FRAME_BYTES: 3, len(whole): 5}

    for cut in range(synced_bytes, len(whole) + 1):
        directory = tmp_path / str(cut)
        directory.mkdir()
        (directory / SEGMENT_1).write_bytes(whole[:cut])
        good_bytes = max(end for end in frame_ends if end <= cut)

        reopened = Wal.open(directory, shard=SHARD, epoch=1)

        assert reopened.tail.sequence == frame_ends[good_bytes]
        if cut == good_bytes:
            assert reopened.torn is None
        else:
            assert reopened.torn == (directory / SEGMENT_1, good_bytes, cut - good_bytes)
            assert str(reopened.torn).endswith(
                f"cut {cut - good_bytes} bytes of an unfinished write at offset {good_bytes}"
            )
        reopened.append(commands_from(reopened.tail.sequence + 1, 1), NO_CHAIN_HASH)
        reopened.close()
        assert sequences_in(directory) == list(range(1, frame_ends[good_bytes] + 2))


def test_every_possible_cut_of_a_first_segment_is_repaired(tmp_path: Path) -> None:
    written(tmp_path / "original", 1)
    whole = (tmp_path / "original" / SEGMENT_1).read_bytes()

    for cut in range(len(whole)):
        directory = tmp_path / str(cut)
        directory.mkdir()
        (directory / SEGMENT_1).write_bytes(whole[:cut])

        assert written(directory, 2) == Tail(2, chain_hash(2))
        assert sequences_in(directory) == [1, 2]


def test_a_later_frame_of_the_same_unsynced_write_does_not_make_a_gap(tmp_path: Path) -> None:
    written(tmp_path, 1)
    log = Wal.open(tmp_path, shard=SHARD, epoch=1)
    start = (tmp_path / SEGMENT_1).stat().st_size
    log.append(commands_from(2, 1), chain_hash(2))
    log.append(commands_from(3, 1), chain_hash(3))
    log.close()
    content = bytearray((tmp_path / SEGMENT_1).read_bytes())
    content[start : start + 100] = bytes(100)  # the disk kept the second page of the write and lost the first
    (tmp_path / SEGMENT_1).write_bytes(content)

    reopened = Wal.open(tmp_path, shard=SHARD, epoch=1)

    assert reopened.tail.sequence == 1
    assert reopened.torn == (tmp_path / SEGMENT_1, start, 2 * (FRAME_BYTES))


@pytest.mark.parametrize("part", ["segment", "frame"])
def test_a_newer_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    if part == "frame":
        written(tmp_path, 1)
    with monkeypatch.context() as newer:
        newer.setattr(frames, "WAL_VERSION", 4)
        written(tmp_path, 1)
    before = contents(tmp_path)

    with pytest.raises(WalVersionError, match="has version 4; this program reads 3"):
        Wal.open(tmp_path, shard=SHARD, epoch=1)
    assert contents(tmp_path) == before


def test_a_wal_replayed_in_another_process_gives_the_same_hash(tmp_path: Path) -> None:
    commands = random_stream(1, 3_000, instruments=3, open_ids=500, spread=20)
    engine = Engine(SHARD, 1)
    log = Wal.open(tmp_path, shard=SHARD, epoch=1, segment_bytes_max=50_000)
    for start in range(0, 3_000, 100):
        log.append(commands[start : start + 100], chain_hash(start + 100))
        log.sync()
        engine.apply(commands[start : start + 100])
    log.close()
    program = (
        "import sys; from pathlib import Path; from matching_worker import wal; "
        "from matching_worker.engine import Engine; engine = Engine(3, 1); "
        "[engine.apply(commands) for commands, _ in wal.read(Path(sys.argv[1]))]; "
        "print(engine.sequence, engine.state_hash)"
    )

    result = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )

    assert len(contents(tmp_path)) > 1
    assert result.stdout.split() == ["3000", str(engine.state_hash)]


def raising(error: OSError) -> Callable[..., int]:
    def refuse(*_: object) -> int:
        raise error

    return refuse


@pytest.mark.parametrize("call", ["write", "fdatasync"])
def test_after_a_failed_write_the_wal_is_unusable_and_a_new_one_recovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    written(tmp_path, 2)
    log = Wal.open(tmp_path, shard=SHARD, epoch=1)
    log.append(commands_from(3, 1), chain_hash(3))

    with monkeypatch.context() as full_disk:
        full_disk.setattr(os, call, raising(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space left"):
            log.sync()

    with pytest.raises(InvariantViolationError, match="a write to it failed"):
        log.sync()
    with pytest.raises(InvariantViolationError, match="a write to it failed"):
        log.append(commands_from(4, 1), chain_hash(4))
    log.close()
    assert sequences_in(tmp_path) == ([1, 2] if call == "write" else [1, 2, 3])


def test_a_write_that_the_disk_takes_in_pieces_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: original(descriptor, content[:7]))

    written(tmp_path, 3, 4)

    assert sequences_in(tmp_path) == [1, 2, 3, 4, 5, 6, 7]


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")

    with pytest.raises(WalError, match="file: cannot be used as a WAL: File exists"):
        Wal.open(tmp_path / "file", shard=SHARD, epoch=1)


def test_a_closed_wal_takes_nothing(tmp_path: Path) -> None:
    log = Wal.open(tmp_path, shard=SHARD, epoch=1)
    log.close()

    with pytest.raises(InvariantViolationError, match="closed"):
        log.append(commands_from(1, 1), chain_hash(1))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=3), min_size=1, max_size=6),
    st.integers(1, 2_000),
    st.data(),
)
def test_whatever_is_cut_off_the_end_only_unsynced_commands_are_lost(
    tmp_path_factory: pytest.TempPathFactory, syncs: list[list[int]], segment_bytes_max: int, data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("wal")
    log = Wal.open(directory, shard=SHARD, epoch=1, segment_bytes_max=segment_bytes_max)
    durable = 0
    for batches in syncs:
        durable = log.tail.sequence
        for count in batches:
            log.append(commands_from(log.tail.sequence + 1, count), chain_hash(log.tail.sequence + count))
        last_write_from = log._durable_bytes
        log.sync()
    log.close()
    last = max(directory.iterdir())
    whole = last.read_bytes()
    last.write_bytes(whole[: data.draw(st.integers(last_write_from, len(whole)))])

    reopened = Wal.open(directory, shard=SHARD, epoch=2, segment_bytes_max=segment_bytes_max)

    assert durable <= reopened.tail.sequence <= log.tail.sequence
    assert sequences_in(directory) == list(range(1, reopened.tail.sequence + 1))
