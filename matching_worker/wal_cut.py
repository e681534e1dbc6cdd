"""Cutting a WAL after a command: the only place that removes durable commands, because the log no longer has them.

When a database went back in time, the WAL and its snapshots tell of commands that the command log has lost; the worker
refuses to start then. An operator cuts the WAL where the two agreed last. Nothing is destroyed: first all that will be
cut is written, durably, into a folder of its own in `cut/`, as a WAL that the same tools read, with the trades in it
that are void; then snapshots of later commands move there; then the segments are cut, newest first, so that a crash at
any moment leaves a WAL without a gap, which can be cut again.
"""

import bisect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import orjson

from matching_worker import inspection, recovery, snapshot
from matching_worker.engine import Engine
from matching_worker.frames import (
    SegmentReader,
    Tail,
    WalDamagedError,
    WalError,
    pack_frame,
    pack_segment_header,
    segment_start,
)
from matching_worker.protocol import Rows
from matching_worker.retention import snapshots_of
from matching_worker.segments import read, segment_path, segment_paths, set_aside, sync_directory

CUT: Final = "cut"
VOID_TRADES: Final = "void-trades.jsonl"


class CutReport(NamedTuple):
    """What was cut.

    Attributes:
        folder: Where it was written.
        void_trades: Trades of the commands cut; -1 where no snapshot or WAL reaches back far enough to tell.
    """

    folder: Path
    commands: int
    snapshots: int
    void_trades: int


def last_common(wal_dir: Path, chain_hash_at: Callable[[int], bytes | None]) -> int:
    """Return the last end of a frame at which WAL and log agree, and with it in all before; 0 when there is none.

    Args:
        wal_dir: The shard's folder.
        chain_hash_at: The log's chain hash at a sequence, None when it has no such command. Asked a few times only.
    """
    ends = [(int(commands["sequence"][-1]), chain_hash) for commands, chain_hash in read(wal_dir)]
    agreeing = bisect.bisect_left(ends, True, key=lambda end: chain_hash_at(end[0]) != end[1])
    return ends[agreeing - 1][0] if agreeing else 0


def cut(wal_dir: Path, *, shard: int, after: Tail, name: str, stream_epoch: int | None = None) -> CutReport:
    """Cut a WAL after a command. The worker must be stopped and kept from starting.

    Args:
        wal_dir: The shard's folder.
        shard: Whose it must be.
        after: The last command to stay, and the command log's chain hash at it.
        name: Of the folder that takes what is cut; must not exist.
        stream_epoch: The command log's, which is part of the void trades' ids.

    Raises:
        WalError: The WAL has nothing after that command, begins after it, or is damaged. Nothing was changed.
    """
    if recovery.wal_start(wal_dir) > after.sequence:
        raise WalError(f"{wal_dir}: begins after command {recovery.wal_start(wal_dir)}; it cannot be cut before that")
    gone = list(read(wal_dir, after=after.sequence))
    if not gone:
        raise WalError(f"{wal_dir}: has no command after {after.sequence}; there is nothing to cut")
    set_aside(wal_dir)  # first: what a segment makes void must not count again when that one is cut
    folder = wal_dir / CUT / name
    folder.mkdir(parents=True)
    _save(folder, shard, after, gone)
    try:
        engine = recovery.rebuild(wal_dir, shard=shard, stream_epoch=stream_epoch, at_most=after.sequence).engine
        void_trades = _save_void_trades(folder, engine, [commands for commands, _ in gone])
    except WalDamagedError:
        void_trades = -1
    sync_directory(folder)
    sync_directory(folder.parent)
    sync_directory(wal_dir)
    moved = _move_snapshots(wal_dir, folder, after.sequence)
    _shorten(wal_dir, after)
    return CutReport(folder, sum(len(commands) for commands, _ in gone), moved, void_trades)


def _save(folder: Path, shard: int, after: Tail, gone: list[tuple[Rows, bytes]]) -> None:
    """Write what will be cut as one segment; the epochs in which it was written are not kept."""
    content = bytearray(pack_segment_header(shard, 0, after))
    for commands, chain_hash in gone:
        content += pack_frame(shard, 0, commands, chain_hash, 0)
    _write_durably(segment_path(folder, 0, after.sequence + 1), bytes(content))


def _save_void_trades(folder: Path, engine: Engine, gone: list[Rows]) -> int:
    """Write the trades of the commands that will be cut, one JSON object a line; return how many."""
    lines = [
        orjson.dumps(entry.as_json())
        for entry in inspection.entries(engine, np.concatenate(gone))
        if entry.entry_type == inspection.TRADE
    ]
    _write_durably(folder / VOID_TRADES, b"".join(line + b"\n" for line in lines))
    return len(lines)


def _write_durably(path: Path, content: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _move_snapshots(wal_dir: Path, folder: Path, after: int) -> int:
    """Move snapshots of later commands away, and those whose name says nothing of it; return how many."""
    moved = 0
    for path in snapshot.paths(snapshots_of(wal_dir)):
        number = path.name.partition("-")[0]
        if not number.isdecimal() or int(number) > after:
            path.replace(folder / path.name)
            sync_directory(folder)
            sync_directory(path.parent)
            moved += 1
    return moved


def _shorten(wal_dir: Path, after: Tail) -> None:
    """Remove segments after a command, newest first, and shorten the one that holds it."""
    paths = segment_paths(wal_dir)
    for path in reversed(paths):
        start = segment_start(path)
        is_needed = start is not None and start.before.sequence < after.sequence
        if is_needed or (path == paths[0] and after.sequence > 0):
            _shorten_segment(path, after)  # the oldest one stays, if only to say where the WAL continues
            return
        path.unlink()
        sync_directory(wal_dir)


def _shorten_segment(path: Path, after: Tail) -> None:
    """Replace a segment by its commands up to `after`, atomically; a frame in the middle is divided."""
    reader = SegmentReader(path, None)
    if reader.before is None or reader.shard is None:
        raise WalDamagedError(f"{path}: its header is damaged")
    content = bytearray(pack_segment_header(reader.shard, reader.epoch, reader.before))
    for commands, chain_hash in reader.frames():
        kept = commands[: max(0, after.sequence + 1 - int(commands["sequence"][0]))]
        if len(kept) == 0:
            break
        whole = len(kept) == len(commands)
        content += pack_frame(reader.shard, reader.epoch, kept, chain_hash if whole else after.chain_hash, len(content))
    unfinished = path.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    _write_durably(unfinished, bytes(content))
    unfinished.replace(path)
    sync_directory(path.parent)
