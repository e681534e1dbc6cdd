"""Decides a batch of submissions, one by one, over rows that are already loaded and locked. No SQL here.

A refused item changes nothing and is that item's result. What is accepted is collected as columns for the writer
(`trading.services.orders`).
"""

import copy
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from exchange.kernel import ids
from exchange.kernel.errors import DomainError
from exchange.kernel.money import EXACT, from_quanta, plain
from marketdata.selectors import SYMBOL_SHOWN_MAX, UnknownInstrumentError
from marketdata.units import InstrumentSpec
from risk.services import checks
from trading import errors
from trading.contract_terms import Sizing
from trading.models import WAITING_TYPES, Order, OrderStatus, TriggerBy
from trading.services import terms
from trading.services.changes import Changes
from trading.services.desk import AdmissionBook
from trading.services.requests import AmendOrder, CancelOrder, OfPosition, OrderRequest, PlaceOrder, ReduceOrder


class Judged(NamedTuple):
    """What a new order would be, and what it would take from available."""

    order: Order
    sizing: Sizing | None
    hold: Decimal


class Admission(Changes):
    """Decides submissions in order; each sees what those before it in the batch took."""

    def __init__(self, book: AdmissionBook, now: datetime) -> None:
        super().__init__(book, now)
        self._traces: list[str] = []
        self._common: dict[int, dict[str, Any]] = {}

    def decide(self, owner_id: int, request: OrderRequest) -> None:
        """Decide one submission and record its result."""
        try:
            result: Order | DomainError = _DECIDERS[type(request)](self, owner_id, request)
        except DomainError as refusal:
            # Its traceback would keep this frame, and so the whole batch, alive until a search for cycles.
            result = refusal.with_traceback(None)
        self.decisions.results.append(result)

    def _place(self, owner_id: int, request: PlaceOrder) -> Order:
        """Accept an order: freeze its hold and queue its command; or store it as rejected for want of funds."""
        if (first := self._repeat(owner_id, request)) is not None:
            return first
        spec = self.book.specs.get(request.symbol)
        if spec is None:
            raise UnknownInstrumentError(symbol=request.symbol[:SYMBOL_SHOWN_MAX])
        if not (request.reduce_only or request.close_position or request.of_position is OfPosition.CLOSE):
            self.book.pressure.require_room(owner_id, spec.shard)
        judged = self.judge(owner_id, request, spec)
        order, sizing, hold = judged.order, judged.sizing, judged.hold
        limits = self.book.limits[owner_id]
        wallet = self.book.wallets[owner_id, order.hold_asset]
        if wallet["available"] < hold:
            return self._reject_for_funds(order, spec, request, required=hold, available=wallet["available"])
        if hold:
            self.freeze(order, hold, key=f"order:{order.id}:freeze")
        if sizing is not None:
            self.open_parts(order, spec, sizing)
        if limits.review_limits and limits.needs_review(spec.quote, self.costs(order, spec)):
            order.status = OrderStatus.PENDING_REVIEW
        else:
            self.queue_place(order, spec)
        self._record(order, spec, request)
        self.tell_balance(owner_id, order.hold_asset)
        return order

    def judge(self, owner_id: int, request: PlaceOrder, spec: InstrumentSpec) -> Judged:
        """Check a new order and say what it would be, reserve and hold; nothing has moved yet.

        Raises:
            DomainError: Why it may not be placed, in words. Too little available is not among them.
        """
        checks.require_trading(spec)
        if request.of_position is not None:
            request = self.sized_by_position(owner_id, request, spec)
        terms.check(request, spec, now=self.now)
        worth = self._worth(owner_id, spec, request)
        sizing = self.size_contract(owner_id, request, spec, worth.worst_ticks) if spec.is_contract else None
        self.book.limits[owner_id].count_order(self.today)
        order = self._new_order(owner_id, request, spec, worth)
        if sizing is not None:
            self.describe_contract(order, spec, sizing)
        return Judged(order, sizing, from_quanta(worth.hold if sizing is None else sizing.hold, worth.hold_decimals))

    @staticmethod
    def costs(order: Order, spec: InstrumentSpec) -> Decimal:
        """Return what an order is worth at its worst price, or the amount that it names.

        Closing a whole position asks nobody: nothing could be less of a risk.
        """
        if order.quantity is not None:
            return EXACT.multiply(EXACT.multiply(order.worst_price, order.quantity), spec.contract_size)
        return Decimal(0) if order.quote_quantity is None else order.quote_quantity

    def _worth(self, owner_id: int, spec: InstrumentSpec, request: PlaceOrder) -> checks.OrderTerms:
        """Check what an order may cost, and say what it must hold; of a contract's, only its worst price counts."""
        last_price = self.book.states[spec.id].last_price
        if request.close_position:
            lots = max(1, self.book.positions[owner_id, spec.id].size)
        elif request.quote_quantity is None:
            lots = spec.qty_to_lots(terms.quantity_of(request))
        if request.quote_quantity is not None:
            return checks.budget_terms(spec, request.quote_quantity, last_price=last_price)
        return checks.order_terms(
            spec,
            side=request.side,
            lots=lots,
            is_closing=request.reduce_only or request.close_position,
            limit_ticks=None if request.price is None else spec.price_to_ticks(request.price),
            stop_ticks=self._stop_ticks(spec, request) if request.type in WAITING_TYPES else None,
            last_price=last_price,
        )

    def _stop_ticks(self, spec: InstrumentSpec, request: PlaceOrder) -> int | None:
        """Return the price at which an order that waits wakes, for a trailing stop the worst at which it may.

        Raises:
            MarkPriceUnknownError: The order would watch a price that there has never been.
        """
        state = self.book.states[spec.id]
        watched = state.last_price
        if request.trigger_by == TriggerBy.MARK:
            watched = state.mark_price
            if watched is None:
                raise errors.MarkPriceUnknownError(field="trigger_by", symbol=spec.symbol)
        if request.callback_rate is None:
            return None if request.stop_price is None else spec.price_to_ticks(request.stop_price)
        begins = request.activation_price or watched or spec.reference_price
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
        common = self._common.get(spec.id)
        if common is None:
            common = self._common[spec.id] = self._in_common(spec)
        order = Order.like(common)
        order.id = request.order_id if request.order_id is not None else self.book.free_ids.pop()
        order.user_id = owner_id
        order.side = request.side
        order.type = request.type
        order.time_in_force = request.time_in_force
        order.price = request.price
        order.stop_price = request.stop_price
        order.trigger_by = terms.trigger_by(request)
        order.display_quantity = request.display_quantity
        order.callback_rate = request.callback_rate
        order.activation_price = request.activation_price
        order.post_only = request.post_only
        order.self_trade_prevention = request.self_trade_prevention
        order.expires_at = terms.expires_at(request, now=self.now)
        order.worst_price = spec.ticks_to_price(worth.worst_ticks)
        order.quantity = request.quantity
        order.quote_quantity = request.quote_quantity
        order.reduce_only = request.reduce_only
        order.close_position = request.close_position
        order.hold_asset = worth.hold_asset
        order.client_order_id = request.client_order_id
        order.trace = request.trace or self._new_trace()
        return order

    def _in_common(self, spec: InstrumentSpec) -> dict[str, Any]:
        """Return what all new orders of the batch in an instrument have in common."""
        nothing = Decimal(0)
        return Order.common(
            instrument_id=spec.id,
            symbol=spec.symbol,
            filled_quantity=nothing,
            filled_notional=nothing,
            fee=nothing,
            fee_accrued=nothing,
            maker_fee_rate=spec.maker_fee_rate,
            taker_fee_rate=spec.taker_fee_rate,
            hold_remaining=nothing,
            amend_hold=nothing,
            status=str(OrderStatus.NEW),
            reason="",
            sequence=0,
            created_at=self.now,
            updated_at=self.now,
        )

    def _new_trace(self) -> str:
        """Return a new trace id, for a request that has none; drawn at once for all new orders that may follow."""
        if not self._traces:
            self._traces = ids.trace_ids(self.now_ns, 1 + len(self.book.free_ids))
        return self._traces.pop()

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
        self.tell_funds("FundsFreezeRequested", order, amount=plain(required))
        self.tell_funds("FundsFreezeFailed", order, required=plain(required), available=plain(available))
        raise checks.InsufficientFundsError(**details)

    def _record(self, order: Order, spec: InstrumentSpec, request: PlaceOrder) -> None:
        """Remember a new order for the writer, for retries inside this batch, and for its owner's screen."""
        self.decisions.placed.append(order)
        self.book.orders[order.id] = order
        if order.client_order_id is not None:
            self.book.keys[order.user_id, order.client_order_id] = (request.body_hash, order)
            self.decisions.keys.append((order.user_id, order.client_order_id, order.id, request.body_hash))
        self.tell_order(order, spec)


_DECIDERS: dict[type, Callable[[Admission, int, Any], Order]] = {
    PlaceOrder: Admission._place,  # noqa: SLF001 -- of this module
    CancelOrder: Admission.cancel,
    ReduceOrder: Admission.reduce,
    AmendOrder: Admission.amend,
}
"""By what is asked. Kept by the class, since what an instance keeps of itself is a cycle that outlives the batch."""
