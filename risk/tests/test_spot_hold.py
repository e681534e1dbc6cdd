"""The hold of a spot order covers every fill, and nothing is left at the end, for every way to fill it."""

from hypothesis import given
from hypothesis import strategies as st

from marketdata.units import RATE_SCALE
from risk.spot_hold import budget_lots, buy_hold, fee_total

RATES = st.integers(0, RATE_SCALE // 10)


def test_the_hold_of_a_buy_is_its_notional_and_its_fee_rounded_up() -> None:
    assert buy_hold(750_150_000, 20_000) == 750_150_000 + 150_030
    assert buy_hold(1, 20_000) == 2
    assert buy_hold(0, 20_000) == 0


@given(
    unit=st.integers(1, 10_000),
    worst_ticks=st.integers(1, 10_000),
    fills=st.lists(st.tuples(st.integers(1, 50), st.integers(0, 10_000), st.booleans()), min_size=1, max_size=30),
    maker_rate=RATES,
    taker_rate=RATES,
)
def test_no_fill_needs_more_than_its_share_and_the_last_leaves_nothing(
    unit: int, worst_ticks: int, fills: list[tuple[int, int, bool]], maker_rate: int, taker_rate: int
) -> None:
    lots = sum(fill[0] for fill in fills)
    rate = max(maker_rate, taker_rate)
    hold, accrued, charged = buy_hold(worst_ticks * lots * unit, rate), 0, 0
    at_first = hold

    for quantity, improvement, is_taker in fills:
        notional = max(1, worst_ticks - improvement) * quantity * unit
        accrued += (taker_rate if is_taker else maker_rate) * notional
        fee, charged = fee_total(accrued) - charged, fee_total(accrued)
        lots -= quantity
        after = buy_hold(worst_ticks * lots * unit, rate, accrued=accrued)
        assert hold - after >= notional + fee
        assert after >= 0
        hold = after

    assert hold == 0
    assert at_first >= charged


def test_a_budget_leaves_room_for_its_fee_and_for_nothing_else() -> None:
    assert budget_lots(100_000_000, 20_000, 1) == 99_980_003
    assert 99_980_003 + fee_total(99_980_003 * 20_000) == 100_000_000
    assert budget_lots(100_000_000, 20_000, 1_000_000) == 99
    assert budget_lots(100, 0, 1) == 100
    assert budget_lots(1, 20_000, 1) == 0


@given(given_=st.integers(0, 10**15), rate=RATES, unit=st.integers(1, 10**6))
def test_a_budget_and_its_fee_never_exceed_what_was_given_and_one_quantum_more_would(
    given_: int, rate: int, unit: int
) -> None:
    largest = budget_lots(given_, rate, 1)

    assert largest + fee_total(largest * rate) <= given_
    assert largest + 1 + fee_total((largest + 1) * rate) > given_
    assert budget_lots(given_, rate, unit) == largest // unit
