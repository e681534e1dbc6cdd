"""Durable commands a second, through the worker's own stages: journal (WAL and fdatasync) beside match."""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from matching_worker.engine import Engine
from matching_worker.engine_held import EngineHeld
from matching_worker.match_loop import MatchLoop
from matching_worker.protocol import Rows
from matching_worker.ring import Ring
from matching_worker.stages import JOURNAL, MATCH, RECEIVE, Journal, StageThreads, Work
from matching_worker.wal import NO_CHAIN_HASH, Wal

SHAPE: Final = {RECEIVE: (), JOURNAL: (RECEIVE,), MATCH: (RECEIVE,)}


class Durable(NamedTuple):
    """One run.

    Attributes:
        rate: Commands a second that were both matched and durable.
        sync_us: One commit of the journal stage on average: write and fdatasync.
        match_us: One call of the match stage on average.
        commits: How many there were.
    """

    rate: float
    sync_us: float
    match_us: float
    commits: int


class _Timed:
    """Adds up what a function takes."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.calls = 0

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._started
        self.calls += 1


def _pieces(commands: Rows, size: int) -> Iterator[Rows]:
    """Cut commands into pieces."""
    return (commands[start : start + size] for start in range(0, len(commands), size))


def measure(commands: Rows, preloaded: int, size: int, count: int, folder: Path) -> Durable:
    """Give the stages commands as fast as they take them, `size` to a commit and to a call.

    Args:
        commands: Numbered from 1; `count` of them after the preload are used.
        folder: Where the WAL is written; must be empty.
    """
    engine = Engine(0, 0)
    engine.apply(commands[:preloaded])
    wal = Wal.open(folder, shard=0, epoch=1)
    wal.append(commands[:preloaded], NO_CHAIN_HASH)
    wal.sync()
    ring = Ring(SHAPE, start=preloaded)
    ring.commands[:] = commands[0]
    syncing = _Timed()

    def write(rows: Rows, chain_hash: bytes) -> None:
        with syncing:
            wal.append(rows, chain_hash)
            wal.sync()

    failed: list[str] = []
    match = MatchLoop(ring, engine, EngineHeld(), commands_max=size, calls_kept=1 << count.bit_length())
    works: dict[str, Work] = {
        JOURNAL: Journal(ring, write, commands_max=size),
        MATCH: match,
    }
    threads = StageThreads(ring, works, on_failure=failed.append)
    offered = commands[preloaded : preloaded + count]
    hashes = list(itertools.repeat(NO_CHAIN_HASH, size))
    threads.start()
    started = time.perf_counter()
    for piece in _pieces(offered, size):
        ring.put(piece, hashes[: len(piece)])
    ring.close()
    threads.join()
    seconds = time.perf_counter() - started
    wal.close()
    if failed or engine.sequence != preloaded + len(offered) or wal.tail.sequence != engine.sequence:
        raise RuntimeError(f"the stages ended at {engine.sequence} and {wal.tail.sequence}; failed: {failed}")
    calls = match.calls()
    return Durable(
        len(offered) / seconds,
        1e6 * syncing.seconds / syncing.calls,
        float(np.mean(calls["ended_ns"] - calls["started_ns"])) / 1000,
        syncing.calls,
    )
