"""The same books as plain Python: the specification in code, against which the loops are tested.

It is written to be read. Prices are keys of a dict, a queue is a dict in order of arrival, the best
price is the smallest or largest key. Events and state hash are the same as the engine's, bit for bit.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from matching_worker.book import hashing
from matching_worker.protocol import (
    EVENT_DTYPE,
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
    trade_id_base,
)


class Command(NamedTuple):
    """The fields of COMMAND_DTYPE, in their order; `reserved` is not read."""

    sequence: int
    timestamp_ns: int
    order_id: int
    trader_id: int
    price_ticks: int
    qty_lots: int
    instrument_id: int
    version: int
    kind: int
    side: int
    order_type: int
    time_in_force: int
    flags: int
    trigger_source: int
    stp: int
    has_terms: int
    reserved: object
    trigger_ticks: int
    worst_ticks: int
    display_lots: int
    quote_lots: int
    expires_ns: int
    activation_ticks: int
    callback_ppm: int
    reserved_terms: object


@dataclass(slots=True)
class Event:
    """The fields of EVENT_DTYPE, in their order."""

    sequence: int
    timestamp_ns: int
    order_id: int
    trader_id: int
    maker_order_id: int
    maker_trader_id: int
    price_ticks: int
    qty_lots: int
    left_lots: int
    maker_left_lots: int
    level_lots: int
    trade_id: int
    trade_number: int
    state_hash: int
    instrument_id: int
    index: int
    kind: int
    side: int
    reason: int

    def words(self) -> tuple[int, ...]:
        """Return what Note [State hash] lists as the words of an event."""
        packed = self.index | self.kind << 32 | self.side << 40 | self.reason << 48
        return (
            self.order_id,
            self.trader_id,
            self.maker_order_id,
            self.maker_trader_id,
            self.price_ticks,
            self.qty_lots,
            self.left_lots,
            self.maker_left_lots,
            self.level_lots,
            self.trade_number,
            packed,
        )


@dataclass(slots=True)
class Order:
    """A resting order."""

    order_id: int
    trader_id: int
    instrument_id: int
    side: Side
    price_ticks: int
    open_lots: int


@dataclass(slots=True)
class Book:
    """One instrument: for each side, price -> orders by id, oldest first."""

    queues: dict[Side, dict[int, dict[int, Order]]] = field(default_factory=lambda: {Side.BUY: {}, Side.SELL: {}})
    trade_number: int = 0
    last_price_ticks: int = 0

    def best_price(self, side: Side) -> int | None:
        """Return the price that a taker meets first on a side."""
        prices = self.queues[side]
        if not prices:
            return None
        return max(prices) if side == Side.BUY else min(prices)

    def level_lots(self, side: Side, price_ticks: int) -> int:
        """Return what stands at a price."""
        return sum(order.open_lots for order in self.queues[side].get(price_ticks, {}).values())

    def join(self, order: Order) -> None:
        """Put an order at the back of its queue."""
        self.queues[order.side].setdefault(order.price_ticks, {})[order.order_id] = order

    def leave(self, order: Order) -> None:
        """Take an order out of its queue."""
        queue = self.queues[order.side][order.price_ticks]
        del queue[order.order_id]
        if not queue:
            del self.queues[order.side][order.price_ticks]


def _other(side: Side) -> Side:
    """Return the side that a taker of `side` trades with."""
    return Side.SELL if side == Side.BUY else Side.BUY


class ReferenceEngine:
    """`matching_worker.engine.Engine`, readable and slow."""

    def __init__(self, shard: int, epoch: int) -> None:
        self.sequence = 0
        self.time_ns = 0
        self.state_hash = 0
        self.trade_count = 0
        self.trade_id_base = trade_id_base(epoch, shard)
        self.orders: dict[int, Order] = {}
        self.books: dict[int, Book] = {}

    def apply(self, commands: Rows) -> Rows:
        """Apply commands in order; the result equals the engine's, byte for byte."""
        events: list[Event] = []
        for row in commands.tolist():
            events += self._apply_one(Command(*row))
        rows = np.zeros(len(events), EVENT_DTYPE)
        for name in Event.__slots__:
            rows[name] = [getattr(event, name) for event in events]
        return rows

    def _apply_one(self, command: Command) -> list[Event]:
        """Apply one command and fold it and its events into the hash."""
        self.sequence += 1
        self.time_ns = max(self.time_ns, command.timestamp_ns)
        packed = (
            (command.instrument_id & 0xFFFFFFFF)
            | command.kind << 32
            | command.side << 40
            | command.order_type << 48
            | command.time_in_force << 56
        )
        words = (
            command.sequence,
            self.time_ns,
            command.order_id,
            command.trader_id,
            command.price_ticks,
            command.qty_lots,
            packed,
        )
        self.state_hash = hashing.fold(self.state_hash, hashing.weighted_sum(words, hashing.COMMAND_CONSTANTS))
        events = []
        for index, event in enumerate(self._outcome(command)):
            event.index = index
            total = hashing.weighted_sum(event.words(), hashing.EVENT_CONSTANTS)
            self.state_hash = hashing.fold(self.state_hash, total)
            events.append(event)
        for event in events:
            event.state_hash = self.state_hash
        return events

    def _outcome(self, command: Command) -> Iterator[Event]:
        """Carry out a command, or refuse it, and yield what happens."""
        order = self.orders.get(command.order_id)
        reason = self._refusal(command, order)
        if reason != Reason.NONE:
            known = order is not None and reason in {Reason.BAD_PRICE, Reason.BAD_QTY, Reason.BAD_KIND}
            left = order.open_lots if order is not None and known and command.kind != CommandKind.PLACE else 0
            yield self._event(command, EventKind.REJECTED, reason=reason, left_lots=left)
        elif command.kind == CommandKind.PLACE:
            rests = command.order_type == OrderType.LIMIT and command.time_in_force == TimeInForce.GTC
            incoming = Order(
                command.order_id,
                command.trader_id,
                command.instrument_id,
                Side(command.side),
                command.price_ticks,
                command.qty_lots,
            )
            yield from self._execute(command, incoming, rests=rests)
        elif order is not None:
            yield from self._change(command, order)

    def _refusal(self, command: Command, order: Order | None) -> Reason:  # noqa: PLR0911 - one for each
        """Return why a command cannot be carried out; the first reason in this order counts."""
        if not 0 <= command.instrument_id <= INSTRUMENT_ID_MAX:
            return Reason.BAD_INSTRUMENT
        if command.kind == CommandKind.PLACE:
            return self._place_refusal(command, order)
        if command.kind > CommandKind.AMEND or command.kind < 1:
            return Reason.BAD_KIND
        if order is None or order.instrument_id != command.instrument_id:
            return Reason.UNKNOWN_ORDER
        if command.kind == CommandKind.AMEND and not 1 <= command.price_ticks <= PRICE_TICKS_MAX:
            return Reason.BAD_PRICE
        if command.kind != CommandKind.CANCEL and command.qty_lots < 1:
            return Reason.BAD_QTY
        if command.kind == CommandKind.AMEND and command.qty_lots > QTY_LOTS_MAX:
            return Reason.BAD_QTY
        return Reason.NONE

    def _place_refusal(self, command: Command, order: Order | None) -> Reason:
        """Return why an order cannot be placed."""
        checks = (
            (command.side in set(Side), Reason.BAD_SIDE),
            (command.order_type in {OrderType.LIMIT, OrderType.MARKET}, Reason.BAD_ORDER_TYPE),
            (command.time_in_force in {TimeInForce.GTC, TimeInForce.IOC}, Reason.BAD_TIME_IN_FORCE),
            (1 <= command.price_ticks <= PRICE_TICKS_MAX, Reason.BAD_PRICE),
            (1 <= command.qty_lots <= QTY_LOTS_MAX, Reason.BAD_QTY),
            (len(self.orders) < OPEN_ORDERS_MAX, Reason.TOO_MANY_OPEN_ORDERS),
            (order is None, Reason.DUPLICATE_ORDER_ID),
        )
        return next((reason for holds, reason in checks if not holds), Reason.NONE)

    def _change(self, command: Command, order: Order) -> Iterator[Event]:
        """Cancel, reduce or amend a resting order."""
        book = self.books[order.instrument_id]
        if command.kind == CommandKind.AMEND:
            loses_place = command.price_ticks != order.price_ticks or command.qty_lots > order.open_lots
            if loses_place:
                removed, order.open_lots = order.open_lots, command.qty_lots
                self._forget(book, order)
                yield self._order_event(command, EventKind.AMENDED, order, removed, Reason.LOST_PLACE)
                order.price_ticks = command.price_ticks
                yield from self._execute(command, order, rests=True)
                return
            removed, order.open_lots = order.open_lots - command.qty_lots, command.qty_lots
            yield self._order_event(command, EventKind.AMENDED, order, removed)
            return
        removed = order.open_lots
        if command.kind == CommandKind.REDUCE:
            removed = min(command.qty_lots, order.open_lots)
        order.open_lots -= removed
        if order.open_lots > 0:
            yield self._order_event(command, EventKind.REDUCED, order, removed)
            return
        self._forget(book, order)
        reason = Reason.USER if command.kind == CommandKind.CANCEL else Reason.REDUCED_TO_ZERO
        yield self._order_event(command, EventKind.CANCELLED, order, removed, reason)

    def _execute(self, command: Command, taker: Order, *, rests: bool) -> Iterator[Event]:
        """Trade an incoming order as far as its price reaches, then rest or cancel what is left."""
        book = self.books.setdefault(taker.instrument_id, Book())
        maker_side = _other(taker.side)
        while taker.open_lots > 0:
            price_ticks = book.best_price(maker_side)
            if price_ticks is None or not _reaches(taker, price_ticks):
                break
            maker = next(iter(book.queues[maker_side][price_ticks].values()))
            yield self._fill(command, book, taker, maker)
        if taker.open_lots == 0:
            return
        if rests:
            book.join(taker)
            self.orders[taker.order_id] = taker
            yield self._order_event(command, EventKind.RESTED, taker, taker.open_lots)
            return
        left, taker.open_lots = taker.open_lots, 0
        event = self._order_event(command, EventKind.CANCELLED, taker, left, Reason.IOC_REMAINDER)
        event.level_lots = NO_LEVEL
        yield event

    def _fill(self, command: Command, book: Book, taker: Order, maker: Order) -> Event:
        """Trade taker against maker at the maker's price."""
        traded = min(taker.open_lots, maker.open_lots)
        taker.open_lots -= traded
        maker.open_lots -= traded
        if maker.open_lots == 0:
            self._forget(book, maker)
        self.trade_count += 1
        book.trade_number += 1
        book.last_price_ticks = maker.price_ticks
        event = self._order_event(command, EventKind.FILL, taker, traded)
        event.price_ticks = maker.price_ticks
        event.maker_order_id = maker.order_id
        event.maker_trader_id = maker.trader_id
        event.maker_left_lots = maker.open_lots
        event.level_lots = book.level_lots(maker.side, maker.price_ticks)
        event.trade_id = self.trade_id_base + self.trade_count
        event.trade_number = book.trade_number
        return event

    def _forget(self, book: Book, order: Order) -> None:
        """Take an order out of its book and out of the orders by id."""
        book.leave(order)
        del self.orders[order.order_id]

    def _order_event(
        self, command: Command, kind: EventKind, order: Order, qty_lots: int, reason: Reason = Reason.NONE
    ) -> Event:
        """Return an event about an order at its own price."""
        event = self._event(command, kind, reason=reason, left_lots=order.open_lots)
        event.order_id = order.order_id
        event.trader_id = order.trader_id
        event.side = order.side
        event.price_ticks = order.price_ticks
        event.qty_lots = qty_lots
        event.level_lots = self.books[order.instrument_id].level_lots(order.side, order.price_ticks)
        return event

    def _event(self, command: Command, kind: EventKind, *, reason: Reason, left_lots: int) -> Event:
        """Return an event that repeats what the command said and touches no level."""
        return Event(
            sequence=command.sequence,
            timestamp_ns=self.time_ns,
            order_id=command.order_id,
            trader_id=command.trader_id,
            maker_order_id=0,
            maker_trader_id=0,
            price_ticks=command.price_ticks,
            qty_lots=command.qty_lots,
            left_lots=left_lots,
            maker_left_lots=0,
            level_lots=NO_LEVEL,
            trade_id=0,
            trade_number=0,
            state_hash=0,
            instrument_id=command.instrument_id,
            index=0,
            kind=kind,
            side=command.side,
            reason=reason,
        )

    def levels(self, instrument_id: int) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]:
        """Return bids and asks, best first: price, open lots, order count."""
        book = self.books.get(instrument_id, Book())
        bids, asks = (
            [
                (price, book.level_lots(side, price), len(book.queues[side][price]))
                for price in sorted(book.queues[side], reverse=side == Side.BUY)
            ]
            for side in Side
        )
        return bids, asks

    def queue(self, instrument_id: int, side: Side, price_ticks: int) -> list[int]:
        """Return the ids of the orders at a price, oldest first."""
        return list(self.books.get(instrument_id, Book()).queues[side].get(price_ticks, {}))


def _reaches(taker: Order, price_ticks: int) -> bool:
    """Tell whether the taker's worst price lets it trade at a price."""
    if taker.side == Side.BUY:
        return price_ticks <= taker.price_ticks
    return price_ticks >= taker.price_ticks
