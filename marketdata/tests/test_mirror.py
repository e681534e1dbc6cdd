import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.feed import Auction
from marketdata.levels import ASKS, BIDS
from marketdata.mirror import Book, Change, Mirror
from marketdata.tests.events import START_NS, Flow, auction_price, event, fill, rested, state_changed
from marketdata.tests.factories import share_spec, spec
from matching_worker.benchmarks.streams import random_stream
from matching_worker.engine import Engine
from matching_worker.protocol import CommandKind, EventKind, Reason, Side, TradingState, encode


def mirror_of(*specs) -> Mirror:
    mirror = Mirror()
    for one in specs:
        mirror.books[one.id] = Book(one, sequence=0)
    return mirror


@given(st.integers(0, 10**6), st.lists(st.integers(1, 40), min_size=1, max_size=12))
def test_the_mirror_equals_the_book_that_made_the_events_however_they_are_cut(seed, cuts) -> None:
    flow, mirror = Flow(seed), mirror_of(spec())

    for commands in cuts:
        mirror.apply(flow.batch(commands))

        assert mirror.books[1].sides == flow.sides
    assert mirror.sequence == flow.sequence
    assert (mirror.books[1].trade_number, mirror.books[1].last_ticks) == (flow.trade_number, flow.last_ticks)


def test_a_fill_changes_the_makers_side_and_a_rest_its_own() -> None:
    mirror = mirror_of(spec())

    [step] = mirror.apply(
        np.concatenate(
            [
                rested(1, Side.SELL, 101, 10, 10),
                rested(2, Side.BUY, 99, 4, 4),
                fill(3, 1, Side.BUY, 101, 3, 7),
            ]
        )
    )

    assert step.changes == [Change(BIDS, 99, 4, 4), Change(ASKS, 101, 7, 7)]
    assert (step.previous, step.sequence) == (0, 3)


def test_a_level_that_ends_as_it_began_is_no_change_and_moves_no_sequence() -> None:
    mirror = mirror_of(spec())
    mirror.apply(rested(1, Side.BUY, 99, 4, 4))

    [step] = mirror.apply(
        np.concatenate(
            [
                rested(2, Side.BUY, 99, 6, 10),
                event(sequence=3, kind=EventKind.CANCELLED, side=Side.BUY, price_ticks=99, qty_lots=6, level_lots=4),
            ]
        )
    )

    assert (step.changes, step.previous, step.sequence) == ([], 1, 1)


def test_events_already_seen_are_dropped() -> None:
    mirror = mirror_of(spec())
    first = rested(1, Side.BUY, 99, 4, 4)
    mirror.apply(first)

    [step] = mirror.apply(np.concatenate([first, rested(2, Side.BUY, 99, 1, 5)]))

    assert step.changes == [Change(BIDS, 99, 1, 5)]
    assert mirror.apply(first) == []


def test_instruments_in_one_batch_are_kept_apart() -> None:
    mirror = mirror_of(spec(), share_spec())

    steps = mirror.apply(
        np.concatenate(
            [
                rested(1, Side.BUY, 99, 4, 4, instrument_id=2),
                rested(2, Side.BUY, 98, 5, 5, instrument_id=1),
            ]
        )
    )

    assert {step.book.spec.symbol: step.changes for step in steps} == {
        "BTCUSDT": [Change(BIDS, 98, 5, 5)],
        "2330.TW": [Change(BIDS, 99, 4, 4)],
    }


def test_live_candles_join_minutes_across_batches_and_begin_anew_at_the_boundary() -> None:
    mirror = mirror_of(spec())
    minute_ns = 60_000_000_000
    mirror.apply(np.concatenate([fill(1, 1, Side.BUY, 100, 2, -1), fill(2, 2, Side.BUY, 90, 1, -1)]))
    mirror.apply(fill(3, 3, Side.SELL, 95, 1, -1))

    mirror.apply(fill(4, 4, Side.SELL, 120, 5, -1, timestamp_ns=START_NS + minute_ns))

    bars = mirror.books[1].bars
    assert bars["1m"][1:] == (120, 120, 120, 120, 5, 600, 1)
    assert bars["5m"][1:] == (100, 120, 90, 120, 9, 985, 4)
    assert bars["1m"].start_s * 10**9 == (START_NS + minute_ns) // minute_ns * minute_ns
    assert [bar[1:] for bar in mirror.books[1].day] == [
        (100, 100, 90, 95, 4, 385, 3),
        (120, 120, 120, 120, 5, 600, 1),
    ]


def test_the_last_day_forgets_minutes_older_than_24_hours() -> None:
    mirror = mirror_of(spec())
    mirror.apply(fill(1, 1, Side.BUY, 100, 2, -1))
    mirror.apply(fill(2, 2, Side.BUY, 110, 1, -1, timestamp_ns=START_NS + 23 * 3600 * 10**9))
    book = mirror.books[1]
    assert tuple(book.last_day() or ())[1:] == (100, 110, 100, 110, 3, 310, 2)

    mirror.apply(fill(3, 3, Side.BUY, 105, 1, -1, timestamp_ns=START_NS + 25 * 3600 * 10**9))

    assert tuple(book.last_day() or ())[1:] == (110, 110, 105, 105, 2, 215, 2)


@pytest.mark.parametrize("seed", range(4))
def test_the_mirror_equals_the_real_engines_books_after_every_batch(seed) -> None:
    engine = Engine(0, 1)
    specs = [spec(id=number, symbol=f"S{number}") for number in range(3)]
    mirror = mirror_of(*specs)
    commands = random_stream(seed, 6000, instruments=3, open_ids=500, spread=30)

    for first in range(0, len(commands), 150):
        mirror.apply(engine.apply(commands[first : first + 150]))

        for one in specs:
            book, levels = mirror.books[one.id], engine.levels(one.id)
            assert [dict(side[:, :2].tolist()) for side in levels] == list(book.sides)
            assert book.trade_number == engine.trade_number(one.id)
            assert book.last_ticks == engine.last_price_ticks(one.id)
    assert sum(len(side) for book in mirror.books.values() for side in book.sides) > 20
    assert sum(book.trade_number for book in mirror.books.values()) > 500


def test_a_state_and_what_its_auction_would_do_are_followed() -> None:
    mirror = mirror_of(spec())

    [opened] = mirror.apply(state_changed(1, TradingState.AUCTION))
    assert (opened.book.auction, opened.has_new_auction) == (Auction(TradingState.AUCTION), True)
    [priced] = mirror.apply(np.concatenate([auction_price(2, 100, 5, -2), auction_price(3, 101, 7, 3)]))
    assert (priced.book.auction, priced.has_new_auction) == (Auction(TradingState.AUCTION, 101, 7, 3), True)
    [quiet] = mirror.apply(rested(4, Side.BUY, 99, 4, 4))
    assert (quiet.book.auction, quiet.has_new_auction) == (Auction(TradingState.AUCTION, 101, 7, 3), False)
    [uncrossed] = mirror.apply(auction_price(5, 0, 0, 0))
    assert uncrossed.book.auction == Auction(TradingState.AUCTION)


def test_a_new_state_begins_without_the_price_of_the_auction_before_it() -> None:
    mirror = mirror_of(spec())
    mirror.apply(np.concatenate([state_changed(1, TradingState.AUCTION), auction_price(2, 101, 7, 3)]))

    [step] = mirror.apply(
        np.concatenate(
            [
                auction_price(3, 101, 7, 3, reason=Reason.AUCTION),
                fill(3, 1, Side.BUY, 101, 7, -1, reason=Reason.AUCTION),
                state_changed(3, TradingState.CONTINUOUS),
            ]
        )
    )

    assert step.book.auction == Auction(TradingState.CONTINUOUS)
    assert len(step.trades) == 1


@pytest.mark.parametrize("seed", range(3))
def test_the_mirror_equals_the_real_engines_auctions_and_the_books_they_leave(seed) -> None:
    engine, mirror = Engine(0, 1), mirror_of(spec(id=0))
    orders = random_stream(seed, 3000, instruments=1, open_ids=300, spread=20)
    priced = 0

    def apply(commands) -> None:
        commands["sequence"] = np.arange(engine.sequence + 1, engine.sequence + 1 + len(commands))
        mirror.apply(engine.apply(commands))

    for first in range(0, len(orders), 300):
        apply(encode(kind=int(CommandKind.SET_STATE), instrument_id=0, order_id=0, qty_lots=int(TradingState.AUCTION)))
        for start in range(first, first + 300, 20):
            apply(orders[start : start + 20])
            book = mirror.books[0]
            assert book.auction == Auction(engine.trading_state(0), *engine.indication(0))
            priced += book.auction.ticks > 0
        apply(encode(kind=int(CommandKind.UNCROSS), instrument_id=0, order_id=0, qty_lots=int(TradingState.CONTINUOUS)))

        assert book.auction == Auction(TradingState.CONTINUOUS)
        assert [dict(side[:, :2].tolist()) for side in engine.levels(0)] == list(book.sides)
        assert (book.trade_number, book.last_ticks) == (engine.trade_number(0), engine.last_price_ticks(0))
    assert priced > 50
    assert mirror.books[0].trade_number > 100


def test_a_mark_price_is_known_from_its_command_and_an_older_one_is_dropped() -> None:
    engine, mirror = Engine(0, 1), mirror_of(spec(id=0))
    commands = encode(
        kind=[int(CommandKind.MARK_PRICE), int(CommandKind.LAST_PRICE), int(CommandKind.MARK_PRICE)],
        instrument_id=0,
        order_id=0,
        price_ticks=[100, 107, 103],
        sequence=[1, 2, 3],
    )
    events = engine.apply(commands)

    [first] = mirror.apply(events[:1], commands[:1])
    assert (first.book.mark_ticks, first.has_new_mark) == (100, True)
    [without] = mirror.apply(events[1:2])
    assert (without.book.mark_ticks, without.has_new_mark) == (100, False)
    [last] = mirror.apply(events, commands[::2])

    assert (last.book.mark_ticks, last.has_new_mark) == (engine.mark_price_ticks(0), True)


def test_what_an_instrument_brings_from_another_shard_is_known_from_its_commands() -> None:
    engine, mirror = Engine(0, 1), mirror_of(spec(id=0))
    commands = encode(
        kind=[int(CommandKind.TRADE_NUMBER), int(CommandKind.LAST_PRICE), int(CommandKind.MARK_PRICE)],
        instrument_id=0,
        order_id=0,
        price_ticks=[0, 107, 103],
        qty_lots=[70, 0, 0],
        sequence=[1, 2, 3],
    )

    [step] = mirror.apply(engine.apply(commands), commands)

    book = step.book
    assert (book.trade_number, book.last_ticks, book.mark_ticks, step.has_new_mark) == (70, 107, 103, True)
    assert (engine.trade_number(0), engine.last_price_ticks(0)) == (70, 107)
