"""The load: lets the gatherer write batch after batch, in a process with one connection, as a web process does."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from multiprocessing.connection import Connection
from typing import Any, Final

import numpy as np
from django.db import InterfaceError, OperationalError, connection

from exchange.kernel import garbage
from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError
from trading.benchmarks.road.flow import Flow
from trading.models import Order
from trading.services import orders
from trading.services.gathering import Gatherer, Ticket
from trading.services.requests import Submission

PAUSE_SECONDS: Final = 0.001
SEED: Final = "road"
BATCH_FIRST: Final = 50
"""Batches begin small and grow while they are quick, so that none takes as long as a transaction may."""

ENDED: Final = "TRANSACTION_ENDED"


class Asked(Ticket):
    """A request as the gatherer keeps it, and when it came, by `time.monotonic`."""

    def __init__(self, item: Submission, now: datetime, due_at: float) -> None:
        super().__init__([item], now)
        self.due_at = due_at

    def outcome(self) -> Order | Exception:
        """Return what became of it.

        Raises:
            Exception: A fault of ours.
        """
        if self.results is not None:
            return self.results[0]
        if not isinstance(self.error, OperationalError | InterfaceError):
            raise self.error or AssertionError
        return self.error


class Sender:
    """Sends and counts; one phase after the other.

    Args:
        lag: Shared: commands that wait for settlement.
    """

    def __init__(self, flow: Flow, lag: Any) -> None:
        self._flow = flow
        self._lag = lag
        self._gatherer = Gatherer()
        self._gatherer.orders_max = BATCH_FIRST
        self._statements = 0
        self._clear()
        connection.execute_wrappers.append(self._count)

    def _count(self, execute: Callable[..., Any], *args: Any) -> Any:
        """Count a statement."""
        self._statements += 1
        return execute(*args)

    def _clear(self) -> None:
        """Begin a phase."""
        self._waits: list[np.ndarray] = []
        self._submit_ms: list[float] = []
        self._sizes: list[int] = []
        self._refused: Counter[str] = Counter()
        self._admitted: list[tuple[float, int]] = []
        self._flow_cpu = self._submit_cpu = 0.0
        self._statements = 0

    def closed(self, seconds: float, batch_max: int, lag_max: int) -> dict[str, Any]:
        """Send batch after batch, but wait while too much waits for settlement."""
        self._clear()
        started = time.monotonic()
        while time.monotonic() < started + seconds:
            if self._lag.value > lag_max:
                time.sleep(PAUSE_SECONDS)
                continue
            room = min(batch_max, self._gatherer.orders_max) - len(self._gatherer.waiting)
            self._send(np.full(max(0, room), time.monotonic()))
        return self._report(self._finish() - started)

    def open(self, seconds: float, rate: float) -> dict[str, Any]:
        """Send at a rate, whatever becomes of it: what is due meanwhile is the next batch, as gathering does it."""
        self._clear()
        started = time.monotonic()
        sent = 0
        while (passed := time.monotonic() - started) < seconds:
            due = max(0, min(int(passed * rate) - sent, orders.BATCH_MAX - len(self._gatherer.waiting)))
            if not due and not self._gatherer.waiting:
                time.sleep(PAUSE_SECONDS)
                continue
            self._send(started + (sent + 1 + np.arange(due)) / rate)
            sent += due
        return self._report(self._finish() - started)

    def _finish(self) -> float:
        """Write what was put off; return the moment at which all is done, by `time.monotonic`."""
        while self._gatherer.waiting:
            self._write_next()
        return time.monotonic()

    def _send(self, due_at: np.ndarray) -> None:
        """Make requests, and write a batch.

        Args:
            due_at: (n,) moments at which each new request came, by `time.monotonic`.
        """
        cpu = time.thread_time()
        now = utc_now()
        self._gatherer.add(
            [Asked(item, now, due) for item, due in zip(self._flow.make(len(due_at)), due_at.tolist(), strict=True)]
        )
        self._flow_cpu += time.thread_time() - cpu
        self._write_next()

    def _write_next(self) -> None:
        """Write a batch, and count what came of it."""
        made = time.thread_time()
        begun = time.monotonic()
        done = [ticket for ticket in self._gatherer.write_next() if isinstance(ticket, Asked)]
        ended = time.monotonic()
        submitted = time.thread_time()
        self._learn(done)
        self._submit_cpu += submitted - made
        self._submit_ms.append((ended - begun) * 1e3)
        self._sizes.append(len(done))
        self._waits.append((ended - np.array([asked.due_at for asked in done])) * 1e3)
        self._flow_cpu += time.thread_time() - submitted

    def _learn(self, done: Sequence[Asked]) -> None:
        """Count what came of requests; those that the database ended, as it ends what takes too long, are refused."""
        results = [asked.outcome() for asked in done]
        if any(isinstance(result, OperationalError | InterfaceError) for result in results):
            connection.close()
        self._flow.learn([item for asked in done for item in asked.submissions], results)
        refused = [
            result.name if isinstance(result, DomainError) else ENDED
            for result in results
            if isinstance(result, Exception)
        ]
        self._refused.update(refused)
        self._admitted.append((time.time(), len(results) - len(refused)))

    def _report(self, seconds: float) -> dict[str, Any]:
        """Return the figures of a phase."""
        sizes = np.array(self._sizes or [0])
        return {
            "seconds": seconds,
            "backend": connection.connection.info.backend_pid,
            "asked": int(sizes.sum()),
            "admitted": sum(count for _, count in self._admitted),
            "admitted_at": self._admitted,
            "refused": dict(self._refused),
            "accept_ms": np.concatenate(self._waits) if self._waits else np.zeros(1),
            "submit_ms": np.array(self._submit_ms or [0.0]),
            "batch_sizes": sizes,
            "statements_per_batch": self._statements / max(1, len(self._sizes)),
            "flow_cpu": self._flow_cpu,
            "submit_cpu": self._submit_cpu,
        }


def run(pipe: Connection, lag: Any) -> None:
    """Do what is asked until the end: `("market", ...)` first, then phases."""
    garbage.search_rarely()  # as a web process does
    sender: Sender | None = None
    while True:
        what, *words = pipe.recv()
        if what == "end":
            connection.close()
            return
        if what == "market":
            sender = Sender(Flow(words[0], SEED), lag)
            pipe.send("ready")
        elif sender is not None:
            pipe.send(sender.closed(*words) if what == "closed" else sender.open(*words))
