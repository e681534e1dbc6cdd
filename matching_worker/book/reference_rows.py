"""What the readable book is made of: commands, events, orders and the queues of one instrument."""

from dataclasses import dataclass, field
from typing import NamedTuple

from matching_worker.protocol import OrderFlag, OrderType, Side, TimeInForce, TradingState


class Command(NamedTuple):
    """The fields of COMMAND_DTYPE, in their order; the reserved ones are not read."""

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
    expected_lots: int

    @property
    def options(self) -> int:
        """What a plain command has as 0."""
        return self.flags | self.trigger_source << 8 | self.stp << 16

    def read(self) -> "Command":
        """Return the command as it must be understood: without the terms that it says it has not."""
        if self.has_terms:
            return self
        nothing = dict.fromkeys((*self._fields[12:15], *self._fields[17:]), 0)
        return self._replace(**nothing)

    def words(self, time_ns: int) -> tuple[int, ...]:
        """Return what Note [State hash] lists as the words of a command."""
        packed = (
            (self.instrument_id & 0xFFFFFFFF)
            | self.kind << 32
            | self.side << 40
            | self.order_type << 48
            | self.time_in_force << 56
        )
        return (self.sequence, time_ns, self.order_id, self.trader_id, self.price_ticks, self.qty_lots, packed)

    def terms(self) -> tuple[int, ...]:
        """Return the words of the second half."""
        return (
            self.options,
            self.trigger_ticks,
            self.worst_ticks,
            self.display_lots,
            self.quote_lots,
            self.expires_ns,
            self.activation_ticks,
            self.callback_ppm,
        )


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


LIMIT_TYPES = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT_LIMIT})
WAITING_TYPES = frozenset(OrderType) - {OrderType.LIMIT, OrderType.MARKET}
RESTING_TIMES = frozenset({TimeInForce.GTC, TimeInForce.GTD, TimeInForce.DAY})
CALL_STATES = frozenset({TradingState.PRE_OPEN, TradingState.AUCTION})
SIZED = OrderFlag.REDUCE_ONLY | OrderFlag.CLOSE_POSITION


@dataclass(slots=True)
class Order:
    """An order that rests, waits for its trigger, or is coming in.

    Attributes:
        open_lots: All of it, an iceberg's hidden part included.
        shown_lots: What stands in the queue.
        extreme_ticks: Best price seen since a trailing stop became active; 0 before.
        entry: Number of its last arrival in a queue, rising.
    """

    order_id: int
    trader_id: int
    instrument_id: int
    side: Side
    price_ticks: int
    open_lots: int
    order_type: OrderType = OrderType.LIMIT
    time_in_force: TimeInForce = TimeInForce.GTC
    flags: int = 0
    stp: int = 0
    trigger_source: int = 0
    trigger_ticks: int = 0
    worst_ticks: int = 0
    display_lots: int = 0
    quote_lots: int = 0
    expires_ns: int = 0
    activation_ticks: int = 0
    callback_ppm: int = 0
    extreme_ticks: int = 0
    shown_lots: int = 0
    entry: int = 0
    is_waiting: bool = False

    @property
    def rests(self) -> bool:
        """Tell whether what does not trade joins the book."""
        return self.order_type in LIMIT_TYPES and self.time_in_force in RESTING_TIMES

    @property
    def fires_above(self) -> bool:
        """Tell whether the order fires at or above its trigger rather than at or below."""
        takes_profit = self.order_type in {OrderType.TAKE_PROFIT, OrderType.TAKE_PROFIT_LIMIT}
        return (self.side == Side.BUY) != takes_profit

    @property
    def limit_ticks(self) -> int:
        """The worst price it may trade at: its own, or what its hold covers."""
        if self.worst_ticks == 0:
            return self.price_ticks
        return (min if self.side == Side.BUY else max)(self.price_ticks, self.worst_ticks)

    def reaches(self, price_ticks: int) -> bool:
        """Tell whether it may trade at a price."""
        if self.side == Side.BUY:
            return price_ticks <= self.limit_ticks
        return price_ticks >= self.limit_ticks

    def show(self) -> None:
        """Show the next part of an iceberg, or all of any other order."""
        self.shown_lots = min(self.display_lots or self.open_lots, self.open_lots)

    def follow(self, price_ticks: int) -> None:
        """Let a trailing stop follow the price it watches."""
        is_sell = self.side == Side.SELL
        if self.extreme_ticks:
            self.extreme_ticks = (max if is_sell else min)(self.extreme_ticks, price_ticks)
        elif self.activation_ticks == 0 or (
            price_ticks >= self.activation_ticks if is_sell else price_ticks <= self.activation_ticks
        ):
            self.extreme_ticks = price_ticks
        if self.extreme_ticks:
            distance = max(1, self.extreme_ticks * self.callback_ppm // 1_000_000)
            self.trigger_ticks = self.extreme_ticks - distance if is_sell else self.extreme_ticks + distance

    def is_through(self, price_ticks: int) -> bool:
        """Tell whether the price it watches has reached its trigger; 0 means that there is no such price."""
        if price_ticks == 0 or (self.order_type == OrderType.TRAILING_STOP and not self.extreme_ticks):
            return False
        return price_ticks >= self.trigger_ticks if self.fires_above else price_ticks <= self.trigger_ticks


@dataclass(slots=True)
class Book:
    """One instrument: for each side, price -> orders by id, oldest first; and the orders that wait."""

    queues: dict[Side, dict[int, dict[int, Order]]] = field(default_factory=lambda: {Side.BUY: {}, Side.SELL: {}})
    waiting: dict[int, Order] = field(default_factory=dict)
    trade_number: int = 0
    last_price_ticks: int = 0
    mark_ticks: int = 0
    reference_ticks: int = 0
    state: TradingState = TradingState.CONTINUOUS
    is_contract: bool = False
    indication: tuple[int, int, int] = (0, 0, 0)

    def best_price(self, side: Side) -> int | None:
        """Return the price that a taker meets first on a side."""
        prices = self.queues[side]
        if not prices:
            return None
        return max(prices) if side == Side.BUY else min(prices)

    def prices(self, side: Side) -> list[int]:
        """Return a side's prices, best first."""
        return sorted(self.queues[side], reverse=side == Side.BUY)

    def level_lots(self, side: Side, price_ticks: int) -> int:
        """Return what can be seen at a price."""
        return sum(order.shown_lots for order in self.queues[side].get(price_ticks, {}).values())

    def total_lots(self, side: Side, price_ticks: int) -> int:
        """Return what stands at a price, hidden parts included."""
        return sum(order.open_lots for order in self.queues[side].get(price_ticks, {}).values())

    @property
    def is_crossed(self) -> bool:
        """Tell whether orders rest that could trade with each other."""
        bid, ask = self.best_price(Side.BUY), self.best_price(Side.SELL)
        return bid is not None and ask is not None and bid >= ask

    def crosses(self, order: Order) -> bool:
        """Tell whether an order would trade on arrival."""
        price = self.best_price(other(order.side))
        return price is not None and order.reaches(price)

    def watched(self, order: Order) -> int:
        """Return the price that an order's trigger watches, 0 when there is none yet."""
        return self.mark_ticks if order.trigger_source else self.last_price_ticks

    def join(self, order: Order) -> None:
        """Put an order at the back of its queue."""
        if order.is_waiting:
            self.waiting[order.order_id] = order
        else:
            self.queues[order.side].setdefault(order.price_ticks, {})[order.order_id] = order

    def leave(self, order: Order) -> None:
        """Take an order out of its queue."""
        if order.is_waiting:
            del self.waiting[order.order_id]
            return
        queue = self.queues[order.side][order.price_ticks]
        del queue[order.order_id]
        if not queue:
            del self.queues[order.side][order.price_ticks]

    def next_to_fire(self) -> Order | None:
        """Return the order whose trigger has been reached and comes first; Note [Order of firing]."""
        found = None
        for order in self.waiting.values():
            price = self.watched(order)
            trails = order.order_type == OrderType.TRAILING_STOP
            if trails and price:
                order.follow(price)
            if order.is_through(price):
                distance = 0 if trails else order.trigger_ticks if order.fires_above else -order.trigger_ticks
                rank = (trails, 0 if trails else order.trigger_source, not (trails or order.fires_above), distance)
                found = min(found or (rank, order.entry, order), (rank, order.entry, order), key=lambda one: one[:2])
        return found[2] if found else None


def other(side: Side) -> Side:
    """Return the side that a taker of `side` trades with."""
    return Side.SELL if side == Side.BUY else Side.BUY
