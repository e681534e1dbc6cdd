"""What decisions about orders work on: rows that are loaded and locked, and what a batch collects for the writer.

No SQL here. Decisions are applied to the book as they are made, so that each sees what those before it took.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from exchange.kernel.clock import to_ns
from exchange.kernel.errors import DomainError
from exchange.kernel.money import plain, to_quanta
from ledger.entries import EntryDraft
from ledger.posting_rules import EventKind, draft
from ledger.waterfall import Debts
from marketdata.selectors import MarketState
from marketdata.units import InstrumentSpec
from matching_worker import protocol
from risk.services.limits import TraderLimits
from trading import order_state
from trading.models import (
    WAITING_TYPES,
    Order,
    OrderStatus,
    OrderType,
    PrivateChannel,
    SelfTradePrevention,
    TimeInForce,
    TriggerBy,
)
from trading.order_parts import Part, PartKind
from trading.order_state import OrderParts, OrderState
from trading.position_state import PositionState
from trading.services import wallets
from trading.services.command_log import CommandRow
from trading.services.pressure import Pressure
from trading.wire import balance_fields, order_fields, position_fields

PPM_DECIMALS = 6

SIDES = {"buy": int(protocol.Side.BUY), "sell": int(protocol.Side.SELL)}
TYPES = {str(word): int(protocol.OrderType[word.name]) for word in OrderType}
TIMES_IN_FORCE = {str(word): int(protocol.TimeInForce[word.name]) for word in TimeInForce}
SELF_TRADE = {str(word): int(protocol.SelfTrade[word.name]) for word in SelfTradePrevention}
TRIGGER_SOURCES = {str(word): int(protocol.TriggerSource[word.name]) for word in TriggerBy}
"""What clients' words are to the engine: plain integers, which turn into columns faster than members do."""


@dataclass(slots=True)
class AdmissionBook:
    """The locked rows that a batch is decided over; decisions are applied to it as they are made.

    Attributes:
        specs: The instruments that the batch names and that exist, by symbol; the same for the whole batch.
        wallets: (owner, asset) -> wallet name -> amount.
        debts: What the owners of these wallets owe; what is released repays it first.
        keys: (owner, client_order_id) -> (body hash, order) of what was placed before.
        orders: Open or ended orders that the batch cancels or reduces, by id.
        states: Last trade and mark price of each instrument concerned.
        free_ids: Order ids reserved for this batch.
        positions: Of each trader and contract that the batch places or releases orders in.
        opening: (trader, contract, side) -> lots that open orders would add.
        parts: Of the contract orders among `orders`.
        pressure: What waits to be matched and settled.
        traders: Whose gates are held, or who are only looked at: what was read of others decides nothing.
    """

    specs: dict[str, InstrumentSpec]
    wallets: wallets.Wallets
    debts: Debts
    limits: dict[int, TraderLimits]
    keys: dict[tuple[int, str], tuple[bytes, Order]]
    orders: dict[int, Order]
    states: dict[int, MarketState]
    free_ids: list[int]
    positions: dict[tuple[int, int], PositionState] = field(default_factory=dict)
    opening: dict[tuple[int, int, str], int] = field(default_factory=dict)
    parts: dict[int, dict[PartKind, Part]] = field(default_factory=dict)
    pressure: Pressure = field(default_factory=Pressure)
    traders: Collection[int] = ()


@dataclass(slots=True)
class Decisions:
    """What a batch changes, in the order in which it was decided."""

    results: list[Order | DomainError] = field(default_factory=list)
    placed: list[Order] = field(default_factory=list)
    keys: list[tuple[int, str, int, bytes]] = field(default_factory=list)
    entries: list[EntryDraft] = field(default_factory=list)
    commands: dict[int, list[CommandRow]] = field(default_factory=dict)
    cancels_requested: list[Order] = field(default_factory=list)
    amends_requested: list[Order] = field(default_factory=list)
    released: list[Order] = field(default_factory=list)
    contract_orders: list[OrderState | OrderParts] = field(default_factory=list)
    """Contract orders whose parts have begun or ended."""
    private: list[tuple[int, PrivateChannel, dict[str, object]]] = field(default_factory=list)
    outbox: list[tuple[str, str, str, dict[str, object]]] = field(default_factory=list)


class Desk:
    """Moves holds, queues commands and tells owners; whether it may, others decide."""

    def __init__(self, book: AdmissionBook, now: datetime) -> None:
        self.book = book
        self.now, self.now_ns, self.today = now, to_ns(now), now.date()
        self.decisions = Decisions()

    def freeze(self, order: Order, hold: Decimal, *, key: str) -> None:
        """Move a hold from available to order_hold."""
        order.hold_remaining += hold
        self._move_hold(EventKind.ORDER_FREEZE, order, hold, key=key)
        amount = plain(hold)
        self.tell_funds("FundsFreezeRequested", order, amount=amount)
        self.tell_funds("FundsFrozen", order, amount=amount)

    def tell_funds(self, event: str, order: Order, **details: object) -> None:
        """Add a domain event about an order's hold."""
        about = {
            "order_id": order.id,
            "user_id": order.user_id,
            "asset": order.hold_asset,
            "trace": order.trace,
            **details,
        }
        self.decisions.outbox.append(("order", str(order.id), event, about))

    def release(self, order: Order, spec: InstrumentSpec, *, status: OrderStatus, reason: str) -> None:
        """End an order that waits for review, giving back its whole hold."""
        if spec.is_contract:
            self.release_parts(order, spec)
        if order.hold_remaining:
            self._move_hold(EventKind.ORDER_UNFREEZE, order, order.hold_remaining, key=f"order:{order.id}:unfreeze")
        order.hold_remaining = Decimal(0)
        order.status, order.reason, order.updated_at = status, reason, self.now
        if status == OrderStatus.CANCELLED:
            order.cancelled_at = self.now
        self.decisions.released.append(order)
        self.tell_order(order, spec)
        self.tell_balance(order.user_id, order.hold_asset)

    def release_parts(self, order: Order, spec: InstrumentSpec) -> None:
        """End the parts of an order that never reached the book."""
        state = order_state.of_row(order, spec, self.book.parts.get(order.id))
        if state.reduce is None or state.increase is None:
            return
        if state.reduce.left:
            position = self.book.positions[order.user_id, spec.id]
            position.reserved -= state.reduce.left
            position.changed = True
            self.tell_position(position)
        state.reduce.end()
        state.increase.end()
        self.decisions.contract_orders.append(state)

    def _move_hold(self, kind: EventKind, order: Order, amount: Decimal, *, key: str) -> None:
        """Draft the entry that moves part of a hold, and move the wallets as it will."""
        entry = draft(
            kind,
            key=key,
            effective_at=self.now,
            trace=order.trace,
            roles={"user": order.user_id},
            assets={"asset": order.hold_asset},
            amounts={"amount": amount},
            debts=self.book.debts,
        )
        wallets.follow([entry], self.book.wallets)
        self.decisions.entries.append(entry)

    def queue_place(self, order: Order, spec: InstrumentSpec) -> None:
        """Queue the command that brings an order to the book.

        `price_ticks` is the worst price that the hold covers. The engine also knows `worst_ticks`, for orders whose
        limit reaches further than their hold. No spot order's does, and an order with terms of its own takes the
        engine's rarer road: four times slower, measured, for nothing.
        """
        self.queue(
            spec,
            order,
            kind=protocol.CommandKind.PLACE,
            price_ticks=spec.price_to_ticks(order.worst_price),
            qty_lots=0 if order.quantity is None else spec.qty_to_lots(order.quantity),
            **_terms(order, spec),
        )

    def queue(
        self,
        spec: InstrumentSpec,
        order: Order,
        *,
        kind: protocol.CommandKind,
        price_ticks: int = 0,
        qty_lots: int = 0,
        **terms: int,
    ) -> None:
        """Add a command about an order to its shard's part of the batch."""
        self.book.pressure.add(order.user_id, spec.shard)
        self.decisions.commands.setdefault(spec.shard, []).append(
            CommandRow(
                kind.value,
                spec.id,
                order.id,
                order.user_id,
                self.now_ns,
                SIDES[order.side],
                TYPES[order.type],
                TIMES_IN_FORCE[order.time_in_force],
                price_ticks,
                qty_lots,
                **terms,
            )
        )

    def tell_order(self, order: Order, spec: InstrumentSpec) -> None:
        """Tell the owner's screen what has become of an order."""
        self.decisions.private.append((order.user_id, PrivateChannel.ORDERS, order_fields(order, spec)))

    def tell_position(self, position: PositionState) -> None:
        """Tell the owner's screen where a position stands."""
        mark = self.book.states[position.spec.id].mark_price
        fields = position_fields(position, None if mark is None else position.spec.price_to_ticks(mark))
        self.decisions.private.append((position.user_id, PrivateChannel.POSITIONS, fields))

    def tell_balance(self, owner_id: int, asset: str) -> None:
        """Tell the owner's screen what the wallet holds now."""
        fields = balance_fields(asset, self.book.wallets[owner_id, asset])
        self.decisions.private.append((owner_id, PrivateChannel.BALANCES, fields))


def _terms(order: Order, spec: InstrumentSpec) -> dict[str, int]:
    """Return what the engine shall mind about an order besides price and quantity: of most orders, nothing."""
    terms = {}
    if order.quote_quantity is not None:
        terms["quote_lots"] = order_state.budget(order, spec)
    if order.display_quantity is not None:
        terms["display_lots"] = spec.qty_to_lots(order.display_quantity)
    if order.expires_at is not None:
        terms["expires_ns"] = to_ns(order.expires_at)
    if order.post_only or order.reduce_only or order.close_position:
        terms["flags"] = _flags(order)
    if stp := SELF_TRADE[order.self_trade_prevention]:
        terms["stp"] = stp
    if order.type in WAITING_TYPES:
        terms |= _trigger(order, spec)
    return terms


def _trigger(order: Order, spec: InstrumentSpec) -> dict[str, int]:
    """Return what the engine shall wait for before an order does anything."""
    return {
        "trigger_ticks": 0 if order.stop_price is None else spec.price_to_ticks(order.stop_price),
        "trigger_source": TRIGGER_SOURCES[order.trigger_by or TriggerBy.LAST],
        "callback_ppm": 0 if order.callback_rate is None else to_quanta(order.callback_rate, PPM_DECIMALS),
        "activation_ticks": 0 if order.activation_price is None else spec.price_to_ticks(order.activation_price),
    }


def _flags(order: Order) -> int:
    """Return what the engine shall mind about an order, as bits."""
    flags = protocol.OrderFlag
    return (
        (flags.POST_ONLY if order.post_only else 0)
        | (flags.REDUCE_ONLY if order.reduce_only else 0)
        | (flags.CLOSE_POSITION if order.close_position else 0)
    )
