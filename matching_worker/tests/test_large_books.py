"""Books as large, and markets that move as far, as they may: exact, hash for hash, and no slower where it counts."""

import time

import numpy as np
import pytest

from matching_worker import protocol
from matching_worker.benchmarks.agreement import require_same_books, require_same_events
from matching_worker.benchmarks.streams import special_stream, tenfold
from matching_worker.book.reference import ReferenceEngine
from matching_worker.engine import Engine
from matching_worker.protocol import PRICE_TICKS_MAX, CommandKind, OrderType, Rows, Side
from matching_worker.tests import expected_events
from matching_worker.tests.factories import BTC, Desk, told

CALL = 50_000
FAR = 10_007
"""Ticks between two levels, so that each of them has a leaf of its own."""


def limits(sides: np.ndarray, prices: np.ndarray, *, first_id: int = 1, first: int = 1) -> Rows:
    """Return orders that rest, by many traders, of 1 to 7 lots."""
    ids = np.arange(first_id, first_id + len(prices))
    return protocol.encode(
        kind=CommandKind.PLACE,
        instrument_id=BTC,
        order_id=ids,
        trader_id=ids % 1_013 + 1,
        side=sides,
        order_type=OrderType.LIMIT,
        time_in_force=1,
        price_ticks=prices,
        qty_lots=ids % 7 + 1,
        timestamp_ns=ids,
        sequence=np.arange(first, first + len(prices)),
    )


def cancels(order_ids: np.ndarray, *, first: int) -> Rows:
    return protocol.encode(
        kind=CommandKind.CANCEL,
        instrument_id=BTC,
        order_id=order_ids,
        timestamp_ns=first,
        sequence=np.arange(first, first + len(order_ids)),
    )


def apply_in_calls(engine: Engine, commands: Rows) -> Rows:
    return np.concatenate([engine.apply(commands[start : start + CALL]) for start in range(0, len(commands), CALL)])


def require_levels(engine: Engine, resting: Rows) -> None:
    """Require the levels that these orders make, in order of preference."""
    for side, levels in zip(Side, engine.levels(BTC), strict=True):
        own = resting[resting["side"] == side]
        prices, numbers = np.unique(own["price_ticks"], return_inverse=True)
        lots = np.bincount(numbers, own["qty_lots"], minlength=len(prices)).astype(np.int64)
        expected = np.stack([prices, lots, np.bincount(numbers, minlength=len(prices))], axis=1)
        assert np.array_equal(levels, expected[::-1] if side == Side.BUY else expected)


def test_a_million_resting_orders_are_exact_from_the_first_to_the_last() -> None:
    count = 1_000_000
    ids = np.arange(count)
    # Half of them stand in two long queues, the others at 1,000 prices.
    away = np.where(ids % 2 == 0, 0, ids // 4 % 500)
    sides = ids // 2 % 2 + 1
    placed = limits(sides, np.where(sides == Side.BUY, 1_000_000 - away, 1_000_001 + away))
    everything = np.random.default_rng(1).permutation(placed["order_id"])
    half = cancels(everything[: count // 2], first=count + 1)
    rest = cancels(everything[count // 2 :], first=count + 1 + count // 2)
    engine = Engine(0, 0)

    expected = expected_events.rested(placed)
    state_hash = expected_events.hashed(placed, expected)
    require_same_events(apply_in_calls(engine, placed), expected)
    assert (engine.open_order_count, engine.state_hash) == (count, state_hash)
    require_levels(engine, placed)
    engine.check()

    gone = np.concatenate([half, rest])
    expected = expected_events.cancelled(gone, placed)
    last_hash = expected_events.hashed(gone, expected, state_hash)
    require_same_events(apply_in_calls(engine, half), expected[: count // 2])
    require_levels(engine, placed[np.sort(everything[count // 2 :]) - 1])
    require_same_events(apply_in_calls(engine, rest), expected[count // 2 :])
    assert (engine.open_order_count, engine.state_hash) == (0, last_hash)
    engine.check()


def test_a_hundred_thousand_levels_are_exact() -> None:
    count, bid_count = 100_000, 20_000
    prices = (np.arange(count) + 1) * FAR
    sides = np.where(np.arange(count) < bid_count, Side.BUY, Side.SELL)
    mixed = np.random.default_rng(2).permutation(count)
    placed = limits(sides[mixed], prices[mixed])
    engine = Engine(0, 0)

    expected = expected_events.rested(placed)
    state_hash = expected_events.hashed(placed, expected)
    require_same_events(apply_in_calls(engine, placed), expected)
    assert engine.state_hash == state_hash
    require_levels(engine, placed)
    engine.check()

    gone = cancels(np.random.default_rng(3).permutation(placed["order_id"])[: count // 2], first=count + 1)
    expected = expected_events.cancelled(gone, placed)
    state_hash = expected_events.hashed(gone, expected, state_hash)
    require_same_events(apply_in_calls(engine, gone), expected)
    assert engine.state_hash == state_hash
    left = np.delete(placed, gone["order_id"] - 1)
    require_levels(engine, left)

    sweep = limits(np.array([Side.SELL]), np.array([1]), first_id=count + 1, first=engine.sequence + 1)
    bids = np.sort(left[left["side"] == Side.BUY], order="price_ticks")[::-1]
    sweep["qty_lots"] = bids["qty_lots"].sum()
    fills = engine.apply(sweep)
    for name, maker in (("price_ticks", "price_ticks"), ("qty_lots", "qty_lots"), ("maker_order_id", "order_id")):
        assert np.array_equal(fills[name], bids[maker])
    require_levels(engine, left[left["side"] == Side.SELL])
    engine.check()


def test_a_cancel_costs_no_more_steps_in_a_book_of_a_million_orders() -> None:
    """One that looked at all orders, at its queue or at its side would take ten thousand times as long."""

    def seconds(resting: int) -> float:
        engine = Engine(0, 0)
        prices = np.where(np.arange(resting) % 2 == 0, 1_000, np.arange(resting) % 100_000 + 1)
        apply_in_calls(engine, limits(np.array([Side.BUY]).repeat(resting), prices))
        ids = np.random.default_rng(4).permutation(resting)[:1_000] + 1
        commands = cancels(ids, first=resting + 1)
        started = time.thread_time()
        engine.apply(commands)
        return time.thread_time() - started

    small = min(seconds(1_000) for _ in range(3))
    large = min(seconds(1_000_000) for _ in range(2))

    assert large < 100 * small


@pytest.mark.parametrize("seed", [21, 22])
def test_every_type_of_order_works_while_the_market_moves_tenfold_both_ways(seed: int) -> None:
    count = 10_000
    commands = special_stream(seed, count, spread=40, middle=tenfold(count))
    engine, reference = Engine(0, 0), ReferenceEngine(0, 0)

    for start in range(0, count, 500):
        call = commands[start : start + 500]
        require_same_events(engine.apply(call), reference.apply(call))
        require_same_books(engine, reference)

    lasts = {instrument_id: book.last_price_ticks for instrument_id, book in reference.books.items() if instrument_id}
    assert len(lasts) == 3


def test_the_market_of_the_tenfold_stream_moves_tenfold_both_ways() -> None:
    prices = tenfold(10_000)

    assert (prices[0], prices.max(), prices.min()) == (10_000, 99_999, 1_000)


@pytest.mark.parametrize(("start", "end", "side"), [(100_000, 10_000, Side.SELL), (10_000, 100_000, Side.BUY)])
def test_a_stop_tenfold_away_waits_through_the_whole_move_and_fires_at_its_trigger(
    start: int, end: int, side: Side
) -> None:
    desk = Desk(checked=False)
    place = desk.buy if side == Side.BUY else desk.sell
    place(1, 5, PRICE_TICKS_MAX if side == Side.BUY else 1, order_type=OrderType.STOP, trigger_ticks=end)
    maker = desk.sell if side == Side.BUY else desk.buy
    prices = np.linspace(start, end, 50).astype(int)

    fired = []
    for number, price in enumerate(prices, start=10):
        maker(number, 7, int(price))
        fired += told(place(1_000 + number, 2, int(price)))
        desk.cancel(number)

    assert fired[:-2] == [("FILL", 1_000 + number, number, int(price), 2) for number, price in enumerate(prices, 10)]
    assert fired[-2:] == [("TRIGGERED", 1, end, 5, 5, "NONE"), ("FILL", 1, 59, end, 5)]
    assert desk.engine.waiting(BTC) == []
    desk.engine.check()
