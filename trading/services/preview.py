"""Says what an order would cost, hold, reserve and risk, by the code that would then place it. Changes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from exchange.kernel.errors import DomainError
from exchange.kernel.money import plain, to_quanta
from marketdata import books
from marketdata import selectors as instruments
from marketdata.books import MarketDataAwayError
from marketdata.feed import Level
from marketdata.units import RATE_DECIMALS, InstrumentSpec
from risk.services.checks import InsufficientFundsError
from risk.spot_hold import budget_lots, fee_total
from trading import contract_terms, depth
from trading.contract_terms import Sizing
from trading.depth import Wanted
from trading.models import Order, OrderType, Side
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
        taken: What a market order would take of the book of this moment, best price first; None where it is no such
            order, or nobody knows the book.
        price_ticks: At which the others are valued: their limit or stop price, else the last trade, within their worst
            price; a market order too, of which the book would fill nothing.
        notional: What it is worth so, in quanta of the quote asset.
        maker_fee, taker_fee: Its fee for that, in quanta, were it all of one kind.
        available: What the trader has of the asset of the hold.
        sizing: Of a contract order.
        after: The contract's position if the order filled so.
        refusal: Why it would be refused; None where it would be taken.
    """

    spec: InstrumentSpec
    order: Order | None = None
    taken: list[Level] | None = None
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
    found = _taken(order, spec, sizing)
    ticks = _price_ticks(order, spec, last)
    fills = found or [Level(ticks, _lots(order, spec, sizing, ticks))]
    notional = sum(spec.notional_quanta(fill.ticks, fill.lots) for fill in fills)
    refusal = None
    if available < judged.hold:
        refusal = InsufficientFundsError(
            asset=order.hold_asset, required=plain(judged.hold), available=plain(available)
        )
    mark = None if state.mark_price is None else spec.price_to_ticks(state.mark_price)
    after = None
    if sizing is not None and mark is not None:
        after = _after(book.positions[owner_id, spec.id], fills, is_buy=order.side == Side.BUY, mark_ticks=mark)
    return Preview(
        spec=spec,
        order=order,
        taken=found,
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


def _taken(order: Order, spec: InstrumentSpec, sizing: Sizing | None) -> list[Level] | None:
    """Return what a market order would take of the book as the feed last showed it; None where that is unknown."""
    if order.type != OrderType.MARKET:
        return None
    try:
        image = books.read(spec.symbol)
    except MarketDataAwayError:
        return None
    if not image.sequence:
        return None
    is_buy = order.side == Side.BUY
    wanted = Wanted(is_buy, spec.price_to_ticks(order.worst_price))
    if order.quote_quantity is not None:
        wanted = wanted._replace(budget=_budget(order, spec))
    else:
        wanted = wanted._replace(lots=_lots(order, spec, sizing, 1))
    return depth.taken(image.asks if is_buy else image.bids, wanted)


def _after(position: PositionState, fills: Sequence[Level], *, is_buy: bool, mark_ticks: int) -> PositionState:
    """Return what a position would be after these fills."""
    for fill in fills:
        position = contract_terms.after_fill(
            position, is_buy=is_buy, lots=fill.lots, price_ticks=fill.ticks, mark_ticks=mark_ticks
        )
    return position


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
    return _budget(order, spec) // ticks


def _budget(order: Order, spec: InstrumentSpec) -> int:
    """Return what a buy by amount may cost without its fee, in ticks times lots."""
    given = spec.quote_to_quanta(order.quote_quantity or Decimal(0))
    return budget_lots(given, to_quanta(spec.taker_fee_rate, RATE_DECIMALS), spec.unit_quanta)
