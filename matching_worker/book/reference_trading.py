"""How a taker trades in the readable book: what `reference.ReferenceEngine` builds on."""

from collections.abc import Iterator
from dataclasses import dataclass

from matching_worker.book.reference_auction import Uncrossing
from matching_worker.book.reference_rows import CALL_STATES, Book, Command, Event, Order, other
from matching_worker.protocol import (
    NO_LEVEL,
    EventKind,
    OrderFlag,
    Reason,
    SelfTrade,
    Side,
    TimeInForce,
    trade_id_base,
)


@dataclass(slots=True)
class Taking:
    """A taker on its way through the other side.

    Attributes:
        lots: What it may still trade; less than its open lots when a position bounds it.
        budget: What a buy by quote amount may still spend.
        left: Open lots as events tell them: of a budget, what it buys at the last price.
        was_told: Whether an event about the taker has happened.
        stopped: Why it trades no further although it could, or NONE.
    """

    order: Order
    lots: int
    budget: int
    left: int
    was_told: bool = False
    stopped: Reason = Reason.NONE

    def give(self, lots: int, price_ticks: int) -> None:
        """Take lots off the order, and off its budget."""
        self.order.open_lots -= lots
        self.lots -= lots
        self.left = self.order.open_lots
        self.was_told = True
        if self.order.quote_lots:
            self.budget -= lots * price_ticks
            self.left = min(self.left, self.budget // price_ticks)


class ReferenceTrading:
    """Books, positions, and trading between a taker and what rests."""

    def __init__(self, shard: int, epoch: int) -> None:
        self.sequence = 0
        self.time_ns = 0
        self.state_hash = 0
        self.trade_count = 0
        self.entry_count = 0
        self.trade_id_base = trade_id_base(epoch, shard)
        self.orders: dict[int, Order] = {}
        self.books: dict[int, Book] = {}
        self.positions: dict[tuple[int, int], int] = {}

    def book(self, instrument_id: int) -> Book:
        """Return the instrument's book, which exists from its first use."""
        return self.books.setdefault(instrument_id, Book())

    def _join(self, book: Book, order: Order) -> None:
        """Put an order at the back of its queue and among the orders by id."""
        self.entry_count += 1
        order.entry = self.entry_count
        book.join(order)
        self.orders[order.order_id] = order

    def _forget(self, book: Book, order: Order) -> None:
        """Take an order out of its book and out of the orders by id."""
        book.leave(order)
        del self.orders[order.order_id]

    def _remove(self, command: Command, order: Order, reason: Reason) -> Event:
        """Cancel a resting or waiting order."""
        self._forget(self.book(order.instrument_id), order)
        removed, order.open_lots = order.open_lots, 0
        return self._order_event(command, EventKind.CANCELLED, order, removed, reason)

    def _reducible(self, order: Order) -> int:
        """Return how many lots an order can close of its trader's position."""
        position = self.positions.get((order.trader_id, order.instrument_id), 0)
        return max(0, position if order.side == Side.SELL else -position)

    def _execute(self, command: Command, taker: Order) -> Iterator[Event]:
        """Trade an incoming order as far as it may, then rest or cancel what is left."""
        book = self.book(taker.instrument_id)
        if book.state in CALL_STATES:
            yield from self._finish(command, book, Taking(taker, 0, 0, taker.open_lots))
            return
        if taker.flags & OrderFlag.CLOSE_POSITION:
            taker.open_lots = self._reducible(taker)
        excess = 0
        if taker.flags & OrderFlag.REDUCE_ONLY and (book.crosses(taker) or not taker.rests):
            excess = max(0, taker.open_lots - self._reducible(taker))
        budget_buys = taker.quote_lots // taker.price_ticks if taker.quote_lots else taker.open_lots
        taking = Taking(taker, taker.open_lots - excess, taker.quote_lots, min(taker.open_lots, budget_buys))
        if taker.time_in_force == TimeInForce.FOK and (excess or self._available(book, taker) < taker.open_lots):
            yield self._cancel_rest(command, taking, Reason.FOK_UNFILLED)
            return
        yield from self._take(command, book, taking)
        if excess or taker.flags & OrderFlag.CLOSE_POSITION:
            if taking.left or not taking.was_told:
                reason = taking.stopped or (Reason.REDUCE_ONLY if taking.lots == 0 else self._unfilled(taker))
                yield self._cancel_rest(command, taking, reason)
            return
        yield from self._finish(command, book, taking)

    def _finish(self, command: Command, book: Book, taking: Taking) -> Iterator[Event]:
        """Rest or cancel what an order could not trade."""
        taker = taking.order
        if taking.left == 0 and taking.was_told:
            return
        if taker.rests and taking.stopped == Reason.NONE and taker.limit_ticks == taker.price_ticks:
            taker.show()
            self._join(book, taker)
            yield self._order_event(command, EventKind.RESTED, taker, taker.open_lots)
            return
        yield self._cancel_rest(command, taking, taking.stopped or self._unfilled(taker))

    @staticmethod
    def _unfilled(taker: Order) -> Reason:
        """Return why the rest of an order goes when there is nothing left to trade with."""
        return Reason.IOC_REMAINDER if taker.limit_ticks == taker.price_ticks else Reason.WORST_PRICE

    def _cancel_rest(self, command: Command, taking: Taking, reason: Reason) -> Event:
        """Cancel lots that never rested."""
        taking.order.open_lots = 0
        event = self._order_event(command, EventKind.CANCELLED, taking.order, taking.left, reason)
        event.level_lots = NO_LEVEL
        return event

    def _available(self, book: Book, taker: Order) -> int:
        """Return how much a fill-or-kill order is sure to get: reduce-only makers may shrink, so they do not count."""
        found = 0
        for price_ticks in book.prices(other(taker.side)):
            if not taker.reaches(price_ticks):
                break
            for maker in book.queues[other(taker.side)][price_ticks].values():
                if taker.stp and maker.trader_id == taker.trader_id:
                    if taker.stp == SelfTrade.CANCEL_MAKER:
                        continue
                    return found
                if not maker.flags & OrderFlag.REDUCE_ONLY:
                    found += maker.open_lots
        return found

    def _take(self, command: Command, book: Book, taking: Taking) -> Iterator[Event]:
        """Trade with the other side, best price first, then oldest first."""
        taker, maker_side = taking.order, other(taking.order.side)
        while taking.lots > 0 and taking.stopped == Reason.NONE:
            price_ticks = book.best_price(maker_side)
            if price_ticks is None or not taker.reaches(price_ticks):
                break
            maker = next(iter(book.queues[maker_side][price_ticks].values()))
            lots = min(taking.lots, maker.shown_lots)
            if taker.quote_lots:
                lots = min(lots, taking.budget // price_ticks)
            if taker.stp and maker.trader_id == taker.trader_id:
                if lots == 0:
                    taking.stopped = Reason.BUDGET_SPENT
                else:
                    yield from self._prevent(command, book, taking, maker, lots)
                continue
            if maker.flags & OrderFlag.REDUCE_ONLY:
                lots = min(lots, self._reducible(maker))
                if self._reducible(maker) == 0:
                    yield self._remove(command, maker, Reason.REDUCE_ONLY)
                    continue
            if lots == 0:
                taking.stopped = Reason.BUDGET_SPENT
                continue
            yield self._fill(command, book, taking, maker, lots)
            yield from self._refill(command, book, maker)

    def _prevent(self, command: Command, book: Book, taking: Taking, maker: Order, lots: int) -> Iterator[Event]:
        """Keep a trader from trading with itself, as its taker wishes."""
        taker = taking.order
        if taker.stp in {SelfTrade.CANCEL_MAKER, SelfTrade.CANCEL_BOTH}:
            yield self._remove(command, maker, Reason.SELF_TRADE)
        if taker.stp in {SelfTrade.CANCEL_TAKER, SelfTrade.CANCEL_BOTH}:
            taking.stopped = Reason.SELF_TRADE
        if taker.stp != SelfTrade.DECREMENT:
            return
        if lots == maker.open_lots:
            yield self._remove(command, maker, Reason.SELF_TRADE)
        else:
            maker.open_lots -= lots
            maker.shown_lots -= lots
            yield self._order_event(command, EventKind.REDUCED, maker, lots, Reason.SELF_TRADE)
            yield from self._refill(command, book, maker)
        taking.give(lots, maker.price_ticks)
        kind = EventKind.REDUCED if taking.left else EventKind.CANCELLED
        event = self._order_event(command, kind, taker, lots, Reason.SELF_TRADE)
        event.left_lots, event.level_lots = taking.left, NO_LEVEL
        yield event

    def _refill(self, command: Command, book: Book, maker: Order) -> Iterator[Event]:
        """Show the next part of an iceberg, at the back of the queue."""
        if maker.open_lots == 0 or maker.shown_lots > 0:
            return
        book.leave(maker)
        maker.show()
        book.join(maker)
        yield self._order_event(command, EventKind.RESTED, maker, maker.shown_lots, Reason.REFILLED)

    def _fill(self, command: Command, book: Book, taking: Taking, maker: Order, traded: int) -> Event:
        """Trade taker against maker at the maker's price."""
        taker = taking.order
        taking.give(traded, maker.price_ticks)
        maker.open_lots -= traded
        maker.shown_lots -= traded
        if maker.open_lots == 0:
            self._forget(book, maker)
        event = self._trade(command, book, taker, maker, traded, maker.price_ticks)
        event.left_lots = taking.left
        event.level_lots = book.level_lots(maker.side, maker.price_ticks)
        return event

    def _trade(self, command: Command, book: Book, taker: Order, maker: Order, traded: int, price_ticks: int) -> Event:
        """Count a trade, move positions, and return its event."""
        self.trade_count += 1
        book.trade_number += 1
        book.last_price_ticks = price_ticks
        if book.is_contract:
            for order, lots in ((taker, traded), (maker, traded)):
                signed = lots if order.side == Side.BUY else -lots
                self.positions[order.trader_id, order.instrument_id] += signed
        event = self._order_event(command, EventKind.FILL, taker, traded)
        event.price_ticks = price_ticks
        event.maker_order_id = maker.order_id
        event.maker_trader_id = maker.trader_id
        event.maker_left_lots = maker.open_lots
        event.trade_id = self.trade_id_base + self.trade_count
        event.trade_number = book.trade_number
        return event

    def _auction_fill(
        self, command: Command, book: Book, buyer: Order, seller: Order, traded: int, price_ticks: int
    ) -> Event:
        """Trade at an auction's price: the buyer stands in the taker's place."""
        buyer.open_lots -= traded
        seller.open_lots -= traded
        event = self._trade(command, book, buyer, seller, traded, price_ticks)
        event.reason, event.level_lots = Reason.AUCTION, NO_LEVEL
        return event

    def _auction_event(self, command: Command, found: Uncrossing, reason: Reason) -> Event:
        """Tell the price of an auction, the volume, and what is left over."""
        event = self._event(command, EventKind.AUCTION_PRICE, reason=reason, left_lots=found.surplus_lots)
        event.order_id = event.trader_id = event.side = 0
        event.price_ticks, event.qty_lots = found.price_ticks, found.qty_lots
        return event

    def _level_event(self, command: Command, book: Book, side: Side, price_ticks: int) -> Event:
        """Tell what stands at a price after an auction."""
        event = self._event(command, EventKind.LEVEL, reason=Reason.AUCTION, left_lots=0)
        event.order_id = event.trader_id = event.qty_lots = 0
        event.side, event.price_ticks = side, price_ticks
        event.level_lots = book.level_lots(side, price_ticks)
        return event

    def _order_event(
        self, command: Command, kind: EventKind, order: Order, qty_lots: int, reason: Reason = Reason.NONE
    ) -> Event:
        """Return an event about an order at its own price."""
        event = self._event(command, kind, reason=reason, left_lots=order.open_lots)
        event.order_id = order.order_id
        event.trader_id = order.trader_id
        event.instrument_id = order.instrument_id
        event.side = order.side
        event.price_ticks = order.price_ticks
        event.qty_lots = qty_lots
        if not order.is_waiting:
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
        """Return bids and asks, best first: price, lots that can be seen, order count."""
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
