"""What an operator sees of a WAL: its segments, whether they are whole, and what happened in it, entry by entry.

Reads only. Knows no database.
"""

from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from matching_worker import recovery
from matching_worker.engine import Engine
from matching_worker.frames import SegmentReader, Tail, WalError
from matching_worker.protocol import (
    COMMAND_DTYPE,
    CommandKind,
    EventKind,
    OrderType,
    Rows,
    SelfTrade,
    Side,
    TimeInForce,
    TriggerSource,
)
from matching_worker.segments import read, read_segments, segment_paths, void_paths

ENTRY_TYPES: Final[dict[int, str]] = {
    CommandKind.PLACE: "add_order",
    CommandKind.CANCEL: "cancel_order",
    CommandKind.REDUCE: "reduce_order",
    CommandKind.AMEND: "amend_order",
}
"""Names of commands in a dump; the others are called as `CommandKind` calls them, in lower case."""

TRADE: Final = "trade"
_CHOICES: Final[dict[str, type[IntEnum]]] = {
    "side": Side,
    "order_type": OrderType,
    "time_in_force": TimeInForce,
    "trigger_source": TriggerSource,
    "stp": SelfTrade,
}
_LEFT_OUT: Final = {"timestamp_ns", "version", "kind", "has_terms"}
_COMMAND_FIELDS: Final = tuple(
    name for name in COMMAND_DTYPE.names or () if name not in _LEFT_OUT and not name.startswith("reserved")
)
_TRADE_FIELDS: Final = (
    "sequence",
    "trade_id",
    "trade_number",
    "instrument_id",
    "price_ticks",
    "qty_lots",
    "order_id",
    "trader_id",
    "maker_order_id",
    "maker_trader_id",
)


class Segment(NamedTuple):
    """One file of a WAL.

    Attributes:
        first: Its first command; 0 when it has none.
        state: `whole`, `torn` (the end of the last file, which `Wal.open` leaves out), `damaged`, or `void` (a worker
            that had lost its lease wrote it, nobody reads it: Note [Void segments] in `segments.py`).
        detail: What is wrong, in words.
    """

    file: str
    version: int
    shard: int
    epoch: int
    first: int
    last: int
    frames: int
    bytes: int
    state: str
    detail: str


class Entry(NamedTuple):
    """One thing that happened, in the order in which it happened."""

    timestamp_ns: int
    entry_type: str
    data: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Return the entry as a JSON object."""
        return {"timestamp": self.timestamp_ns, "entry_type": self.entry_type, "data": self.data}


def segments(wal_dir: Path, shard: int) -> list[Segment]:
    """Return every segment of a WAL and what is wrong with it, going on after damage."""
    found = []
    tail: Tail | None = None
    paths = segment_paths(wal_dir)
    for path in paths:
        segment, tail = _segment(path, shard, tail, is_last=path == paths[-1])
        found.append(segment)
    for path in void_paths(wal_dir):
        segment, _ = _segment(path, shard, None, is_last=True)
        found.append(segment._replace(state="void", detail=f"{path}: written by a worker that had lost its lease"))
    return sorted(found)


def _segment(path: Path, shard: int, tail: Tail | None, *, is_last: bool) -> tuple[Segment, Tail | None]:
    """Return one segment, and where the next one must continue (None where that cannot be told)."""
    size = path.stat().st_size
    try:
        reader = SegmentReader(path, shard)
    except WalError as error:
        return Segment(path.name, 0, shard, 0, 0, 0, 0, size, "damaged", str(error)), None
    state, detail = "whole", ""
    try:
        reader.skim()
        reader.require_only_torn(is_last=is_last)
        if reader.before is None or reader.good_bytes < size:
            state, detail = "torn", f"an unfinished write from offset {reader.good_bytes} on, which the worker will cut"
        elif tail is not None and reader.before != tail:
            state = "damaged"
            detail = f"{path}: continues command {reader.before.sequence}, the file before it ends with {tail.sequence}"
    except WalError as error:
        state, detail = "damaged", str(error)
    before, last = reader.before or Tail(0, b""), reader.tail or Tail(0, b"")
    has_commands = last.sequence > before.sequence
    segment = Segment(
        path.name,
        reader.version,
        shard,
        reader.epoch,
        before.sequence + 1 if has_commands else 0,
        last.sequence if has_commands else 0,
        reader.frame_count,
        size,
        state,
        detail,
    )
    return segment, (reader.tail if state == "whole" else None)


class Verified(NamedTuple):
    """What `verify` found in a WAL that is whole.

    Attributes:
        torn: Where an unfinished write begins, in words; empty without one.
        void: Files that do not count: Note [Void segments] in `segments.py`.
    """

    segments: int
    commands: int
    first: int
    last: int
    torn: str
    void: list[str]


def verify(wal_dir: Path, shard: int) -> Verified:
    """Check every byte of a WAL.

    Raises:
        WalDamagedError: Synced bytes are not what was written, or commands are missing.
        WalVersionError: A newer program wrote it.
    """
    count = commands = 0
    torn = ""
    first = last = 0
    for reader in read_segments(wal_dir, shard):
        reader.skim()
        count += 1
        if reader.before is None or reader.good_bytes < len(reader.content):
            torn = f"{reader.path}: an unfinished write from offset {reader.good_bytes} on, which the worker will cut"
        if reader.before is not None and reader.tail is not None:
            first = first or reader.before.sequence + 1
            last = reader.tail.sequence
            commands += reader.tail.sequence - reader.before.sequence
    void = [path.name for path in void_paths(wal_dir)]
    return Verified(count, commands, first if commands else 0, last, torn, void)


def dump(
    wal_dir: Path, shard: int, *, after: int = 0, trades: bool = True, stream_epoch: int | None = None
) -> Iterator[Entry]:
    """Yield what a WAL holds, command by command, each followed by the trades that it made.

    Args:
        wal_dir: The shard's folder.
        shard: Whose it must be.
        after: Leave out commands up to this one.
        trades: Derive trades by replay, from the newest snapshot at or before `after`.
        stream_epoch: The command log's, which is part of trade ids; None takes the snapshot's, or 0 without one.

    Raises:
        WalDamagedError: The WAL is damaged, or, for trades, no snapshot stands for what it has no more.
        WalVersionError: A newer program wrote it.
    """
    if not trades:
        for commands, _ in read(wal_dir, after=after):
            yield from map(_command_entry, commands)
        return
    start = max(after, recovery.wal_start(wal_dir))
    engine = recovery.rebuild(wal_dir, shard=shard, stream_epoch=stream_epoch, at_most=start).engine
    for commands, _ in recovery.blocks(wal_dir, after=engine.sequence):
        yield from entries(engine, commands)


def entries(engine: Engine, commands: Rows) -> Iterator[Entry]:
    """Apply commands, and yield each followed by its trades."""
    events = engine.apply(commands)
    fills = events[events["kind"] == EventKind.FILL]
    ends = np.searchsorted(fills["sequence"], commands["sequence"], "right").tolist()
    start = 0
    for command, end in zip(commands, ends, strict=True):
        yield _command_entry(command)
        for fill in fills[start:end]:
            yield Entry(int(fill["timestamp_ns"]), TRADE, _trade(fill))
        start = end


def _command_entry(command: Any) -> Entry:
    """Return a command as an entry; what is zero says nothing and is left out, but for the instrument's id."""
    data = {
        name: _told(name, int(command[name])) for name in _COMMAND_FIELDS if command[name] or name == "instrument_id"
    }
    return Entry(int(command["timestamp_ns"]), _entry_type(int(command["kind"])), data)


def _entry_type(kind: int) -> str:
    """Return the name of a kind of command, also of one that no engine knows."""
    if kind in ENTRY_TYPES:
        return ENTRY_TYPES[kind]
    known = {int(member) for member in CommandKind}
    return CommandKind(kind).name.lower() if kind in known else f"unknown_{kind}"


def _told(name: str, number: int) -> int | str:
    """Return a choice by its name, a number as it is."""
    choices = _CHOICES.get(name)
    known = {int(member): member.name.lower() for member in choices} if choices else {}
    return known.get(number, number)


def _trade(fill: Any) -> dict[str, Any]:
    """Return a fill as a trade; `side` is the taker's."""
    data: dict[str, Any] = {name: int(fill[name]) for name in _TRADE_FIELDS}
    data["side"] = _told("side", int(fill["side"]))
    return data
