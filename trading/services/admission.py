"""Decides a batch of submissions, one by one, over rows that are already loaded and locked. No SQL here.

A refused item changes nothing and is that item's result. What is accepted is collected as columns for the writer
(`trading.services.orders`).
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from exchange.kernel import ids
from exchange.kernel.clock import to_ns
from exchange.kernel.errors import DomainError
from exchange.kernel.money import from_quanta, plain, to_quanta
from ledger.entries import EntryDraft
from ledger.posting_rules import EventKind, draft
from marketdata import selectors as instruments
from marketdata.selectors import SYMBOL_SHOWN_MAX, UnknownInstrumentError
from marketdata.units import InstrumentSpec
from matching_worker import protocol
from risk.services import checks
from risk.services.limits import TraderLimits
from trading import errors, order_state
from trading.models import LIMIT_TYPES, Order, OrderStatus, OrderType, PrivateChannel, SelfTradePrevention, TimeInForce
from trading.services import terms
from trading.services.command_log import CommandRow
from trading.services.requests import AmendOrder, CancelOrder, OrderRequest, PlaceOrder, ReduceOrder
from trading.wire import balance_fields, order_fields

PPM_DECIMALS = 6

WALLETS = ("available", "order_hold", "withdraw_hold")

SIDES = {"buy": protocol.Side.BUY, "sell": protocol.Side.SELL}
TYPES = {str(word): protocol.OrderType[word.name] for word in OrderType}
TIMES_IN_FORCE = {str(word): protocol.TimeInForce[word.name] for word in TimeInForce}
SELF_TRADE = {str(word): protocol.SelfTrade[word.name] for word in SelfTradePrevention}


@dataclass(slots=True)
class AdmissionBook:
    """The locked rows that a batch is decided over; decisions are applied to it as they are made.

    Attributes:
        specs: The instruments that the batch names and that exist, by symbol; the same for the whole batch.
        wallets: (owner, asset) -> wallet name -> amount.
        keys: (owner, client_order_id) -> (body hash, order) of what was placed before.
        orders: Open or ended orders that the batch cancels or reduces, by id.
        last_prices: Last trade of each instrument concerned, None before the first.
        free_ids: Order ids reserved for this batch.
    """

    specs: dict[str, InstrumentSpec]
    wallets: dict[tuple[int, str], dict[str, Decimal]]
    limits: dict[int, TraderLimits]
    keys: dict[tuple[int, str], tuple[bytes, Order]]
    orders: dict[int, Order]
    last_prices: dict[int, Decimal | None]
    free_ids: list[int]


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
    private: list[tuple[int, PrivateChannel, dict[str, object]]] = field(default_factory=list)
    outbox: list[tuple[str, str, str, dict[str, object]]] = field(default_factory=list)


class Admission:
    """Decides submissions in order; each sees what those before it in the batch took."""

    def __init__(self, book: AdmissionBook, now: datetime) -> None:
        self.book = book
        self.now = now
        self.decisions = Decisions()

    def decide(self, owner_id: int, request: OrderRequest) -> None:
        """Decide one submission and record its result."""
        deciders: dict[type, Callable[[int, OrderRequest], Order]] = {
            PlaceOrder: self._place,  # type: ignore[dict-item]
            CancelOrder: self._cancel,  # type: ignore[dict-item]
            ReduceOrder: self._reduce,  # type: ignore[dict-item]
            AmendOrder: self._amend,  # type: ignore[dict-item]
        }
        try:
            result: Order | DomainError = deciders[type(request)](owner_id, request)
        except DomainError as refusal:
            result = refusal
        self.decisions.results.append(result)

    # --- new orders -------------------------------------------------------------------------------
    def _place(self, owner_id: int, request: PlaceOrder) -> Order:
        """Accept an order: freeze its hold and queue its command; or store it as rejected for want of funds."""
        if (first := self._repeat(owner_id, request)) is not None:
            return first
        spec = self.book.specs.get(request.symbol)
        if spec is None:
            raise UnknownInstrumentError(symbol=request.symbol[:SYMBOL_SHOWN_MAX])
        checks.require_trading(spec)
        lots = spec.qty_to_lots(request.quantity)
        terms.check(request, spec, now=self.now)
        worth = checks.order_terms(
            spec,
            side=request.side,
            lots=lots,
            limit_ticks=None if request.price is None else spec.price_to_ticks(request.price),
            stop_ticks=self._stop_ticks(spec, request),
            last_price=self.book.last_prices[spec.id],
        )
        limits = self.book.limits[owner_id]
        limits.count_order(self.now.date())
        order = self._new_order(owner_id, request, spec, worth)
        wallet = self.book.wallets[owner_id, worth.hold_asset]
        hold = from_quanta(worth.hold, worth.hold_decimals)
        if wallet["available"] < hold:
            return self._reject_for_funds(order, spec, request, required=hold, available=wallet["available"])
        self._freeze(order, hold, wallet, key=f"order:{order.id}:freeze")
        if limits.needs_review(spec.quote, spec.ticks_to_price(worth.worst_ticks) * order.quantity):
            order.status = OrderStatus.PENDING_REVIEW
        else:
            self.queue_place(order, spec)
        self._record(order, spec, request)
        self._tell_balance(owner_id, worth.hold_asset)
        return order

    def _stop_ticks(self, spec: InstrumentSpec, request: PlaceOrder) -> int | None:
        """Return the price at which the order wakes, for a trailing stop the worst at which it may; None for others."""
        if request.callback_rate is None:
            return None if request.stop_price is None else spec.price_to_ticks(request.stop_price)
        begins = request.activation_price or self.book.last_prices[spec.id] or spec.reference_price
        return checks.trailing_stop_ticks(spec, side=request.side, begins=begins, callback_rate=request.callback_rate)

    def _repeat(self, owner_id: int, request: PlaceOrder) -> Order | None:
        """Return the order that this request placed before, if it is a retry."""
        if request.client_order_id is None:
            return None
        known = self.book.keys.get((owner_id, request.client_order_id))
        if known is None:
            return None
        body_hash, order = known
        if body_hash != request.body_hash:
            raise errors.DuplicateClientOrderIdError(client_order_id=request.client_order_id)
        again = copy.copy(order)  # the first request may be in this batch too, and it was no repeat
        again.repeated = True
        return again

    def _new_order(self, owner_id: int, request: PlaceOrder, spec: InstrumentSpec, worth: checks.OrderTerms) -> Order:
        """Build the row of an accepted order, before its hold is taken."""
        return Order(
            id=request.order_id if request.order_id is not None else self.book.free_ids.pop(),
            user_id=owner_id,
            instrument_id=spec.id,
            symbol=spec.symbol,
            side=request.side,
            type=request.type,
            time_in_force=request.time_in_force,
            price=request.price,
            stop_price=request.stop_price,
            display_quantity=request.display_quantity,
            callback_rate=request.callback_rate,
            activation_price=request.activation_price,
            post_only=request.post_only,
            self_trade_prevention=request.self_trade_prevention,
            expires_at=terms.expires_at(request, now=self.now),
            worst_price=spec.ticks_to_price(worth.worst_ticks),
            quantity=request.quantity,
            filled_quantity=Decimal(0),
            filled_notional=Decimal(0),
            fee=Decimal(0),
            fee_accrued=Decimal(0),
            maker_fee_rate=spec.maker_fee_rate,
            taker_fee_rate=spec.taker_fee_rate,
            hold_asset=worth.hold_asset,
            hold_remaining=Decimal(0),
            amend_hold=Decimal(0),
            status=OrderStatus.NEW,
            reason="",
            client_order_id=request.client_order_id,
            trace=request.trace or ids.trace_id(to_ns(self.now)),
            sequence=0,
            created_at=self.now,
            updated_at=self.now,
        )

    def _reject_for_funds(
        self,
        order: Order,
        spec: InstrumentSpec,
        request: PlaceOrder,
        *,
        required: Decimal,
        available: Decimal,
    ) -> Order:
        """Store the order as rejected, with its event; no money moves (api.md, envelope)."""
        order.status, order.reason = OrderStatus.REJECTED, checks.InsufficientFundsError.name
        self._record(order, spec, request)
        details: dict[str, object] = {
            "order_id": order.id,
            "asset": order.hold_asset,
            "required": plain(required),
            "available": plain(available),
        }
        self.decisions.outbox.append(
            (
                "order",
                str(order.id),
                "FundsFreezeFailed",
                {**details, "user_id": order.user_id, "trace": order.trace},
            )
        )
        raise checks.InsufficientFundsError(**details)

    def _freeze(self, order: Order, hold: Decimal, wallet: dict[str, Decimal], *, key: str) -> None:
        """Move a hold from available to order_hold."""
        order.hold_remaining += hold
        wallet["available"] -= hold
        wallet["order_hold"] += hold
        self.decisions.entries.append(
            draft(
                EventKind.ORDER_FREEZE,
                key=key,
                effective_at=self.now,
                trace=order.trace,
                roles={"user": order.user_id},
                assets={"asset": order.hold_asset},
                amounts={"amount": hold},
            )
        )
        self.decisions.outbox.append(
            (
                "order",
                str(order.id),
                "FundsFrozen",
                {
                    "order_id": order.id,
                    "user_id": order.user_id,
                    "asset": order.hold_asset,
                    "amount": plain(hold),
                    "trace": order.trace,
                },
            )
        )

    def queue_place(self, order: Order, spec: InstrumentSpec) -> None:
        """Queue the command that brings an order to the book."""
        self._queue(
            spec,
            order,
            kind=protocol.CommandKind.PLACE,
            price_ticks=spec.price_to_ticks(order.worst_price),
            qty_lots=spec.qty_to_lots(order.quantity),
            trigger_ticks=0 if order.stop_price is None else spec.price_to_ticks(order.stop_price),
            display_lots=0 if order.display_quantity is None else spec.qty_to_lots(order.display_quantity),
            expires_ns=0 if order.expires_at is None else to_ns(order.expires_at),
            flags=protocol.OrderFlag.POST_ONLY if order.post_only else 0,
            stp=SELF_TRADE[order.self_trade_prevention],
            callback_ppm=0 if order.callback_rate is None else to_quanta(order.callback_rate, PPM_DECIMALS),
            activation_ticks=0 if order.activation_price is None else spec.price_to_ticks(order.activation_price),
        )

    def _record(self, order: Order, spec: InstrumentSpec, request: PlaceOrder) -> None:
        """Remember a new order for the writer, for retries inside this batch, and for its owner's screen."""
        self.decisions.placed.append(order)
        self.book.orders[order.id] = order
        if order.client_order_id is not None:
            self.book.keys[order.user_id, order.client_order_id] = (request.body_hash, order)
            self.decisions.keys.append((order.user_id, order.client_order_id, order.id, request.body_hash))
        self.decisions.private.append((order.user_id, PrivateChannel.ORDERS, order_fields(order, spec)))

    # --- changes to open orders -----------------------------------------------------------------------
    def _own_open(self, owner_id: int, order_id: int) -> Order:
        """Return the owner's order, if it may still trade or waits for review."""
        order = self.book.orders.get(order_id)
        if order is None or order.user_id != owner_id:
            raise errors.OrderNotFoundError(order_id=order_id)
        if not order.is_open and order.status != OrderStatus.PENDING_REVIEW:
            raise errors.OrderNotOpenError(order_id=order_id, status=str(order.status))
        return order

    def _cancel(self, owner_id: int, request: CancelOrder) -> Order:
        """Queue a cancel, once per order; an order that never reached the book is released here."""
        order = self._own_open(owner_id, request.order_id)
        if order.cancel_requested_at is not None:
            return order
        spec = instruments.instrument_by_id(order.instrument_id)
        order.cancel_requested_at = self.now
        self.book.limits[owner_id].count_cancel(self.now.date())
        if order.status == OrderStatus.PENDING_REVIEW:
            self.release(order, spec, status=OrderStatus.CANCELLED, reason="USER")
        else:
            self.decisions.cancels_requested.append(order)
            self._queue(spec, order, kind=protocol.CommandKind.CANCEL)
        return order

    def _reduce(self, owner_id: int, request: ReduceOrder) -> Order:
        """Queue a reduction of what is open; settlement gives the hold back."""
        order = self._own_open(owner_id, request.order_id)
        if order.status == OrderStatus.PENDING_REVIEW:
            raise errors.OrderPendingReviewError(order_id=order.id)
        spec = instruments.instrument_by_id(order.instrument_id)
        lots = spec.qty_to_lots(request.quantity)
        still_open = order.quantity - order.filled_quantity
        if request.quantity > still_open:
            raise errors.ReduceTooLargeError(order_id=order.id, open=plain(still_open))
        self._queue(spec, order, kind=protocol.CommandKind.REDUCE, qty_lots=lots)
        return order

    def _amend(self, owner_id: int, request: AmendOrder) -> Order:
        """Add what an amend may need to the hold, and queue it; settlement trims to what the engine says remains."""
        order = self._own_open(owner_id, request.order_id)
        if order.amend_requested_at is not None:
            raise errors.AmendPendingError(order_id=order.id)
        if order.type not in LIMIT_TYPES or order.status not in {OrderStatus.NEW, OrderStatus.PARTIAL_FILLED}:
            raise errors.AmendNotAllowedError(order_id=order.id)
        spec = instruments.instrument_by_id(order.instrument_id)
        price, quantity = request.price or order.price, request.quantity or order.quantity
        if price is None or quantity <= order.filled_quantity or (price, quantity) == (order.price, order.quantity):
            raise errors.AmendEmptyError(filled=plain(order.filled_quantity))
        ticks, lots = spec.price_to_ticks(price), spec.qty_to_lots(quantity)
        checks.require_trading(spec)
        checks.order_terms(
            spec, side=order.side, lots=lots, limit_ticks=ticks, last_price=self.book.last_prices[spec.id]
        )
        self._hold_for_amend(order, spec, ticks, lots)
        order.amend_requested_at = self.now
        self.decisions.amends_requested.append(order)
        filled = spec.qty_to_lots(order.filled_quantity) if order.filled_quantity else 0
        self._queue(
            spec,
            order,
            kind=protocol.CommandKind.AMEND,
            price_ticks=ticks,
            qty_lots=lots - filled,
            expected_lots=spec.qty_to_lots(order.quantity) - filled,
        )
        return order

    def _hold_for_amend(self, order: Order, spec: InstrumentSpec, ticks: int, lots: int) -> None:
        """Freeze what the amended order may need beyond its present hold.

        Raises:
            InsufficientFundsError: The wallet cannot cover it; nothing changes.
        """
        state = order_state.of_row(order, spec)
        extra = from_quanta(order_state.amend_extra(state, ticks, lots), state.hold_decimals)
        wallet = self.book.wallets[order.user_id, order.hold_asset]
        if wallet["available"] < extra:
            raise checks.InsufficientFundsError(
                order_id=order.id, asset=order.hold_asset, required=plain(extra), available=plain(wallet["available"])
            )
        if extra:
            order.amend_hold = extra
            self._freeze(order, extra, wallet, key=f"order:{order.id}:amend:{to_ns(self.now)}")
            self._tell_balance(order.user_id, order.hold_asset)

    def release(self, order: Order, spec: InstrumentSpec, *, status: OrderStatus, reason: str) -> None:
        """End an order that waits for review, giving back its whole hold."""
        self.decisions.entries.append(
            draft(
                EventKind.ORDER_UNFREEZE,
                key=f"order:{order.id}:unfreeze",
                effective_at=self.now,
                trace=order.trace,
                roles={"user": order.user_id},
                assets={"asset": order.hold_asset},
                amounts={"amount": order.hold_remaining},
            )
        )
        wallet = self.book.wallets[order.user_id, order.hold_asset]
        wallet["available"] += order.hold_remaining
        wallet["order_hold"] -= order.hold_remaining
        order.hold_remaining = Decimal(0)
        order.status, order.reason, order.updated_at = status, reason, self.now
        if status == OrderStatus.CANCELLED:
            order.cancelled_at = self.now
        self.decisions.released.append(order)
        self.decisions.private.append((order.user_id, PrivateChannel.ORDERS, order_fields(order, spec)))
        self._tell_balance(order.user_id, order.hold_asset)

    # --- shared ----------------------------------------------------------------------------------------
    def _queue(
        self,
        spec: InstrumentSpec,
        order: Order,
        *,
        kind: protocol.CommandKind,
        **numbers: int,
    ) -> None:
        """Add a command to its shard's part of the batch."""
        self.decisions.commands.setdefault(spec.shard, []).append(
            CommandRow(
                kind=kind,
                timestamp_ns=to_ns(self.now),
                order_id=order.id,
                trader_id=order.user_id,
                instrument_id=spec.id,
                side=SIDES[order.side],
                order_type=TYPES[order.type],
                time_in_force=TIMES_IN_FORCE[order.time_in_force],
                **numbers,
            )
        )

    def _tell_balance(self, owner_id: int, asset: str) -> None:
        """Tell the owner's screen what the wallet holds now."""
        fields = balance_fields(asset, self.book.wallets[owner_id, asset])
        self.decisions.private.append((owner_id, PrivateChannel.BALANCES, fields))
