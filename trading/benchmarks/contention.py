"""How long an order takes when processes fight for one trader: `python -m trading.benchmarks.contention [--json]`.

Starts a durable PostgreSQL, a Redis and a matching worker of its own. Processes, with the role of the web, place orders
of one contract as fast as they are answered, each order a transaction of its own (T1, Note [Lock order]):

* for one wallet: purchases that hold funds, which suffice for half of them;
* for one position: sales that reserve it, and it suffices for half of them.

What is accepted must be exactly that half: nothing is spent twice. In turns with each, the same orders are placed by as
many processes of which each has a trader of its own: what then still differs from one process alone is the machine's,
the ledger's door and the log's head; what differs between both is the fight for the trader. At the end both audits must
find every invariant intact.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from exchange.kernel.clock import utc_now
from exchange.kernel.errors import require
from ledger.benchmarks import scratch

SYMBOL: Final = "FIGHT-PERP"
MARK, ASK = 100, 110
HELD_EACH: Final = 10
"""What an order of one lot at MARK holds, at leverage 10."""
FIGHTERS: Final[tuple[int, ...]] = (1, 2, 4, 8)
ORDERS: Final = 160
QUICK_ORDERS: Final = 16
QUICK_FIGHTERS: Final[tuple[int, ...]] = (1, 2)
RUNS: Final = 3
WAIT_SECONDS_MAX: Final = 300
POLL_SECONDS: Final = 0.02
WALLET, POSITION = "wallet", "position"


class Task(NamedTuple):
    """What one process does: orders of one lot in one trader's name, begun together with the others'."""

    owner_id: int
    side: str
    price: int
    orders: int
    together: int


class Told(NamedTuple):
    """What came of a task: how many orders were accepted, and the seconds that each of all took."""

    accepted: int
    seconds: list[float]


class Taken(NamedTuple):
    """The figures of one measurement: milliseconds of an order, and orders a second of all processes."""

    p50: float
    p99: float
    rate: float


# --- The processes that fight --------------------------------------------------------------------------------------


def fighter(barriers: dict[int, Any], tasks: Any) -> None:
    """Do tasks until there is None; runs in a process of its own."""
    os.environ["EXCHANGE_DB_ROLE"] = "exchange_web"
    import django

    django.setup()
    from trading.models import Order
    from trading.services import orders
    from trading.services.requests import PlaceOrder

    while (task := tasks.recv()) is not None:
        accepted, seconds = 0, []
        request = PlaceOrder(SYMBOL, task.side, "limit", Decimal(1), Decimal(task.price))
        orders.look(task.owner_id, request)  # what only the first order of a process reads is read
        barriers[task.together].wait(WAIT_SECONDS_MAX)
        for _ in range(task.orders):
            began = time.perf_counter()
            [result] = orders.place(task.owner_id, [request], now=utc_now())
            seconds.append(time.perf_counter() - began)
            accepted += isinstance(result, Order)
        tasks.send(Told(accepted, seconds))


class Fighters:
    """Processes that wait for tasks."""

    def __init__(self, counts: Sequence[int]) -> None:
        import multiprocessing

        context = multiprocessing.get_context("spawn")
        self._barriers = {count: context.Barrier(count) for count in counts}
        self._pipes: list[Any] = []
        self._processes = []
        for _ in range(max(counts)):
            mine, theirs = context.Pipe()
            process = context.Process(target=fighter, args=(self._barriers, theirs), daemon=True)
            process.start()
            self._pipes.append(mine)
            self._processes.append(process)

    def fight(self, tasks: Sequence[Task]) -> list[Told]:
        """Let as many processes as there are tasks do one each."""
        for pipe, task in zip(self._pipes, tasks, strict=False):
            pipe.send(task)
        told = []
        for pipe, _ in zip(self._pipes, tasks, strict=False):
            require(pipe.poll(WAIT_SECONDS_MAX), "a process did not answer")
            told.append(pipe.recv())
        return told

    def end(self) -> None:
        """Let them go."""
        for pipe in self._pipes:
            pipe.send(None)
        for process in self._processes:
            process.join(timeout=20)


# --- Measuring -----------------------------------------------------------------------------------------------------


class Bench:
    """Measures everything.

    Args:
        counts: How many processes.
        orders: Of one measurement, all processes together.
    """

    def __init__(self, counts: Sequence[int], orders: int, runs: int, progress: Progress) -> None:
        self._counts, self._orders, self._runs, self._progress = counts, orders, runs, progress
        self._traders = 0
        self._fighters = Fighters(counts)

    def run(self) -> dict[str, dict[int, dict[str, Taken]]]:
        """Return, by what is fought over and by number of processes, the figures "one" and "apart"."""
        from exchange.vectors import market

        market.make(SYMBOL, size=Decimal(1), price=Decimal(MARK))
        found: dict[str, dict[int, dict[str, list[Taken]]]] = {}
        total = 2 * self._runs * (2 * len(self._counts) - (1 in self._counts))
        task = self._progress.add_task("fights", total=total)
        for _ in range(self._runs):
            for what, measure in ((WALLET, self._wallet), (POSITION, self._position)):
                for count in self._counts:
                    for how, traders in (("one", 1), ("apart", count)):
                        if how == "apart" and count == 1:
                            continue
                        self._progress.update(task, description=f"{what}, {count} processes, {how}")
                        kept = found.setdefault(what, {}).setdefault(count, {}).setdefault(how, [])
                        kept.append(measure(count, traders))
                        self._progress.advance(task)
        self._fighters.end()
        return {
            what: {
                count: {how: Taken(*map(statistics.median, zip(*runs, strict=True))) for how, runs in hows.items()}
                for count, hows in counts.items()
            }
            for what, counts in found.items()
        }

    def _wallet(self, count: int, traders: int) -> Taken:
        """Let processes buy with funds for half of their orders."""
        owners = self._join(traders, HELD_EACH * self._orders // 2 // traders)
        return self._fight(owners, count, "buy", MARK)

    def _position(self, count: int, traders: int) -> Taken:
        """Let processes sell a position that is half of their orders; no funds are left to open with."""
        from trading.services import orders
        from trading.services.requests import PlaceOrder

        lots = self._orders // 2 // traders
        owners = self._join(traders, HELD_EACH * lots)
        [maker] = self._join(1, HELD_EACH * self._orders)
        for owner_id, side, quantity in [(maker, "sell", lots * traders), *((owner, "buy", lots) for owner in owners)]:
            orders.place(owner_id, [PlaceOrder(SYMBOL, side, "limit", Decimal(quantity), Decimal(MARK))], now=utc_now())
        wait_settled()
        return self._fight(owners, count, "sell", ASK)

    def _join(self, count: int, funds: int) -> list[int]:
        """Make traders with funds."""
        from django.contrib.auth import get_user_model

        from ledger.services import accounts, transfers

        first, self._traders = self._traders, self._traders + count
        users = [get_user_model().objects.create_user(username=f"fighter-{first + n}") for n in range(count)]
        accounts.open_gates([user.pk for user in users])
        deposits = [transfers.Deposit(user.pk, "USDT", Decimal(funds), f"fight:{user.pk}", "fight") for user in users]
        transfers.deposit(deposits, utc_now())
        return [user.pk for user in users]

    def _fight(self, owners: Sequence[int], count: int, side: str, price: int) -> Taken:
        """Let processes place all orders, shared out among them; refuse what does not add up, and clear the book."""
        from trading.services import cancel_all

        share = self._orders // count
        tasks = [Task(owners[number % len(owners)], side, price, share, count) for number in range(count)]
        began = time.perf_counter()
        told = self._fighters.fight(tasks)
        rate = share * count / (time.perf_counter() - began)
        accepted = sum(one.accepted for one in told)
        require(accepted == self._orders // 2, f"{accepted} of {self._orders} accepted")
        wait_settled()
        for owner_id in owners:
            cancel_all.of_trader(owner_id, now=utc_now())
        wait_settled()
        seconds = [second for one in told for second in one.seconds]
        cuts = statistics.quantiles(seconds, n=100, method="inclusive")
        return Taken(1e3 * statistics.median(seconds), 1e3 * cuts[98], rate)


def wait_settled() -> None:
    """Wait until everything in the log is in the books."""
    from trading import selectors

    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while sum(shard.lag for shard in selectors.lag()):
        require(time.monotonic() < deadline, f"not settled: {selectors.lag()}")
        time.sleep(POLL_SECONDS)


@contextmanager
def exchange() -> Iterator[None]:
    """Run an exchange of the benchmark's own: PostgreSQL that waits for the disk, Redis, one matching worker."""
    from exchange.embedded import redis

    with scratch.server() as data_dir:
        running = redis.start(data_dir, durable=False)
        try:
            with _worker(data_dir):
                yield
        finally:
            redis.stop(running, data_dir)


@contextmanager
def _worker(data_dir: Path) -> Iterator[None]:
    """Run a matching worker."""
    command = [sys.executable, "manage.py", "run_matching_worker", "--http-port", "0"]
    root = Path(__file__).parent.parent.parent
    with (data_dir / "worker.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 -- our own command
            command, cwd=root, env={**os.environ, "EXCHANGE_DB_ROLE": "exchange_worker"}, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def audited() -> str:
    """Audit books and road.

    Raises:
        InvariantViolationError: One does not hold.
    """
    from ledger import audit as books
    from trading import audit

    wait_settled()
    checked = [*books.invariants(), *audit.invariants()]
    broken = [item for item in checked if not item.ok]
    require(not broken, f"the books are broken: {broken}")
    return f"{len(checked)} invariants of books and road hold; in each fight exactly what sufficed was accepted"


def show(found: dict[str, dict[int, dict[str, Taken]]], runs: int, orders: int, audit: str, console: Console) -> None:
    """Print what was found."""
    from matching_worker.benchmarks.book import machine

    table = Table(title=f"one order, ms, median of {runs}", caption=audit, caption_justify="left")
    table.add_column("processes fight for")
    for name in ("p50", "p99", "orders/s", "apart p50", "p99", "orders/s", "p99 ratio"):
        table.add_column(name, justify="right")
    for what, counts in found.items():
        for count, hows in counts.items():
            one, apart = hows["one"], hows.get("apart")
            cells = [f"{one.p50:.1f}", f"{one.p99:.1f}", f"{one.rate:,.0f}"]
            if apart is not None:
                cells += [f"{apart.p50:.1f}", f"{apart.p99:.1f}", f"{apart.rate:,.0f}", f"{one.p99 / apart.p99:.2f}"]
            table.add_row(f"{count} for one {what}", *cells)
        table.add_section()
    console.print(table)
    console.print(
        f"workload: {orders} orders of one lot, shared out among the processes, each a transaction; half of them are"
        " covered. apart: as many processes, each with a trader of its own. A matching worker settles beside.",
        soft_wrap=True,
    )
    console.print(f"machine: {machine()}", soft_wrap=True)


def figures(found: dict[str, dict[int, dict[str, Taken]]]) -> dict[str, Any]:
    """Return what was found as one object for JSON."""

    def rounded(taken: Taken) -> dict[str, float]:
        return {
            "p50_ms": round(taken.p50, 2),
            "p99_ms": round(taken.p99, 2),
            "orders_per_second": round(taken.rate, 1),
        }

    return {
        what: {
            str(count): {how: rounded(taken) for how, taken in hows.items()}
            | ({"p99_ratio": round(hows["one"].p99 / hows["apart"].p99, 2)} if "apart" in hows else {})
            for count, hows in counts.items()
        }
        for what, counts in found.items()
    }


def main() -> None:
    """Measure, print a table, and end with one line of JSON when asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--runs", type=int, default=RUNS, help="of each measurement; the median counts")
    parser.add_argument("--orders", type=int, default=ORDERS, help="of each measurement; a multiple of 16")
    parser.add_argument("--quick", action="store_true", help="one small run with two processes: that it works")
    options = parser.parse_args()
    counts, orders, runs = FIGHTERS, options.orders - options.orders % 16, options.runs
    if options.quick:
        counts, orders, runs = QUICK_FIGHTERS, QUICK_ORDERS, 1
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with exchange(), Progress(*columns, console=console) as progress:
        found = Bench(counts, orders, runs, progress).run()
        audit = audited()
    show(found, runs, orders, audit, console)
    if options.json:
        print(json.dumps(figures(found)))


if __name__ == "__main__":
    main()
