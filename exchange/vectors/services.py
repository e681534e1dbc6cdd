"""The road of code: calls the services as any part of the exchange does, and reads the tables."""

from decimal import Decimal
from typing import Final

from django.contrib.auth import get_user_model
from django.db.models import Sum

from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError, require
from exchange.kernel.money import round_down
from exchange.vectors.road import ASSET, HELD, Ended, Placed, Stands
from ledger.chart import AccountCode
from ledger.models import Account
from ledger.services import accounts
from ledger.transfers import withdrawals
from ledger.transfers.withdrawals import WithdrawalRequest
from marketdata import selectors as instruments
from trading.models import Order, OrderType, Position, TimeInForce
from trading.services import orders, position_changes
from trading.services.preview import preview
from trading.services.requests import OfPosition, PlaceOrder

NOTHING: Final = Decimal(0)


class Services:
    """Traders without a client in between."""

    def __init__(self, symbol: str) -> None:
        self._symbol = symbol
        self._ids: dict[str, int] = {}

    def join(self, name: str) -> int:
        """Make a user with a gate, as sign-up does."""
        user = get_user_model().objects.create_user(username=f"{name}.{self._symbol.lower()}")
        accounts.open_gates([user.pk])
        self._ids[name] = user.pk
        return int(user.pk)

    def leverage(self, name: str, leverage: int) -> None:
        """Choose a leverage."""
        position_changes.set_leverage(self._ids[name], self._symbol, leverage, now=utc_now())

    def order(self, name: str, side: str, quantity: Decimal, price: Decimal) -> Placed:
        """Preview and place a limit order."""
        request = PlaceOrder(self._symbol, side, str(OrderType.LIMIT), quantity, price)
        foreseen = preview(self._ids[name], request, now=utc_now())
        placed = self._placed(name, request)
        spec, sizing = foreseen.spec, foreseen.sizing
        require(foreseen.refusal is None and sizing is not None, f"{request} was not foreseen: {foreseen.refusal}")
        if sizing is not None:
            expected = (
                str(sizing.intent),
                spec.lots_to_qty(sizing.reduce_lots),
                spec.lots_to_qty(sizing.increase_lots),
            )
            found = (placed.intent, placed.reduces, placed.opens)
            require((*expected, foreseen.hold) == (*found, placed.hold), f"{placed} is not the {foreseen} of before")
        return placed

    def of_position(self, name: str, what: str) -> Placed:
        """Close or reverse the position."""
        market, ioc = str(OrderType.MARKET), str(TimeInForce.IOC)
        return self._placed(name, PlaceOrder(self._symbol, "", market, time_in_force=ioc, of_position=OfPosition(what)))

    def _placed(self, name: str, request: PlaceOrder) -> Placed:
        """Place an order that must be accepted."""
        [order] = orders.place(self._ids[name], [request], now=utc_now())
        if not isinstance(order, Order):
            raise order
        return Placed(
            order_id=order.id,
            side=str(order.side),
            quantity=order.quantity,
            intent=str(order.intent),
            reduces=order.reduce_quantity or NOTHING,
            opens=order.increase_quantity or NOTHING,
            hold=order.hold_remaining,
        )

    def withdraw(self, name: str, amount: Decimal, address_id: int) -> str:
        """Ask for a withdrawal."""
        try:
            withdrawals.request(self._ids[name], WithdrawalRequest(address_id, amount), now=utc_now())
        except DomainError as refusal:
            return refusal.name
        return HELD

    def stands(self, name: str) -> Stands:
        """Read the rows: the position's numbers as they are stored, worth as the formulas of the design have it."""
        spec = instruments.instrument(self._symbol)
        row = Position.objects.filter(user_id=self._ids[name], symbol=self._symbol).first()
        quantity, cost = (NOTHING, NOTHING) if row is None else (row.quantity, row.open_cost)
        size = quantity * spec.contract_size
        mark = instruments.states([spec.id])[spec.id].mark_price
        wallets = {
            code: self._wallet(name, code)
            for code in (AccountCode.AVAILABLE, AccountCode.ORDER_HOLD, AccountCode.WITHDRAW_HOLD)
        }
        require(mark is not None, f"{self._symbol} has a mark price")
        return Stands(
            quantity=quantity,
            entry=round_down(cost / size, spec.quote_decimals) if size else None,
            margin=NOTHING if row is None else row.margin,
            reserved=NOTHING if row is None else row.reserved,
            realised=NOTHING if row is None else row.realised_pnl,
            unrealised=(mark or NOTHING) * size - cost,
            available=wallets[AccountCode.AVAILABLE],
            frozen=wallets[AccountCode.ORDER_HOLD] + wallets[AccountCode.WITHDRAW_HOLD],
        )

    def _wallet(self, name: str, code: AccountCode) -> Decimal:
        """Return one wallet."""
        rows = Account.objects.filter(owner_id=self._ids[name], code=code, asset_id=ASSET)
        return rows.aggregate(total=Sum("balance"))["total"] or NOTHING

    def orders(self, name: str) -> list[Ended]:
        """Read the orders."""
        rows = Order.objects.filter(user_id=self._ids[name], symbol=self._symbol).order_by("id")
        return [Ended(row.id, str(row.status), row.reason or "", row.filled_quantity) for row in rows]
