"""Writing events: every field of every event is set here, and summed for the state hash.

Note [Plain arguments]
    The steps of the loops take many arguments by position. They are compiled into their caller, so
    none of these is ever passed at run time, and a step names exactly the arrays that it may touch.
"""

from typing import Any

import numpy as np

from matching_worker.book.compiled import inlined
from matching_worker.book.hashing import (
    C0,
    C1,
    C2,
    C3,
    C4,
    C5,
    C6,
    E0,
    E1,
    E2,
    E3,
    E4,
    E5,
    E6,
    E7,
    E8,
    E9,
    E10,
    FOLD,
    HALF,
    T0,
    T1,
    T2,
    T3,
    T4,
    T5,
    T6,
    T7,
)
from matching_worker.protocol import EventKind

_FILL = int(EventKind.FILL)
_INSTRUMENT_MASK = np.uint64(0xFFFFFFFF)
_WORD_SHIFT = np.uint64(32)
_SIDE_SHIFT = np.uint64(8)
_REASON_SHIFT = np.uint64(16)
_SOURCE_SHIFT = np.uint64(8)
_STP_SHIFT = np.uint64(16)


@inlined
def fold_sum(state_hash: Any, total: Any) -> Any:
    """Fold a row's sum into the running hash; see Note [State hash]."""
    folded = (state_hash ^ total) * FOLD
    return folded ^ (folded >> HALF)


@inlined
def sum_command(command: Any, time_ns: int) -> Any:
    """Sum a command's words, with engine time in the place of its own timestamp."""
    packed = (np.uint64(command["instrument_id"]) & _INSTRUMENT_MASK) | (np.uint64(command["manner"]) << _WORD_SHIFT)
    return (
        np.uint64(command["sequence"]) * C0
        + np.uint64(time_ns) * C1
        + np.uint64(command["order_id"]) * C2
        + np.uint64(command["trader_id"]) * C3
        + np.uint64(command["price_ticks"]) * C4
        + np.uint64(command["qty_lots"]) * C5
        + packed * C6
    )


@inlined
def sum_terms(command: Any) -> Any:
    """Sum the words of a command's options and terms."""
    packed = (
        np.uint64(command["flags"])
        | (np.uint64(command["trigger_source"]) << _SOURCE_SHIFT)
        | (np.uint64(command["stp"]) << _STP_SHIFT)
    )
    return (
        packed * T0
        + np.uint64(command["trigger_ticks"]) * T1
        + np.uint64(command["worst_ticks"]) * T2
        + np.uint64(command["display_lots"]) * T3
        + np.uint64(command["quote_lots"]) * T4
        + np.uint64(command["expires_ns"]) * T5
        + np.uint64(command["activation_ticks"]) * T6
        + np.uint64(np.int64(command["callback_ppm"])) * T7
    )


@inlined
def emit(  # noqa: PLR0917 - Note [Plain arguments]
    event: Any,
    command: Any,
    time_ns: int,
    number: int,
    kind: int,
    side: Any,
    reason: int,
    order_id: int,
    trader_id: int,
    price_ticks: int,
    qty_lots: int,
    left_lots: Any,
    level_lots: int,
) -> Any:
    """Write an event that has no maker; `state_hash` is filled in when the command is done.

    Args:
        event: The row to write.
        command: The command that caused it.
        time_ns: Engine time.
        number: Position of the event among its command's events, from 0.

    Returns:
        The sum of its words for the state hash, as uint64.
    """
    event["sequence"] = command["sequence"]
    event["timestamp_ns"] = time_ns
    event["order_id"] = order_id
    event["trader_id"] = trader_id
    event["maker_order_id"] = 0
    event["maker_trader_id"] = 0
    event["price_ticks"] = price_ticks
    event["qty_lots"] = qty_lots
    event["left_lots"] = left_lots
    event["maker_left_lots"] = 0
    event["level_lots"] = level_lots
    event["trade_id"] = 0
    event["trade_number"] = 0
    place = np.uint64(number) << _WORD_SHIFT
    what = np.uint64(kind) | (np.uint64(side) << _SIDE_SHIFT) | (np.uint64(reason) << _REASON_SHIFT)
    event["where"] = (np.uint64(command["instrument_id"]) & _INSTRUMENT_MASK) | place
    event["what"] = what
    packed = np.uint64(number) | (what << _WORD_SHIFT)
    return (
        np.uint64(order_id) * E0
        + np.uint64(trader_id) * E1
        + np.uint64(price_ticks) * E4
        + np.uint64(qty_lots) * E5
        + np.uint64(left_lots) * E6
        + np.uint64(level_lots) * E8
        + packed * E10
    )


@inlined
def emit_fill(  # noqa: PLR0917 - Note [Plain arguments]
    event: Any,
    command: Any,
    time_ns: int,
    number: int,
    side: int,
    order_id: int,
    trader_id: int,
    maker_order_id: int,
    maker_trader_id: int,
    price_ticks: int,
    qty_lots: int,
    left_lots: int,
    maker_left_lots: int,
    level_lots: int,
    trade_id: int,
    trade_number: int,
) -> Any:
    """Write a fill. `order_id`, `trader_id` and `side` are the taker's, the price is the maker's.

    Returns:
        The sum of its words for the state hash, as uint64.
    """
    total = emit(
        event,
        command,
        time_ns,
        number,
        _FILL,
        side,
        0,
        order_id,
        trader_id,
        price_ticks,
        qty_lots,
        left_lots,
        level_lots,
    )
    event["maker_order_id"] = maker_order_id
    event["maker_trader_id"] = maker_trader_id
    event["maker_left_lots"] = maker_left_lots
    event["trade_id"] = trade_id
    event["trade_number"] = trade_number
    return (
        total
        + np.uint64(maker_order_id) * E2
        + np.uint64(maker_trader_id) * E3
        + np.uint64(maker_left_lots) * E7
        + np.uint64(trade_number) * E9
    )
