import numpy as np
import pytest

from exchange.kernel.errors import InvariantViolationError
from matching_worker import protocol
from matching_worker.book.apply import apply
from matching_worker.engine import EVENTS_REUSED, Best, BestLevel, Engine, OpenOrder
from matching_worker.protocol import CommandKind, OrderType, Side, TimeInForce
from matching_worker.tests.factories import BTC, MAX_PRICE, Desk, numbered, same_bytes, told

ETH = 8
IOC = {"time_in_force": TimeInForce.IOC}
MARKET = {"order_type": OrderType.MARKET}


def test_an_order_that_does_not_cross_rests() -> None:
    desk = Desk()

    events = desk.buy(1, 10, 100)

    assert told(events) == [("RESTED", 1, 100, 10, 10, "NONE")]
    assert events["level_lots"].tolist() == [10]
    assert desk.engine.order(1) == OpenOrder(1, 1, BTC, Side.BUY, 100, 10)


def test_a_crossing_order_trades_at_the_resting_price_and_rests_with_what_is_left() -> None:
    desk = Desk(shard=2, epoch=3)
    desk.sell(1, 4, 100, trader_id=11)

    fill, rested = desk.buy(2, 10, 105, trader_id=22, timestamp_ns=77)

    assert dict(zip(fill.dtype.names, fill.tolist(), strict=True)) == {
        "sequence": 2,
        "timestamp_ns": 77,
        "order_id": 2,
        "trader_id": 22,
        "maker_order_id": 1,
        "maker_trader_id": 11,
        "price_ticks": 100,
        "qty_lots": 4,
        "left_lots": 6,
        "maker_left_lots": 0,
        "level_lots": 0,
        "trade_id": protocol.trade_id(3, 2, 1),
        "trade_number": 1,
        "state_hash": desk.engine.state_hash,
        "instrument_id": BTC,
        "index": 0,
        "kind": 1,
        "side": Side.BUY,
        "reason": 0,
        "reserved_byte": 0,
        "reserved_word": 0,
    }
    assert told(np.array([rested])) == [("RESTED", 2, 105, 6, 6, "NONE")]
    assert rested["index"] == 1
    assert desk.book() == {"bids": [(105, 6, [2])], "asks": []}


def test_best_price_trades_first_and_then_the_oldest_order() -> None:
    desk = Desk()
    for order_id, price in ((1, 101), (2, 100), (3, 100)):
        desk.sell(order_id, 5, price)

    events = desk.buy(4, 12, 101)

    assert told(events) == [("FILL", 4, 2, 100, 5), ("FILL", 4, 3, 100, 5), ("FILL", 4, 1, 101, 2)]
    assert events["level_lots"].tolist() == [5, 0, 3]
    assert events["trade_number"].tolist() == [1, 2, 3]


def test_an_order_filled_whole_says_nothing_more() -> None:
    desk = Desk()
    desk.buy(1, 5, 100)

    assert told(desk.sell(2, 5, 100)) == [("FILL", 2, 1, 100, 5)]
    assert desk.book() == {"bids": [], "asks": []}
    assert desk.engine.open_order_count == 0


def test_a_partly_filled_maker_keeps_its_place() -> None:
    desk = Desk()
    desk.buy(1, 10, 100)
    desk.buy(2, 10, 100)

    [fill] = desk.sell(3, 4, 100)

    assert (fill["maker_left_lots"], fill["level_lots"]) == (6, 16)
    assert told(desk.sell(4, 7, 100)) == [("FILL", 4, 1, 100, 6), ("FILL", 4, 2, 100, 1)]


def test_what_an_ioc_order_cannot_trade_is_cancelled() -> None:
    desk = Desk()
    desk.sell(1, 4, 100)

    events = desk.buy(2, 10, 100, **IOC)

    assert told(events) == [("FILL", 2, 1, 100, 4), ("CANCELLED", 2, 100, 6, 0, "IOC_REMAINDER")]
    assert events["level_lots"].tolist() == [0, -1]
    assert desk.engine.order(2) is None


def test_a_market_order_stops_at_its_bound_and_never_rests() -> None:
    desk = Desk()
    desk.sell(1, 4, 100)
    desk.sell(2, 4, 106)

    events = desk.buy(3, 10, 105, **MARKET)

    assert told(events) == [("FILL", 3, 1, 100, 4), ("CANCELLED", 3, 105, 6, 0, "IOC_REMAINDER")]
    assert desk.book() == {"bids": [], "asks": [(106, 4, [2])]}


def test_a_cancel_takes_the_order_away_and_says_what_it_had() -> None:
    desk = Desk()
    desk.buy(1, 10, 100, trader_id=5)
    desk.buy(2, 3, 100)

    [event] = desk.cancel(1, trader_id=0)

    assert told(np.array([event])) == [("CANCELLED", 1, 100, 10, 0, "USER")]
    assert (event["trader_id"], event["side"], event["level_lots"]) == (5, Side.BUY, 3)
    assert desk.book() == {"bids": [(100, 3, [2])], "asks": []}


def test_a_reduce_keeps_the_place_in_the_queue() -> None:
    desk = Desk()
    desk.sell(1, 10, 100)
    desk.sell(2, 10, 100)

    [event] = desk.reduce(1, 4)

    assert told(np.array([event])) == [("REDUCED", 1, 100, 4, 6, "NONE")]
    assert event["level_lots"] == 16
    assert desk.book()["asks"] == [(100, 16, [1, 2])]


@pytest.mark.parametrize("qty", [10, 11, 2**62])
def test_a_reduce_by_all_or_more_cancels(qty: int) -> None:
    desk = Desk()
    desk.sell(1, 10, 100)

    assert told(desk.reduce(1, qty)) == [("CANCELLED", 1, 100, 10, 0, "REDUCED_TO_ZERO")]
    assert desk.book() == {"bids": [], "asks": []}


def test_an_amend_to_less_keeps_the_place() -> None:
    desk = Desk()
    desk.buy(1, 10, 100)
    desk.buy(2, 10, 100)

    [event] = desk.amend(1, 4, 100)

    assert told(np.array([event])) == [("AMENDED", 1, 100, 6, 4, "NONE")]
    assert event["level_lots"] == 14
    assert desk.book()["bids"] == [(100, 14, [1, 2])]


def test_an_amend_to_the_same_changes_nothing() -> None:
    desk = Desk()
    desk.buy(1, 10, 100)
    desk.buy(2, 10, 100)

    assert told(desk.amend(1, 10, 100)) == [("AMENDED", 1, 100, 0, 10, "NONE")]
    assert desk.book()["bids"] == [(100, 20, [1, 2])]


def test_an_amend_to_more_goes_to_the_back() -> None:
    desk = Desk()
    desk.buy(1, 10, 100, trader_id=5)
    desk.buy(2, 10, 100)

    events = desk.amend(1, 11, 100, trader_id=5)

    assert told(events) == [("AMENDED", 1, 100, 10, 11, "LOST_PLACE"), ("RESTED", 1, 100, 11, 11, "NONE")]
    assert events["level_lots"].tolist() == [10, 21]
    assert events["trader_id"].tolist() == [5, 5]
    assert desk.book()["bids"] == [(100, 21, [2, 1])]


def test_an_amend_to_a_crossing_price_trades_as_a_taker_and_rests() -> None:
    desk = Desk()
    desk.sell(1, 4, 105)
    desk.buy(2, 10, 100)

    events = desk.amend(2, 6, 107)

    assert told(events) == [
        ("AMENDED", 2, 100, 10, 6, "LOST_PLACE"),
        ("FILL", 2, 1, 105, 4),
        ("RESTED", 2, 107, 2, 2, "NONE"),
    ]
    assert desk.book() == {"bids": [(107, 2, [2])], "asks": []}


def test_an_id_is_free_again_after_its_order_is_gone() -> None:
    desk = Desk()
    desk.buy(1, 10, 100)
    desk.cancel(1)

    assert told(desk.sell(1, 3, 50)) == [("RESTED", 1, 50, 3, 3, "NONE")]


@pytest.mark.parametrize("order_id", [0, -1, 2**63 - 1, -(2**63)])
def test_any_64_bit_number_is_an_order_id(order_id: int) -> None:
    desk = Desk()
    desk.buy(order_id, 10, 100)

    assert told(desk.cancel(order_id)) == [("CANCELLED", order_id, 100, 10, 0, "USER")]


def test_books_of_different_instruments_do_not_meet() -> None:
    desk = Desk()
    desk.sell(1, 10, 100)
    desk.sell(2, 10, 100, instrument_id=0)
    desk.sell(3, 10, 100, instrument_id=65_535)

    events = desk.buy(4, 20, 100, instrument_id=65_535)

    assert told(events) == [("FILL", 4, 3, 100, 10), ("RESTED", 4, 100, 10, 10, "NONE")]
    assert desk.book(BTC) == {"bids": [], "asks": [(100, 10, [1])]}
    assert desk.book(0) == {"bids": [], "asks": [(100, 10, [2])]}
    assert [desk.engine.trade_number(number) for number in (0, BTC, 65_535)] == [0, 0, 1]


def test_trade_numbers_are_dense_per_instrument_and_trade_ids_per_shard() -> None:
    desk = Desk(epoch=0)
    for order_id, instrument_id in enumerate([BTC, ETH, BTC], start=1):
        desk.sell(order_id, 1, 100, instrument_id=instrument_id)
    fills = [
        desk.buy(10 + number, 1, 100, instrument_id=instrument_id)[0]
        for number, instrument_id in enumerate([BTC, ETH, BTC])
    ]

    assert [int(fill["trade_number"]) for fill in fills] == [1, 1, 2]
    assert [int(fill["trade_id"]) for fill in fills] == [1, 2, 3]


def test_the_top_of_the_book_and_the_last_price_can_be_read() -> None:
    desk = Desk()
    assert desk.engine.best(BTC) == Best(None, None)
    assert desk.engine.last_price_ticks(BTC) == 0
    desk.buy(1, 10, 100)
    desk.sell(2, 3, 102)
    desk.sell(3, 4, 102)
    desk.buy(4, 1, 103)

    assert desk.engine.best(BTC) == Best(BestLevel(100, 10), BestLevel(102, 6))
    assert desk.engine.last_price_ticks(BTC) == 102
    assert desk.engine.levels(BTC)[1].tolist() == [[102, 6, 2]]


def test_engine_time_never_goes_back() -> None:
    desk = Desk()

    events = [desk.buy(order_id, 1, 100, timestamp_ns=time)[0] for order_id, time in ((1, 50), (2, 40), (3, 60))]

    assert [int(event["timestamp_ns"]) for event in events] == [50, 50, 60]
    assert desk.engine.time_ns == 60


@pytest.mark.parametrize("sequence", [0, 1, 3, -1])
def test_a_gap_or_a_repeat_in_the_sequence_stops_the_process(sequence: int) -> None:
    desk = Desk()
    desk.buy(1, 1, 1)
    command = protocol.encode(kind=CommandKind.CANCEL, instrument_id=BTC, order_id=1, sequence=sequence)

    with pytest.raises(InvariantViolationError, match=f"command {sequence} came where 2 was due"):
        desk.engine.apply(command)
    assert desk.book()["bids"] == [(1, 1, [1])]


def test_rows_that_are_not_commands_stop_the_process() -> None:
    with pytest.raises(InvariantViolationError, match="not commands"):
        Engine(0, 0).apply(np.zeros(1, protocol.EVENT_DTYPE))


def test_commands_in_any_memory_are_applied_by_the_code_that_is_compiled() -> None:
    commands = random_walk(100)
    spread = np.repeat(commands, 2)[::2]
    read_only = np.frombuffer(commands.tobytes(), protocol.COMMAND_DTYPE)
    engines = [Engine(0, 0) for _ in range(3)]

    results = [engine.apply(form) for engine, form in zip(engines, (commands, spread, read_only), strict=True)]

    assert same_bytes(results[0], results[1])
    assert same_bytes(results[0], results[2])
    assert len(apply.signatures) == 1  # type: ignore[attr-defined]


def test_every_command_has_at_least_one_event_with_the_hash_after_it() -> None:
    commands = random_walk(2_000)
    engine = Engine(0, 0)
    one_by_one = Engine(0, 0)

    events = engine.apply(commands)

    assert np.array_equal(np.unique(events["sequence"]), commands["sequence"])
    for position in range(200):
        one_by_one.apply(commands[position : position + 1])
        of_command = events[events["sequence"] == position + 1]
        assert set(of_command["state_hash"].tolist()) == {one_by_one.state_hash}
        assert of_command["index"].tolist() == list(range(len(of_command)))


@pytest.mark.parametrize("size", [1, 7, 100, 1_999])
def test_how_commands_are_cut_into_batches_makes_no_difference(size: int) -> None:
    commands = random_walk(2_000)
    whole, cut = Engine(0, 0), Engine(0, 0)

    expected = whole.apply(commands)
    events = np.concatenate([cut.apply(commands[start : start + size]) for start in range(0, 2_000, size)])

    assert same_bytes(events, expected)
    assert cut.state_hash == whole.state_hash


def test_the_epoch_changes_trade_ids_and_nothing_else() -> None:
    commands = random_walk(2_000)
    before, after = Engine(0, 1), Engine(0, 2)

    events, other = before.apply(commands), after.apply(commands)

    assert before.state_hash == after.state_hash
    fills = events["trade_id"] > 0
    assert fills.any()
    assert (other["trade_id"][fills] - events["trade_id"][fills] == 1 << 47).all()


def test_a_sweep_of_more_orders_than_a_batch_has_room_for_is_whole() -> None:
    desk = Desk()
    makers = protocol.encode(
        kind=CommandKind.PLACE,
        instrument_id=BTC,
        order_id=np.arange(1, 20_001),
        side=Side.SELL,
        order_type=OrderType.LIMIT,
        time_in_force=TimeInForce.GTC,
        price_ticks=np.arange(20_000) // 7 + 1,
        qty_lots=1,
    )
    desk.engine.apply(numbered([makers]))

    events = desk.buy(99_999, 19_999, MAX_PRICE)

    assert events["maker_order_id"].tolist() == list(range(1, 20_000))
    assert desk.book()["asks"] == [(2_858, 1, [20_000])]


def test_events_belong_to_the_caller() -> None:
    desk = Desk(checked=False)
    results = [desk.buy(order_id, 1, 100) for order_id in range(1, 5_000)]
    kept = [events.tobytes() for events in results]

    results += [desk.cancel(order_id) for order_id in range(1, 5_000)]

    assert [events.tobytes() for events in results[: len(kept)]] == kept
    assert [int(events["sequence"][0]) for events in results] == list(range(1, 9_999))


def test_events_that_nobody_kept_are_written_over_and_one_that_is_kept_in_any_form_is_not() -> None:
    desk = Desk(checked=False)
    addresses = set()
    for order_id in range(1, 5_000):
        addresses.add(desk.buy(order_id, 1, 100).ctypes.data)
    assert len(addresses) <= 2 * EVENTS_REUSED

    row = desk.buy(5_000, 1, 100)[0]
    column = desk.buy(5_001, 1, 100)["order_id"]
    memory = memoryview(desk.buy(5_002, 1, 100)["qty_lots"])  # type: ignore[arg-type]
    for order_id in range(6_000, 9_000):
        desk.buy(order_id, 7, 100)

    assert (int(row["order_id"]), column.tolist(), memory[0]) == (5_000, [5_001], 1)


def random_walk(count: int) -> protocol.Rows:
    """Return placements that rest and cross in about equal parts."""
    random = np.random.default_rng(1)
    commands = protocol.encode(
        kind=CommandKind.PLACE,
        instrument_id=BTC,
        order_id=np.arange(1, count + 1),
        trader_id=random.integers(1, 9, count),
        side=random.integers(1, 3, count),
        order_type=OrderType.LIMIT,
        time_in_force=TimeInForce.GTC,
        price_ticks=random.integers(90, 111, count),
        qty_lots=random.integers(1, 50, count),
    )
    return numbered([commands])
