"""What an order costs with more users and more instruments: one run after the other, each on servers of its own.

Orders are admitted as fast as settlement follows, by the service. A rate says what the machine had left for it, so that
processor time an order is shown beside it, by process: that says how the work grows.
"""

import multiprocessing
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ledger.benchmarks import scratch
from trading.benchmarks.road import run
from trading.benchmarks.road.children import child

MICROSECONDS: Final = 1e6
PROCESSES: Final = ("sender", "worker", "PostgreSQL", "Redis")


class Size(NamedTuple):
    """How many trade, and what."""

    users: int
    instruments: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `1000x10`."""
        users, _, instruments = text.partition("x")
        return cls(int(users), int(instruments))


SIZES: Final = tuple(Size(users, instruments) for users in (1_000, 10_000, 100_000) for instruments in (1, 10, 100))


@dataclass(frozen=True)
class Cell:
    """What one run found.

    Attributes:
        microseconds: Of processor time an order, by process; drawing requests is left out.
    """

    users: int
    instruments: int
    prepared_seconds: float
    orders: int
    orders_per_second: float
    microseconds: dict[str, float]
    audit_ok: bool


class Scaled(run.Road):
    """The phases of a run that only measures cost."""

    def measured(self, size: Size, prepared_seconds: float, data_dir: Path, redis_pid: int) -> Cell:
        """Warm up, then send as fast as settlement follows, and count until all of it is settled."""
        from trading.benchmarks.road import watch

        seconds = self._options.seconds
        self._sender.ask("market", self._made)
        self._settle()
        warmed = self._phase(f"{_name(size)}: warming up", seconds, "closed", run.BATCH_MAX, run.LAG_MAX)
        self._settle()
        meter = self._meter(data_dir, redis_pid, warmed["backend"])
        spent, started = meter.read(), time.monotonic()
        asked = self._phase(f"{_name(size)}: measured", seconds, "closed", run.BATCH_MAX, run.LAG_MAX)
        self._settle()
        passed = time.monotonic() - started
        cost: dict[str, float] = defaultdict(float)
        for (process, _), took in watch.between(spent, meter.read()).items():
            cost[process] += took
        cost["sender"] -= asked["flow_cpu"]
        orders = max(1, asked["admitted"])
        return Cell(
            users=size.users,
            instruments=size.instruments,
            prepared_seconds=round(prepared_seconds, 1),
            orders=orders,
            orders_per_second=round(orders / passed),
            microseconds={name: round(cost[name] * MICROSECONDS / orders) for name in PROCESSES},
            audit_ok=not self._audit(),
        )


def measure(sizes: Sequence[Size], seconds: float, progress: Progress) -> list[Cell]:
    """Run one size after the other, each in a process of its own: Django is set up for one database."""
    task = progress.add_task("sizes", total=len(sizes))
    found = []
    for size in sizes:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            found.append(pool.submit(_one, size, seconds).result())
        progress.advance(task)
    return found


def _one(size: Size, seconds: float) -> Cell:
    """Measure one size."""
    lag = multiprocessing.get_context("spawn").Value("q", 0, lock=False)
    with Progress(disable=True) as progress:
        run.compile_engine(progress)
        with scratch.server() as data_dir, run.redis_server(data_dir) as redis_pid:
            from trading.benchmarks.road import market, watch

            started = time.monotonic()
            made = market.prepare(size.users, size.instruments, lambda _: None)
            prepared = time.monotonic() - started
            with (
                child("worker", "exchange_worker", lag) as worker,
                child("sender", "exchange_web", lag) as sender,
                watch.Watch(lag) as watching,
            ):
                children = {"worker": worker, "sender": sender}
                options = run.Options(seconds, size.users, size.instruments, None)
                road = Scaled(options, made, progress, watching, children)
                return road.measured(size, prepared, data_dir, redis_pid)


def _name(size: Size) -> str:
    """Return a size in words."""
    return f"{size.users:,} users, {size.instruments:,} instruments"


def show(cells: Sequence[Cell], console: Console) -> None:
    """Print the table."""
    table = Table(
        title="orders a second, cancels included, and processor time an order by users and instruments",
        caption=f"microseconds on {os.cpu_count()} processors; sender: admission's Python",
        caption_justify="left",
    )
    for name in ("users", "instruments", "ready after s", "orders/s", *PROCESSES, "µs in all", "audit"):
        table.add_column(name, justify="right")
    for cell in cells:
        costs = [cell.microseconds[name] for name in PROCESSES]
        table.add_row(
            f"{cell.users:,}",
            f"{cell.instruments:,}",
            f"{cell.prepared_seconds:.0f}",
            f"{cell.orders_per_second:,.0f}",
            *(f"{cost:,.0f}" for cost in (*costs, sum(costs))),
            "clean" if cell.audit_ok else "BROKEN",
        )
    console.print(table)


def line(cells: Sequence[Cell]) -> dict[str, Any]:
    """Return what `--scaling --json` ends with."""
    return {"scaling": [asdict(cell) for cell in cells]}
