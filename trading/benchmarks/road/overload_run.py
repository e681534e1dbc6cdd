"""One run of `--overload`: starts everything, floods it, and looks what is left; the figures as lines and as JSON."""

import asyncio
import contextlib
import multiprocessing
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import psutil
from rich.console import Console
from rich.progress import Progress

from ledger.benchmarks import scratch
from trading.benchmarks.road import run
from trading.benchmarks.road.children import child

if TYPE_CHECKING:
    from trading.benchmarks.road.market import Market
    from trading.benchmarks.road.overload import Flood, Passing

SUSTAINED_SHARE: Final = 1 / 2
SAMPLE_SECONDS: Final = 1.0
SETTLED_SECONDS_MAX: Final = 180.0
POSITION: Final = Decimal(100)
RESTING: Final = 200
CHILDREN_NAMES: Final = ("web", "worker", "postgres")


@dataclass
class Found:
    """All figures of a run.

    Attributes:
        sustained: Orders a second that were accepted, or settled if that was less, while a few clients took turns.
        memory: MB by process: before the flood, and at most until everything was settled.
        settled_seconds: From the end until all that was accepted was in the books.
    """

    sustained: float
    flood: "Flood"
    passing: "Passing"
    memory: dict[str, tuple[int, int]]
    lag_max: int
    recovered_seconds: float | None
    settled_seconds: float
    accepted: int
    without_outcome: int
    broken: list[str]


class Watcher:
    """Notes how much memory processes take, and how far the books are behind, until the body is left."""

    def __init__(self, processes: dict[str, psutil.Process]) -> None:
        from trading.benchmarks.road import overload

        self._processes = processes
        self._memory = overload.memory
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self.before = self.peak = self._memory(processes)
        self.lag_max = 0

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        """Look until the end."""
        from django.db import connection

        while not self._ending.wait(SAMPLE_SECONDS):
            with contextlib.suppress(psutil.NoSuchProcess):
                now = self._memory(self._processes)
                self.peak = {name: max(size, now[name]) for name, size in self.peak.items()}
            self.lag_max = max(self.lag_max, _lag())
        connection.close()


def measure(options: run.Options, progress: Progress) -> Found:
    """Run everything on servers of its own."""
    lag = multiprocessing.get_context("spawn").Value("q", 0, lock=False)
    run.compile_engine(progress)
    with scratch.server() as data_dir, run.redis_server(data_dir):
        from exchange.embedded import addresses
        from trading.benchmarks.road import market, web

        task = progress.add_task("users", total=options.users)
        made = market.prepare(options.users, options.instruments, lambda count: progress.advance(task, count))
        postmaster = int((addresses.postgres_dir(data_dir) / "postmaster.pid").read_text().split()[0])
        with child("worker", "exchange_worker", lag) as worker, web.server(TRUSTED_PROXY_COUNT="1") as at:
            worker.ask("who")
            pids = dict(zip(CHILDREN_NAMES, (at.pid, worker.pid, postmaster), strict=True))
            processes = {name: psutil.Process(pid) for name, pid in pids.items()}
            return _phases(options, progress, made, at.port, processes)


def _phases(
    options: run.Options, progress: Progress, made: "Market", port: int, processes: dict[str, psutil.Process]
) -> Found:
    """Find the rate, flood, let it recover, and look for what was accepted."""
    from trading.benchmarks.road import overload
    from trading.benchmarks.road.flow import Flow

    *others, seller, reducer = made.owners
    signed = _signed([*others, reducer])
    spot = made.spots[(len(made.owners) - 1) % len(made.spots)]
    reducing = overload.Reducing(port, signed.pop(reducer), spot, made.contracts[0])
    _open_position(made.contracts[0], seller, reducer)
    asyncio.run(reducing.prepare(RESTING, "90", "0.1"))
    batches = overload.drawn(Flow(made, "overload", places_only=True), signed)
    _settled()
    with _telling(progress, "sustained rate", options.seconds * SUSTAINED_SHARE):
        before, started = _settled_until(), time.monotonic()
        first = asyncio.run(overload.sustained(port, batches, options.seconds * SUSTAINED_SHARE))
        rate = min(first.rate, (_settled_until() - before) / (time.monotonic() - started))
    accepted = list(first.accepted)
    with Watcher(processes) as watcher:
        offered = overload.TIMES * rate
        with _telling(progress, f"{offered:,.0f} orders a second", options.seconds):
            flood, passing = asyncio.run(overload.flooded(port, batches, options.seconds, offered, reducing))
        ended = time.monotonic()
        accepted += flood.accepted
        back = overload.recovered(port, batches, first.rate, accepted)
        _settled()
        settled_seconds = time.monotonic() - ended
    from trading import audit

    broken = [f"{item.name}: {item.detail}" for item in audit.invariants() if not item.ok]
    return Found(
        sustained=rate,
        flood=flood,
        passing=passing,
        memory={name: (watcher.before[name], watcher.peak[name]) for name in processes},
        lag_max=watcher.lag_max,
        recovered_seconds=back,
        settled_seconds=settled_seconds,
        accepted=len(accepted),
        without_outcome=overload.without_outcome(accepted),
        broken=broken,
    )


def _signed(owners: list[int]) -> dict[int, dict[str, str]]:
    """Return the headers of users, each at an address of their own."""
    from trading.benchmarks.road import web

    found = web.tokens(owners)
    for number, headers in enumerate(found.values()):
        headers["X-Forwarded-For"] = f"198.18.{number >> 8}.{number & 255}"
    return found


def _open_position(contract: str, seller: int, buyer: int) -> None:
    """Let one trader buy a position from the other.

    Raises:
        RuntimeError: It is not accepted.
    """
    from exchange.kernel.clock import utc_now
    from trading.benchmarks.road.market import PRICE
    from trading.models import Order
    from trading.services import orders
    from trading.services.requests import PlaceOrder, Submission

    sides = ((seller, "sell"), (buyer, "buy"))
    wanted = [Submission(owner, PlaceOrder(contract, side, "limit", POSITION, PRICE)) for owner, side in sides]
    refused = [result for result in orders.submit(wanted, now=utc_now()) if not isinstance(result, Order)]
    if refused:
        raise RuntimeError(f"no position: {refused}")


def _lag() -> int:
    """Return how many commands wait for the books."""
    from trading import selectors

    [shard] = selectors.lag()
    return int(shard.lag)


def _settled_until() -> int:
    """Return how far the books are."""
    from trading import selectors

    [shard] = selectors.lag()
    return int(shard.settled_sequence)


def _settled() -> None:
    """Wait until everything is settled.

    Raises:
        RoadBlockedError: It takes too long.
    """
    deadline = time.monotonic() + SETTLED_SECONDS_MAX
    while _lag():
        if time.monotonic() > deadline:
            raise run.RoadBlockedError(f"{_lag()} commands are not settled")
        time.sleep(run.POLL_SECONDS)


@contextlib.contextmanager
def _telling(progress: Progress, name: str, seconds: float) -> Iterator[None]:
    """Move a bar along while the body runs."""
    task = progress.add_task(name, total=seconds)
    ending = threading.Event()

    def tell() -> None:
        while not ending.wait(1.0):
            progress.advance(task, 1.0)

    threading.Thread(target=tell, name="progress", daemon=True).start()
    try:
        yield
    finally:
        ending.set()
        progress.update(task, completed=seconds)


def show(found: Found, console: Console) -> None:
    """Print what was found."""
    flood, passing = found.flood, found.passing
    waited = np.percentile(passing.milliseconds or [0.0], (50, 99))
    held_off, offered = dict(passing.held_off) or "none", flood.offered / flood.seconds
    memory = ", ".join(f"{name} {before:,} MB, at most {peak:,} MB" for name, (before, peak) in found.memory.items())
    for line in (
        f"sustained before: {found.sustained:,.0f} orders/s accepted and settled",
        f"offered for {flood.seconds:.0f} s: {offered:,.0f} orders/s; accepted {flood.rate:,.0f}/s",
        f"refused orders: {dict(flood.refused) or 'none'}; without Retry-After: {flood.unnamed} calls",
        f"errors: {dict(flood.errors) or 'none'}; orders that found no connection of the client's: {flood.unsent:,}",
        f"meanwhile {passing.cancels} cancels and {passing.reductions} reductions were done; held off: {held_off}",
        f"these took: p50 {waited[0]:,.0f} ms, p99 {waited[1]:,.0f} ms",
        f"memory before the flood and in it: {memory}",
        f"most commands waiting for the books: {found.lag_max:,}",
        f"rate back after {found.recovered_seconds} s; everything settled after {found.settled_seconds:,.1f} s",
        f"accepted orders without an outcome: {found.without_outcome} of {found.accepted:,}",
        f"audit of the whole books: {'clean' if not found.broken else '; '.join(found.broken)}",
    ):
        console.print(line, soft_wrap=True)


def line(found: Found) -> dict[str, Any]:
    """Return what `--overload --json` ends with."""
    flood, passing = found.flood, found.passing
    return {
        "sustained_orders_per_second": round(found.sustained),
        "offered_orders_per_second": round(flood.offered / flood.seconds),
        "accepted_orders_per_second": round(flood.rate),
        "refused": dict(flood.refused),
        "without_retry_after": flood.unnamed,
        "unsent": flood.unsent,
        "errors": dict(flood.errors),
        "cancelled": passing.cancels,
        "reduced": passing.reductions,
        "held_off": dict(passing.held_off),
        "memory_mb": {name: {"before": before, "peak": peak} for name, (before, peak) in found.memory.items()},
        "lag_max": found.lag_max,
        "recovered_seconds": found.recovered_seconds,
        "accepted": found.accepted,
        "without_outcome": found.without_outcome,
        "audit_ok": not found.broken,
    }
