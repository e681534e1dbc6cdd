"""Compare the engine with the readable book: `python -m matching_worker.benchmarks.agreement [--seed N]`.

Both apply one random stream of every kind of command and every type of order; most changes name an order that rests
or waits. Each event must be the same in every byte, state hash included; now and then all queues are compared and
the engine's arrays re-derived. The first difference ends it with return code 1. The readable book sets the pace.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from exchange.kernel.errors import InvariantViolationError, require
from matching_worker.benchmarks.book import machine
from matching_worker.benchmarks.streams import changing_stream
from matching_worker.book.reference import ReferenceEngine
from matching_worker.engine import Engine
from matching_worker.protocol import CommandKind, EventKind, OrderType, Rows, Side, TimeInForce

COMMANDS: Final = 1_000_000
SEED: Final = 1
CALL: Final = 100
BOOKS_EVERY: Final = 10_000
"""Commands between two comparisons of all queues."""

AIMED: Final = 0.9
"""Share of the changes that name an order which was there when their call began."""


def require_same_events(events: Rows, expected: Rows) -> None:
    """Require the same events in every byte.

    Raises:
        InvariantViolationError: The first event that differs, as both books tell it.
    """
    if events.tobytes() == expected.tobytes():
        return
    for event, other in zip(events, expected, strict=False):
        require(
            event.tobytes() == other.tobytes(),
            f"command {other['sequence']}: of {event.dtype.names} the engine says {event}, the reference {other}",
        )
    require(len(events) == len(expected), f"{len(events)} events where the reference has {len(expected)}")


def require_same_books(engine: Engine, reference: ReferenceEngine) -> None:
    """Require the same hash, the same books, queue for queue, and sound arrays.

    Raises:
        InvariantViolationError: The first difference, in words.
    """

    def same(what: str, one: Any, other: Any) -> None:
        require(one == other, f"after command {reference.sequence}, {what}: {one}; the reference has {other}")

    engine.check()
    same("state hash", engine.state_hash, reference.state_hash)
    same("open orders", engine.open_order_count, len(reference.orders))
    for (trader_id, instrument_id), lots in reference.positions.items():
        same(f"position of {trader_id} in {instrument_id}", engine.position(trader_id, instrument_id), lots)
    for instrument_id, book in reference.books.items():
        for what, one, other in (
            ("trades", engine.trade_number(instrument_id), book.trade_number),
            ("last price", engine.last_price_ticks(instrument_id), book.last_price_ticks),
            ("mark price", engine.mark_price_ticks(instrument_id), book.mark_ticks),
            ("state", engine.trading_state(instrument_id), book.state),
            ("indication", engine.indication(instrument_id), book.indication),
            ("waiting", engine.waiting(instrument_id), sorted(book.waiting, key=lambda one: book.waiting[one].entry)),
        ):
            same(f"{what} of {instrument_id}", one, other)
        for side, levels, expected in zip(
            Side, engine.levels(instrument_id), reference.levels(instrument_id), strict=True
        ):
            same(f"levels of {instrument_id}", levels.tolist(), [list(level) for level in expected])
            for price, _, _ in expected:
                one, other = (book.queue(instrument_id, side, price) for book in (engine, reference))
                same(f"queue of {instrument_id} at {price}", one, other)


def aim(commands: Rows, reference: ReferenceEngine, random: np.random.Generator) -> None:
    """Let most cancels, reduces and amends name an order that is there, as its owner, with terms that may fit it."""
    open_ids = list(reference.orders)
    changes = np.flatnonzero((commands["kind"] >= CommandKind.CANCEL) & (commands["kind"] <= CommandKind.AMEND))
    for position in changes[random.random(len(changes)) < AIMED] if open_ids else ():
        command = commands[position]
        order = reference.orders[open_ids[random.integers(len(open_ids))]]
        command["order_id"], command["instrument_id"] = order.order_id, order.instrument_id
        command["trader_id"] = random.choice([0, order.trader_id])
        command["price_ticks"] = max(1, order.price_ticks + random.choice([0, 0, -1, 1, -4, 4]))
        command["qty_lots"] = max(1, order.open_lots + random.integers(-5, 4))
        if not order.is_waiting:
            command["trigger_ticks"] = 0
        elif command["trigger_ticks"] > 0:
            command["trigger_ticks"] = max(1, order.trigger_ticks + random.integers(-2, 3))
        if command["has_terms"]:
            command["expected_lots"] = random.choice([0, 0, order.open_lots, order.open_lots + 1])


def compare(commands: Rows, seed: int, advance: Callable[[int], object]) -> dict[str, Any]:
    """Apply commands to both books and compare them all the way.

    Args:
        commands: Numbered from 1; their changes are aimed on the way.
        seed: Of the aim.
        advance: Told how many commands more have been compared.

    Returns:
        How often each kind of command, type of order, time in force and kind of event came up, and the hash at the end.

    Raises:
        InvariantViolationError: The first difference, in words.
    """
    engine, reference, random = Engine(0, 0), ReferenceEngine(0, 0), np.random.default_rng(seed)
    events_of = np.zeros(256, np.int64)
    for start in range(0, len(commands), CALL):
        call = commands[start : start + CALL]
        aim(call, reference, random)
        events = engine.apply(call)
        require_same_events(events, reference.apply(call))
        events_of += np.bincount(events["kind"], minlength=256)
        if (start // CALL + 1) % (BOOKS_EVERY // CALL) == 0:
            require_same_books(engine, reference)
        advance(len(call))
    require_same_books(engine, reference)
    placed = commands[commands["kind"] == CommandKind.PLACE]
    return {
        "commands": len(commands),
        "state_hash": f"{engine.state_hash:016x}",
        "kinds": {kind.name: int(np.count_nonzero(commands["kind"] == kind)) for kind in CommandKind},
        "orders": {kind.name: int(np.count_nonzero(placed["order_type"] == kind)) for kind in OrderType},
        "times": {kind.name: int(np.count_nonzero(placed["time_in_force"] == kind)) for kind in TimeInForce},
        "events": {kind.name: int(events_of[kind]) for kind in EventKind},
    }


def main() -> None:
    """Compare, show what came up, and end with one line of JSON when asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, default=COMMANDS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    arguments = parser.parse_args()
    console = Console(stderr=True)
    columns = (
        *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()),
        *(TimeElapsedColumn(), TimeRemainingColumn()),
    )
    started = time.perf_counter()
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("comparing", total=arguments.commands)
        commands = changing_stream(arguments.seed, arguments.commands)
        try:
            found = compare(commands, arguments.seed, lambda count: progress.advance(task, count))
        except InvariantViolationError as error:
            raise SystemExit(f"seed {arguments.seed}: {error}") from error
    seconds = time.perf_counter() - started
    table = Table(
        title=f"{arguments.commands:,} commands of seed {arguments.seed}: both books the same in every byte",
        caption=f"state hash {found['state_hash']}, {seconds:.0f} s; {machine()}",
    )
    table.add_column("what came up")
    table.add_column("how often")
    for name in ("kinds", "orders", "times", "events"):
        table.add_row(name, ", ".join(f"{kind} {count:,}" for kind, count in found[name].items()))
    Console(stderr=arguments.json).print(table)
    if arguments.json:
        print(json.dumps({"seed": arguments.seed, "seconds": round(seconds, 1), **found}))


if __name__ == "__main__":
    main()
