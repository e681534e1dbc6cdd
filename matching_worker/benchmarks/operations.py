"""The single operations of the mission's table, and what an order takes in memory."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from matching_worker import protocol
from matching_worker.benchmarks.workload import INSTRUMENT_ID
from matching_worker.book.compiled import entry
from matching_worker.book.layout import KEY_FLIP
from matching_worker.book.reading import read_levels
from matching_worker.engine import Engine
from matching_worker.protocol import CommandKind, OrderType, Rows, Side, TimeInForce

ORDERS: Final = 100_000
CALL: Final = 1_000
SINGLE: Final = 20_000
LOOKS: Final = 1_000_000
DEPTH: Final = 10
HALF_SPREAD: Final = 10
PRICES: Final = 500
MIDDLE: Final = 100_000
MEMORY_ORDERS: Final = 1_000_000


class Operations(NamedTuple):
    """Microseconds for one operation.

    Attributes:
        add, remove: In calls of 1,000 commands.
        add_alone, remove_alone: In calls of one command, from Python and back.
        best, depth: Best bid and ask, and ten levels of each side, read by a compiled loop.
        best_python, depth_python: The same asked of `Engine` by Python.
    """

    add: float
    add_alone: float
    remove: float
    remove_alone: float
    best: float
    best_python: float
    depth: float
    depth_python: float


class Memory(NamedTuple):
    """Bytes for one resting order.

    Attributes:
        grown: What the process grew by, divided by the orders.
        row: The order's own row.
    """

    grown: float
    row: int


@entry
def _look_at_best(sides: Rows, levels: Rows, side_row: int, times: int) -> int:
    """Read best bid and best ask with their lots, so many times; return a sum, so that nothing is left out."""
    total = np.int64(0)
    for _ in range(times):
        row = side_row + (total & 1)  # each look depends on the one before: none can be left out
        for side in (row, row ^ 1):
            level = levels[sides[side]["best_level"]]
            flip = KEY_FLIP if side & 1 == 0 else 0
            total += (level["key"] ^ flip) + level["open_lots"]
    return total  # type: ignore[return-value]


@entry
def _look_at_depth(sides: Rows, levels: Rows, nodes: Rows, side_row: int, depth: Rows, times: int) -> int:
    """Read ten levels of both sides, so many times."""
    total = 0
    for _ in range(times):
        total += read_levels(sides, levels, nodes, side_row, depth)
        total += read_levels(sides, levels, nodes, side_row + 1, depth)
    return total


def orders(count: int, first_id: int) -> Rows:
    """Return limit orders of both sides that rest, spread over prices at random."""
    random = np.random.default_rng(first_id)
    is_sell = np.arange(count) % 2
    away = random.integers(HALF_SPREAD, HALF_SPREAD + PRICES, count)
    return protocol.encode(
        kind=int(CommandKind.PLACE),
        instrument_id=INSTRUMENT_ID,
        order_id=np.arange(first_id, first_id + count),
        trader_id=1,
        side=is_sell + int(Side.BUY),
        order_type=int(OrderType.LIMIT),
        time_in_force=int(TimeInForce.GTC),
        price_ticks=np.where(is_sell, MIDDLE + away, MIDDLE - away),
        qty_lots=random.integers(1, 100, count),
    )


def cancels(placed: Rows) -> Rows:
    """Return the cancels of orders, in random order."""
    order_ids = np.random.default_rng(1).permutation(placed["order_id"])
    return protocol.encode(kind=int(CommandKind.CANCEL), instrument_id=INSTRUMENT_ID, order_id=order_ids, trader_id=1)


def _applied(engine: Engine, commands: Rows, size: int) -> float:
    """Apply commands in calls of a size; return microseconds for each."""
    commands["sequence"] = np.arange(engine.sequence + 1, engine.sequence + 1 + len(commands))
    calls = [commands[start : start + size] for start in range(0, len(commands), size)]
    started = time.perf_counter()
    for call in calls:
        engine.apply(call)
    return 1e6 * (time.perf_counter() - started) / len(commands)


def _took(function: Callable[[], Any], times: int) -> float:
    """Call a function so many times; return microseconds for each."""
    started = time.perf_counter()
    for _ in range(times):
        function()
    return 1e6 * (time.perf_counter() - started) / times


def measure() -> Operations:
    """Measure all, in a book of 100,000 orders on 1,000 levels."""
    engine = Engine(0, 0)
    resting = orders(ORDERS, 1)
    add = _applied(engine, resting, CALL)
    more = orders(SINGLE, ORDERS + 1)
    add_alone = _applied(engine, more, 1)
    arrays = engine._arrays  # noqa: SLF001 - to measure the loops without the way into them
    row = 2 * INSTRUMENT_ID
    depth = np.zeros((DEPTH, 3), np.int64)
    best_arguments = (arrays.sides, arrays.levels, row)
    depth_arguments = (arrays.sides, arrays.levels, arrays.nodes, row, depth)
    _look_at_best(*best_arguments, 1)
    _look_at_depth(*depth_arguments, 1)
    best = _took(lambda: _look_at_best(*best_arguments, LOOKS), 1) / LOOKS
    reads = LOOKS // DEPTH
    deep = _took(lambda: _look_at_depth(*depth_arguments, reads), 1) / reads
    best_python = _took(lambda: engine.best(INSTRUMENT_ID), SINGLE)
    depth_python = _took(lambda: [side[:DEPTH] for side in engine.levels(INSTRUMENT_ID)], SINGLE // 10)
    remove_alone = _applied(engine, cancels(more), 1)
    remove = _applied(engine, cancels(resting), CALL)
    return Operations(add, add_alone, remove, remove_alone, best, best_python, deep, depth_python)


def _resident_bytes() -> int:
    """Return the memory that this process has, in bytes; 0 where the system does not tell."""
    told = Path("/proc/self/statm")
    if not told.exists():
        return 0
    return int(told.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def memory(count: int = MEMORY_ORDERS) -> Memory:
    """Let orders rest and see by how much the process grows."""
    engine = Engine(0, 0)
    before = _resident_bytes()
    for start in range(0, count, CALL):
        # Made a call at a time: large arrays that were given back would be used again, and hide what the book takes.
        commands = orders(CALL, start + 1)
        commands["sequence"] = np.arange(start + 1, start + 1 + CALL)
        engine.apply(commands)
    grown = _resident_bytes() - before
    return Memory(grown / count, engine._arrays.orders.dtype.itemsize)  # noqa: SLF001 - same
