"""Statements tell unrealised profit at the mark, apart from the books."""

from decimal import Decimal
from pathlib import Path

import pytest

from exchange.kernel.clock import utc_now
from ledger.reports.scopes import Scope
from ledger.reports.sheet import balance_sheet
from trading import valuation
from trading.tests.contracts import SYMBOL, desk, make_contract, set_mark

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]


@pytest.fixture
def traders(customer, tmp_path: Path):
    """Alice long 6 after a profit of 4, bob short 10, carol long 4, contracts of 0.1; the mark at 130."""
    alice, bob, carol = customer("alice", USDT=1_000), customer("bob", USDT=1_000), customer("carol", USDT=1_000)
    make_contract(contract_size=Decimal("0.1"))
    with desk(tmp_path) as at:
        at.trade(alice, bob, 10, 100)
        at.trade(carol, alice, 4, 110)
        set_mark("130")
        at.settle()
    return alice, bob, carol


def test_the_clearing_account_is_shown_as_what_losers_owe_and_winners_are_owed(traders) -> None:
    sheet = balance_sheet(Scope.PLATFORM, [None])

    [usdt] = [item for item in sheet.sheets if item.asset == "USDT"]
    [mark] = usdt.at_mark
    assert mark.contract == SYMBOL
    assert [mark.winning, mark.losing, mark.cleared] == [Decimal(26), Decimal(30), Decimal(-4)]
    assert mark.difference == 0
    assert sheet.marked
    assert sheet.holds


def test_a_users_statement_tells_the_gain_or_loss_of_each_position(traders) -> None:
    alice, bob, _ = traders
    found = []
    for owner in (alice, bob):
        sheet = balance_sheet(Scope.USERS, [None], owner_id=owner.id)
        [usdt] = [item for item in sheet.sheets if item.asset == "USDT"]
        found += [(mark.winning, mark.losing) for mark in usdt.at_mark]

    assert found == [(Decimal(18), Decimal(0)), (Decimal(0), Decimal(30))]


def test_of_the_past_nothing_is_said(traders) -> None:
    now = utc_now()

    assert valuation.Positions().contracts(now) is None
    assert valuation.Positions().positions(traders[0].id, now) is None
    assert not balance_sheet(Scope.PLATFORM, [now]).marked
