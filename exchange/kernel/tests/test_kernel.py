"""Exact money, one clock, refusals that compare by value."""

from datetime import UTC, datetime
from decimal import Decimal, Inexact, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.kernel import clock, ids, money
from exchange.kernel.errors import DomainError, InvariantViolationError, error_table, require

QUANTA = st.integers(-(10**37), 10**37)


@given(quanta=QUANTA, decimals=st.integers(0, 18))
def test_quanta_and_amounts_turn_into_each_other_exactly(quanta: int, decimals: int) -> None:
    with localcontext(prec=3):  # whatever context a caller has set
        assert money.to_quanta(money.from_quanta(quanta, decimals), decimals) == quanta


def test_an_amount_between_two_quanta_is_refused_not_rounded() -> None:
    with pytest.raises(money.InexactAmountError) as refusal:
        money.to_quanta(Decimal("0.015"), 2)

    assert refusal.value.data == {"amount": "0.015", "decimals": 2}


def test_the_exact_context_raises_where_a_digit_would_be_lost() -> None:
    with pytest.raises(Inexact):
        money.EXACT.divide(Decimal(1), Decimal(3))


@pytest.mark.parametrize(("amount", "rounded"), [("1.239", "1.23"), ("-1.231", "-1.24"), ("1.23", "1.23")])
def test_credits_are_rounded_down(amount: str, rounded: str) -> None:
    assert money.round_down(Decimal(amount), 2) == Decimal(rounded)


@pytest.mark.parametrize(("top", "bottom", "result"), [(7, 2, 4), (-7, 2, -3), (8, 2, 4), (0, 5, 0)])
def test_integers_are_divided_upward(top: int, bottom: int, result: int) -> None:
    assert money.ceil_div(top, bottom) == result


@pytest.mark.parametrize(
    ("amount", "text"),
    [("1E+3", "1000"), ("0E-18", "0"), ("-0", "0"), ("1.500", "1.5"), ("0.000000000000000001", "0.000000000000000001")],
)
def test_the_wire_has_no_exponent_and_no_trailing_zero(amount: str, text: str) -> None:
    assert money.plain(Decimal(amount)) == text


@given(quanta=QUANTA, decimals=st.integers(0, 18))
def test_quanta_are_written_as_their_amount_is(quanta: int, decimals: int) -> None:
    assert money.plain_quanta(quanta, decimals) == money.plain(money.from_quanta(quanta, decimals))


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)))  # noqa: DTZ001 -- made aware below
def test_engine_time_and_moments_turn_into_each_other_exactly(naive: datetime) -> None:
    moment = naive.replace(tzinfo=UTC)

    assert clock.from_ns(clock.to_ns(moment)) == moment


def test_trace_ids_sort_by_time() -> None:
    earlier, later = ids.trace_id(1_000_000_000), ids.trace_id(2_000_000_000)

    assert earlier < later
    assert len(earlier) == len(later) == 28


def test_trace_ids_drawn_together_are_each_their_own() -> None:
    drawn = ids.trace_ids(1_000_000_000, 100)

    assert len(set(drawn)) == 100
    assert {len(one) for one in drawn} == {28}
    assert {one[:12] for one in drawn} == {f"{1000:012x}"}


def test_refusals_compare_by_value_and_a_broken_invariant_is_none() -> None:
    one = money.InexactAmountError(amount="1", decimals=2)

    assert one == money.InexactAmountError(amount="1", decimals=2)
    assert one != money.InexactAmountError(amount="2", decimals=2)
    assert str(one) == "1 has more than 2 decimals."
    with pytest.raises(InvariantViolationError, match="because"):
        require(condition=False, message="because")
    assert not issubclass(InvariantViolationError, DomainError)


def test_codes_and_names_of_refusals_are_unique() -> None:
    table = [cls for cls in error_table() if cls is not DomainError]

    assert len({cls.code for cls in table}) == len(table)
    assert len({cls.name for cls in table}) == len(table)
