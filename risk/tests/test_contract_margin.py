"""Margin of contracts: each formula by a number that one can check by hand, and what must hold whatever the numbers."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from marketdata.units import RATE_SCALE, Bracket
from risk import contract_margin
from risk.spot_hold import fee_total

PERCENT = RATE_SCALE // 100
ONE = [Bracket(0, 100, PERCENT, 0)]
THREE = [Bracket(0, 100, PERCENT // 2, 0), Bracket(10_000, 50, PERCENT, 50), Bracket(100_000, 20, 2 * PERCENT, 1050)]

sizes = st.integers(1, 10**6)
prices = st.integers(1, 10**6)
rates = st.integers(0, RATE_SCALE // 100)


def test_initial_margin_is_the_value_by_the_leverage_toward_zero() -> None:
    assert contract_margin.initial_margin(1000, 10) == 100
    assert contract_margin.initial_margin(1009, 10) == 100


@pytest.mark.parametrize(
    ("is_buy", "price", "mark", "loss"),
    [(True, 110, 100, 50), (True, 90, 100, 0), (False, 90, 100, 50), (False, 110, 100, 0)],
    ids=["bought above the mark", "bought below", "sold below", "sold above"],
)
def test_the_open_loss_is_what_the_opening_has_lost_at_the_mark(is_buy, price, mark, loss) -> None:
    assert contract_margin.open_loss(is_buy=is_buy, price_ticks=price, mark_ticks=mark, lots=5, unit=1) == loss


def test_an_opening_order_holds_margin_fee_and_open_loss_at_its_worst_price() -> None:
    hold = contract_margin.opening_hold(
        is_buy=True, worst_ticks=105, mark_ticks=100, lots=10, unit=1, leverage=10, rate=PERCENT
    )

    assert hold == 105 + 11 + 50  # 1050 / 10; 1 % of 1050, rounded up; 5 ticks of 10 lots


def test_the_maintenance_margin_goes_on_from_bracket_to_bracket_without_a_step() -> None:
    assert contract_margin.maintenance_margin(9_999, THREE) == 50
    assert contract_margin.maintenance_margin(10_000, THREE) == 50
    assert contract_margin.maintenance_margin(100_000, THREE) == 950
    assert contract_margin.maintenance_margin(99_999, THREE) == 950


def test_a_leverage_is_allowed_up_to_the_first_bracket_that_asks_for_less() -> None:
    assert contract_margin.notional_max(100, THREE) == 10_000
    assert contract_margin.notional_max(50, THREE) == 100_000
    assert contract_margin.notional_max(20, THREE) is None


@pytest.mark.parametrize(("lots", "cost", "worst"), [(10, 1000, 90), (-10, -1000, 110)], ids=["long", "short"])
def test_closing_at_the_bankruptcy_price_costs_exactly_the_margin(lots, cost, worst) -> None:
    assert contract_margin.bankruptcy_ticks(lots=lots, cost=cost, margin=100, unit=1, rate=0) == worst


@pytest.mark.parametrize(("lots", "cost", "first"), [(10, 1000, 90), (-10, -1000, 109)], ids=["long", "short"])
def test_the_liquidation_price_is_the_first_tick_below_maintenance(lots, cost, first) -> None:
    # (100 - 10) / 0.99 = 90.9..., and (100 + 10) / 1.01 = 108.9...
    assert contract_margin.liquidation_ticks(lots=lots, cost=cost, margin=100, unit=1, brackets=ONE) == first


def test_a_long_that_is_paid_for_in_full_has_no_liquidation_price() -> None:
    assert contract_margin.liquidation_ticks(lots=10, cost=1000, margin=1000, unit=1, brackets=ONE) is None


@given(lots=sizes, price=prices, leverage=st.integers(1, 100), rate=rates, is_long=st.booleans())
def test_the_bankruptcy_price_is_the_last_that_the_margin_pays(lots, price, leverage, rate, is_long) -> None:
    direction = 1 if is_long else -1
    cost, margin = direction * price * lots, price * lots // leverage
    worst = contract_margin.bankruptcy_ticks(lots=direction * lots, cost=cost, margin=margin, unit=1, rate=rate)

    def left(ticks: int) -> int:
        return margin + direction * (ticks * lots - price * lots) - fee_total(rate * ticks * lots)

    assume(worst > 1)
    assert left(worst) >= 0
    assert left(worst - direction) < 0


@given(
    lots=st.integers(1, 2000),
    price=st.integers(2, 1000),
    leverage=st.integers(2, 100),
    is_long=st.booleans(),
)
def test_the_liquidation_price_parts_what_maintenance_covers_from_what_it_does_not(
    lots, price, leverage, is_long
) -> None:
    direction = 1 if is_long else -1
    cost, margin = direction * price * lots, price * lots // leverage
    found = contract_margin.liquidation_ticks(lots=direction * lots, cost=cost, margin=margin, unit=1, brackets=THREE)
    if found is None:
        return

    def spare(ticks: int) -> int:
        result = contract_margin.unrealised(lots=direction * lots, cost=cost, mark_ticks=ticks, unit=1)
        return margin + result - contract_margin.maintenance_margin(ticks * lots, THREE)

    assert spare(found) <= 0  # at a whole tick the margin may be met exactly
    assert spare(found + direction) >= 0


@given(
    lots=sizes,
    worst=prices,
    mark=prices,
    leverage=st.integers(1, 100),
    rate=rates,
    is_buy=st.booleans(),
    part=st.integers(1, 99),
)
def test_a_hold_covers_what_a_fill_at_the_worst_price_asks_for(lots, worst, mark, leverage, rate, is_buy, part) -> None:
    common = {"is_buy": is_buy, "mark_ticks": mark, "unit": 1, "leverage": leverage}
    hold = contract_margin.opening_hold(worst_ticks=worst, lots=lots, rate=rate, **common)
    filled = max(1, lots * part // 100)

    margin = contract_margin.opening_margin(price_ticks=worst, lots=filled, **common)
    assert margin + fee_total(rate * worst * filled) <= hold
