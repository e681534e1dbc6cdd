"""Says what an order would cost, hold, reserve and risk, by the code that would then place it. Changes nothing."""

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from exchange.kernel.errors import DomainError
from exchange.kernel.money import plain, to_quanta
from marketdata import selectors as instruments
from marketdata.units import RATE_DECIMALS, InstrumentSpec
from risk.services.checks import InsufficientFundsError
from risk.spot_hold import budget_lots, fee_total
from trading import contract_terms
from trading.contract_terms import Sizing
from trading.models import Order
from trading.position_state import PositionState
from trading.services import orders
from trading.services.admission import Admission, Judged
from trading.services.requests import PlaceOrder

NO_ID = 0
"""A preview takes no number: the order never comes to be."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What would become of an order.

    Attributes:
        order: As it would be stored; None where it would be refused before it was sized.
        price_ticks: At which it is valued: its limit or stop price, else the last trade, within its worst price.
        notional: What it is worth at that price, in quanta of the quote asset.
        maker_fee, taker_fee: Its fee at that price, in quanta, were it all of one kind.
        available: What the trader has of the asset of the hold.
        sizing: Of a contract order.
        after: The contract's position if the order filled at that price.
        refusal: Why it would be refused; None where it would be taken.
    """

    spec: InstrumentSpec
    order: Order | None = None
    price_ticks: int = 0
    notional: int = 0
    maker_fee: int = 0
    taker_fee: int = 0
    hold: Decimal = Decimal(0)
    available: Decimal = Decimal(0)
    needs_review: bool = False
    sizing: Sizing | None = None
    after: PositionState | None = None
    mark_ticks: int | None = None
    refusal: DomainError | None = None


def preview(owner_id: int, request: PlaceOrder, *, now: datetime) -> Preview:
    """Judge an order as `orders.submit` would at this moment, and write nothing.

    Raises:
        UnknownInstrumentError: There is no such instrument.
    """
    spec = instruments.instrument(request.symbol)
    wanted = replace(request, client_order_id=None, order_id=NO_ID)
    with transaction.atomic():
        admission = Admission(orders.look(owner_id, wanted), now)
    try:
        judged = admission.judge(owner_id, wanted, spec)
    except DomainError as refusal:
        return Preview(spec, refusal=refusal)
    return _described(admission, judged, spec, owner_id)


def _described(admission: Admission, judged: Judged, spec: InstrumentSpec, owner_id: int) -> Preview:
    """Put numbers to an order that would be sized."""
    order, sizing = judged.order, judged.sizing
    book = admission.book
    available = book.wallets[owner_id, order.hold_asset]["available"]
    state = book.states[spec.id]
    last = state.last_price or state.mark_price or spec.reference_price
    ticks = _price_ticks(order, spec, last)
    lots = _lots(order, spec, sizing, ticks)
    notional = spec.notional_quanta(ticks, lots)
    refusal = None
    if available < judged.hold:
        refusal = InsufficientFundsError(
            asset=order.hold_asset, required=plain(judged.hold), available=plain(available)
        )
    mark = None if state.mark_price is None else spec.price_to_ticks(state.mark_price)
    after = None
    if sizing is not None and mark is not None:
        after = contract_terms.after_fill(
            book.positions[owner_id, spec.id],
            is_buy=order.side == "buy",
            lots=lots,
            price_ticks=ticks,
            mark_ticks=mark,
        )
    return Preview(
        spec=spec,
        order=order,
        price_ticks=ticks,
        notional=notional,
        maker_fee=fee_total(to_quanta(spec.maker_fee_rate, RATE_DECIMALS) * notional),
        taker_fee=fee_total(to_quanta(spec.taker_fee_rate, RATE_DECIMALS) * notional),
        hold=judged.hold,
        available=available,
        needs_review=book.limits[owner_id].needs_review(spec.quote, admission.costs(order, spec)),
        sizing=sizing,
        after=after,
        mark_ticks=mark,
        refusal=refusal,
    )


def _price_ticks(order: Order, spec: InstrumentSpec, last: Decimal) -> int:
    """Return the price at which an order is valued, within its worst price."""
    ticks = int((order.price or order.stop_price or last) / spec.tick_size)
    worst = spec.price_to_ticks(order.worst_price)
    return max(1, min(ticks, worst) if order.side == "buy" else max(ticks, worst))


def _lots(order: Order, spec: InstrumentSpec, sizing: Sizing | None, ticks: int) -> int:
    """Return how much an order would trade at a price."""
    if sizing is not None:
        return sizing.reduce_lots + sizing.increase_lots
    if order.quantity is not None:
        return spec.qty_to_lots(order.quantity)
    given = spec.quote_to_quanta(order.quote_quantity or Decimal(0))
    return budget_lots(given, to_quanta(spec.taker_fee_rate, RATE_DECIMALS), spec.unit_quanta) // ticks
