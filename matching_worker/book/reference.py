"""The same books as plain Python: the specification in code, against which the loops are tested.

It is written to be read. Prices are keys of a dict, a queue is a dict in order of arrival, the best
price is the smallest or largest key. Events and state hash are the same as the engine's, bit for bit.
What rows and queues look like stands in `reference_rows.py`, refusals in `reference_rules.py`, how a
taker trades in `reference_trading.py`.
"""

from collections.abc import Callable, Iterator

import numpy as np

from exchange.kernel.errors import require
from matching_worker.book import hashing
from matching_worker.book.reference_auction import pairs, uncrossing
from matching_worker.book.reference_rows import CALL_STATES, SIZED, WAITING_TYPES, Book, Command, Event, Order
from matching_worker.book.reference_rules import amend_refusal, is_price, place_refusal, state_refusal, terms_refusal
from matching_worker.book.reference_trading import ReferenceTrading
from matching_worker.protocol import (
    ENGINE_VERSION,
    EVENT_DTYPE,
    INSTRUMENT_ID_MAX,
    NO_LEVEL,
    POSITION_LOTS_MAX,
    POSITIONS_MAX,
    PRICE_TICKS_MAX,
    QTY_LOTS_MAX,
    TRADE_COUNT_MAX,
    CommandKind,
    EventKind,
    OrderFlag,
    OrderType,
    Reason,
    Rows,
    Side,
    TimeInForce,
    TradingState,
)

FIRST_VERSIONS = {CommandKind.TRADE_NUMBER: 3}
"""Of the kinds that came after version 2, which had all the others."""
ORDER_KINDS = frozenset({CommandKind.CANCEL, CommandKind.REDUCE, CommandKind.AMEND})
SHARD_KINDS = frozenset({CommandKind.CANCEL_ALL, CommandKind.TIME, CommandKind.BARRIER, CommandKind.POSITION_ADJUST})


class ReferenceEngine(ReferenceTrading):
    """`matching_worker.engine.Engine`, readable and slow."""

    def apply(self, commands: Rows) -> Rows:
        """Apply commands in order; the result equals the engine's, byte for byte."""
        events: list[Event] = []
        for row in commands.tolist():
            events += self._apply_one(Command(*row).read())
        rows = np.zeros(len(events), EVENT_DTYPE)
        for name in Event.__slots__:
            rows[name] = [getattr(event, name) for event in events]
        return rows

    def _apply_one(self, command: Command) -> list[Event]:
        """Apply one command and fold it and its events into the hash."""
        self.sequence += 1
        self.time_ns = max(self.time_ns, command.timestamp_ns)
        self._fold(command.words(self.time_ns), hashing.COMMAND_CONSTANTS)
        if command.has_terms:
            self._fold(command.terms(), hashing.TERM_CONSTANTS)
        events = []
        for index, event in enumerate(self._outcome(command)):
            event.index = index
            self._fold(event.words(), hashing.EVENT_CONSTANTS)
            events.append(event)
        for event in events:
            event.state_hash = self.state_hash
        return events

    def _fold(self, words: tuple[int, ...], constants: tuple[int, ...]) -> None:
        """Fold a row into the running hash."""
        self.state_hash = hashing.fold(self.state_hash, hashing.weighted_sum(words, constants))

    def _outcome(self, command: Command) -> Iterator[Event]:
        """Carry out a command, or refuse it, then let triggers fire, and yield what happens."""
        order = self.orders.get(command.order_id)
        reason = self._refusal(command, order)
        if reason != Reason.NONE:
            hidden = {Reason.UNKNOWN_ORDER, Reason.BAD_INSTRUMENT, Reason.NOT_OWNER}
            told = order is not None and reason not in hidden and command.kind != CommandKind.PLACE
            left = order.open_lots if order is not None and told else 0
            yield self._event(command, EventKind.REJECTED, reason=reason, left_lots=left)
            return
        actions: dict[int, Callable[[Command], Iterator[Event]]] = {
            CommandKind.PLACE: self._place,
            CommandKind.CANCEL_ALL: self._cancel_all,
            CommandKind.SET_STATE: self._set_state,
            CommandKind.TIME: self._pass_time,
            CommandKind.MARK_PRICE: self._set_price,
            CommandKind.LAST_PRICE: self._set_price,
            CommandKind.POSITION_ADJUST: self._adjust,
            CommandKind.BARRIER: self._pass_barrier,
            CommandKind.UNCROSS: self._uncross,
            CommandKind.TRADE_NUMBER: self._number_trades,
        }
        yield from (
            self._change(command, order) if order and command.kind in ORDER_KINDS else actions[command.kind](command)
        )
        if command.kind not in SHARD_KINDS:
            yield from self._follow_up(command)

    def _follow_up(self, command: Command) -> Iterator[Event]:
        """Let triggers fire one after the other, and tell a call auction's price when it has changed."""
        book = self.book(command.instrument_id)
        while book.state == TradingState.CONTINUOUS and (order := book.next_to_fire()):
            self._forget(book, order)
            order.is_waiting = False
            yield from self._fire(command, order)
        yield from self._tell_indication(command, command.instrument_id)

    def _tell_indication(self, command: Command, instrument_id: int) -> Iterator[Event]:
        """Tell what an instrument's call auction would do, if that has changed."""
        book = self.book(instrument_id)
        if book.state == TradingState.AUCTION:
            found = uncrossing(book, book.reference_ticks or book.last_price_ticks)
            if found != book.indication:
                book.indication = found
                event = self._auction_event(command, found, Reason.NONE)
                event.instrument_id = instrument_id
                yield event

    def _refusal(self, command: Command, order: Order | None) -> Reason:
        """Return why a command cannot be carried out; the first reason in this order counts."""
        if not 0 <= command.instrument_id <= INSTRUMENT_ID_MAX:
            return Reason.BAD_INSTRUMENT
        if command.kind == CommandKind.PLACE:
            reason = place_refusal(command, order, len(self.orders))
            if reason != Reason.NONE:
                return reason
            book, key = self.book(command.instrument_id), (command.trader_id, command.instrument_id)
            return terms_refusal(command, book, self.time_ns) or state_refusal(
                command,
                book,
                self._incoming(command),
                positions=len(self.positions),
                has_position=key in self.positions,
            )
        if command.kind in ORDER_KINDS:
            return self._change_refusal(command, order)
        if command.kind not in set(CommandKind) or command.version < FIRST_VERSIONS.get(CommandKind(command.kind), 2):
            return Reason.BAD_KIND
        return self._system_refusal(command)

    def _change_refusal(self, command: Command, order: Order | None) -> Reason:
        """Return why a resting or waiting order cannot be changed."""
        if order is None or order.instrument_id != command.instrument_id:
            return Reason.UNKNOWN_ORDER
        if command.version > 1 and command.trader_id not in {0, order.trader_id}:
            return Reason.NOT_OWNER
        if command.kind == CommandKind.AMEND:
            return amend_refusal(command, self.book(order.instrument_id), order)
        if command.kind == CommandKind.REDUCE and command.qty_lots < 1:
            return Reason.BAD_QTY
        return Reason.NONE

    def _system_refusal(self, command: Command) -> Reason:  # noqa: PLR0911, C901 - one for each
        """Return why a command about no single order cannot be carried out."""
        book = self.book(command.instrument_id)
        kind, lots = command.kind, command.qty_lots
        if kind in {CommandKind.MARK_PRICE, CommandKind.LAST_PRICE} and not is_price(command.price_ticks):
            return Reason.BAD_PRICE
        if kind in {CommandKind.SET_STATE, CommandKind.UNCROSS}:
            if not 0 <= command.price_ticks <= PRICE_TICKS_MAX:
                return Reason.BAD_PRICE
            states = set(TradingState) - (CALL_STATES if kind == CommandKind.UNCROSS else set())
            has_orders = book.waiting or book.queues[Side.BUY] or book.queues[Side.SELL]
            becomes_contract = command.flags & OrderFlag.CONTRACT and not book.is_contract
            opens_crossed = kind == CommandKind.SET_STATE and lots == TradingState.CONTINUOUS and book.is_crossed
            not_in_call = kind == CommandKind.UNCROSS and book.state not in CALL_STATES
            if lots not in states or (becomes_contract and has_orders) or opens_crossed or not_in_call:
                return Reason.BAD_STATE
        if kind == CommandKind.POSITION_ADJUST:
            key = (command.trader_id, command.instrument_id)
            if not book.is_contract:
                return Reason.BAD_INSTRUMENT
            fits = abs(lots) <= POSITION_LOTS_MAX and abs(self.positions.get(key, 0) + lots) <= POSITION_LOTS_MAX
            if not fits:
                return Reason.BAD_QTY
            if key not in self.positions and len(self.positions) >= POSITIONS_MAX:
                return Reason.TOO_MANY_POSITIONS
        if kind == CommandKind.TRADE_NUMBER and not book.trade_number <= lots <= TRADE_COUNT_MAX:
            return Reason.BAD_QTY
        if kind == CommandKind.BARRIER:
            require(lots <= ENGINE_VERSION, f"engine version {lots} is needed from here on; this is {ENGINE_VERSION}")
            return Reason.BAD_QTY if lots < 1 else Reason.NONE
        return Reason.NONE

    @staticmethod
    def _incoming(command: Command) -> Order:
        """Return the order that a PLACE describes."""
        sizes_itself = command.flags & OrderFlag.CLOSE_POSITION or (command.quote_lots and not command.qty_lots)
        return Order(
            order_id=command.order_id,
            trader_id=command.trader_id,
            instrument_id=command.instrument_id,
            side=Side(command.side),
            price_ticks=command.price_ticks,
            open_lots=QTY_LOTS_MAX if sizes_itself else command.qty_lots,
            order_type=OrderType(command.order_type),
            time_in_force=TimeInForce(command.time_in_force),
            flags=command.flags,
            stp=command.stp,
            trigger_source=command.trigger_source,
            trigger_ticks=command.trigger_ticks,
            worst_ticks=command.worst_ticks,
            display_lots=command.display_lots,
            quote_lots=command.quote_lots,
            expires_ns=command.expires_ns,
            activation_ticks=command.activation_ticks,
            callback_ppm=command.callback_ppm,
        )

    def _place(self, command: Command) -> Iterator[Event]:
        """Let an order wait for its trigger, or trade and rest."""
        book, order = self.book(command.instrument_id), self._incoming(command)
        if book.is_contract:
            self.positions.setdefault((order.trader_id, order.instrument_id), 0)
        if order.order_type in WAITING_TYPES:
            yield from self._wait_or_fire(command, order)
        else:
            yield from self._execute(command, order)

    def _wait_or_fire(self, command: Command, order: Order) -> Iterator[Event]:
        """Let an order wait, or fire at once when its trigger is already through."""
        book = self.book(order.instrument_id)
        price = book.watched(order)
        if order.order_type == OrderType.TRAILING_STOP and price:
            order.follow(price)
        if book.state == TradingState.CONTINUOUS and order.is_through(price):
            yield from self._fire(command, order)
            return
        order.is_waiting = True
        order.shown_lots = order.open_lots
        self._join(book, order)
        yield self._order_event(command, EventKind.RESTED, order, order.open_lots, Reason.WAITING)

    def _fire(self, command: Command, order: Order) -> Iterator[Event]:
        """Let a triggered order do what it was waiting for."""
        event = self._order_event(command, EventKind.TRIGGERED, order, order.open_lots)
        event.price_ticks, event.level_lots = order.trigger_ticks, NO_LEVEL
        yield event
        yield from self._execute(command, order)

    def _change(self, command: Command, order: Order) -> Iterator[Event]:
        """Cancel, reduce or amend a resting or waiting order."""
        if command.kind == CommandKind.AMEND:
            yield from self._amend(command, order)
        elif command.kind == CommandKind.REDUCE and command.qty_lots < order.open_lots:
            removed = command.qty_lots
            order.open_lots -= removed
            order.shown_lots = min(order.shown_lots, order.open_lots)
            yield self._order_event(command, EventKind.REDUCED, order, removed)
        else:
            reason = Reason.USER if command.kind == CommandKind.CANCEL else Reason.REDUCED_TO_ZERO
            yield self._remove(command, order, reason)

    def _amend(self, command: Command, order: Order) -> Iterator[Event]:
        """Give an order a new price and new open lots; a waiting one perhaps a new trigger."""
        book = self.book(order.instrument_id)
        moves = command.trigger_ticks not in {0, order.trigger_ticks}
        if order.is_waiting and not moves:
            removed = order.open_lots - command.qty_lots
            order.open_lots = order.shown_lots = command.qty_lots
            event = self._order_event(command, EventKind.AMENDED, order, max(0, removed))
            order.price_ticks, order.worst_ticks = command.price_ticks, command.worst_ticks
            yield event
            return
        if order.is_waiting or command.price_ticks != order.price_ticks or command.qty_lots > order.open_lots:
            removed, order.open_lots = order.open_lots, command.qty_lots
            self._forget(book, order)
            yield self._order_event(command, EventKind.AMENDED, order, removed, Reason.LOST_PLACE)
            order.price_ticks, order.worst_ticks = command.price_ticks, command.worst_ticks
            if order.is_waiting:
                order.is_waiting, order.trigger_ticks = False, command.trigger_ticks
                yield from self._wait_or_fire(command, order)
            else:
                yield from self._execute(command, order)
            return
        removed, order.open_lots = order.open_lots - command.qty_lots, command.qty_lots
        order.shown_lots = min(order.shown_lots, order.open_lots)
        yield self._order_event(command, EventKind.AMENDED, order, removed)

    def _cancel_many(self, command: Command, orders: list[Order], reason: Reason) -> Iterator[Event]:
        """Cancel orders in the order in which they entered, after saying how many they are."""
        event = self._event(command, EventKind.APPLIED, reason=Reason.NONE, left_lots=0)
        event.qty_lots = len(orders)
        yield event
        oldest_first = sorted(orders, key=lambda one: one.entry)
        for order in oldest_first:
            yield self._remove(command, order, reason)
        for instrument_id in dict.fromkeys(order.instrument_id for order in oldest_first):
            yield from self._tell_indication(command, instrument_id)

    def _cancel_all(self, command: Command) -> Iterator[Event]:
        """Cancel the orders of a trader, of an instrument, or of both; 0 stands for any."""
        found = [
            order
            for order in self.orders.values()
            if command.trader_id in {0, order.trader_id} and command.instrument_id in {0, order.instrument_id}
        ]
        yield from self._cancel_many(command, found, Reason.CANCEL_ALL)

    def _pass_time(self, command: Command) -> Iterator[Event]:
        """Cancel the orders whose time is over."""
        found = [order for order in self.orders.values() if 0 < order.expires_ns <= self.time_ns]
        yield from self._cancel_many(command, found, Reason.EXPIRED)

    def _set_state(self, command: Command) -> Iterator[Event]:
        """Change what an instrument allows."""
        book = self.book(command.instrument_id)
        book.is_contract |= bool(command.flags & OrderFlag.CONTRACT)
        book.reference_ticks = command.price_ticks
        yield self._state_event(command, book)

    def _state_event(self, command: Command, book: Book) -> Event:
        """Change the state; what a call auction indicated is forgotten."""
        event = self._event(command, EventKind.STATE_CHANGED, reason=Reason.NONE, left_lots=book.state)
        book.state = TradingState(command.qty_lots)
        book.indication = (0, 0, 0)
        return event

    def _set_price(self, command: Command) -> Iterator[Event]:
        """Take over a mark price, or a last price that is no trade of this book."""
        book = self.book(command.instrument_id)
        if command.kind == CommandKind.MARK_PRICE:
            book.mark_ticks = command.price_ticks
        else:
            book.last_price_ticks = command.price_ticks
        yield self._event(command, EventKind.APPLIED, reason=Reason.NONE, left_lots=0)

    def _number_trades(self, command: Command) -> Iterator[Event]:
        """Go on counting an instrument's trades from those that were made elsewhere."""
        self.book(command.instrument_id).trade_number = command.qty_lots
        yield self._event(command, EventKind.APPLIED, reason=Reason.NONE, left_lots=0)

    def _adjust(self, command: Command) -> Iterator[Event]:
        """Change a position otherwise than by a fill."""
        key = (command.trader_id, command.instrument_id)
        self.positions[key] = self.positions.get(key, 0) + command.qty_lots
        yield self._event(command, EventKind.APPLIED, reason=Reason.NONE, left_lots=self.positions[key])

    def _pass_barrier(self, command: Command) -> Iterator[Event]:
        """Say from where on which version of the engine is at work."""
        yield self._event(command, EventKind.APPLIED, reason=Reason.NONE, left_lots=0)

    def _uncross(self, command: Command) -> Iterator[Event]:
        """End a call auction: trade at one price, then change the state."""
        book = self.book(command.instrument_id)
        queues = [queue for prices in book.queues.values() for queue in prices.values()]
        sized = [order for queue in queues for order in queue.values() if order.flags & SIZED]
        for order in sorted(sized, key=lambda one: one.entry):
            yield self._remove(command, order, Reason.REDUCE_ONLY)
        found = uncrossing(book, command.price_ticks or book.reference_ticks or book.last_price_ticks)
        yield self._auction_event(command, found, Reason.AUCTION)
        touched: dict[Side, int] = {}
        for buyer, seller, traded in pairs(book, found.qty_lots):
            touched = {Side.BUY: buyer.price_ticks, Side.SELL: seller.price_ticks}
            yield self._auction_fill(command, book, buyer, seller, traded, found.price_ticks)
            for order in (buyer, seller):
                if order.open_lots == 0:
                    self._forget(book, order)
                    if order.price_ticks not in book.queues[order.side]:
                        yield self._level_event(command, book, order.side, order.price_ticks)
                else:
                    order.show()
        for side, price_ticks in touched.items():
            if price_ticks in book.queues[side]:
                yield self._level_event(command, book, side, price_ticks)
        book.reference_ticks = 0
        yield self._state_event(command, book)
