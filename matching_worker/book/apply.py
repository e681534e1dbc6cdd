"""One call applies a whole batch of commands to all books of a shard: the only entry to the loops.

Note [Two roads]
    Nearly all commands are plain: a limit or market order without terms, a cancel, a reduce, an amend, in a book
    that trades continuously and where no special order rests. They take the usual road (`plain.py`), everything else
    the rarer one (`special.py`), which all pay for alone that need it. Both give the same.

Note [Quick steps]
    Most plain commands let a limit order rest, or cancel one. These two are compiled into the loop itself, which is
    so small that what it needs stays in registers. They ask whether all is as it nearly always is; if anything is not,
    they leave the command untouched to the roads, which ask everything in its order.

Note [Looking ahead]
    Where an order is, is told by two rows anywhere in memory: its entry in the table of ids, then its own row. A
    command that waits for them costs more time than all else it does. The loop therefore asks for both of the
    next commands at once, some commands before it needs them, and for the commands themselves before that. It is a
    wish: it changes nothing, and what it asked for may be wrong by then.
"""

from typing import Any, Final

import numpy as np

from matching_worker.book import index as order_index
from matching_worker.book.admission import order_room
from matching_worker.book.compiled import entry, inlined
from matching_worker.book.emit import emit, fold_sum, sum_command
from matching_worker.book.handle import books_at
from matching_worker.book.layout import (
    COMMAND_WORDS,
    COUNT_SHIFT,
    DONE,
    HAS_WISHES,
    KEY_FLIP,
    NO_SLOT,
    POSITION_SHIFT,
    RARE_ROAD,
    TAG_DTYPE,
)
from matching_worker.book.machine import few_rows, prefetch, viewed
from matching_worker.book.plain import apply_slowly
from matching_worker.book.positions import int64
from matching_worker.book.queue import entry_number, join, leave
from matching_worker.protocol import (
    INSTRUMENT_ID_MAX,
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

LOOK_AHEAD: Final = 8
"""Commands looked at together; a power of two."""
_AHEAD_MASK: Final = LOOK_AHEAD - 1

# Enum members are objects; the loops need plain integers.
_BUY = int(Side.BUY)
_RESTED, _CANCELLED = int(EventKind.RESTED), int(EventKind.CANCELLED)
_NONE, _USER = int(Reason.NONE), int(Reason.USER)
_FIRST = 0
_ONE = np.uint64(1)

# What `manner` is of a limit order that rests and of a cancel, both without terms; and which bits of it say so.
_HAS_TERMS: Final = 0xFF << 56
_BUT_SIDE = np.uint64(_HAS_TERMS | 0xFFFF00FF)
_LIMIT_THAT_RESTS = np.uint64(CommandKind.PLACE | OrderType.LIMIT << 16 | TimeInForce.GTC << 24)
_KIND = np.uint64(_HAS_TERMS | 0xFF)
_CANCEL_PLAINLY = np.uint64(CommandKind.CANCEL)
_SIDE_SHIFT, _BYTE = np.uint64(8), np.uint64(0xFF)


@inlined
def _is_sound(command: Any, side: Any) -> Any:
    """Tell whether a limit order that rests says nothing senseless."""
    return (
        (side == _ONE or side == _ONE + _ONE)
        and 1 <= command["price_ticks"] <= PRICE_TICKS_MAX
        and 1 <= command["qty_lots"] <= QTY_LOTS_MAX
    )


@inlined
def _reaches(command: Any, side: Any, maker_side: Any) -> Any:
    """Tell whether an order would trade on arrival."""
    limit_key = command["price_ticks"] ^ (0 if side == _BUY else KEY_FLIP)
    return maker_side["best_level"] != NO_SLOT and maker_side["best_key"] <= limit_key


@inlined
def _may_cancel(command: Any, order: Any) -> Any:
    """Tell whether a command may cancel an order that is there, and the order is plain."""
    trader_id = command["trader_id"]
    return (
        np.int64(order["side_row"]) >> 1 == command["instrument_id"]
        and order["special"] | HAS_WISHES == HAS_WISHES
        and (trader_id == order["trader_id"] or trader_id == 0 or command["version"] == 1)
    )


@inlined
def _look_ahead(commands: Rows, position: int, tags: Rows, index: Rows, orders: Rows) -> int:
    """Bring near what the next commands will look at: Note [Looking ahead]. Returns the position after them."""
    end = min(position + LOOK_AHEAD, len(commands))
    mask = order_index.mask_of(index)
    for ahead in range(position, end):
        prefetch(commands, ahead + 2 * LOOK_AHEAD)
        tag = order_index.tag_of(commands[np.uint64(ahead)]["order_id"])
        tags[np.uint64(ahead & _AHEAD_MASK)]["tag"] = tag
        prefetch(index, np.uint64(tag) & mask)
    for ahead in range(position, end):
        tag = tags[np.uint64(ahead & _AHEAD_MASK)]["tag"]
        prefetch(orders, index[np.uint64(tag) & mask]["slot"])
    return end


@inlined
def _rest(  # noqa: PLR0917 - Note [Plain arguments] in `emit.py`
    event: Any,
    command: Any,
    time_ns: int,
    state_hash: Any,
    room: int,
    state: Any,
    sides: Rows,
    orders: Rows,
    levels: Rows,
    nodes: Rows,
    index: Rows,
    traders: Rows,
    tag: Any,
) -> tuple[bool, Any, Any]:
    """Let a limit order join the book, if it is sound, new, trades with nobody, and there is room.

    Returns:
        Whether it was done; if so the running hash before the event, and the sum of the event's words.
    """
    order_id, trader_id, lots = command["order_id"], command["trader_id"], command["qty_lots"]
    price_ticks, side = command["price_ticks"], (command["manner"] >> _SIDE_SHIFT) & _BYTE
    side_row = (np.uint64(command["instrument_id"]) << _ONE) + side - _ONE
    place = order_index.find(index, orders, tag, order_id)
    if (
        _is_sound(command, side)
        and index[place]["slot"] == NO_SLOT
        and not _reaches(command, side, sides[side_row ^ _ONE])
        and room > 0
    ):
        state_hash = fold_sum(state_hash, sum_command(command, time_ns))
        _, level_lots = join(
            orders, levels, nodes, index, traders, state, sides[side_row], side_row,
            price_ticks ^ (KEY_FLIP if side == _BUY else 0),
            place, tag, order_id, trader_id, lots, entry_number(command["sequence"], _FIRST),
        )  # fmt: skip
        total = emit(
            event, command, time_ns, _FIRST, _RESTED, side, _NONE,
            order_id, trader_id, price_ticks, lots, lots, level_lots,
        )  # fmt: skip
        return True, state_hash, total
    return False, state_hash, state_hash


@inlined
def _cancel(  # noqa: PLR0917 - same
    event: Any,
    command: Any,
    time_ns: int,
    state_hash: Any,
    state: Any,
    sides: Rows,
    orders: Rows,
    levels: Rows,
    nodes: Rows,
    index: Rows,
    traders: Rows,
    tag: Any,
) -> tuple[bool, Any, Any]:
    """Cancel an order, if it is there, is plain, and the command may.

    Returns:
        Whether it was done; if so the running hash before the event, and the sum of the event's words.
    """
    order_id = command["order_id"]
    place = order_index.find(index, orders, tag, order_id)
    slot = index[place]["slot"]
    order = orders[slot]
    if slot != NO_SLOT and _may_cancel(command, order):
        side_row = np.uint64(order["side_row"])
        side = (side_row & _ONE) + _ONE
        trader_id, lots = order["trader_id"], order["open_lots"]
        price_ticks = levels[order["level"]]["key"] ^ (KEY_FLIP if side == _BUY else 0)
        state_hash = fold_sum(state_hash, sum_command(command, time_ns))
        level_lots = leave(orders, levels, nodes, index, traders, state, sides[side_row], slot, place)
        total = emit(
            event, command, time_ns, _FIRST, _CANCELLED, side, _USER,
            order_id, trader_id, price_ticks, lots, np.int64(0), level_lots,
        )  # fmt: skip
        return True, state_hash, total
    return False, state_hash, state_hash


@entry
def apply(commands: Rows, start: int, count: int, addresses: int) -> int:
    """Apply commands from `start` on, until all are done or something has to grow.

    Args:
        commands: (command_count,) COMMAND_DTYPE, continuing `state.sequence` densely.
        start: Commands already applied by earlier calls.
        count: Events already written by earlier calls; the next one goes to this row.
        addresses: Where address and length of each array stand: (len(ARRAYS),) ADDRESS_DTYPE,
            Note [Addresses] in `handle.py`.

    Returns:
        Event count << COUNT_SHIFT | commands applied << POSITION_SHIFT | DONE or what is wanted.
    """
    books = books_at(addresses)
    state = books.state[0]
    instruments, sides, orders = books.instruments, books.sides, books.orders
    levels, nodes, index, traders, events = books.levels, books.nodes, books.index, books.traders, books.events
    state_hash, sequence, time_ns = state["state_hash"], state["sequence"], state["time_ns"]
    rows = viewed(commands, COMMAND_WORDS)
    tags = few_rows(LOOK_AHEAD, TAG_DTYPE)
    position = seen = start
    room = int64(0)
    outcome = DONE
    while position < len(rows):
        command = rows[np.uint64(position)]
        if position == seen:
            seen = _look_ahead(rows, position, tags, index, orders)
        tag = tags[np.uint64(position & _AHEAD_MASK)]["tag"]
        instrument_id, manner = np.uint64(command["instrument_id"]), command["manner"]
        then_ns = max(time_ns, command["timestamp_ns"])
        is_done, hash_then, total = False, state_hash, state_hash
        if (
            command["sequence"] == sequence + 1
            and instrument_id <= INSTRUMENT_ID_MAX
            and instruments[instrument_id]["road"] & RARE_ROAD == 0
            and count < len(events)
        ):
            event = events[np.uint64(count)]
            if manner & _BUT_SIDE == _LIMIT_THAT_RESTS:
                if room <= 0:
                    room = order_room(state, orders, levels, nodes, index)
                is_done, hash_then, total = _rest(
                    event, command, then_ns, state_hash, room,
                    state, sides, orders, levels, nodes, index, traders, tag,
                )  # fmt: skip
                room -= 1
            elif manner & _KIND == _CANCEL_PLAINLY:
                is_done, hash_then, total = _cancel(
                    event, command, then_ns, state_hash, state, sides, orders, levels, nodes, index, traders, tag
                )
        if is_done:
            sequence += 1
            time_ns = then_ns
            state_hash = fold_sum(hash_then, total)
            events[np.uint64(count)]["state_hash"] = state_hash
            count += 1
        else:
            state["state_hash"], state["sequence"], state["time_ns"] = state_hash, sequence, time_ns
            state["event_count"] = count
            outcome = apply_slowly(books, command)
            state_hash, sequence, time_ns = state["state_hash"], state["sequence"], state["time_ns"]
            count = state["event_count"]
            room = int64(0)
            if outcome != DONE:
                break
        position += 1
    state["state_hash"], state["sequence"], state["time_ns"] = state_hash, sequence, time_ns
    return (count << COUNT_SHIFT) | (position << POSITION_SHIFT) | outcome
