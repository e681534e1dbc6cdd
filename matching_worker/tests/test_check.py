"""The checks must find what they are for: each test breaks one thing and expects it to be named."""

from collections.abc import Callable

import pytest

from exchange.kernel.errors import InvariantViolationError
from matching_worker import protocol
from matching_worker.book.arrays import BookArrays
from matching_worker.book.traders import bucket_of
from matching_worker.engine import Engine
from matching_worker.protocol import OrderType, TimeInForce
from matching_worker.tests.strategies import commands_of


def book() -> Engine:
    """Return bids 1 and 2 at 100, 3 at 99, 4 far away, ask 5, and a freed slot of each kind."""
    engine = Engine(0, 0)
    buys = [(1, 7, order_id, 1, 1, 1, 1, price, 10, 0) for order_id, price in ((1, 100), (2, 100), (3, 99), (4, 1))]

    sells = [(1, 7, order_id, 1, 2, 1, 1, price, 10, 0) for order_id, price in ((5, 200), (6, 1 << 39))]
    engine.apply(commands_of([*buys, *sells]))
    special = protocol.encode(
        kind=1,
        instrument_id=7,
        order_id=[7, 8],
        trader_id=1,
        side=2,
        order_type=[1, OrderType.STOP],
        time_in_force=[TimeInForce.GTD, TimeInForce.DAY],
        price_ticks=[300, 20],
        qty_lots=10,
        display_lots=[4, 0],
        expires_ns=[99, 100],
        trigger_ticks=[0, 30],
        stp=[0, 1],
        sequence=[7, 8],
    )
    contract = protocol.encode(kind=6, instrument_id=9, order_id=0, qty_lots=2, flags=8, sequence=9)
    adjusted = protocol.encode(kind=10, instrument_id=9, order_id=0, trader_id=3, qty_lots=5, sequence=10)
    cancelled = protocol.encode(kind=2, instrument_id=7, order_id=6, trader_id=1, sequence=11)
    for commands in (special, contract, adjusted, cancelled):
        engine.apply(commands)
    engine.check()
    return engine


def slot_of(arrays: BookArrays, order_id: int) -> int:
    return arrays.orders["order_id"].tolist().index(order_id)


def level_of(arrays: BookArrays, order_id: int) -> int:
    return int(arrays.orders["level"][slot_of(arrays, order_id)])


def leaf_of(arrays: BookArrays, order_id: int) -> int:
    return int(arrays.levels["next_slot"][level_of(arrays, order_id)])


def add(rows: str, field: str, row: Callable[[BookArrays], int], amount: int = 1) -> Callable[[BookArrays], None]:
    """Return a breaker that adds to one field of one row."""

    def breaker(arrays: BookArrays) -> None:
        getattr(arrays, rows)[field][row(arrays)] += amount

    return breaker


def clear_index_entry(arrays: BookArrays) -> None:
    arrays.index["slot"][arrays.index["slot"].tolist().index(slot_of(arrays, 1))] = 0


def move_index_entry(arrays: BookArrays) -> None:
    place = arrays.index["slot"].tolist().index(slot_of(arrays, 1))
    arrays.index[place - 100] = arrays.index[place]
    arrays.index["slot"][place] = 0


def lose_free_order(arrays: BookArrays) -> None:
    arrays.state["order_free"] = 0


def free_a_resting_order(arrays: BookArrays) -> None:
    arrays.state["order_free"] = slot_of(arrays, 1)


def set_bit(arrays: BookArrays) -> None:
    arrays.nodes["bitmap"][leaf_of(arrays, 1)] ^= 1 << 5


def same_id_twice(arrays: BookArrays) -> None:
    arrays.orders["order_id"][slot_of(arrays, 2)] = 1


def same_entry_twice(arrays: BookArrays) -> None:
    arrays.orders["entry"][slot_of(arrays, 1)] = arrays.orders["entry"][slot_of(arrays, 2)]


def move_position_entry(arrays: BookArrays) -> None:
    place = arrays.positions["is_used"].tolist().index(1)
    arrays.positions[place - 100] = arrays.positions[place]
    arrays.positions["is_used"][place] = 0


def newest_of(arrays: BookArrays, trader_id: int) -> int:
    return int(bucket_of(arrays.traders, trader_id))


def turn_ends_around(arrays: BookArrays) -> None:
    one, other = arrays.ends[1].copy(), arrays.ends[2].copy()
    arrays.ends[1], arrays.ends[2] = other, one
    arrays.terms["end_place"][[one["slot"], other["slot"]]] = 2, 1


def leave_best_behind(arrays: BookArrays) -> None:
    arrays.sides["best_level"][14] = level_of(arrays, 3)


BREAKS: dict[str, tuple[Callable[[BookArrays], None], str]] = {
    "lots of an order": (add("orders", "open_lots", lambda a: slot_of(a, 1)), "open_lots is not"),
    "lots of a level": (add("levels", "open_lots", lambda a: level_of(a, 1)), "open_lots is not"),
    "orders of a level": (add("levels", "order_count", lambda a: level_of(a, 1)), "order_count is not"),
    "no lots": (add("orders", "open_lots", lambda a: slot_of(a, 1), -10), "has 0 open lots"),
    "back link": (add("orders", "previous_slot", lambda a: slot_of(a, 2), 2), "previous is not"),
    "tail": (add("levels", "tail", lambda a: level_of(a, 1)), "tail is not"),
    "level of an order": (add("orders", "level", lambda a: slot_of(a, 1)), "does not name level"),
    "side of an order": (add("orders", "side_row", lambda a: slot_of(a, 1)), "does not name side"),
    "key of a level": (add("levels", "key", lambda a: level_of(a, 1)), "key is not"),
    "leaf of a level": (add("levels", "next_slot", lambda a: level_of(a, 3)), "does not name leaf"),
    "bitmap": (set_bit, "bit 5 and its child differ"),
    "parent": (add("nodes", "next_slot", lambda a: leaf_of(a, 1)), "does not name parent"),
    "position": (add("nodes", "position", lambda a: leaf_of(a, 1)), "position is not"),
    "best level": (leave_best_behind, "best_level is not the first level"),
    "best key": (add("sides", "best_key", lambda _: 14), "best_key is not"),
    "levels of a side": (add("sides", "level_count", lambda _: 14), "level_count is not 3"),
    "orders of a side": (add("sides", "order_count", lambda _: 14), "order_count is not 4"),
    "an empty side": (add("sides", "order_count", lambda _: 40), "a side without levels has order_count"),
    "orders of the shard": (add("state", "order_count", lambda _: 0), "order_count is not 7"),
    "levels of the shard": (add("state", "level_count", lambda _: 0), "level_count is not 6"),
    "nodes of the shard": (add("state", "node_count", lambda _: 0), "node_count is not"),
    "a lost slot": (lose_free_order, "order slots are lost"),
    "a slot freed while in use": (free_a_resting_order, "is free and in a book"),
    "an id that is not found": (clear_index_entry, "the table's orders differ"),
    "an id in the wrong place": (move_index_entry, "ends before it is found"),
    "a wrong tag": (add("index", "tag", lambda a: a.index["slot"].tolist().index(slot_of(a, 1))), "another tag"),
    "an order that hides too much": (add("terms", "hidden_lots", lambda a: slot_of(a, 7), -7), "hides -1 lots"),
    "an order that shows too much": (add("terms", "display_lots", lambda a: slot_of(a, 7), -1), "shows more than 3"),
    "terms of another trader": (add("terms", "trader_id", lambda a: slot_of(a, 8)), "terms have another trader_id"),
    "another trigger": (add("terms", "trigger_ticks", lambda a: slot_of(a, 8)), "waits at another trigger"),
    "another price watched": (add("terms", "trigger_source", lambda a: slot_of(a, 8)), "watches another price"),
    "waiting orders": (add("instruments", "waiting_count", lambda _: 7), "waiting_count is not"),
    "special orders": (add("instruments", "special_count", lambda _: 7), "special_count is not"),
    "trailing stops": (add("instruments", "trailing_count", lambda _: 7), "trailing_count is not"),
    "the road": (add("instruments", "road", lambda _: 7), "takes the wrong road"),
    "the wishes": (add("orders", "stp", lambda a: slot_of(a, 7)), "HAS_WISHES is wrong"),
    "an end": (add("ends", "expires_ns", lambda _: 1), "the orders that end are not"),
    "the place of an end": (add("terms", "end_place", lambda a: slot_of(a, 7)), "does not name its place 1"),
    "the number of ends": (add("state", "end_used", lambda _: 0, -1), "the orders that end are not"),
    "the order of ends": (turn_ends_around, "the end at 2 comes before the one above"),
    "the newest of a trader": (add("traders", "newest", lambda a: newest_of(a, 1)), "not the first of its list"),
    "a trader that has none": (add("traders", "newest", lambda a: newest_of(a, 1) ^ 1), "names no open order"),
    "the older one": (add("orders", "older", lambda a: slot_of(a, 3)), "does not name the"),
    "the newer one": (add("orders", "newer", lambda a: slot_of(a, 3)), "does not name the"),
    "an older entry": (add("orders", "entry", lambda a: slot_of(a, 2), 1 << 40), "an older order of a trader is newer"),
    "a list of another trader": (add("orders", "trader_id", lambda a: slot_of(a, 3)), "another trader's list"),
    "an unfinished command": (add("state", "unfinished", lambda _: 0), "a command is unfinished"),
    "two entries": (same_entry_twice, "two orders entered as one"),
    "the number of positions": (add("state", "position_count", lambda _: 0), "position_count is not 1"),
    "a position in the wrong place": (move_position_entry, "a probe for the position"),
    "two orders with one id": (same_id_twice, "two resting orders have one id"),
}


@pytest.mark.parametrize("what", BREAKS)
def test_a_broken_book_is_found(what: str) -> None:
    breaker, message = BREAKS[what]
    engine = book()

    breaker(engine._arrays)

    with pytest.raises(InvariantViolationError, match=message):
        engine.check()
