"""One call applies a whole batch of commands to all books of a shard: the only entry to the loops.

Note [Two roads]
    Nearly all commands are plain: a limit or market order without terms, a cancel, a reduce, an amend, in a book
    that trades continuously and where no special order rests. They take the usual road, which is compiled into
    one loop. Everything else is called out of it (`special.py`) and pays for it alone. Both give the same.
"""

from typing import Any

import numpy as np

from matching_worker.book import index as order_index
from matching_worker.book.admission import missing_room, refusal
from matching_worker.book.books import Books
from matching_worker.book.change import change
from matching_worker.book.compiled import entry, inlined
from matching_worker.book.emit import emit, fold_sum, sum_command
from matching_worker.book.layout import (
    COUNT_SHIFT,
    DONE,
    FOUND,
    FOUND_DTYPE,
    HAS_WAITING,
    HAS_WISHES,
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
    ORDER_DTYPE,
    ORDERS,
    OUT_OF_SEQUENCE,
    POSITION_DTYPE,
    POSITION_SHIFT,
    POSITIONS,
    RARE_ROAD,
    SIDE_DTYPE,
    SIDES,
    STATE,
    STATE_DTYPE,
    TERMS,
    TERMS_DTYPE,
)
from matching_worker.book.machine import array_at
from matching_worker.book.match import take
from matching_worker.book.queue import entry_number, join
from matching_worker.book.special import apply_special
from matching_worker.protocol import (
    NO_LEVEL,
    CommandKind,
    EventKind,
    OrderType,
    Reason,
    Rows,
    Side,
    TimeInForce,
)

# Enum members are objects; the loops need plain integers.
_PLACE = int(CommandKind.PLACE)
_AMEND = int(CommandKind.AMEND)
_BUY = int(Side.BUY)
_LIMIT = int(OrderType.LIMIT)
_GTC = int(TimeInForce.GTC)
_BAD_ORDER_TYPE = int(Reason.BAD_ORDER_TYPE)
_BAD_TIME_IN_FORCE = int(Reason.BAD_TIME_IN_FORCE)
_RESTED = int(EventKind.RESTED)
_CANCELLED = int(EventKind.CANCELLED)
_REJECTED = int(EventKind.REJECTED)
_NONE = int(Reason.NONE)
_UNKNOWN_ORDER = int(Reason.UNKNOWN_ORDER)
_NOT_OWNER = int(Reason.NOT_OWNER)
_BAD_INSTRUMENT = int(Reason.BAD_INSTRUMENT)
_IOC_REMAINDER = int(Reason.IOC_REMAINDER)


@inlined
def _execute(  # noqa: PLR0917 - Note [Plain arguments]
    events: Rows,
    count: int,
    state_hash: Any,
    state: Any,
    instruments: Rows,
    sides: Rows,
    orders: Rows,
    levels: Rows,
    nodes: Rows,
    index: Rows,
    command: Any,
    time_ns: int,
    number: int,
    side: Any,
    trader_id: int,
    rests: bool,  # noqa: FBT001 - same
) -> tuple[int, Any]:
    """Trade an incoming order as far as its price reaches, then rest or cancel what is left.

    Args:
        number: Events that the command has already caused.
        rests: Whether what is left joins the book.

    Returns:
        The new event count and the new running hash.
    """
    first = count - number
    price_ticks = command["price_ticks"]
    lots = command["qty_lots"]
    side_row = 2 * np.int64(command["instrument_id"]) + side - 1
    own_flip = KEY_FLIP if side == _BUY else 0
    maker_flip = KEY_FLIP ^ own_flip
    lots, count, state_hash = take(
        events,
        count,
        state_hash,
        orders,
        levels,
        nodes,
        index,
        state,
        instruments[command["instrument_id"]],
        sides[side_row ^ 1],
        maker_flip,
        command,
        time_ns,
        number,
        side,
        trader_id,
        price_ticks ^ maker_flip,
        lots,
    )
    if lots == 0:
        return count, state_hash
    kind = _CANCELLED
    reason = _IOC_REMAINDER
    level_lots = NO_LEVEL
    left = 0
    if rests:
        key = price_ticks ^ own_flip
        slot = join(
            orders,
            levels,
            nodes,
            index,
            state,
            sides[side_row],
            side_row,
            key,
            command["order_id"],
            trader_id,
            lots,
            entry_number(command["sequence"], count - first),
        )
        level_lots = levels[orders[slot]["level"]]["open_lots"]
        kind = _RESTED
        reason = _NONE
        left = lots
    total = emit(
        events[count],
        command,
        time_ns,
        count - first,
        kind,
        side,
        reason,
        command["order_id"],
        trader_id,
        price_ticks,
        lots,
        left,
        level_lots,
    )
    return count + 1, fold_sum(state_hash, total)


@inlined
def _reject(event: Any, command: Any, time_ns: int, orders: Rows, slot: Any, reason: int) -> Any:
    """Write the refusal of a command; a resting order that it names keeps its lots.

    Returns:
        The sum of the event's words, as uint64.
    """
    left = 0
    names_order = reason not in (_UNKNOWN_ORDER, _BAD_INSTRUMENT, _NOT_OWNER) and slot != NO_SLOT
    if command["kind"] != _PLACE and names_order:
        left = orders[slot]["open_lots"]
    return emit(
        event,
        command,
        time_ns,
        0,
        _REJECTED,
        np.int64(command["side"]),
        reason,
        command["order_id"],
        command["trader_id"],
        command["price_ticks"],
        command["qty_lots"],
        left,
        NO_LEVEL,
    )


@inlined
def _takes_usual_road(command: Any, orders: Rows, slot: Any, reason: int) -> Any:
    """Tell whether a command without terms, in a book without demands, takes the usual road.

    What version 1 refused for its kind or type, the rarer road may know.
    """
    kind = command["kind"]
    if kind == _PLACE:
        return reason not in (_BAD_ORDER_TYPE, _BAD_TIME_IN_FORCE)
    special = orders[slot]["special"]  # 0 in the row of NO_SLOT
    return kind <= _AMEND and (special == 0 or (special == HAS_WISHES and kind != _AMEND))


@inlined
def _carry_out(  # noqa: PLR0917 - Note [Plain arguments]
    events: Rows,
    count: int,
    state_hash: Any,
    state: Any,
    instruments: Rows,
    sides: Rows,
    orders: Rows,
    levels: Rows,
    nodes: Rows,
    index: Rows,
    command: Any,
    time_ns: int,
    slot: Any,
    reason: int,
) -> tuple[int, Any, bool]:
    """Carry out a command on the usual road, or tell its refusal.

    Returns:
        The new event count, the new running hash, and whether it may have traded.
    """
    first = count
    side = np.int64(command["side"])
    trader_id = command["trader_id"]
    incoming = reason == _NONE
    rests = command["order_type"] == _LIMIT and command["time_in_force"] == _GTC
    if reason != _NONE:
        total = _reject(events[count], command, time_ns, orders, slot, reason)
        state_hash = fold_sum(state_hash, total)
        count += 1
    elif command["kind"] != _PLACE:
        total, trader_id, side, incoming = change(
            events[count], command, time_ns, state, sides, orders, levels, nodes, index, slot
        )
        state_hash = fold_sum(state_hash, total)
        count += 1
        rests = True
    if incoming:
        count, state_hash = _execute(
            events, count, state_hash, state, instruments, sides, orders, levels, nodes, index,
            command, time_ns, count - first, side, trader_id, rests,
        )  # fmt: skip
    return count, state_hash, incoming


@inlined
def _books_at(addresses: Rows, events: Rows) -> Books:
    """Return the arrays that lie at the addresses, and the room for events; Note [Addresses]."""
    return Books(
        array_at(addresses[STATE, 0], addresses[STATE, 1], STATE_DTYPE),
        array_at(addresses[INSTRUMENTS, 0], addresses[INSTRUMENTS, 1], INSTRUMENT_DTYPE),
        array_at(addresses[SIDES, 0], addresses[SIDES, 1], SIDE_DTYPE),
        array_at(addresses[ORDERS, 0], addresses[ORDERS, 1], ORDER_DTYPE),
        array_at(addresses[LEVELS, 0], addresses[LEVELS, 1], LEVEL_DTYPE),
        array_at(addresses[NODES, 0], addresses[NODES, 1], NODE_DTYPE),
        array_at(addresses[INDEX, 0], addresses[INDEX, 1], INDEX_DTYPE),
        array_at(addresses[TERMS, 0], addresses[TERMS, 1], TERMS_DTYPE),
        array_at(addresses[POSITIONS, 0], addresses[POSITIONS, 1], POSITION_DTYPE),
        array_at(addresses[FOUND, 0], addresses[FOUND, 1], FOUND_DTYPE),
        events,
    )


@entry
def apply(  # noqa: C901 - what decides between the roads stands together
    commands: Rows, start: int, events: Rows, count: int, addresses: Rows
) -> int:
    """Apply commands from `start` on, until all are done or something has to grow.

    Args:
        commands: (command_count,) COMMAND_DTYPE, continuing `state.sequence` densely.
        start: Commands already applied by earlier calls.
        events: (event_capacity,) EVENT_DTYPE. Written from row `count` on.
        count: Events already written by earlier calls.
        addresses: (ARRAY_COUNT, 2) int64, address and length of each array; see Note [Addresses].

    Returns:
        Event count << COUNT_SHIFT | commands applied << POSITION_SHIFT | DONE or what is wanted.
    """
    books = _books_at(addresses, events)
    state = books.state[0]
    instruments, sides, orders = books.instruments, books.sides, books.orders
    levels, nodes, index = books.levels, books.nodes, books.ids
    state_hash, sequence, time_ns = state["state_hash"], state["sequence"], state["time_ns"]
    position = start
    outcome = DONE
    unfinished = state["unfinished"] > 0
    while position < len(commands):
        command = commands[position]
        if command["sequence"] != sequence + 1 and not unfinished:
            outcome = OUT_OF_SEQUENCE
            break
        slot = order_index.find(index, orders, command["order_id"])
        first = count
        usual = command["has_terms"] == 0 and not unfinished
        road = RARE_ROAD
        if usual:
            road = 0
            reason = refusal(command, state, orders, slot)
            if reason != _BAD_INSTRUMENT:
                road = instruments[command["instrument_id"]]["road"]
            usual = (road & RARE_ROAD) == 0 and _takes_usual_road(command, orders, slot, reason)
        if usual:
            outcome = missing_room(command, len(events) - count, state, sides, orders, levels, nodes, index)
            if outcome != DONE:
                break
            sequence += 1
            time_ns = max(time_ns, command["timestamp_ns"])
            state_hash = fold_sum(state_hash, sum_command(command, time_ns))

            count, state_hash, incoming = _carry_out(
                events, count, state_hash, state, instruments, sides, orders, levels, nodes, index,
                command, time_ns, slot, reason,
            )  # fmt: skip
            if incoming:
                usual = (road & HAS_WAITING) == 0
                if not usual:
                    # Its trades may let waiting orders fire: go on as a special command that has done its own step.
                    state["unfinished"] = count - first + 1
        if not usual:
            state["state_hash"], state["sequence"], state["time_ns"] = state_hash, sequence, time_ns
            state["event_count"] = count
            outcome = apply_special(books, command)
            state_hash, sequence, time_ns = state["state_hash"], state["sequence"], state["time_ns"]
            count, first = state["event_count"], state["first_event"]
            unfinished = False
            if outcome != DONE:
                break
        position += 1
        for row in range(first, count):
            events[row]["state_hash"] = state_hash

    state["state_hash"], state["sequence"], state["time_ns"] = state_hash, sequence, time_ns
    return (count << COUNT_SHIFT) | (position << POSITION_SHIFT) | outcome
