"""Pre-trade checks: band, market bound, minimum notional, hold."""

from dataclasses import replace
from decimal import Decimal

import pytest

from marketdata.units import InstrumentSpec, NumberTooLargeError
from risk.services import checks

SPEC = InstrumentSpec(
    id=1,
    symbol="BTCUSDT",
    name="Bitcoin",
    kind="SPOT",
    base="BTC",
    quote="USDT",
    base_decimals=8,
    quote_decimals=6,
    tick_size=Decimal("0.01"),
    lot_size=Decimal("0.0001"),
    min_notional=Decimal(5),
    band_rate=Decimal("0.20"),
    market_slippage_rate=Decimal("0.05"),
    maker_fee_rate=Decimal("0.0001"),
    taker_fee_rate=Decimal("0.0002"),
    reference_price=Decimal(50000),
)


def _terms(side: str = "buy", lots: int = 100, price: str | None = "50000", last: str | None = None):
    return checks.order_terms(
        SPEC,
        side=side,
        lots=lots,
        limit_ticks=None if price is None else SPEC.price_to_ticks(Decimal(price)),
        last_price=None if last is None else Decimal(last),
    )


@pytest.mark.parametrize("price", ["40000", "60000"])
def test_exactly_twenty_percent_from_the_reference_passes(price: str) -> None:
    assert _terms(price=price).worst_ticks == SPEC.price_to_ticks(Decimal(price))


@pytest.mark.parametrize("price", ["39999.99", "60000.01"])
def test_one_tick_beyond_the_band_is_refused_with_the_band(price: str) -> None:
    with pytest.raises(checks.PriceOutsideBandError) as refusal:
        _terms(price=price)

    assert refusal.value.data == {"low": "40000", "high": "60000"}


def test_the_band_follows_the_last_trade() -> None:
    with pytest.raises(checks.PriceOutsideBandError):
        _terms(price="50000", last="30000")

    assert _terms(price="36000", last="30000").worst_ticks == 3_600_000


@pytest.mark.parametrize(("tick", "lowest", "highest"), [("0.07", 572, 857), ("0.05", 800, 1200)])
def test_a_band_that_ends_between_two_ticks_ends_at_the_last_one_inside(tick: str, lowest: int, highest: int) -> None:
    odd = replace(SPEC, tick_size=Decimal(tick), min_notional=Decimal(0))
    passed = []
    for ticks in range(500, 1300):
        try:
            checks.order_terms(odd, side="sell", lots=1, limit_ticks=ticks, last_price=Decimal(50))
        except checks.PriceOutsideBandError:
            continue
        passed.append(ticks)

    assert passed == list(range(lowest, highest + 1))


@pytest.mark.parametrize(("size", "least"), [("1", 15), ("0.1", 143)])
def test_a_least_value_between_two_steps_is_refused_below_the_next(size: str, least: int) -> None:
    odd = replace(SPEC, lot_size=Decimal("0.007"), min_notional=Decimal(1), contract_size=Decimal(size))
    checks.order_terms(odd, side="buy", lots=least, limit_ticks=1000, last_price=Decimal(10))

    with pytest.raises(checks.BelowMinimumNotionalError):
        checks.order_terms(odd, side="buy", lots=least - 1, limit_ticks=1000, last_price=Decimal(10))


def test_a_buy_holds_its_notional_and_the_higher_fee_a_sell_its_quantity() -> None:
    buy, sell = _terms(), _terms("sell")

    assert (buy.hold_asset, buy.hold) == ("USDT", 500_000_000 + 100_000)
    assert (sell.hold_asset, sell.hold) == ("BTC", 1_000_000)


@pytest.mark.parametrize(("side", "bound"), [("buy", "52500"), ("sell", "47500")])
def test_a_market_order_is_bounded_by_the_slippage_rate(side: str, bound: str) -> None:
    assert _terms(side, price=None).worst_ticks == SPEC.price_to_ticks(Decimal(bound))


@pytest.mark.parametrize(("side", "bound"), [("buy", "1.04"), ("sell", "0.98")])
def test_a_market_bound_between_two_ticks_is_rounded_toward_the_market(side: str, bound: str) -> None:
    odd = replace(SPEC, market_slippage_rate=Decimal("0.035"), min_notional=Decimal(0))

    terms = checks.order_terms(odd, side=side, lots=1, limit_ticks=None, last_price=Decimal("1.01"))

    assert odd.ticks_to_price(terms.worst_ticks) == Decimal(bound)  # 1.04535 down, 0.97465 up


def test_a_market_bound_never_leaves_the_band() -> None:
    wide = replace(SPEC, market_slippage_rate=Decimal("0.50"))

    assert checks.market_worst_ticks(wide, "buy", None) == SPEC.price_to_ticks(Decimal(60000))
    assert checks.market_worst_ticks(wide, "sell", None) == SPEC.price_to_ticks(Decimal(40000))


def test_an_order_below_the_minimum_notional_is_refused() -> None:
    assert _terms(lots=1, price="50000").hold == 5_001_000

    with pytest.raises(checks.BelowMinimumNotionalError) as refusal:
        _terms(lots=1, price="49999.99")

    assert refusal.value.data == {"minimum": "5", "asset": "USDT"}


@pytest.mark.parametrize("status", ["HALTED", "CANCEL_ONLY"])
def test_a_halted_instrument_takes_no_orders(status: str) -> None:
    with pytest.raises(checks.InstrumentNotTradingError):
        checks.require_trading(replace(SPEC, status=status))


@pytest.mark.parametrize("side", ["buy", "sell"])
def test_a_market_order_beyond_the_engines_prices_is_refused_before_anything_is_held(side: str) -> None:
    fine = replace(SPEC, tick_size=Decimal("0.00000001"), lot_size=Decimal(1), quote_decimals=8)

    with pytest.raises(NumberTooLargeError):
        checks.order_terms(fine, side=side, lots=1, limit_ticks=None, last_price=None)


def test_a_buy_by_amount_holds_exactly_that_and_keeps_the_bound() -> None:
    terms = checks.budget_terms(SPEC, Decimal("99.999999"), last_price=Decimal(50000))

    assert (terms.hold_asset, terms.hold, terms.worst_ticks) == ("USDT", 99_999_999, 5_250_000)


@pytest.mark.parametrize(
    ("changes", "amount", "minimum"),
    [({}, "4.999999", "5"), ({"min_notional": Decimal(0), "lot_size": Decimal(1000)}, "10.001999", "10.002")],
)
def test_an_amount_too_small_to_buy_anything_is_refused_with_the_least(
    changes: dict[str, Decimal], amount: str, minimum: str
) -> None:
    spec = replace(SPEC, **changes)  # type: ignore[arg-type]

    with pytest.raises(checks.BelowMinimumNotionalError) as refusal:
        checks.budget_terms(spec, Decimal(amount), last_price=None)

    assert checks.budget_terms(spec, Decimal(minimum), last_price=None).hold
    assert refusal.value.data == {"minimum": minimum, "asset": "USDT"}
