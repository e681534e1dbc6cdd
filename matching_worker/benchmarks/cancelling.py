"""What it costs to cancel many orders with one command: `python -m matching_worker.benchmarks.cancelling [--json]`.

So many orders rest, most of them of others. A few of one trader, of one instrument, or with an end are placed and then
cancelled by CANCEL_ALL or TIME, in a call of its own. What counts is how the time grows with the orders cancelled, and
whether it grows with those that stay.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from exchange.kernel.errors import require
from matching_worker import protocol
from matching_worker.benchmarks.book import machine
from matching_worker.engine import Engine
from matching_worker.protocol import CommandKind, OrderType, Rows, Side, TimeInForce

STAYING: Final = (1_000, 100_000, 1_000_000)
CANCELLED: Final = (1, 100, 10_000)
RUNS: Final = 9
CALL: Final = 10_000
INSTRUMENTS: Final = 20
TRADERS: Final = 10_000
MIDDLE: Final = 100_000
SPREAD: Final = 500
FAR_NS: Final = 1 << 60
"""The end of orders that stay."""
OTHER_TRADER: Final = TRADERS + 1
OTHER_INSTRUMENT: Final = INSTRUMENTS + 1
FEW_ENDS: Final = 10
"""Of the orders that stay, one in so many has an end."""


class Case(NamedTuple):
    """One way to cancel many.

    Attributes:
        instruments: How many instruments the cancelled orders are spread over; 0 for one that has no other orders.
        ends: Whether they have an end, which TIME reaches.
        trader_id, instrument_id: What CANCEL_ALL names.
    """

    name: str
    instruments: int
    ends: bool
    trader_id: int = 0
    instrument_id: int = 0


CASES: Final = (
    Case("all of a trader", INSTRUMENTS, ends=False, trader_id=OTHER_TRADER),
    Case("all of a trader in an instrument", 1, ends=False, trader_id=OTHER_TRADER, instrument_id=1),
    Case("all of an instrument", 0, ends=False, instrument_id=OTHER_INSTRUMENT),
    Case("TIME, all that end", INSTRUMENTS, ends=True),
)


def _placed(count: int, first_id: int, instruments: int, traders: int) -> Rows:
    """Return orders that rest: bids below the middle, asks above it."""
    random = np.random.default_rng(first_id)
    is_sell = np.arange(count) % 2
    away = random.integers(1, SPREAD, count)
    return protocol.encode(
        kind=int(CommandKind.PLACE),
        instrument_id=random.integers(1, instruments + 1, count) if instruments else OTHER_INSTRUMENT,
        order_id=np.arange(first_id, first_id + count),
        trader_id=random.integers(1, traders + 1, count) if traders else OTHER_TRADER,
        side=is_sell + int(Side.BUY),
        order_type=int(OrderType.LIMIT),
        time_in_force=int(TimeInForce.GTC),
        price_ticks=np.where(is_sell, MIDDLE + away, MIDDLE - away),
        qty_lots=random.integers(1, 100, count),
    )


def _ending(commands: Rows, expires_ns: int) -> None:
    """Give orders an end."""
    commands["time_in_force"] = int(TimeInForce.GTD)
    commands["expires_ns"] = expires_ns
    commands["has_terms"] = 1


def _apply(engine: Engine, commands: Rows) -> None:
    """Apply commands that nobody measures."""
    commands["sequence"] = np.arange(engine.sequence + 1, engine.sequence + 1 + len(commands))
    for start in range(0, len(commands), CALL):
        engine.apply(commands[start : start + CALL])


def prepared(staying: int) -> Engine:
    """Return an engine in which so many orders rest; some of them end in the far future."""
    engine = Engine(0, 0)
    orders = _placed(staying, 1, INSTRUMENTS, TRADERS)
    some = orders[::FEW_ENDS].copy()
    _ending(some, FAR_NS)
    orders[::FEW_ENDS] = some
    _apply(engine, orders)
    require(engine.open_order_count == staying, f"{engine.open_order_count} orders rest")
    return engine


def measure(engine: Engine, case: Case, count: int) -> float:
    """Place orders, then cancel them with one command; return its microseconds."""
    before = engine.open_order_count
    placed = _placed(count, engine.sequence + (1 << 40), case.instruments, 0)
    command = protocol.encode(
        kind=int(CommandKind.TIME if case.ends else CommandKind.CANCEL_ALL),
        instrument_id=case.instrument_id,
        order_id=0,
        trader_id=case.trader_id,
        timestamp_ns=engine.time_ns + 1,
    )
    if case.ends:
        _ending(placed, engine.time_ns + 1)
    _apply(engine, placed)
    command["sequence"] = engine.sequence + 1
    started = time.perf_counter()
    events = engine.apply(command)
    seconds = time.perf_counter() - started
    require(len(events) == count + 1, f"{len(events) - 1} orders were cancelled")
    require(engine.open_order_count == before, "other orders are gone")
    return 1e6 * seconds


def measure_all(runs: int, staying: tuple[int, ...], advance: Callable[[], object]) -> dict[str, dict[str, float]]:
    """Return the median microseconds by case, then by orders staying and orders cancelled ("100000/100")."""
    found: dict[str, dict[str, float]] = {case.name: {} for case in CASES}
    for rest in staying:
        engine = prepared(rest)
        for case in CASES:
            for count in CANCELLED:
                times = [measure(engine, case, count) for _ in range(runs)]
                found[case.name][f"{rest}/{count}"] = round(statistics.median(times), 2)
                advance()
    return found


def main() -> None:
    """Measure, show a table, and end with one line of JSON when asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--runs", type=int, default=RUNS, help="of each measurement; the median counts")
    parser.add_argument("--staying", type=int, nargs="+", default=STAYING, help="orders that rest and stay")
    arguments = parser.parse_args()
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("cancelling", total=len(CASES) * len(CANCELLED) * len(arguments.staying))
        found = measure_all(arguments.runs, tuple(arguments.staying), lambda: progress.advance(task))
    table = Table(title=f"microseconds for one command, median of {arguments.runs}", caption=str(machine()))
    table.add_column("what is cancelled")
    for rest in arguments.staying:
        for count in CANCELLED:
            table.add_column(f"{count:,} of {rest:,}", justify="right")
    for name, times in found.items():
        table.add_row(name, *(f"{each:,.1f}" for each in times.values()))
    Console(stderr=arguments.json, width=200).print(table)
    if arguments.json:
        print(json.dumps({"microseconds": found, "machine": machine()}))


if __name__ == "__main__":
    main()
