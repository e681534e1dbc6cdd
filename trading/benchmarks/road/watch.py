"""Watches a run from outside: how far log and books are, and how much processor time each process and stage took."""

import contextlib
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import numpy as np
import psutil
from django.db import connection

from exchange.embedded import addresses
from trading import selectors
from trading.benchmarks.road.children import Child

SAMPLE_SECONDS: Final = 0.02
SELDOM_SECONDS: Final = 0.5
"""Where nobody waits for what the samples say."""
WORKER_STAGES: Final = {
    "MainThread": "read the log",
    "journal": "write and sync the WAL",
    "match": "match",
    "publish": "publish market data",
    "settle": "settle",
}
REST: Final = "rest"


class Sample(NamedTuple):
    """Where log and books stood at a moment, by `time.time`."""

    at: float
    head: int
    settled: int


class Watch:
    """Samples the distance between log and books for as long as the body runs, and shares it with the sender.

    Attributes:
        pause_seconds: Between two samples; each costs processor time that the load would have.
    """

    def __init__(self, lag: Any) -> None:
        self.samples: list[Sample] = []
        self.pause_seconds = SAMPLE_SECONDS
        self._lag = lag
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        """Sample until the end."""
        while not self._ending.wait(self.pause_seconds):
            self.sample()
        connection.close()

    def sample(self) -> Sample:
        """Look once."""
        [shard] = selectors.lag()
        found = Sample(time.time(), shard.log_sequence, shard.settled_sequence)
        self._lag.value = shard.lag
        self.samples.append(found)
        return found

    def between(self, start: float, end: float) -> list[Sample]:
        """Return the samples of a span."""
        return [one for one in list(self.samples) if start <= one.at <= end]


def growth(samples: list[Sample]) -> float:
    """Return by how many commands a second the distance grows, by least squares."""
    if len(samples) < 2:  # noqa: PLR2004 -- a line needs two points
        return 0.0
    at = np.array([one.at for one in samples])
    slope, _ = np.polyfit(at - at[0], [one.head - one.settled for one in samples], 1)
    return float(slope)


Spent = dict[tuple[str, str], float]
"""Seconds of processor time by process and stage."""


def between(before: Spent, after: Spent) -> Spent:
    """Return what was spent between two readings."""
    return {key: seconds - before.get(key, 0.0) for key, seconds in after.items()}


class Meter:
    """Reads what every process of a run has spent.

    Args:
        backends: What the database's processes serve, by their ids, as far as it is known.
        threads: The worker's threads, by name.
    """

    def __init__(
        self,
        data_dir: Path,
        redis_pid: int,
        children: dict[str, Child],
        backends: dict[int, str],
        threads: dict[str, int],
    ) -> None:
        postmaster = int((addresses.postgres_dir(data_dir) / "postmaster.pid").read_text().split()[0])
        self._postmaster = psutil.Process(postmaster)
        self._redis = psutil.Process(redis_pid)
        self._children = {name: psutil.Process(child.pid) for name, child in children.items()}
        self._backends = backends
        self._stages = {number: WORKER_STAGES[name] for name, number in threads.items() if name in WORKER_STAGES}

    def read(self) -> Spent:
        """Return what has been spent until now."""
        spent: Spent = defaultdict(float)
        for process in (self._postmaster, *self._postmaster.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                spent["PostgreSQL", self._backends.get(process.pid, REST)] += _seconds(process)
        spent["Redis", ""] += _seconds(self._redis)
        spent["watching", ""] += _seconds(psutil.Process())
        for name, process in self._children.items():
            if name != "worker":
                spent[name, ""] += _seconds(process)
                continue
            for thread in process.threads():
                stage = self._stages.get(thread.id, REST)
                spent[name, stage] += thread.user_time + thread.system_time
        return spent


def _seconds(process: psutil.Process) -> float:
    """Return the processor time of a process, without that of its children."""
    times = process.cpu_times()
    return float(times.user + times.system)
