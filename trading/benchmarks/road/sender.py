"""The load: asks the service of admission for batch after batch, in a process with one connection, as a web process."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, Final

import numpy as np
from django.db import InterfaceError, OperationalError, connection

from exchange.kernel import garbage
from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError
from trading.benchmarks.road.flow import Flow
from trading.services import orders
from trading.services.requests import Submission

PAUSE_SECONDS: Final = 0.001
SEED: Final = "road"
BATCH_FIRST: Final = 50
SLOW_SECONDS: Final = 1.0


ENDED: Final = "TRANSACTION_ENDED"


class Sender:
    """Sends and counts; one phase after the other.

    Args:
        lag: Shared: commands that wait for settlement.
    """

    def __init__(self, flow: Flow, lag: Any) -> None:
        self._flow = flow
        self._lag = lag
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
        """Send batch after batch, but wait while too much waits for settlement.

        Batches begin small and grow while they are quick, so that none takes as long as a transaction may.
        """
        self._clear()
        batch = BATCH_FIRST
        started = time.monotonic()
        while time.monotonic() < started + seconds:
            if self._lag.value > lag_max:
                time.sleep(PAUSE_SECONDS)
                continue
            begun = time.monotonic()
            self._send(batch, np.full(batch, begun))
            taken = time.monotonic() - begun
            if taken > SLOW_SECONDS:
                batch = max(1, batch // 2)
            elif taken < SLOW_SECONDS / 2:
                batch = min(batch_max, 2 * batch)
        return self._report(time.monotonic() - started)

    def open(self, seconds: float, rate: float) -> dict[str, Any]:
        """Send at a rate, whatever becomes of it: what is due meanwhile is the next batch, as gathering does it."""
        self._clear()
        started = time.monotonic()
        sent = 0
        while (passed := time.monotonic() - started) < seconds:
            due = min(int(passed * rate) - sent, orders.BATCH_MAX)
            if due <= 0:
                time.sleep(PAUSE_SECONDS)
                continue
            self._send(due, started + (sent + 1 + np.arange(due)) / rate)
            sent += due
        return self._report(time.monotonic() - started)

    def _send(self, count: int, due_at: np.ndarray) -> None:
        """Make and submit a batch.

        Args:
            due_at: (count,) moments at which each request came, by `time.monotonic`.
        """
        cpu = time.thread_time()
        batch = self._flow.make(count)
        made = time.thread_time()
        begun = time.monotonic()
        results = self._submit(batch)
        ended = time.monotonic()
        submitted = time.thread_time()
        self._learn(batch, results)
        self._submit_cpu += submitted - made
        self._submit_ms.append((ended - begun) * 1e3)
        self._sizes.append(count)
        self._waits.append((ended - due_at) * 1e3)
        self._flow_cpu += made - cpu + time.thread_time() - submitted

    def _submit(self, batch: list[Submission]) -> Sequence[Any]:
        """Submit a batch; one that the database ended, as it ends what takes too long, counts as refused."""
        try:
            return orders.submit(batch, now=utc_now())
        except (OperationalError, InterfaceError) as error:
            connection.close()
            return [error] * len(batch)

    def _learn(self, batch: list[Submission], results: Sequence[Any]) -> None:
        """Count what came of a batch."""
        self._flow.learn(batch, results)
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
