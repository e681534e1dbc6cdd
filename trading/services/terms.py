"""Whether an order's words go together: type, prices, time in force, visible part, end. Pure."""

from datetime import datetime, timedelta
from decimal import Decimal

from exchange.kernel.errors import require
from marketdata.units import InstrumentSpec
from trading import errors
from trading.models import LIMIT_TYPES, RESTING_TIMES, TRIGGERED_TYPES, OrderType, TimeInForce
from trading.services.requests import PlaceOrder

CALLBACK_STEP = Decimal("0.000001")
CALLBACK_MAX = Decimal("0.5")
ICEBERG_PARTS_MAX = 1000
"""Parts that an iceberg may show one after the other; the engine's own limit is a little higher."""


def times_allowed(order_type: str) -> tuple[TimeInForce, ...]:
    """Return the times in force that go with a type; the first is what an order has that names none."""
    if order_type in LIMIT_TYPES:
        return tuple(TimeInForce)
    if order_type == OrderType.MARKET:
        return (TimeInForce.IOC, TimeInForce.FOK)
    return (TimeInForce.IOC,)


def check(request: PlaceOrder, spec: InstrumentSpec, *, now: datetime) -> None:
    """Refuse what does not go together.

    Raises:
        DomainError: What, in words.
    """
    is_limit, is_triggered = request.type in LIMIT_TYPES, request.type in TRIGGERED_TYPES
    if is_limit and request.price is None:
        raise errors.PriceRequiredError(field="price")
    if not is_limit and request.price is not None:
        raise errors.PriceNotAllowedError(field="price")
    if is_triggered and request.stop_price is None:
        raise errors.StopPriceRequiredError(field="stop_price")
    if not is_triggered and request.stop_price is not None:
        raise errors.StopPriceNotAllowedError(field="stop_price")
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
        shown, lots = spec.qty_to_lots(request.display_quantity), spec.qty_to_lots(request.quantity)
        if not (is_limit and rests) or shown > lots or lots > shown * ICEBERG_PARTS_MAX:
            raise errors.DisplayQuantityError(field="display_quantity")


def _check_distance(request: PlaceOrder) -> None:
    """Refuse a trailing stop without a sound distance, and a distance on anything else."""
    rate = request.callback_rate
    trails = request.type == OrderType.TRAILING_STOP
    fits = rate is not None and CALLBACK_STEP <= rate <= CALLBACK_MAX and rate % CALLBACK_STEP == 0
    if (trails and not fits) or (not trails and (rate is not None or request.activation_price is not None)):
        raise errors.CallbackRateError(field="callback_rate")


def expires_at(request: PlaceOrder, *, now: datetime) -> datetime | None:
    """Return when an order ends by itself: a gtd order when it says, a day order with the UTC day; else never."""
    if request.time_in_force == TimeInForce.DAY:
        return (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    require(request.expires_at is None or request.time_in_force == TimeInForce.GTD, "only gtd orders name an end")
    return request.expires_at
