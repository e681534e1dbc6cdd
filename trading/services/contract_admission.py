"""Decides about new orders in contracts: intent, reservation, hold, leverage. No SQL here.

What an order reserves and holds is reckoned by `trading.contract_terms`; here it is decided whether it may be placed.
"""

from dataclasses import replace
from decimal import Decimal

from exchange.kernel.money import from_quanta, plain, to_quanta
from marketdata.units import InstrumentSpec
from risk import contract_margin
from trading import contract_terms, errors
from trading.contract_fold import new_parts
from trading.contract_terms import Sizing
from trading.models import LIMIT_TYPES, Intent, Order, Side
from trading.order_state import OrderParts
from trading.position_state import PositionState
from trading.services.desk import Desk
from trading.services.requests import OfPosition, PlaceOrder


class ContractAdmission(Desk):
    """Sizes contract orders against positions that are loaded and locked."""

    def size_contract(self, owner_id: int, request: PlaceOrder, spec: InstrumentSpec, worst_ticks: int) -> Sizing:
        """Split an order against the position and check what it would add; nothing changes.

        Raises:
            DomainError: Why it may not be placed, in words. Too little available is not among them.
        """
        position = self.book.positions[owner_id, spec.id]
        if position.is_locked:
            raise errors.PositionLockedError(symbol=spec.symbol)
        is_buy = request.side == "buy"
        if request.reduce_only or request.close_position:
            return self._size_reducing(position, request, worst_ticks)
        available = 0
        if position.lots:  # else nothing can be closed, and nobody asks
            available = to_quanta(self.book.wallets[owner_id, spec.quote]["available"], spec.quote_decimals)
        sizing = contract_terms.size(
            position,
            spec,
            is_buy=is_buy,
            lots=spec.qty_to_lots(request.quantity or Decimal(0)),
            worst_ticks=worst_ticks,
            mark_ticks=self.mark_ticks(spec),
            rate=spec.fee_rate_max,
            available=available,
        )
        if sizing.increase_lots:
            self.require_free_of_debt(owner_id, spec)
            self.require_allowed_size(position, sizing.increase_lots, sizing.worst_ticks, is_buy=is_buy)
        return sizing

    def sized_by_position(self, owner_id: int, request: PlaceOrder, spec: InstrumentSpec) -> PlaceOrder:
        """Return the order that closes the position, or turns it round by trading twice what it is.

        Raises:
            NotAContractError, NoPositionError: There is nothing to close or to turn round.
        """
        if not spec.is_contract:
            raise errors.NotAContractError(symbol=spec.symbol)
        position = self.book.positions[owner_id, spec.id]
        if not position.lots:
            raise errors.NoPositionError(symbol=spec.symbol)
        side = Side.SELL if position.lots > 0 else Side.BUY
        if request.of_position == OfPosition.CLOSE:
            return replace(request, side=side, close_position=True, of_position=None)
        return replace(request, side=side, quantity=spec.lots_to_qty(2 * position.size), of_position=None)

    def mark_ticks(self, spec: InstrumentSpec) -> int:
        """Return the mark price of a contract in ticks.

        Raises:
            MarkPriceUnknownError: It has never had one: nobody could say what a position is worth.
        """
        mark = self.book.states[spec.id].mark_price
        if mark is None:
            raise errors.MarkPriceUnknownError(field="symbol", symbol=spec.symbol)
        return spec.price_to_ticks(mark)

    def describe_contract(self, order: Order, spec: InstrumentSpec, sizing: Sizing) -> None:
        """Write into an order what it is meant to do, and the worst price at which it may."""
        order.worst_price = spec.ticks_to_price(sizing.worst_ticks)
        if order.price is not None and sizing.is_clamped and order.type in LIMIT_TYPES:
            order.price = order.worst_price
        order.intent = sizing.intent
        order.reduce_quantity = spec.lots_to_qty(sizing.reduce_lots)
        order.increase_quantity = spec.lots_to_qty(sizing.increase_lots)
        order.leverage = self.book.positions[order.user_id, spec.id].leverage

    def open_parts(self, order: Order, spec: InstrumentSpec, sizing: Sizing) -> None:
        """Begin the parts of an order that was accepted, and reserve its quantity."""
        if order.reduce_only or order.close_position:
            return
        increase, reduce = new_parts(
            reduce_lots=sizing.reduce_lots,
            increase_lots=sizing.increase_lots,
            reduce_funds=sizing.reduce_funds,
            increase_funds=sizing.increase_funds,
        )
        self.decisions.contract_orders.append(OrderParts(order.id, order.user_id, spec, order.trace, increase, reduce))
        if sizing.reduce_lots:
            position = self.book.positions[order.user_id, spec.id]
            position.reserved += sizing.reduce_lots
            position.changed = True
            self.tell_position(position)
        if sizing.increase_lots:
            side = order.user_id, spec.id, str(order.side)
            self.book.opening[side] = self.book.opening.get(side, 0) + sizing.increase_lots

    def _size_reducing(self, position: PositionState, request: PlaceOrder, worst_ticks: int) -> Sizing:
        """Say what an order that only reduces is: it reserves and holds nothing, and stays before bankruptcy."""
        spec, is_buy = position.spec, request.side == "buy"
        closable = position.closable(is_buy=is_buy)
        if not closable:
            raise errors.NoPositionError(symbol=spec.symbol)
        bound = contract_terms.closing_bound(position, spec.fee_rate_max)
        clamped = worst_ticks > bound if is_buy else worst_ticks < bound
        worst = bound if clamped else worst_ticks
        lots = closable if request.quantity is None else min(closable, spec.qty_to_lots(request.quantity))
        return Sizing(
            intent=str(Intent.REDUCE),
            reduce_lots=lots,
            increase_lots=0,
            worst_ticks=worst,
            reduce_funds=0,
            increase_funds=0,
            increase_margin=0,
            open_loss=0,
            is_clamped=clamped,
        )

    def require_free_of_debt(self, owner_id: int, spec: InstrumentSpec) -> None:
        """Refuse new exposure to whoever owes the quote asset."""
        debt = self.book.debts.of(owner_id, spec.quote)
        if debt:
            raise errors.InDebtError(debt=plain(debt), asset=spec.quote)

    def require_allowed_size(self, position: PositionState, lots: int, worst_ticks: int, *, is_buy: bool) -> None:
        """Refuse to add lots to a position that, with all that is open on its side, its leverage does not allow."""
        spec = position.spec
        most = contract_margin.notional_max(position.leverage, spec.brackets)
        if most is None:
            return
        side = position.user_id, spec.id, "buy" if is_buy else "sell"
        held = position.size if position.lots and (position.lots > 0) == is_buy else 0
        lots += held + self.book.opening.get(side, 0)
        value = max(worst_ticks, self.mark_ticks(spec)) * lots * spec.unit_quanta
        if value > most:
            raise errors.PositionTooLargeError(
                symbol=spec.symbol,
                leverage=position.leverage,
                maximum=plain(from_quanta(most, spec.quote_decimals)),
                value=plain(from_quanta(value, spec.quote_decimals)),
            )
