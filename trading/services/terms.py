"""Whether an order's words go together: size, type, prices, time in force, visible part, end. Pure."""

import functools
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from exchange.kernel.errors import require
from exchange.kernel.money import plain
from marketdata.units import InstrumentSpec
from trading import errors
from trading.models import (
    LIMIT_TYPES,
    RESTING_TIMES,
    TRIGGERED_TYPES,
    WAITING_TYPES,
    Order,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
    TriggerBy,
)
from trading.services.requests import AmendOrder, PlaceOrder

CALLBACK_STEP = Decimal("0.000001")
CALLBACK_MAX = Decimal("0.5")
ICEBERG_PARTS_MAX = 1000
"""Parts that an iceberg may show one after the other; the engine's own limit is a little higher."""


@functools.cache
def times_allowed(order_type: str) -> tuple[TimeInForce, ...]:
    """Return the times in force that go with a type; the first is what an order has that names none.

    Of an order that waits for a price and then takes the market's, gtd and day end the waiting. What it does when it
    wakes it does at once, whole with fok, as far as it gets with all others.
    """
    if order_type in LIMIT_TYPES:
        return tuple(TimeInForce)
    if order_type == OrderType.MARKET:
        return (TimeInForce.IOC, TimeInForce.FOK)
    return (TimeInForce.IOC, TimeInForce.GTC, TimeInForce.FOK, TimeInForce.GTD, TimeInForce.DAY)


def check(request: PlaceOrder, spec: InstrumentSpec, *, now: datetime) -> None:
    """Refuse what does not go together.

    Raises:
        DomainError: What, in words.
    """
    _check_size(request, spec)
    _check_prices(request)
    _check_distance(request)
    words = times_allowed(request.type)
    if request.time_in_force not in words:
        raise errors.TimeInForceNotAllowedError(field="time_in_force", type=str(request.type), words=", ".join(words))
    rests = request.time_in_force in RESTING_TIMES
    if request.post_only and not (request.type == OrderType.LIMIT and rests):
        raise errors.PostOnlyNotAllowedError(field="post_only")
    if (request.expires_at is not None) != (request.time_in_force == TimeInForce.GTD) or (
        request.expires_at is not None and request.expires_at <= now
    ):
        raise errors.ExpiryError(field="expires_at")
    if request.display_quantity is not None:
        shown, lots = spec.qty_to_lots(request.display_quantity), spec.qty_to_lots(quantity_of(request))
        if not (request.type in LIMIT_TYPES and rests) or shown > lots or lots > shown * ICEBERG_PARTS_MAX:
            raise errors.DisplayQuantityError(field="display_quantity")


def _check_prices(request: PlaceOrder) -> None:
    """Refuse a price that is missing, or that the order's type has not."""
    is_limit, is_triggered = request.type in LIMIT_TYPES, request.type in TRIGGERED_TYPES
    if is_limit and request.price is None:
        raise errors.PriceRequiredError(field="price")
    if not is_limit and request.price is not None:
        raise errors.PriceNotAllowedError(field="price")
    if is_triggered and request.stop_price is None:
        raise errors.StopPriceRequiredError(field="stop_price")
    if not is_triggered and request.stop_price is not None:
        raise errors.StopPriceNotAllowedError(field="stop_price")
    if request.trigger_by is not None and request.type not in WAITING_TYPES:
        raise errors.TriggerByNotAllowedError(field="trigger_by")


def _check_size(request: PlaceOrder, spec: InstrumentSpec) -> None:
    """Refuse an order that does not say how much, or says it twice, or leaves it to a position on a spot market."""
    if not spec.is_contract and (request.reduce_only or request.close_position):
        raise errors.ContractsOnlyError(
            field="reduce_only" if request.reduce_only else "close_position", symbol=spec.symbol
        )
    by_amount = request.quote_quantity is not None
    if spec.is_contract and by_amount:
        raise errors.QuoteSizeOnContractError(field="quote_quantity", symbol=spec.symbol)
    if request.close_position:
        if request.quantity is not None or request.reduce_only or request.type in LIMIT_TYPES:
            raise errors.ClosePositionError(field="close_position")
        return
    if by_amount == (request.quantity is not None) or (by_amount and not _buys_at_once(request)):
        raise errors.OrderSizeError(field="quote_quantity" if by_amount else "quantity")


def _buys_at_once(request: PlaceOrder) -> bool:
    """Tell whether an order buys what it gets at once, and nothing later: only such a one may name an amount."""
    return (request.side, request.type, request.time_in_force) == (Side.BUY, OrderType.MARKET, TimeInForce.IOC)


def quantity_of(request: PlaceOrder) -> Decimal:
    """Return the quantity of an order that names one.

    Raises:
        OrderSizeError: It names none.
    """
    if request.quantity is None:
        raise errors.OrderSizeError(field="quantity")
    return request.quantity


def trigger_by(request: PlaceOrder) -> str | None:
    """Return the price that an order watches: the last one unless it says otherwise; None if it waits for none."""
    return request.trigger_by or str(TriggerBy.LAST) if request.type in WAITING_TYPES else None


def _check_distance(request: PlaceOrder) -> None:
    """Refuse a trailing stop without a sound distance, and a distance on anything else."""
    rate = request.callback_rate
    if request.type != OrderType.TRAILING_STOP:
        fits = rate is None and request.activation_price is None
    else:
        fits = rate is not None and CALLBACK_STEP <= rate <= CALLBACK_MAX and rate % CALLBACK_STEP == 0
    if not fits:
        raise errors.CallbackRateError(field="callback_rate")


def expires_at(request: PlaceOrder, *, now: datetime) -> datetime | None:
    """Return when an order ends by itself: a gtd order when it says, a day order with the UTC day; else never."""
    if request.time_in_force == TimeInForce.DAY:
        return (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    if request.expires_at is not None:
        require(request.time_in_force == TimeInForce.GTD, "only gtd orders name an end")
    return request.expires_at


class Amended(NamedTuple):
    """What an order shall be.

    Attributes:
        waits: Whether, by what the books know, it still waits for its stop price.
    """

    price: Decimal | None
    stop_price: Decimal | None
    quantity: Decimal
    waits: bool


def amended(order: Order, request: AmendOrder) -> Amended:
    """Return what an open order shall be; refuse what it cannot become.

    Limit orders in the book can be amended, and orders that wait for their trigger, each in what it has.

    Raises:
        DomainError: What does not go together, in words.
    """
    waits = order.type in WAITING_TYPES and order.triggered_at is None
    if order.quantity is None or order.status == OrderStatus.PENDING_REVIEW or not (waits or order.type in LIMIT_TYPES):
        raise errors.AmendNotAllowedError(order_id=order.id)
    if request.price is not None and order.type not in LIMIT_TYPES:
        raise errors.PriceNotAllowedError(field="price")
    if request.stop_price is not None and order.type not in TRIGGERED_TYPES:
        raise errors.StopPriceNotAllowedError(field="stop_price")
    if request.stop_price is not None and not waits:
        raise errors.OrderTriggeredError(field="stop_price", order_id=order.id)
    wanted = Amended(
        request.price or order.price, request.stop_price or order.stop_price, request.quantity or order.quantity, waits
    )
    changes = (wanted.price, wanted.stop_price, wanted.quantity) != (order.price, order.stop_price, order.quantity)
    if not changes or wanted.quantity <= order.filled_quantity:
        raise errors.AmendEmptyError(filled=plain(order.filled_quantity))
    shown = order.display_quantity
    if shown is not None and wanted.quantity - order.filled_quantity > shown * ICEBERG_PARTS_MAX:
        raise errors.DisplayQuantityError(field="quantity")
    return wanted
