"""Turns what the processes of a run noted into figures. Pure."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from trading.benchmarks.road.watch import Sample, Spent, growth

NS_PER_MS = 1e6
FLAT_SHARE = 0.01
"""The lag counts as flat while it grows by less than this share of what is settled meanwhile."""


class Quantiles(NamedTuple):
    """Milliseconds."""

    p50: float
    p90: float
    p99: float
    most: float


def quantiles(milliseconds: np.ndarray) -> Quantiles:
    """Return the middle and the upper end of some times."""
    if not len(milliseconds):
        return Quantiles(0.0, 0.0, 0.0, 0.0)
    cuts = np.percentile(milliseconds, (50, 90, 99, 100))
    return Quantiles(*(round(float(cut), 3) for cut in cuts))


class Times:
    """When each command came, was matched and durable, and was settled; by sequence, in nanoseconds."""

    def __init__(self, report: dict[str, Any]) -> None:
        sent = report["sent"]
        self.first = sent[0][0]
        self.came = np.concatenate([stamps for _, stamps in sent])
        self.matched = np.maximum(self._at(report["matched"]), self._at(report["durable"]))
        self.settled = self._at(report["settled"])

    def _at(self, done: list[Any]) -> np.ndarray:
        """Return the moment at which a stage was done with each command."""
        moments = np.zeros(len(self.came), np.int64)
        for first, last, at_ns in done:
            moments[first - self.first : last - self.first + 1] = at_ns
        return moments

    def waits(self, moments: np.ndarray, first: int, last: int) -> np.ndarray:
        """Return the milliseconds until a stage was done with commands `first` to `last`."""
        span = slice(first - self.first, last - self.first + 1)
        return (moments[span] - self.came[span]) / NS_PER_MS


def rate(moments: np.ndarray, start: float, end: float) -> float:
    """Return how many a second were done between two moments, by `time.time`."""
    return float(np.count_nonzero((moments >= start * 1e9) & (moments < end * 1e9))) / (end - start)


@dataclass
class Steady:
    """The figures of the steady phase.

    Attributes:
        offered: Requests a second.
        growth: Commands by which the lag grew in a second.
        spent: Processor seconds by process and stage.
    """

    seconds: float
    offered: float
    admitted: float
    matched: float
    settled: float
    growth: float
    samples: list[Sample]
    admitted_at: list[tuple[float, int]]
    refused: dict[str, int]
    latencies: dict[str, Quantiles]
    admission: dict[str, float]
    settlement: dict[str, float]
    spent: Spent
    orders: int
    fills: int
    cores: int
    calls: dict[str, Quantiles] = field(default_factory=dict)

    @property
    def is_flat(self) -> bool:
        """Whether what waits for settlement did not pile up."""
        return self.growth <= FLAT_SHARE * self.settled


def steady(
    asked: dict[str, Any],
    before: dict[str, Any],
    after: dict[str, Any],
    samples: list[Sample],
    pushed_ms: np.ndarray,
    spent: Spent,
    cores: int,
) -> Steady:
    """Compute the figures of the steady phase.

    Args:
        asked: The sender's report.
        before: The worker's report at the phase's start, and `after` at its end.
    """
    times = Times(after)
    start, end = samples[0], samples[-1]
    first, last = start.head + 1, end.settled
    settlements = after["settlements"] - before["settlements"]
    return Steady(
        seconds=asked["seconds"],
        offered=asked["asked"] / asked["seconds"],
        admitted=asked["admitted"] / asked["seconds"],
        matched=rate(times.matched, start.at, end.at),
        settled=rate(times.settled, start.at, end.at),
        growth=growth(samples),
        samples=samples,
        admitted_at=asked["admitted_at"],
        refused=asked["refused"],
        latencies={
            "accept": quantiles(asked["accept_ms"]),
            "match": quantiles(times.waits(times.matched, first, last)),
            "settle": quantiles(times.waits(times.settled, first, last)),
            "push": quantiles(pushed_ms),
        },
        admission={
            "orders": float(asked["batch_sizes"].mean()),
            "statements": asked["statements_per_batch"],
            "ms": float(asked["submit_ms"].mean()),
        },
        settlement={
            "orders": (last - start.settled) / max(1, settlements),
            "statements": (after["statements"] - before["statements"]) / max(1, settlements),
        },
        spent=spent,
        orders=max(1, last - start.settled),
        fills=after["fills"] - before["fills"],
        cores=cores,
    )
