"""Pre-trade checks: what an order may cost, and whether it may be placed at all. Reads nothing; writes nothing."""

import functools
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import NamedTuple

from exchange.kernel.errors import DomainError, gettext_noop
from exchange.kernel.money import EXACT, MONEY_DECIMALS, ceil_div, from_quanta, plain, to_quanta
from marketdata.units import RATE_DECIMALS, InstrumentSpec, rate_units
from risk.spot_hold import buy_hold

TAKES_ORDERS = {"TRADING", "PRE_OPEN", "AUCTION"}
"""States in which orders are taken; in the last two they rest, and those that cannot are rejected by the engine."""

BAND_DECIMALS = MONEY_DECIMALS + RATE_DECIMALS
"""A price times a rate has no more."""


class InstrumentNotTradingError(DomainError):
    """The instrument accepts no orders now."""

    code = 6001
    name = "INSTRUMENT_NOT_TRADING"
    message = gettext_noop("%(symbol)s does not accept orders now (%(status)s).")


class PriceOutsideBandError(DomainError):
    """The limit price is too far from the last trade."""

    code = 6002
    name = "PRICE_OUTSIDE_BAND"
    message = gettext_noop("The price must be between %(low)s and %(high)s.")


class BelowMinimumNotionalError(DomainError):
    """Price times quantity is too small."""

    code = 6003
    name = "BELOW_MINIMUM_NOTIONAL"
    message = gettext_noop("The order's value must be at least %(minimum)s %(asset)s.")


class DailyOrderLimitError(DomainError):
    """The trader has placed as many orders today as the tier allows."""

    code = 6004
    name = "DAILY_ORDER_LIMIT"
    status = 429
    message = gettext_noop("The limit of %(limit)s orders a day is reached.")


class InsufficientFundsError(DomainError):
    """The wallet cannot cover the order's hold."""

    code = 6005
    name = "INSUFFICIENT_FUNDS"
    message = gettext_noop("The order needs %(required)s %(asset)s; available are %(available)s.")


class AccountFrozenError(DomainError):
    """The account is frozen: it places and amends nothing; what is open can be cancelled."""

    code = 6006
    name = "ACCOUNT_FROZEN"
    status = 403
    message = gettext_noop("This account is frozen; please contact support.")


class OrderTerms(NamedTuple):
    """What an order is worth at worst.

    `worst_ticks` is the worst price at which it may trade; `hold` is in quanta of `hold_asset`.
    """

    worst_ticks: int
    hold_asset: str
    hold_decimals: int
    hold: int
    fee_rate: int


def band(spec: InstrumentSpec, last_price: Decimal | None) -> tuple[Decimal, Decimal]:
    """Return the lowest and highest price allowed; exactly the band's rate passes (api.md, limits)."""
    return _around(last_price or spec.reference_price, spec.band_rate)


def _around(reference: Decimal, rate: Decimal) -> tuple[Decimal, Decimal]:
    """Return the prices so far below and above another."""
    width = EXACT.multiply(reference, rate)
    return EXACT.subtract(reference, width), EXACT.add(reference, width)


@functools.lru_cache(maxsize=1000)
def _band_ticks(reference: Decimal, rate: Decimal, tick_size: Decimal) -> tuple[int, int]:
    """Return the first and last tick of a band: most orders of a batch are around the same few prices."""
    low, high = (to_quanta(price, BAND_DECIMALS) for price in _around(reference, rate))
    tick = to_quanta(tick_size, BAND_DECIMALS)
    return ceil_div(low, tick), high // tick


@functools.lru_cache(maxsize=1000)
def _least_steps(min_notional: Decimal, step_worth: Decimal) -> int:
    """Return the smallest order's value, in ticks times lots."""
    return ceil_div(to_quanta(min_notional, MONEY_DECIMALS), to_quanta(step_worth, MONEY_DECIMALS))


def is_trading(spec: InstrumentSpec) -> bool:
    """Whether the instrument accepts orders."""
    return spec.status in TAKES_ORDERS


def require_trading(spec: InstrumentSpec) -> None:
    """Refuse unless the instrument accepts orders."""
    if not is_trading(spec):
        raise InstrumentNotTradingError(symbol=spec.symbol, status=spec.status)


def market_worst_ticks(spec: InstrumentSpec, side: str, last_price: Decimal | None) -> int:
    """Return the worst price of a market order: the slippage bound, inside the band, rounded toward the market."""
    low, high = band(spec, last_price)
    reference = last_price or spec.reference_price
    slippage = EXACT.multiply(reference, spec.market_slippage_rate)
    if side == "buy":
        bound, rounding = min(high, reference + slippage), ROUND_FLOOR
    else:
        bound, rounding = max(low, reference - slippage), ROUND_CEILING
    ticks = max(1, int((bound / spec.tick_size).to_integral_value(rounding)))
    return spec.price_to_ticks(spec.ticks_to_price(ticks))  # refuses more ticks than the engine knows


def trailing_stop_ticks(spec: InstrumentSpec, *, side: str, begins: Decimal, callback_rate: Decimal) -> int:
    """Return the worst price at which a trailing stop can wake: one callback behind where it begins to follow.

    From there on it only follows in the trader's favour. Rounded away from the market.
    """
    way = EXACT.multiply(begins, callback_rate)
    wakes, rounding = (begins + way, ROUND_CEILING) if side == "buy" else (begins - way, ROUND_FLOOR)
    return max(1, int((wakes / spec.tick_size).to_integral_value(rounding)))


def order_terms(
    spec: InstrumentSpec,
    *,
    side: str,
    lots: int,
    limit_ticks: int | None,
    last_price: Decimal | None,
    stop_ticks: int | None = None,
    is_closing: bool = False,
) -> OrderTerms:
    """Check price, band and notional of an order, and say what it must hold.

    Args:
        limit_ticks: The limit price; None for an order that takes the market's.
        last_price: The instrument's last trade, or None before the first.
        stop_ticks: The price at which the order wakes; band and bound are then around it, not around the last trade,
            for that is where the market will be.
        is_closing: It can only reduce a position, and may be as small as that is.

    Raises:
        PriceOutsideBandError: The limit price is outside the band.
        BelowMinimumNotionalError: The order is too small.
        NumberTooLargeError: A market order's worst price has more ticks than the engine knows.
    """
    if stop_ticks is not None:
        last_price = spec.ticks_to_price(stop_ticks)
    if limit_ticks is None:
        worst_ticks = market_worst_ticks(spec, side, last_price)
        valued_at = last_price or spec.reference_price
        notional = EXACT.multiply(EXACT.multiply(valued_at, spec.lots_to_qty(lots)), spec.contract_size)
        is_small = notional < spec.min_notional
    else:
        worst_ticks = limit_ticks
        lowest, highest = _band_ticks(last_price or spec.reference_price, spec.band_rate, spec.tick_size)
        if not lowest <= limit_ticks <= highest:
            low, high = band(spec, last_price)
            raise PriceOutsideBandError(low=plain(low), high=plain(high))
        is_small = limit_ticks * lots < _least_steps(spec.min_notional, spec.step_worth)
    if is_small and not is_closing:
        raise BelowMinimumNotionalError(minimum=plain(spec.min_notional), asset=spec.quote)
    fee_rate = spec.fee_rate_max
    worst_notional = spec.notional_quanta(worst_ticks, lots)
    if side == "sell" and not spec.is_contract:
        return OrderTerms(worst_ticks, spec.base, spec.base_decimals, spec.base_quanta(lots), fee_rate)
    return OrderTerms(worst_ticks, spec.quote, spec.quote_decimals, buy_hold(worst_notional, fee_rate), fee_rate)


def budget_terms(spec: InstrumentSpec, quote_quantity: Decimal, *, last_price: Decimal | None) -> OrderTerms:
    """Check a market buy by quote amount, and say what it must hold: exactly that amount, the fee inside.

    Raises:
        BelowMinimumNotionalError: The amount is too small, or buys no lot at any price.
        NotPositiveError, InexactAmountError, NotionalTooLargeError: It is no amount of the quote asset.
        NumberTooLargeError: The worst price has more ticks than the engine knows.
    """
    given = spec.quote_to_quanta(quote_quantity)
    fee_rate = rate_units(spec.taker_fee_rate)
    smallest = from_quanta(buy_hold(spec.unit_quanta, fee_rate), spec.quote_decimals)
    minimum = max(spec.min_notional, smallest)
    if quote_quantity < minimum:
        raise BelowMinimumNotionalError(minimum=plain(minimum), asset=spec.quote)
    worst_ticks = market_worst_ticks(spec, "buy", last_price)
    return OrderTerms(worst_ticks, spec.quote, spec.quote_decimals, given, fee_rate)
