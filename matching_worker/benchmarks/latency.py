"""Latency at a given load: from the ring to matched, and from the ring to durable, through the worker's own stages.

Note [Open loop]
    The generator decides beforehand when each command is due (random gaps of the wanted average rate) and never waits
    for an answer: while the match stage stands still, commands go on entering, and each one's waiting is counted.

Note [Two clocks]
    First clock, "entry": the generator reads CLOCK_MONOTONIC when the row is written, just before it moves the ring's
    sequence. Second clock, "matched": read by the match stage's thread, in its compiled loop, when the engine has
    returned with the events of the call. "Durable": read by the journal stage's thread when the fdatasync has
    returned. All three are the same clock. "Due" is stricter than entry: it begins when the command should have
    entered, and so counts what the generator itself was late, on a processor that it shares with the journal.

Note [The generator gives way]
    A worker's receive stage sleeps in the database. The generator never sleeps, so that on two processors it looks on
    where the journal wants to run. At the journal's own priority it kept the journal waiting for whole time slices of
    the system, some milliseconds, now and then while the journal held the GIL that the match stage wanted: then the
    load was measured, not the worker. On Linux it therefore runs at the lowest priority. What it is late by that is in
    "due", and the rate that was really offered is told.
"""

import gc
import os
import sys
import threading
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from matching_worker.book.compiled import entry
from matching_worker.engine import Engine
from matching_worker.engine_held import EngineHeld
from matching_worker.match_loop import MatchLoop
from matching_worker.monotonic import clock_ns, now_ns
from matching_worker.outlet import CALL_DTYPE
from matching_worker.protocol import COMMAND_BYTES, Rows
from matching_worker.ring import Ring, limit, move, pause
from matching_worker.stages import JOURNAL, MATCH, RECEIVE, SWITCH_SECONDS, Journal, StageThreads, Work, pin
from matching_worker.wal import NO_CHAIN_HASH, Wal

Times = npt.NDArray[np.int64]

RATES: Final = (10_000, 50_000, 100_000, 150_000)
SECONDS: Final = 2.0
WARM_SECONDS: Final = 0.2
"""Offered before the measurement, and not counted."""
LEAD_NS: Final = 20_000_000
LOWEST_PRIORITY: Final = 19
SEED: Final = 7
PATIENT: Final = 1 << 30
"""Looks of a stage that shall never sleep."""
SHAPE: Final = {RECEIVE: (), JOURNAL: (RECEIVE,), MATCH: (RECEIVE,)}
_WORDS: Final = COMMAND_BYTES // 8


class Latency(NamedTuple):
    """Microseconds."""

    average: float
    p50: float
    p95: float
    p99: float
    p999: float


class Measured(NamedTuple):
    """One run at one rate.

    Attributes:
        entered: From ring entry to matched.
        matched: From due to matched.
        durable: From ring entry to durable.
        match_call: The match stage's work on one call.
        sync: The journal stage's work on one commit.
        per_call: Commands in one call of the engine, on average.
        per_sync: Commands in one commit, on average.
        rate: Commands a second that were really offered.
    """

    matched: Latency
    entered: Latency
    durable: Latency
    match_call: Latency
    sync: Latency
    per_call: float
    per_sync: float
    rate: float


@entry
def offer(memory: int, rows: Rows, source: Rows, due: Times, entered: Times, position: int, first_sequence: int) -> int:
    """Put commands on the ring when they are due.

    Args:
        rows: The ring's rows as (capacity * words,) int64.
        source: The commands as (n * words,) int64.
        due: (n,) when each is due.
        entered: (n,) written: when each was there.
        position: The first one to offer.
        first_sequence: The sequence of the first of all.

    Returns:
        The next position; below n when somebody has to be woken.
    """
    capacity = len(rows) // _WORDS
    looks = 0
    while position < len(due):
        sequence = first_sequence + position
        if clock_ns() < due[position] or limit(memory, 0) < sequence:
            looks += 1
            pause(looks)
            continue
        slot = (sequence & (capacity - 1)) * _WORDS
        for word in range(_WORDS):
            rows[slot + word] = source[position * _WORDS + word]
        entered[position] = clock_ns()
        position += 1
        if move(memory, 0, sequence):
            break
    return position


class Stamped:
    """A stage's work that notes the time before and after."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self.done: list[int] = []
        self.started_ns: list[int] = []
        self.ended_ns: list[int] = []

    def __call__(self, first: int, last: int, /) -> int:
        """Work."""
        self.started_ns.append(now_ns())
        done = self._work(first, last)
        self.ended_ns.append(now_ns())
        self.done.append(done)
        return done

    def calls(self) -> Rows:
        """Return (n,) CALL_DTYPE: last command, start and end of each."""
        calls = np.zeros(len(self.done), CALL_DTYPE)
        calls["last"], calls["started_ns"], calls["ended_ns"] = self.done, self.started_ns, self.ended_ns
        return calls


def moments(calls: Rows, first: int, last: int) -> Times:
    """Return when each command of a range was done."""
    found: Times = calls["ended_ns"][np.searchsorted(calls["last"], np.arange(first, last + 1))]
    return found


def summary(nanoseconds: Times) -> Latency:
    """Return average and percentiles."""
    microseconds = nanoseconds / 1000
    return Latency(float(microseconds.mean()), *np.percentile(microseconds, (50, 95, 99, 99.9)).tolist())


def measure(
    commands: Rows,
    preloaded: int,
    rate: int,
    folder: Path,
    *,
    seconds: float = SECONDS,
    cores: dict[str, int] | None = None,
) -> Measured:
    """Offer a workload at a rate and measure.

    Args:
        commands: Numbered from 1; as many are used as the time asks for.
        folder: Where the WAL is written; must be empty.
        cores: Processors of receive (the generator), journal and match, if wanted.
    """
    warm, count = int(rate * WARM_SECONDS), int(rate * (WARM_SECONDS + seconds))
    offered = commands[preloaded : preloaded + count]
    count = len(offered)
    engine = Engine(0, 0)
    engine.apply(commands[:preloaded])
    wal = Wal.open(folder, shard=0, epoch=1)
    wal.append(commands[:preloaded], NO_CHAIN_HASH)
    wal.sync()
    ring = Ring(SHAPE, start=preloaded)
    ring.commands[:] = commands[0]  # so that the first round does not wait for the system's memory

    def write(rows: Rows, chain_hash: bytes) -> None:
        wal.append(rows, chain_hash)
        wal.sync()

    match = MatchLoop(ring, engine, EngineHeld(), looks=PATIENT, calls_kept=1 << count.bit_length())
    journal = Stamped(Journal(ring, write))
    failed: list[str] = []
    works: dict[str, Work] = {JOURNAL: journal, MATCH: match}
    threads = StageThreads(ring, works, on_failure=failed.append, cores=cores, spins={MATCH: PATIENT})
    gaps = np.random.default_rng(SEED).exponential(1e9 / rate, count)
    entered = np.zeros(count, np.int64)
    offer(ring.memory, ring.commands.view(np.int64), _as_words(offered), entered[:0], entered, 0, 0)  # compiles it
    gc.collect()
    gc.freeze()
    switch_seconds = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)  # as the worker does
    threads.start()
    due = now_ns() + LEAD_NS + np.cumsum(gaps).astype(np.int64)
    generator = threading.Thread(target=_generate, args=(ring, offered, due, entered, cores or {}), name="generator")
    generator.start()
    generator.join()
    ring.close()
    threads.join()
    gc.unfreeze()
    sys.setswitchinterval(switch_seconds)
    wal.close()
    if failed:
        raise RuntimeError(f"stage {failed[0]} failed")
    first, last = preloaded + 1 + warm, preloaded + count
    matches, commits = match.calls(), journal.calls()
    matched, durable = moments(matches, first, last), moments(commits, first, last)
    start_ns = int(due[warm])
    matches, commits = (calls[calls["started_ns"] >= start_ns] for calls in (matches, commits))
    counted = count - warm
    return Measured(
        summary(matched - due[warm:]),
        summary(matched - entered[warm:]),
        summary(durable - entered[warm:]),
        summary(matches["ended_ns"] - matches["started_ns"]),
        summary(commits["ended_ns"] - commits["started_ns"]),
        counted / len(matches),
        counted / len(commits),
        counted * 1e9 / (int(entered[-1]) - start_ns),
    )


def _as_words(commands: Rows) -> Times:
    """Return commands as (n * words,) int64."""
    return np.ascontiguousarray(commands).view(np.int64)


def _generate(ring: Ring, offered: Rows, due: Times, entered: Times, cores: dict[str, int]) -> None:
    """Run the generator to its end, waking sleepers when it asks for that: Note [The generator gives way]."""
    pin(RECEIVE, cores)
    if sys.platform == "linux":  # elsewhere a priority is the whole process's
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)
    rows, source = ring.commands.view(np.int64), _as_words(offered)
    position, first = 0, int(offered["sequence"][0])
    while position < len(due):
        position = offer(ring.memory, rows, source, due, entered, position, first)
        ring.advance(0, first + position - 1)
