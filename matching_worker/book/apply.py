"""One call applies a whole batch of commands to all books of a shard; the only entry to the loops."""

from typing import Any

import numpy as np

from matching_worker.book import index as order_index
from matching_worker.book.compiled import entry, inlined
from matching_worker.book.emit import emit, fold_sum, sum_command
from matching_worker.book.layout import (
    COUNT_SHIFT,
    DONE,
    INDEX,
    INDEX_DTYPE,
    INSTRUMENT_DTYPE,
    INSTRUMENTS,
    KEY_FLIP,
    LEVEL_DTYPE,
    LEVELS,
    NO_SLOT,
    NODE_DTYPE,
    NODES,
    NODES_PER_LEVEL_MAX,
    ORDER_DTYPE,
    ORDERS,
    OUT_OF_SEQUENCE,
    POSITION_SHIFT,
    SIDE_DTYPE,
    SIDES,
    STATE,
    STATE_DTYPE,
    WANTS_EVENTS,
    WANTS_INDEX,
    WANTS_LEVELS,
    WANTS_NODES,
    WANTS_ORDERS,
)
from matching_worker.book.machine import array_at
from matching_worker.book.match import take
from matching_worker.book.queue import join, leave
from matching_worker.book.reading import next_level
from matching_worker.protocol import (
    INSTRUMENT_ID_MAX,
    NO_LEVEL,
    OPEN_ORDERS_MAX,
    PRICE_TICKS_MAX,
    QTY_LOTS_MAX,
    CommandKind,
    EventKind,
    OrderType,
    Reason,
    Rows,
    Side,
    TimeInForce,
)

# Enum members are objects; the loops need plain integers.
_PLACE, _CANCEL, _REDUCE, _AMEND = (int(kind) for kind in CommandKind)
_BUY, _SELL = (int(side) for side in Side)
_LIMIT, _MARKET = (int(order_type) for order_type in OrderType)
_GTC, _IOC = (int(time_in_force) for time_in_force in TimeInForce)
_RESTED = int(EventKind.RESTED)
_CANCELLED = int(EventKind.CANCELLED)
_REDUCED = int(EventKind.REDUCED)
_REJECTED = int(EventKind.REJECTED)
_AMENDED = int(EventKind.AMENDED)
_NONE = int(Reason.NONE)
_USER = int(Reason.USER)
_IOC_REMAINDER = int(Reason.IOC_REMAINDER)
_REDUCED_TO_ZERO = int(Reason.REDUCED_TO_ZERO)
_LOST_PLACE = int(Reason.LOST_PLACE)
_DUPLICATE_ORDER_ID = int(Reason.DUPLICATE_ORDER_ID)
_UNKNOWN_ORDER = int(Reason.UNKNOWN_ORDER)
_BAD_PRICE = int(Reason.BAD_PRICE)
_BAD_QTY = int(Reason.BAD_QTY)
_BAD_INSTRUMENT = int(Reason.BAD_INSTRUMENT)
_BAD_SIDE = int(Reason.BAD_SIDE)
_BAD_KIND = int(Reason.BAD_KIND)
_BAD_ORDER_TYPE = int(Reason.BAD_ORDER_TYPE)
_BAD_TIME_IN_FORCE = int(Reason.BAD_TIME_IN_FORCE)
_TOO_MANY_OPEN_ORDERS = int(Reason.TOO_MANY_OPEN_ORDERS)

_EVENTS_BESIDE_FILLS = 2
"""A command causes at most this many events that are not fills: AMENDED, and RESTED or CANCELLED."""


@inlined
def _fills_of_sweep(command: Any, maker_side: Any, flip: int, levels: Rows, nodes: Rows, enough: int) -> int:
    """Count the orders that stand in the way of a taker, level by level, until there are `enough`."""
    limit_key = command["price_ticks"] ^ flip
    lots = command["qty_lots"]
    fills = 0
    slot = maker_side["best_level"]
    while slot != NO_SLOT and lots > 0 and fills <= enough and levels[slot]["key"] <= limit_key:
        fills += levels[slot]["order_count"]
        lots -= levels[slot]["open_lots"]
        slot = next_level(nodes, levels, slot)
    return fills


@inlined
def missing_room(
    command: Any, event_room: int, state: Any, sides: Rows, orders: Rows, levels: Rows, nodes: Rows, index: Rows
) -> int:
    """Return what would have to grow before this command can be applied whole, or DONE."""
    instrument_id = np.int64(command["instrument_id"])
    fills_max = 0
    if 0 <= instrument_id <= INSTRUMENT_ID_MAX:
        buys = np.int64(sides[2 * instrument_id]["order_count"])
        sells = np.int64(sides[2 * instrument_id + 1]["order_count"])
        fills_max = max(0, min(buys + sells, command["qty_lots"]))
        if event_room < fills_max + _EVENTS_BESIDE_FILLS:
            # Rare: count exactly. An amend does not say its side, so both are counted.
            fills_max = _fills_of_sweep(command, sides[2 * instrument_id], KEY_FLIP, levels, nodes, fills_max)
            fills_max += _fills_of_sweep(command, sides[2 * instrument_id + 1], 0, levels, nodes, fills_max)
    if event_room < fills_max + _EVENTS_BESIDE_FILLS:
        state["events_wanted"] = fills_max + _EVENTS_BESIDE_FILLS
        return WANTS_EVENTS
    if state["order_count"] + 2 > len(orders):
        return WANTS_ORDERS
    if state["level_count"] + 2 > len(levels):
        return WANTS_LEVELS
    if state["node_count"] + NODES_PER_LEVEL_MAX + 1 > len(nodes):
        return WANTS_NODES
    if 2 * (state["order_count"] + 1) > len(index):
        return WANTS_INDEX
    return DONE


@inlined
def refusal(command: Any, state: Any) -> int:
    """Return why a PLACE cannot be taken, judged by its own fields alone, or 0."""
    if command["side"] != _BUY and command["side"] != _SELL:
        return _BAD_SIDE
    if command["order_type"] != _LIMIT and command["order_type"] != _MARKET:
        return _BAD_ORDER_TYPE
    if command["time_in_force"] != _GTC and command["time_in_force"] != _IOC:
        return _BAD_TIME_IN_FORCE
    if command["price_ticks"] < 1 or command["price_ticks"] > PRICE_TICKS_MAX:
        return _BAD_PRICE
    if command["qty_lots"] < 1 or command["qty_lots"] > QTY_LOTS_MAX:
        return _BAD_QTY
    if state["order_count"] >= OPEN_ORDERS_MAX:
        return _TOO_MANY_OPEN_ORDERS
    return _NONE


@inlined
def change_refusal(command: Any, orders: Rows, slot: Any) -> int:
    """Return why a CANCEL, REDUCE or AMEND cannot be done, or 0."""
    kind = command["kind"]
    if kind != _CANCEL and kind != _REDUCE and kind != _AMEND:
        return _BAD_KIND
    if slot == NO_SLOT or np.int64(orders[slot]["side_row"]) >> 1 != command["instrument_id"]:
        return _UNKNOWN_ORDER
    if kind == _AMEND and (command["price_ticks"] < 1 or command["price_ticks"] > PRICE_TICKS_MAX):
        return _BAD_PRICE
    if kind != _CANCEL and command["qty_lots"] < 1:
        return _BAD_QTY
    if kind == _AMEND and command["qty_lots"] > QTY_LOTS_MAX:
        return _BAD_QTY
    return _NONE


@entry
def apply(
    commands: Rows,
    start: int,
    events: Rows,
    count: int,
    addresses: Rows,
) -> int:
    """Apply commands from `start` on, until all are done or something has to grow.

    Args:
        commands: (command_count,) COMMAND_DTYPE, continuing `state.sequence` densely.
        start: Number of commands already applied by earlier calls.
        events: (event_capacity,) EVENT_DTYPE. Written from row `count` on.
        count: Events already written by earlier calls.
        addresses: (ARRAY_COUNT, 2) int64, address and length of each array; see Note [Addresses].

    Returns:
        The number of events, of commands applied, and what is wanted, as `packed` does it.
    """
    state = array_at(addresses[STATE, 0], addresses[STATE, 1], STATE_DTYPE)[0]
    instruments = array_at(addresses[INSTRUMENTS, 0], addresses[INSTRUMENTS, 1], INSTRUMENT_DTYPE)
    sides = array_at(addresses[SIDES, 0], addresses[SIDES, 1], SIDE_DTYPE)
    orders = array_at(addresses[ORDERS, 0], addresses[ORDERS, 1], ORDER_DTYPE)
    levels = array_at(addresses[LEVELS, 0], addresses[LEVELS, 1], LEVEL_DTYPE)
    nodes = array_at(addresses[NODES, 0], addresses[NODES, 1], NODE_DTYPE)
    index = array_at(addresses[INDEX, 0], addresses[INDEX, 1], INDEX_DTYPE)
    state_hash = state["state_hash"]
    time_ns = state["time_ns"]
    sequence = state["sequence"]
    position = start
    outcome = DONE
    while position < len(commands):
        command = commands[position]
        if command["sequence"] != sequence + 1:
            outcome = OUT_OF_SEQUENCE
            break
        outcome = missing_room(command, len(events) - count, state, sides, orders, levels, nodes, index)
        if outcome != DONE:
            break
        sequence += 1
        position += 1
        time_ns = max(time_ns, command["timestamp_ns"])
        state_hash = fold_sum(state_hash, sum_command(command, time_ns))
        first = count

        instrument_id = command["instrument_id"]
        kind = command["kind"]
        order_id = command["order_id"]
        trader_id = command["trader_id"]
        side = np.int64(command["side"])
        price_ticks = command["price_ticks"]
        lots = command["qty_lots"]
        rests = False
        reason = _NONE
        incoming = False
        slot = order_index.find(index, orders, order_id)
        if instrument_id < 0 or instrument_id > INSTRUMENT_ID_MAX:
            reason = _BAD_INSTRUMENT
        elif kind == _PLACE:
            reason = refusal(command, state)
            if reason == _NONE and slot != NO_SLOT:
                reason = _DUPLICATE_ORDER_ID
            incoming = reason == _NONE
            rests = command["order_type"] == _LIMIT and command["time_in_force"] == _GTC
        else:
            reason = change_refusal(command, orders, slot)
            if reason == _NONE:
                order = orders[slot]
                trader_id = order["trader_id"]
                side_row = np.int64(order["side_row"])
                own_side = sides[side_row]
                side = (side_row & 1) + 1
                level = levels[order["level"]]
                resting_ticks = level["key"] ^ (KEY_FLIP if side == _BUY else 0)
                open_lots = order["open_lots"]
                if kind == _AMEND and (price_ticks != resting_ticks or lots > open_lots):
                    level_lots = leave(orders, levels, nodes, index, state, own_side, slot)
                    total = emit(
                        events[count],
                        command,
                        time_ns,
                        0,
                        _AMENDED,
                        side,
                        _LOST_PLACE,
                        order_id,
                        trader_id,
                        resting_ticks,
                        open_lots,
                        lots,
                        level_lots,
                    )
                    incoming = True
                    rests = True
                else:
                    event_kind = _CANCELLED
                    event_reason = _USER
                    removed = open_lots
                    if kind == _AMEND:
                        event_kind = _AMENDED
                        event_reason = _NONE
                        removed = open_lots - lots
                    elif kind == _REDUCE:
                        removed = min(lots, open_lots)
                        event_kind = _CANCELLED if removed == open_lots else _REDUCED
                        event_reason = _REDUCED_TO_ZERO if removed == open_lots else _NONE
                    if event_kind == _CANCELLED:
                        level_lots = leave(orders, levels, nodes, index, state, own_side, slot)
                    else:
                        order["open_lots"] = open_lots - removed
                        level["open_lots"] -= removed
                        level_lots = level["open_lots"]
                    total = emit(
                        events[count],
                        command,
                        time_ns,
                        0,
                        event_kind,
                        side,
                        event_reason,
                        order_id,
                        trader_id,
                        resting_ticks,
                        removed,
                        open_lots - removed,
                        level_lots,
                    )
                state_hash = fold_sum(state_hash, total)
                count += 1

        if incoming:
            side_row = 2 * np.int64(instrument_id) + side - 1
            own_side = sides[side_row]
            own_flip = KEY_FLIP if side == _BUY else 0
            maker_flip = KEY_FLIP ^ own_flip
            maker_side = sides[side_row ^ 1]
            if maker_side["best_level"] != NO_SLOT and maker_side["best_key"] <= price_ticks ^ maker_flip:
                lots, count, state_hash = take(
                    events,
                    count,
                    state_hash,
                    orders,
                    levels,
                    nodes,
                    index,
                    state,
                    instruments[instrument_id],
                    maker_side,
                    maker_flip,
                    command,
                    time_ns,
                    count - first,
                    side,
                    order_id,
                    trader_id,
                    price_ticks ^ maker_flip,
                    lots,
                )
            if lots > 0:
                event_kind = _CANCELLED
                event_reason = _IOC_REMAINDER
                level_lots = NO_LEVEL
                left = 0
                if rests:
                    key = price_ticks ^ own_flip
                    level_slot = join(
                        orders, levels, nodes, index, state, own_side, side_row, key, order_id, trader_id, lots
                    )
                    event_kind = _RESTED
                    event_reason = _NONE
                    level_lots = levels[level_slot]["open_lots"]
                    left = lots
                total = emit(
                    events[count],
                    command,
                    time_ns,
                    count - first,
                    event_kind,
                    side,
                    event_reason,
                    order_id,
                    trader_id,
                    price_ticks,
                    lots,
                    left,
                    level_lots,
                )
                state_hash = fold_sum(state_hash, total)
                count += 1
        elif reason != _NONE:
            left = 0
            if kind != _PLACE and slot != NO_SLOT and reason != _UNKNOWN_ORDER and reason != _BAD_INSTRUMENT:
                left = orders[slot]["open_lots"]
            total = emit(
                events[count],
                command,
                time_ns,
                0,
                _REJECTED,
                side,
                reason,
                order_id,
                trader_id,
                price_ticks,
                lots,
                left,
                NO_LEVEL,
            )
            state_hash = fold_sum(state_hash, total)
            count += 1

        for row in range(first, count):
            events[row]["state_hash"] = state_hash

    state["state_hash"] = state_hash
    state["time_ns"] = time_ns
    state["sequence"] = sequence
    return (count << COUNT_SHIFT) | (position << POSITION_SHIFT) | outcome
