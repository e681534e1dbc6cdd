"""Decides what owners may change of their open orders: cancel, reduce, amend. No SQL here.

Funds that an amend may need are held at once; all else waits for the engine's word and is settlement's.
"""

from decimal import Decimal

from exchange.kernel.money import from_quanta, plain
from marketdata import selectors as instruments
from marketdata.units import InstrumentSpec
from matching_worker import protocol
from risk.services import checks
from trading import contract_terms, errors, order_state
from trading.models import LIMIT_TYPES, Order, OrderStatus
from trading.order_state import OrderState
from trading.services import terms
from trading.services.contract_admission import ContractAdmission
from trading.services.requests import AmendOrder, CancelOrder, ReduceOrder


class Changes(ContractAdmission):
    """Decides changes in order; each sees what those before it in the batch did."""

    def _own_open(self, owner_id: int, order_id: int) -> Order:
        """Return the owner's order, if it may still trade or waits for review."""
        order = self.book.orders.get(order_id)
        if order is None or order.user_id != owner_id:
            raise errors.OrderNotFoundError(order_id=order_id)
        if not order.is_open and order.status != OrderStatus.PENDING_REVIEW:
            raise errors.OrderNotOpenError(order_id=order_id, status=str(order.status))
        return order

    def cancel(self, owner_id: int, request: CancelOrder) -> Order:
        """Queue a cancel, once per order; an order that never reached the book is released here."""
        order = self._own_open(owner_id, request.order_id)
        if order.cancel_requested_at is not None:
            return order
        spec = instruments.instrument_by_id(order.instrument_id)
        order.cancel_requested_at = self.now
        self.book.limits[owner_id].count_cancels(1, self.today)
        if order.status == OrderStatus.PENDING_REVIEW:
            self.release(order, spec, status=OrderStatus.CANCELLED, reason="USER")
        else:
            self.decisions.cancels_requested.append(order)
            self.queue(spec, order, kind=protocol.CommandKind.CANCEL)
        return order

    def reduce(self, owner_id: int, request: ReduceOrder) -> Order:
        """Queue a reduction of what is open; settlement gives the hold back."""
        order = self._own_open(owner_id, request.order_id)
        if order.status == OrderStatus.PENDING_REVIEW:
            raise errors.OrderPendingReviewError(order_id=order.id)
        if order.quantity is None:
            raise errors.AmendNotAllowedError(order_id=order.id)
        spec = instruments.instrument_by_id(order.instrument_id)
        lots = spec.qty_to_lots(request.quantity)
        still_open = order.quantity - order.filled_quantity
        if request.quantity > still_open:
            raise errors.ReduceTooLargeError(order_id=order.id, open=plain(still_open))
        self.queue(spec, order, kind=protocol.CommandKind.REDUCE, qty_lots=lots)
        return order

    def amend(self, owner_id: int, request: AmendOrder) -> Order:
        """Add what an amend may need to the hold, and queue it; settlement trims to what the engine says remains."""
        order = self._own_open(owner_id, request.order_id)
        self.book.limits[owner_id].require_active()
        if order.amend_requested_at is not None:
            raise errors.AmendPendingError(order_id=order.id)
        spec = instruments.instrument_by_id(order.instrument_id)
        self.book.pressure.require_room(owner_id, spec.shard)
        wanted = terms.amended(order, request)
        checks.require_trading(spec)
        lots = spec.qty_to_lots(wanted.quantity)
        worst_ticks = self._worst_ticks(order, spec, wanted, lots)
        self._hold_for_amend(order, spec, worst_ticks, lots)
        order.amend_requested_at, order.amend_refusal = self.now, ""
        self.decisions.amends_requested.append(order)
        filled = spec.qty_to_lots(order.filled_quantity) if order.filled_quantity else 0
        self.queue(
            spec,
            order,
            kind=protocol.CommandKind.AMEND,
            price_ticks=worst_ticks,
            qty_lots=lots - filled,
            trigger_ticks=0 if request.stop_price is None else spec.price_to_ticks(request.stop_price),
            expected_lots=spec.qty_to_lots(order.quantity) - filled if order.quantity is not None else 0,
        )
        return order

    def _worst_ticks(self, order: Order, spec: InstrumentSpec, wanted: terms.Amended, lots: int) -> int:
        """Check an amended order as a new one would be; return the worst price at which it may trade.

        The bound of an order that takes the market's price moves with its stop price, and stays where it is as long as
        that does. A trailing stop, whose stop price nobody knows yet, is valued at its bound.
        """
        bound = spec.price_to_ticks(order.worst_price)
        stop_ticks = bound if wanted.stop_price is None else spec.price_to_ticks(wanted.stop_price)
        worth = checks.order_terms(
            spec,
            side=order.side,
            lots=lots,
            limit_ticks=None if wanted.price is None else spec.price_to_ticks(wanted.price),
            last_price=self.book.states[spec.id].last_price,
            stop_ticks=stop_ticks if wanted.waits else None,
        )
        moves = order.type in LIMIT_TYPES or wanted.stop_price != order.stop_price
        return worth.worst_ticks if moves else bound

    def _hold_for_amend(self, order: Order, spec: InstrumentSpec, worst_ticks: int, lots: int) -> None:
        """Freeze what the amended order may need beyond its present hold.

        Raises:
            InsufficientFundsError: The wallet cannot cover it; nothing changes.
        """
        state = order_state.of_row(order, spec, self.book.parts.get(order.id))
        needed = (
            self._extra_for_contract(state, worst_ticks, lots)
            if spec.is_contract
            else order_state.amend_extra(state, worst_ticks, lots)
        )
        extra: Decimal = from_quanta(needed, state.hold_decimals)
        wallet = self.book.wallets[order.user_id, order.hold_asset]
        if wallet["available"] < extra:
            raise checks.InsufficientFundsError(
                order_id=order.id, asset=order.hold_asset, required=plain(extra), available=plain(wallet["available"])
            )
        if extra:
            order.amend_hold = extra
            self.freeze(order, extra, key=f"order:{order.id}:amend:{self.now_ns}")
            self.tell_balance(order.user_id, order.hold_asset)

    def _extra_for_contract(self, state: OrderState, worst_ticks: int, lots: int) -> int:
        """Return what an amended contract order must hold besides; check it as a new one would be.

        Raises:
            DomainError: Why it may not become that, in words.
        """
        spec, position = state.spec, self.book.positions[state.user_id, state.spec.id]
        if state.increase is None:
            bound = contract_terms.closing_bound(position, state.rate) if position.lots else worst_ticks
            if worst_ticks > bound if state.is_buy else worst_ticks < bound:
                raise errors.BeyondBankruptcyError(field="price", bound=plain(spec.ticks_to_price(bound)))
        extra, opens = contract_terms.amend_extra(
            state, position, worst_ticks=worst_ticks, lots=lots, mark_ticks=self.mark_ticks(spec)
        )
        if opens:
            self.require_free_of_debt(state.user_id, spec)
            self.require_allowed_size(position, opens, worst_ticks, is_buy=state.is_buy)
        return extra
