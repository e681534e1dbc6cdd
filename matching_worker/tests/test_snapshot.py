"""A snapshot is the engine, byte for byte, or it is refused in words."""

import errno
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from exchange.kernel.errors import InvariantViolationError
from matching_worker import snapshot
from matching_worker.benchmarks.streams import special_stream
from matching_worker.book import layout
from matching_worker.engine import Engine
from matching_worker.protocol import trade_id_base
from matching_worker.retention import snapshots_of
from matching_worker.snapshot import (
    BLOCK_HEADER_BYTES,
    HEADER_BYTES,
    SnapshotDamagedError,
    SnapshotError,
    SnapshotLayoutError,
)
from matching_worker.tests.factories import same_bytes
from matching_worker.tests.storage_files import STREAM_EPOCH, flip, hash_after, history, taken
from matching_worker.tests.wal_files import SHARD, chain_hash


@pytest.fixture(scope="module")
def engine() -> Engine:
    made = Engine(SHARD, STREAM_EPOCH)
    made.apply(history())
    return made


@pytest.fixture
def path(engine: Engine, tmp_path: Path) -> Path:
    return taken(engine, tmp_path)


def block_starts(path: Path) -> list[int]:
    content = path.read_bytes()
    starts, offset = [], HEADER_BYTES
    while offset < len(content):
        starts.append(offset)
        offset += BLOCK_HEADER_BYTES + struct.unpack_from("<I", content, offset + 16)[0]
    return starts


def arrays(engine: Engine) -> Iterator[tuple[str, np.ndarray]]:
    return ((name, rows) for name, rows in vars(engine._arrays).items() if name != "addresses")


def test_a_loaded_engine_is_the_one_that_was_taken_and_goes_on_as_it_would(engine: Engine, path: Path) -> None:
    loaded, header = snapshot.load(path, shard=SHARD)

    loaded.check()
    assert (loaded.sequence, loaded.state_hash, loaded.time_ns) == (engine.sequence, engine.state_hash, engine.time_ns)
    for name, rows in arrays(engine):
        assert same_bytes(vars(loaded._arrays)[name], rows), name
    assert (header.sequence, header.shard, header.epoch, header.made_at_ns) == (engine.sequence, SHARD, 1, 7)
    assert header.chain_hash == chain_hash(engine.sequence)
    more = history(6, 4_000)
    more["sequence"] += engine.sequence
    loaded.apply(more)
    loaded.check()
    assert loaded.state_hash == hash_after(np.concatenate([history(), more]))


def test_a_capture_is_not_changed_by_what_comes_after_it(tmp_path: Path) -> None:
    commands = history()
    engine = Engine(SHARD, STREAM_EPOCH)
    engine.apply(commands[:1000])
    capture = snapshot.Capturer().capture(engine)
    engine.apply(commands[1000:])

    made = snapshot.write(capture, tmp_path, epoch=1, chain_hash=chain_hash(1000), made_at_ns=0)

    loaded, _ = snapshot.load(made, shard=SHARD)
    loaded.check()
    assert (loaded.sequence, loaded.state_hash) == (1000, hash_after(commands[:1000]))


def test_memory_of_a_capturer_is_used_again_without_leftovers(tmp_path: Path) -> None:
    commands = history()
    engine = Engine(SHARD, STREAM_EPOCH)
    capturer = snapshot.Capturer()
    for start in range(0, len(commands), 500):
        engine.apply(commands[start : start + 500])
        made = snapshot.write(
            capturer.capture(engine), tmp_path, epoch=1, chain_hash=chain_hash(start + 500), made_at_ns=0
        )

        loaded, _ = snapshot.load(made, shard=SHARD)

        loaded.check()
        assert loaded.state_hash == hash_after(commands[: start + 500])


def test_an_empty_engine_can_be_taken_and_loaded(tmp_path: Path) -> None:
    loaded, header = snapshot.load(taken(Engine(SHARD, STREAM_EPOCH), tmp_path), shard=SHARD)

    assert (loaded.sequence, header.sequence, loaded.open_order_count) == (0, 0, 0)


@pytest.mark.parametrize("at", range(0, 6_000, 500))
def test_stops_auctions_positions_and_ends_by_time_go_on_from_a_snapshot(tmp_path: Path, at: int) -> None:
    commands = special_stream(11, 6_000)
    whole, first = Engine(SHARD, STREAM_EPOCH), Engine(SHARD, STREAM_EPOCH)
    whole.apply(commands)
    first.apply(commands[:at])

    loaded, _ = snapshot.load(taken(first, tmp_path), shard=SHARD)

    loaded.check()
    due = first.apply(commands[at:])
    assert same_bytes(loaded.apply(commands[at:]), due)
    loaded.check()
    assert loaded.state_hash == whole.state_hash


def test_the_trade_ids_to_come_are_those_of_the_epoch_now(path: Path) -> None:
    same, _ = snapshot.load(path, shard=SHARD)
    later, _ = snapshot.load(path, shard=SHARD, stream_epoch=9)

    assert int(same._arrays.state["trade_id_base"][0]) == trade_id_base(STREAM_EPOCH, SHARD)
    assert int(later._arrays.state["trade_id_base"][0]) == trade_id_base(9, SHARD)
    assert later.state_hash == same.state_hash


def test_the_engine_keeps_no_state_but_its_arrays(engine: Engine) -> None:
    room = {"_events", "_events_used", "_events_capacity", "_events_memory", "_own_references"}
    known = {"shard", "epoch", "_arrays", "_addresses"} | room

    assert set(vars(engine)) == known, "a new attribute: is it state? then a snapshot must hold it"


def test_a_changed_byte_in_any_block_is_found_and_named(path: Path) -> None:
    starts = block_starts(path)
    whole = path.read_bytes()
    assert len(starts) > 5

    for number, start in enumerate(starts):
        for position in (start, start + 6, start + BLOCK_HEADER_BYTES - 1, start + BLOCK_HEADER_BYTES + 1):
            flip(path, position, position % 8)
            with pytest.raises(SnapshotDamagedError, match=f"damaged: block {number} at offset {start} "):
                snapshot.load(path, shard=SHARD)
            with pytest.raises(SnapshotDamagedError, match=f"damaged: block {number} at offset {start} "):
                snapshot.check(path)
            path.write_bytes(whole)


def test_a_changed_bit_anywhere_in_the_header_is_found(path: Path) -> None:
    for position in range(HEADER_BYTES):
        flip(path, position, position % 8)

        with pytest.raises(SnapshotDamagedError, match="its header fails its checksum"):
            snapshot.load(path, shard=SHARD)
        flip(path, position, position % 8)


@pytest.mark.parametrize("keep", [0, 10, HEADER_BYTES, HEADER_BYTES + 5, -1])
def test_a_snapshot_cut_short_is_found(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])

    with pytest.raises(SnapshotDamagedError, match="damaged: "):
        snapshot.load(path, shard=SHARD)


def test_bytes_after_the_end_are_found(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")

    with pytest.raises(SnapshotDamagedError, match="bytes where"):
        snapshot.load(path, shard=SHARD)


def test_a_snapshot_of_another_layout_is_refused_in_words(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "KEY_BITS", layout.KEY_BITS + 1)

    with pytest.raises(SnapshotLayoutError, match="another version of this program laid out its arrays"):
        snapshot.load(path, shard=SHARD)
    assert snapshot.check(path).sequence == 2000


@pytest.mark.parametrize("change", ["name", "dtype", "offset"])
def test_the_layout_digest_sees_names_dtypes_and_offsets(engine: Engine, change: str) -> None:
    other = Engine(SHARD, STREAM_EPOCH)
    before = snapshot.layout_digest(other._arrays)
    assert before == snapshot.layout_digest(engine._arrays)

    if change == "name":
        other._arrays.extra = np.zeros(1, np.int64)  # type: ignore[attr-defined]
    elif change == "dtype":
        other._arrays.index = np.zeros(4, [("slot", "<u4"), ("tag", "<i4")])
    else:
        other._arrays.index = np.zeros(4, [("tag", "<u4"), ("slot", "<u4")])

    assert snapshot.layout_digest(other._arrays) != before


def test_a_newer_version_is_refused_in_words(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(snapshot, "SNAPSHOT_VERSION", 2)
        path = taken(engine, tmp_path)

    with pytest.raises(SnapshotLayoutError, match="has version 2; this program reads 1"):
        snapshot.load(path, shard=SHARD)


def test_a_snapshot_of_another_shard_is_refused(path: Path) -> None:
    with pytest.raises(SnapshotError, match="belongs to shard 3, not 4"):
        snapshot.load(path, shard=4)


def test_a_snapshot_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="cannot be read: No such file"):
        snapshot.load(tmp_path / "none.snapshot", shard=SHARD)
    with pytest.raises(SnapshotError, match="cannot be read: No such file"):
        snapshot.read_header(tmp_path / "none.snapshot")


@pytest.mark.parametrize("call", ["write", "fdatasync", "fsync", "replace"])
def test_a_write_that_the_disk_refuses_leaves_no_snapshot_and_no_leftovers(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(snapshot, "_SYNC_BYTES", 1000)
    monkeypatch.setattr(os, call, refuse)

    with pytest.raises(OSError, match="No space left"):
        taken(engine, tmp_path)

    assert list(snapshots_of(tmp_path).iterdir()) == []


def test_a_snapshot_is_synced_before_it_gets_its_name_and_its_folder_after(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        done.append("folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "file")
        fsync(descriptor)

    def noted_replace(source: Path, target: Path) -> None:
        done.append("name")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)

    taken(engine, tmp_path)

    assert done == ["file", "name", "folder"]


def test_what_dead_writers_left_is_removed_and_snapshots_stay(path: Path) -> None:
    leftover = path.with_name("00000000000000000009-000001.unfinished")
    leftover.write_bytes(b"half")

    assert snapshot.remove_unfinished(path.parent) == [leftover]
    assert list(path.parent.iterdir()) == [path]


def test_a_table_with_other_arrays_than_the_layout_says_is_a_bug(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "_state_arrays", lambda arrays: {"state": arrays.state})
    monkeypatch.setattr(snapshot, "layout_digest", lambda _: snapshot.read_header(path).layout_digest)

    with pytest.raises(InvariantViolationError, match="names other arrays"):
        snapshot.load(path, shard=SHARD)
