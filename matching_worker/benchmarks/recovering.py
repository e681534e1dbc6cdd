"""How fast an engine comes back: replay of a log in memory, and recovery from snapshot and WAL on disk."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from exchange.kernel.errors import require
from matching_worker import protocol, recovery, snapshot
from matching_worker.benchmarks.operations import orders
from matching_worker.benchmarks.workload import INSTRUMENT_ID
from matching_worker.engine import Engine
from matching_worker.protocol import Rows
from matching_worker.retention import snapshots_of
from matching_worker.wal import NO_CHAIN_HASH, Tail, Wal

RESTING: Final = 100_000
FRAME: Final = 1_000
OTHER_INSTRUMENT_ID: Final = INSTRUMENT_ID + 1


class Prepared(NamedTuple):
    """A folder with a snapshot and a WAL after it, and where its recovery must end."""

    folder: Path
    sequence: int
    state_hash: int


def measure_replay(commands: Rows) -> float:
    """Return commands a second from the log's payload bytes to events, as at a start without a local disk."""
    stored = protocol.payloads(commands)
    engine = Engine(0, 0)
    started = time.perf_counter()
    for start in range(0, len(stored), FRAME):
        piece = stored[start : start + FRAME]
        engine.apply(protocol.decode(np.arange(start + 1, start + 1 + len(piece)), piece))
    return len(stored) / (time.perf_counter() - started)


def prepare(commands: Rows, preloaded: int, folder: Path, advance: Callable[[int], object]) -> Prepared:
    """Write a snapshot of 100,000 resting orders and the workload as a WAL after it.

    The snapshot's orders rest in another book beside the workload's own preload.
    """
    resting = orders(RESTING - preloaded, int(commands["order_id"].max()) + 1)
    resting["instrument_id"] = OTHER_INSTRUMENT_ID
    before = np.concatenate([resting, commands[:preloaded]])
    before["sequence"] = np.arange(1, len(before) + 1)
    engine = Engine(0, 0)
    engine.apply(before)
    require(engine.open_order_count == RESTING, f"the snapshot has {engine.open_order_count} orders")
    capture = snapshot.Capturer().capture(engine)
    wal = Wal.open(folder, shard=0, epoch=1)
    wal.start_at(Tail(engine.sequence, NO_CHAIN_HASH))
    snapshot.write(capture, snapshots_of(folder), epoch=1, chain_hash=NO_CHAIN_HASH, made_at_ns=0)
    after = commands[preloaded:].copy()
    after["sequence"] = np.arange(len(before) + 1, len(before) + 1 + len(after))
    for start in range(0, len(after), FRAME):
        piece = after[start : start + FRAME]
        wal.append(piece, NO_CHAIN_HASH)
        if start // FRAME % 16 == 15:  # noqa: PLR2004 - a sync for every frame would only take longer
            wal.sync()
        engine.apply(piece)
        advance(len(piece))
    wal.close()
    return Prepared(folder, engine.sequence, engine.state_hash)


def measure(prepared: Prepared) -> float:
    """Recover: newest snapshot, then the WAL, opened for writing at the end; return the seconds."""
    started = time.perf_counter()
    wal = Wal.open(prepared.folder, shard=0, epoch=1)
    rebuilt = recovery.rebuild(prepared.folder, shard=0)
    seconds = time.perf_counter() - started
    wal.close()
    require(
        (rebuilt.engine.sequence, rebuilt.engine.state_hash) == (prepared.sequence, prepared.state_hash),
        "recovery ended elsewhere than the engine that wrote",
    )
    return seconds
