"""Reading a workload that another program wrote, and holding the engine to that program's results.

Records of 32 bytes: op (0 new, 1 cancel) and side (0 buy, 1 sell) as int32, id, price, quantity as int64,
little-endian. Beside NAME.bin stands NAME.json with what a correct engine makes of it.
"""

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from exchange.kernel.errors import require
from matching_worker import protocol
from matching_worker.benchmarks.workload import INSTRUMENT_ID, TRADERS
from matching_worker.engine import Engine
from matching_worker.protocol import CommandKind, EventKind, OrderType, Rows, Side, TimeInForce

RECORD_DTYPE: Final = np.dtype([("op", "<i4"), ("side", "<i4"), ("id", "<i8"), ("price", "<i8"), ("qty", "<i8")])

_WORD: Final = (1 << 64) - 1


class WorkloadFileError(Exception):
    """The file is not a workload, or the engine makes something else of it than its author did."""


class Recorded(NamedTuple):
    """A recorded workload.

    Attributes:
        commands: (preloaded + n,) COMMAND_DTYPE, numbered from 1.
        preloaded: How many of them fill the book before the measurement begins.
        expected: The results that the file's author found; empty when there is no file of them.
    """

    commands: Rows
    preloaded: int
    expected: dict[str, Any]


def read(path: Path) -> Recorded:
    """Read NAME.bin, and NAME.json beside it if it is there.

    Raises:
        WorkloadFileError: The file cannot be read or is no such workload.
    """
    try:
        content = path.read_bytes()
        beside = path.with_suffix(".json")
        expected = json.loads(beside.read_text()) if beside.exists() else {}
    except (OSError, ValueError) as error:
        raise WorkloadFileError(f"{path}: {error}") from error
    if not content or len(content) % RECORD_DTYPE.itemsize:
        raise WorkloadFileError(f"{path}: {len(content)} bytes are no {RECORD_DTYPE.itemsize}-byte records")
    records = np.frombuffer(content, RECORD_DTYPE)
    if not np.all(np.isin(records["op"], (0, 1)) & np.isin(records["side"], (0, 1))):
        raise WorkloadFileError(f"{path}: records with another op or side than 0 and 1")
    is_new = records["op"] == 0
    commands = protocol.encode(
        kind=np.where(is_new, int(CommandKind.PLACE), int(CommandKind.CANCEL)),
        instrument_id=INSTRUMENT_ID,
        order_id=records["id"],
        trader_id=records["id"] % TRADERS + 1,
        side=np.where(is_new, records["side"] + int(Side.BUY), 0),
        order_type=np.where(is_new, int(OrderType.LIMIT), 0),
        time_in_force=np.where(is_new, int(TimeInForce.GTC), 0),
        price_ticks=np.where(is_new, records["price"], 0),
        qty_lots=np.where(is_new, records["qty"], 0),
        timestamp_ns=np.arange(len(records)) * 1_000,
        sequence=np.arange(1, len(records) + 1),
    )
    return Recorded(commands, int(expected.get("pre", 0)), expected)


def outcome(engine: Engine, events: Rows) -> dict[str, Any]:
    """Return what the engine made of a workload, in the words of NAME.json.

    Args:
        events: All events of the workload after its preload.
    """
    fills = events[events["kind"] == EventKind.FILL]
    levels = engine.levels(INSTRUMENT_ID)
    total = resting = resting_qty = 0
    for side, depth in zip((Side.BUY, Side.SELL), levels, strict=True):
        for price in depth[:, 0].tolist():
            for order_id in engine.queue(INSTRUMENT_ID, side, price):
                order = engine.order(order_id)
                require(order is not None, f"order {order_id} stands in a queue and cannot be found")
                lots = order.open_lots if order is not None else 0
                total += order_id * 1_000_003 ^ price * 7_919 ^ lots * 104_729
                resting += 1
                resting_qty += lots
    best = engine.best(INSTRUMENT_ID)
    return {
        "fills": len(fills),
        "traded": int(fills["qty_lots"].sum()),
        "resting": resting,
        "resting_qty": resting_qty,
        "best_bid": best.bid.price_ticks if best.bid else None,
        "best_ask": best.ask.price_ticks if best.ask else None,
        "levels": [len(depth) for depth in levels],
        "hash": total & _WORD,
    }


def check(recorded: Recorded) -> dict[str, Any]:
    """Run a workload once and compare with what its author found.

    Returns:
        What the engine made of it.

    Raises:
        WorkloadFileError: It is something else.
    """
    engine = Engine(0, 0)
    engine.apply(recorded.commands[: recorded.preloaded])
    found = outcome(engine, engine.apply(recorded.commands[recorded.preloaded :]))
    different = {
        name: (value, recorded.expected[name])
        for name, value in found.items()
        if name in recorded.expected and recorded.expected[name] != value
    }
    if different:
        raise WorkloadFileError(f"the engine's and the file's results differ: {different}")
    return found
