"""Words for engine tests: a desk that sends commands and reads what happened."""

from typing import Any

import numpy as np

from matching_worker import protocol
from matching_worker.engine import Engine
from matching_worker.protocol import CommandKind, EventKind, OrderType, Reason, Rows, Side, TimeInForce

BTC = 7
"""The instrument that a desk trades unless told otherwise."""

MAX_PRICE = protocol.PRICE_TICKS_MAX


def numbered(commands: list[Rows], *, first: int = 1) -> Rows:
    """Join commands and give them sequences from `first` on."""
    joined = np.concatenate(commands) if commands else np.zeros(0, protocol.COMMAND_DTYPE)
    joined["sequence"] = np.arange(first, first + len(joined))
    return joined


def same_bytes(one: Rows, other: Rows) -> bool:
    """Tell whether two arrays of rows agree in every byte."""
    return one.dtype == other.dtype and one.tobytes() == other.tobytes()


def told(events: Rows) -> list[tuple[Any, ...]]:
    """Return events as short tuples: what a reader of a test wants to see.

    FILL: taker, maker, price, qty. Others: order, price, qty, left, reason.
    """
    short: list[tuple[Any, ...]] = []
    for event in events:
        kind = EventKind(event["kind"])
        if kind == EventKind.FILL:
            names = ["order_id", "maker_order_id", "price_ticks", "qty_lots"]
            short.append((kind.name, *(int(event[name]) for name in names)))
        else:
            names = ["order_id", "price_ticks", "qty_lots", "left_lots"]
            short.append((kind.name, *(int(event[name]) for name in names), Reason(event["reason"]).name))
    return short


class Desk:
    """An engine and someone who sends it commands, one at a time; `checked` walks the books after each."""

    def __init__(self, *, shard: int = 0, epoch: int = 1, checked: bool = True) -> None:
        self.engine = Engine(shard, epoch)
        self.checked = checked

    def send(self, **columns: Any) -> Rows:
        """Apply one command; returns its events and checks all books after it."""
        columns = {"instrument_id": BTC, "trader_id": 1} | columns
        events = self.engine.apply(protocol.encode(sequence=self.engine.sequence + 1, **columns))
        if self.checked:
            self.engine.check()
        return events

    def limit(self, side: Side, order_id: int, qty: int, price: int, **columns: Any) -> Rows:
        columns = {"time_in_force": TimeInForce.GTC, "order_type": OrderType.LIMIT} | columns
        return self.send(
            kind=CommandKind.PLACE, side=side, order_id=order_id, qty_lots=qty, price_ticks=price, **columns
        )

    def buy(self, order_id: int, qty: int, price: int, **columns: Any) -> Rows:
        return self.limit(Side.BUY, order_id, qty, price, **columns)

    def sell(self, order_id: int, qty: int, price: int, **columns: Any) -> Rows:
        return self.limit(Side.SELL, order_id, qty, price, **columns)

    def cancel(self, order_id: int, **columns: Any) -> Rows:
        return self.send(kind=CommandKind.CANCEL, order_id=order_id, **columns)

    def reduce(self, order_id: int, qty: int, **columns: Any) -> Rows:
        return self.send(kind=CommandKind.REDUCE, order_id=order_id, qty_lots=qty, **columns)

    def amend(self, order_id: int, qty: int, price: int, **columns: Any) -> Rows:
        return self.send(kind=CommandKind.AMEND, order_id=order_id, qty_lots=qty, price_ticks=price, **columns)

    def book(self, instrument_id: int = BTC) -> dict[str, list[tuple[int, int, list[int]]]]:
        """Return bids and asks, best first: price, open lots, order ids oldest first."""
        bids, asks = self.engine.levels(instrument_id)
        return {
            "bids": [
                (price, lots, self.engine.queue(instrument_id, Side.BUY, price)) for price, lots, _ in bids.tolist()
            ],
            "asks": [
                (price, lots, self.engine.queue(instrument_id, Side.SELL, price)) for price, lots, _ in asks.tolist()
            ],
        }
