"""One run: starts everything, sends phase after phase, and audits the books at the end."""

import asyncio
import contextlib
import multiprocessing
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.progress import Progress

from ledger.benchmarks import scratch
from trading.benchmarks.road.children import Child, child

if TYPE_CHECKING:
    from trading.benchmarks.road.figures import Steady
    from trading.benchmarks.road.market import Market
    from trading.benchmarks.road.watch import Meter, Sample, Watch
    from trading.benchmarks.road.web import Figures

BATCH_MAX: Final = 500
LAG_MAX: Final = 4_000
STEADY_SHARE: Final = 0.9
"""Of the capacity that was found just before."""
WARM_SHARE, CAPACITY_SHARE, WEB_SHARE = 1 / 6, 1 / 4, 1 / 6
"""Seconds of the other phases, as shares of the steady one's."""
WARM_SECONDS_MIN: Final = 3.0
LISTENED_SHARE: Final = 1 / 50
WEB_USERS: Final = 200
HTTP_BATCHES: Final = "HTTP, batches of 50"
SETTLED_SECONDS_MAX: Final = 300.0
POLL_SECONDS: Final = 0.1


@dataclass
class Found:
    """All figures of a run."""

    steady: "Steady"
    capacity: float
    lag_max: int
    ways_in: dict[str, "Figures"]
    http_batches: "Figures"
    broken: list[str]
    workload: str


@dataclass
class Options:
    """What is asked for.

    Attributes:
        seconds: Of the steady phase.
        rate: Offered in the steady phase; None for a share of the capacity found.
    """

    seconds: float
    users: int
    instruments: int
    rate: float | None


class RoadBlockedError(Exception):
    """Settlement does not come to an end."""


def measure(options: Options, progress: Progress) -> Found:
    """Run everything on servers of its own."""
    lag = multiprocessing.get_context("spawn").Value("q", 0, lock=False)
    compile_engine(progress)
    with scratch.server() as data_dir, redis_server(data_dir) as redis_pid:
        from trading.benchmarks.road import market, watch

        task = progress.add_task("users", total=options.users)
        made = market.prepare(options.users, options.instruments, lambda count: progress.advance(task, count))
        with (
            child("worker", "exchange_worker", lag) as worker,
            child("sender", "exchange_web", lag) as sender,
            child("listener", "exchange_web", lag) as listener,
            watch.Watch(lag) as watching,
        ):
            road = Road(options, made, progress, watching, {"worker": worker, "sender": sender, "listener": listener})
            return road.run(data_dir, redis_pid)


def compile_engine(progress: Progress) -> None:
    """Compile the engine before anything waits for it: half a minute, once for each version."""
    from matching_worker.book import compiled
    from matching_worker.engine import Engine

    if not compiled.is_cached():
        task = progress.add_task("compiling the engine", total=1)
        Engine(0, 0)
        progress.advance(task)


@contextlib.contextmanager
def redis_server(data_dir: Path) -> Iterator[int]:
    """Run a Redis in the folder; give its process id."""
    from exchange.embedded import redis

    server = redis.start(data_dir)
    try:
        yield server.pid
    finally:
        redis.stop(server, data_dir)


class Road:
    """The phases of a run, in order."""

    def __init__(
        self, options: Options, made: "Market", progress: Progress, watching: "Watch", children: dict[str, Child]
    ) -> None:
        self._options = options
        self._made = made
        self._progress = progress
        self._watch = watching
        self._children = children
        self._sender, self._worker = children["sender"], children["worker"]

    def run(self, data_dir: Path, redis_pid: int) -> Found:
        """Warm up, find the capacity, hold a steady rate, go through HTTP and WebSocket, audit."""
        seconds = self._options.seconds
        self._sender.ask("market", self._made)
        owners = self._made.owners
        self._children["listener"].ask("owners", list(owners[:: max(1, int(1 / LISTENED_SHARE))]))
        self._settle()
        warmed = self._phase("warming up", max(WARM_SECONDS_MIN, seconds * WARM_SHARE), "closed", BATCH_MAX, LAG_MAX)
        meter = self._meter(data_dir, redis_pid, warmed["backend"])
        capacity = self._capacity(seconds * CAPACITY_SHARE)
        steady = self._steady(meter, self._options.rate or STEADY_SHARE * capacity)
        ways_in = self._web(seconds * WEB_SHARE)
        return Found(steady, capacity, LAG_MAX, ways_in, ways_in[HTTP_BATCHES], self._audit(), self._workload())

    def _phase(self, name: str, seconds: float, *words: Any) -> Any:
        """Let the sender do a phase, telling how far it is; the first of its words is the phase, the rest follow."""
        task = self._progress.add_task(name, total=seconds)
        what, *rest = words
        self._sender.pipe.send((what, seconds, *rest))
        started = time.monotonic()
        while not self._sender.pipe.poll(POLL_SECONDS):
            self._progress.update(task, completed=min(seconds, time.monotonic() - started))
            self._require_alive(started + seconds)
        self._progress.update(task, completed=seconds)
        return self._sender.answer()

    def _require_alive(self, due: float) -> None:
        """Stop when a process has ended, or a phase does not.

        Raises:
            RoadBlockedError: It is so.
        """
        if time.monotonic() > due + SETTLED_SECONDS_MAX:
            raise RoadBlockedError(f"a phase took {SETTLED_SECONDS_MAX:.0f} s more than it should")

    def _settle(self) -> "Sample":
        """Wait until everything is settled; return where that is.

        Raises:
            RoadBlockedError: It takes too long.
        """
        deadline = time.monotonic() + SETTLED_SECONDS_MAX
        while True:
            found = self._watch.sample()
            if found.head == found.settled:
                return found
            if time.monotonic() > deadline:
                raise RoadBlockedError(f"{found.head - found.settled} commands are not settled")
            time.sleep(POLL_SECONDS)

    def _meter(self, data_dir: Path, redis_pid: int, backend: int) -> "Meter":
        """Return what reads the processor time of everything."""
        from trading.benchmarks.road.watch import Meter

        who = self._worker.ask("who")
        backends = {pid: f"for the worker: {name}" for name, pid in who["backends"].items()}
        backends[backend] = "for admission"
        return Meter(data_dir, redis_pid, self._children, backends, who["threads"])

    def _capacity(self, seconds: float) -> float:
        """Return how many a second are settled while the sender only waits for settlement."""
        before = self._watch.sample()
        self._phase("capacity", seconds, "closed", BATCH_MAX, LAG_MAX)
        after = self._watch.sample()
        self._settle()
        return (after.settled - before.settled) / (after.at - before.at)

    def _steady(self, meter: "Meter", rate: float) -> "Steady":
        """Hold a rate, and return what was found."""
        from trading.benchmarks.road import figures, watch

        before = self._worker.ask("report")
        self._children["listener"].ask("pushed")
        spent_before = meter.read()
        started = self._watch.sample()
        asked = self._phase(f"steady, {rate:,.0f}/s", self._options.seconds, "open", rate)
        ended = self._watch.sample()
        spent = watch.between(spent_before, meter.read())
        pushed = self._children["listener"].ask("pushed")
        self._settle()
        after = self._worker.ask("report")
        spent["sender", "drawing requests"] = asked["flow_cpu"]
        spent["sender", "admission"] = asked["submit_cpu"]
        spent["sender", ""] -= asked["flow_cpu"] + asked["submit_cpu"]
        samples = self._watch.between(started.at, ended.at)
        return figures.steady(asked, before, after, samples, pushed, spent, os.cpu_count() or 1)

    def _web(self, seconds: float) -> "dict[str, Figures]":
        """Go through HTTP and WebSocket: batches of 50, then single orders."""
        from trading.benchmarks.road import sockets, watch, web
        from trading.benchmarks.road.flow import Flow

        flow = Flow(self._made, "web", places_only=True)
        signed = web.tokens(self._made.owners[:WEB_USERS])
        bare = {owner: headers["Authorization"].removeprefix("Bearer ") for owner, headers in signed.items()}
        found: dict[str, Figures] = {}
        self._watch.pause_seconds = watch.SELDOM_SECONDS
        with web.server() as at:
            asyncio.run(web.batches(at.port, flow, signed, min(1.0, seconds)))  # its first requests open connections
            ways = {
                HTTP_BATCHES: lambda: web.batches(at.port, flow, signed, seconds),
                "HTTP, single orders": lambda: web.singles(at.port, flow, signed, seconds),
                "WebSocket, batches of 50": lambda: sockets.batches(at.url, flow, bare, seconds),
                "WebSocket, single orders": lambda: sockets.singles(at.url, flow, bare, seconds),
            }
            task = self._progress.add_task("HTTP and WebSocket", total=len(ways))
            for name, go in ways.items():
                found[name] = asyncio.run(go())
                self._progress.advance(task)
                self._settle()
        return found

    def _audit(self) -> list[str]:
        """Audit the whole books; return what is broken."""
        from trading import audit

        task = self._progress.add_task("audit", total=1)
        broken = [f"{item.name}: {item.detail}" for item in audit.invariants() if not item.ok]
        self._progress.advance(task)
        return broken

    def _workload(self) -> str:
        """Return what was sent, in words."""
        from trading.benchmarks.road import web

        return (
            f"{self._options.users:,} users drawn at random, {len(self._made.spots)} spot markets and"
            f" {len(self._made.contracts)} perpetual contracts on one shard; half new limit orders, a third cancels,"
            f" a sixth market orders and limits that take. Limits of price, value and orders a day are on. PostgreSQL"
            f" (fsync on), Redis, one matching worker, one sender, one listener to {LISTENED_SHARE:.0%} of the users."
            f" HTTP: batches by {web.CLIENTS} clients at once, for {min(WEB_USERS, self._options.users)} users in turn;"
            f" WebSocket: by as many connections, one user each."
        )
