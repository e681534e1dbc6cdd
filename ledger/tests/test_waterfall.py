"""The waterfall: exact shares in a named order, whatever the amounts."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.kernel.errors import InvariantViolationError
from ledger import waterfall
from ledger.chart import AccountCode
from ledger.entries import AccountKey
from ledger.waterfall import CloseAmounts, Cover, Debts, FundingAmounts, OpenAmounts

quanta = st.integers(0, 10**24)
small = st.integers(0, 12)
any_quanta = quanta | small


def test_the_first_fund_is_used_up_before_the_second_is_touched() -> None:
    assert waterfall.cover(5, 9, 9) == Cover(5, 0, 0)
    assert waterfall.cover(9, 5, 9) == Cover(5, 4, 0)
    assert waterfall.cover(20, 5, 9) == Cover(5, 9, 6)


@pytest.mark.parametrize("amounts", [(-1, 0, 0), (0, -1, 0), (0, 0, -1)])
def test_nothing_negative_is_covered(amounts) -> None:
    with pytest.raises(InvariantViolationError, match="negative amount"):
        waterfall.cover(*amounts)


def test_opening_pays_the_fee_first_and_then_margin_as_far_as_funds_go() -> None:
    assert waterfall.open_position(fee=2, margin=10, hold_share=15, available=0) == (
        OpenAmounts(hold_share=15, drawn=0, borrowed=0, margin=10, fee=2, credited=3),
        0,
    )
    assert waterfall.open_position(fee=2, margin=10, hold_share=9, available=5) == (
        OpenAmounts(hold_share=9, drawn=3, borrowed=0, margin=10, fee=2, credited=0),
        0,
    )
    assert waterfall.open_position(fee=2, margin=10, hold_share=1, available=4) == (
        OpenAmounts(hold_share=1, drawn=4, borrowed=0, margin=3, fee=2, credited=0),
        7,
    )
    assert waterfall.open_position(fee=2, margin=10, hold_share=0, available=1) == (
        OpenAmounts(hold_share=0, drawn=1, borrowed=1, margin=0, fee=2, credited=0),
        10,
    )


@given(fee=any_quanta, margin=any_quanta, hold_share=any_quanta, available=any_quanta)
def test_opening_balances_and_never_borrows_for_margin(fee: int, margin: int, hold_share: int, available: int) -> None:
    amounts, missing = waterfall.open_position(fee=fee, margin=margin, hold_share=hold_share, available=available)

    assert min(amounts) >= 0
    assert amounts.hold_share + amounts.drawn + amounts.borrowed == amounts.margin + amounts.fee + amounts.credited
    assert (amounts.hold_share, amounts.fee, amounts.margin + missing) == (hold_share, fee, margin)
    assert amounts.drawn <= available
    assert amounts.margin + fee <= hold_share + available or amounts.margin == 0
    if amounts.borrowed:
        assert (amounts.margin, amounts.drawn, amounts.credited) == (0, available, 0)
    if missing:
        assert (amounts.drawn, amounts.credited) == (available, 0)
    if amounts.credited:
        assert amounts.drawn == 0


def test_a_close_gives_back_what_is_left_or_draws_on_available_and_then_borrows() -> None:
    same = {"margin": 10, "hold_share": 3, "fee": 1}

    assert waterfall.close_position(result=4, available=5, **same) == CloseAmounts(
        **same, drawn=0, borrowed=0, profit=4, loss=0, credited=16
    )
    assert waterfall.close_position(result=-14, available=5, **same) == CloseAmounts(
        **same, drawn=2, borrowed=0, profit=0, loss=14, credited=0
    )
    assert waterfall.close_position(result=-20, available=5, **same) == CloseAmounts(
        **same, drawn=5, borrowed=3, profit=0, loss=20, credited=0
    )


@given(
    result=st.integers(-(10**24), 10**24) | st.integers(-12, 12),
    fee=any_quanta,
    margin=any_quanta,
    hold_share=any_quanta,
    available=any_quanta,
)
def test_a_close_balances_and_borrows_only_when_nothing_is_left(
    result: int, fee: int, margin: int, hold_share: int, available: int
) -> None:
    amounts = waterfall.close_position(
        result=result, fee=fee, margin=margin, hold_share=hold_share, available=available
    )

    assert min(amounts) >= 0
    assert amounts.profit - amounts.loss == result
    assert min(amounts.profit, amounts.loss) == 0
    paid_in = amounts.margin + amounts.hold_share + amounts.profit + amounts.drawn + amounts.borrowed
    assert paid_in == amounts.loss + amounts.fee + amounts.credited
    assert (amounts.margin, amounts.hold_share, amounts.fee) == (margin, hold_share, fee)
    if amounts.borrowed:
        assert (amounts.drawn, amounts.credited) == (available, 0)
    if amounts.credited:
        assert (amounts.drawn, amounts.borrowed) == (0, 0)


@given(due=any_quanta, available=any_quanta, margin=any_quanta)
def test_funding_draws_on_available_then_on_margin_and_never_on_debt(due: int, available: int, margin: int) -> None:
    amounts, missing = waterfall.pay_funding(due=due, available=available, margin=margin)

    assert amounts == FundingAmounts(min(due, available), min(max(due - available, 0), margin))
    assert sum(amounts) + missing == due


def test_amounts_in_quanta_become_the_amounts_of_a_rule() -> None:
    assert waterfall.amounts(FundingAmounts(123, 5), 2) == {
        "from_available": Decimal("1.23"),
        "from_margin": Decimal("0.05"),
    }


AVAILABLE = AccountKey(7, AccountCode.AVAILABLE, "USDT")
DEBT = AccountKey(7, AccountCode.DEBT, "USDT")


def test_a_credit_repays_debt_before_it_reaches_available() -> None:
    debts = Debts([(7, "USDT", Decimal(30))])

    assert debts.first(AVAILABLE, Decimal(20)) == [(DEBT, Decimal(20))]
    assert debts.first(AVAILABLE, Decimal(25)) == [(DEBT, Decimal(10)), (AVAILABLE, Decimal(15))]
    assert debts.first(AVAILABLE, Decimal(25)) == [(AVAILABLE, Decimal(25))]


def test_only_a_credit_to_available_of_the_same_user_and_asset_repays() -> None:
    debts = Debts([(7, "USDT", Decimal(30))])

    for key, amount in (
        (AVAILABLE, Decimal(-5)),
        (AVAILABLE._replace(owner_id=8), Decimal(5)),
        (AVAILABLE._replace(asset="BTC"), Decimal(5)),
        (AVAILABLE._replace(code=AccountCode.ORDER_HOLD), Decimal(5)),
        (AccountKey(None, AccountCode.CUSTODY, "USDT"), Decimal(5)),
    ):
        assert debts.first(key, amount) == [(key, amount)]
    assert debts.of(7, "USDT") == 30


def test_what_an_entry_borrows_is_repaid_by_the_next_credit() -> None:
    debts = Debts()

    assert debts.first(DEBT, Decimal(-12)) == [(DEBT, Decimal(-12))]

    assert debts.of(7, "USDT") == 12
    assert debts.first(AVAILABLE, Decimal(50)) == [(DEBT, Decimal(12)), (AVAILABLE, Decimal(38))]


def test_repaying_keeps_every_digit() -> None:
    debts = Debts([(7, "USDT", Decimal("1e-18"))])

    assert debts.first(AVAILABLE, Decimal("12345678901234567890.123456789012345678")) == [
        (DEBT, Decimal("1e-18")),
        (AVAILABLE, Decimal("12345678901234567890.123456789012345677")),
    ]
