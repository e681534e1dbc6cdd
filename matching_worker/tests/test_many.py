"""Cancelling many orders with one command: exactly those, oldest first, at the cost of those and not of the book."""

import numpy as np
import pytest

from matching_worker import protocol
from matching_worker.benchmarks import cancelling
from matching_worker.engine import Engine
from matching_worker.protocol import CommandKind, OrderType, Rows, Side, TimeInForce

COUNT = 10_000
"""Orders: so many that every array has to grow more than once, the one for those that were found too."""
TRADERS, INSTRUMENTS = 5, 3


def resting() -> Rows:
    """Return orders of a few traders on a few instruments that trade with nobody; every third ends by time."""
    random = np.random.default_rng(31)
    ids = np.arange(1, COUNT + 1)
    sells = random.integers(0, 2, COUNT)
    ends = ids % 3 == 0
    return protocol.encode(
        kind=CommandKind.PLACE,
        instrument_id=random.integers(1, INSTRUMENTS + 1, COUNT),
        order_id=random.permutation(ids),
        trader_id=random.integers(1, TRADERS + 1, COUNT),
        side=sells + int(Side.BUY),
        order_type=OrderType.LIMIT,
        time_in_force=np.where(ends, TimeInForce.GTD, TimeInForce.GTC),
        expires_ns=np.where(ends, random.integers(1_000, 2_000, COUNT), 0),
        price_ticks=np.where(sells, 1_000, 900) + random.integers(1, 50, COUNT),
        qty_lots=3,
        sequence=ids,
    )


def one(kind: CommandKind, *, trader_id: int = 0, instrument_id: int = 0, timestamp_ns: int = 0) -> Rows:
    """Return a command that cancels many."""
    return protocol.encode(
        kind=kind,
        order_id=0,
        trader_id=trader_id,
        instrument_id=instrument_id,
        timestamp_ns=timestamp_ns,
        sequence=COUNT + 1,
    )


@pytest.mark.parametrize(
    "command",
    [
        one(CommandKind.CANCEL_ALL, trader_id=2),
        one(CommandKind.CANCEL_ALL, trader_id=2, instrument_id=3),
        one(CommandKind.CANCEL_ALL, instrument_id=3),
        one(CommandKind.CANCEL_ALL),
        one(CommandKind.TIME, timestamp_ns=1_400),
    ],
    ids=["a trader", "a trader on an instrument", "an instrument", "all", "time"],
)
def test_of_thousands_exactly_those_meant_are_cancelled_oldest_first(command: Rows) -> None:
    engine, orders = Engine(0, 0), resting()
    [trader_id], [instrument_id], [now_ns] = (command[name] for name in ("trader_id", "instrument_id", "timestamp_ns"))
    meant = (trader_id == 0) | (orders["trader_id"] == trader_id)
    meant &= (instrument_id == 0) | (orders["instrument_id"] == instrument_id)
    meant &= (now_ns == 0) | ((orders["expires_ns"] > 0) & (orders["expires_ns"] <= now_ns))
    engine.apply(orders)
    engine.check()

    events = engine.apply(command)

    assert events["order_id"].tolist() == [0, *orders["order_id"][meant].tolist()]
    assert set(events["kind"][1:]) == {protocol.EventKind.CANCELLED}
    assert engine.open_order_count == COUNT - np.count_nonzero(meant) < COUNT
    engine.check()


def test_an_order_that_has_gone_otherwise_is_cancelled_by_neither_trader_nor_time() -> None:
    engine, orders = Engine(0, 0), resting()
    engine.apply(orders)
    gone = np.random.default_rng(32).permutation(orders)[: COUNT // 2]
    cancels = protocol.encode(
        kind=CommandKind.CANCEL,
        instrument_id=gone["instrument_id"],
        order_id=gone["order_id"],
        sequence=COUNT + 1 + np.arange(len(gone)),
    )
    engine.apply(cancels)
    engine.check()
    left = orders[~np.isin(orders["order_id"], gone["order_id"])]

    command = one(CommandKind.TIME, timestamp_ns=1_400)
    command["sequence"] = engine.sequence + 1
    ended = engine.apply(command)
    command = one(CommandKind.CANCEL_ALL, trader_id=4)
    command["sequence"] = engine.sequence + 1
    of_trader = engine.apply(command)

    ends = (left["expires_ns"] > 0) & (left["expires_ns"] <= 1_400)
    assert ended["order_id"].tolist() == [0, *left["order_id"][ends].tolist()]
    assert of_trader["order_id"].tolist() == [0, *left["order_id"][~ends & (left["trader_id"] == 4)].tolist()]
    engine.check()


def test_cancelling_many_costs_no_more_steps_because_a_million_others_rest() -> None:
    """A search through all orders takes five hundred times as long."""

    def microseconds(staying: int) -> list[float]:
        engine = cancelling.prepared(staying)
        return [min(cancelling.measure(engine, case, 1) for _ in range(5)) for case in cancelling.CASES]

    small, large = microseconds(1_000), microseconds(1_000_000)

    for case, few, many in zip(cancelling.CASES, small, large, strict=True):
        assert many < 100 * few, case.name
