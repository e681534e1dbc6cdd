"""Each check of contracts fails when what it watches is damaged, by name, and passes again when it is repaired."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from ledger.reconciliation.models import CheckMark
from ledger.tests.reconciling import damage, everything, full, look
from trading.models import Position, Trade
from trading.reconciliation import positions
from trading.tests.contracts import SYMBOL, desk, make_contract
from trading.tests.test_contract_audit import everything_that_happens

pytestmark = pytest.mark.django_db

Compare = Callable[..., set[tuple[str, str]]]


@pytest.fixture
def names(customer, tmp_path: Path) -> dict[str, Any]:
    """A contract in which everything has happened; what the damages and expected subjects stand for."""
    alice, maker = customer("alice", USDT=100_000), customer("maker", USDT=1_000_000)
    make_contract(contract_size=Decimal("0.1"), maker_fee_rate=Decimal("0.00021"), taker_fee_rate=Decimal("0.00053"))
    with desk(tmp_path) as at:
        everything_that_happens(at, alice, maker)
    trade = Trade.objects.order_by("number")[1]
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM ledger_entry WHERE key = %s", [f"trade:{trade.id}:sell:FLIP_OPEN"])
        [entry] = cursor.fetchone()
    return {
        "alice": alice.id,
        "symbol": SYMBOL,
        "trade": trade.id,
        "entry": entry,
        "contract": Position.objects.get(user_id=alice.id).instrument_id,
    }


def test_contracts_in_which_everything_has_happened_agree_with_every_check(names) -> None:
    assert look(*everything()) == set()
    assert full(*everything()) == set()
    assert CheckMark.objects.filter(behind__gt=0).count() == 0


OF_ALICE = "WHERE user_id = {alice} AND instrument_id = {contract}"
CASES: dict[str, tuple[str, str, str, set[str], bool]] = {
    "a position of another size": (
        "positions.zero",
        f"UPDATE positions SET quantity = quantity + 1 {OF_ALICE}",
        f"UPDATE positions SET quantity = quantity - 1 {OF_ALICE}",
        {"{symbol}"},
        False,
    ),
    "a profit that nobody lost": (
        "positions.results",
        f"UPDATE positions SET realised_pnl = realised_pnl + 1 {OF_ALICE}",
        f"UPDATE positions SET realised_pnl = realised_pnl - 1 {OF_ALICE}",
        {"{symbol}"},
        False,
    ),
    "an open cost that clearing does not know": (
        "positions.clearing",
        f"UPDATE positions SET open_cost = open_cost + 0.000001 {OF_ALICE}",
        f"UPDATE positions SET open_cost = open_cost - 0.000001 {OF_ALICE}",
        {"{symbol}"},
        False,
    ),
    "a margin that is not in the wallet": (
        "positions.margin",
        f"UPDATE positions SET margin = margin + 0.000001 {OF_ALICE}",
        f"UPDATE positions SET margin = margin - 0.000001 {OF_ALICE}",
        {"user {alice}, {symbol}"},
        False,
    ),
    "a reversal of which only the close is booked": (
        "contracts.entries",
        "UPDATE ledger_entry SET key = 'other' WHERE id = {entry}",
        "UPDATE ledger_entry SET key = 'trade:{trade}:sell:FLIP_OPEN' WHERE id = {entry}",
        {"trade {trade}, sell"},
        False,
    ),
    "a trade with another fee than its entries": (
        "contracts.entries",
        "UPDATE trades SET buyer_fee = buyer_fee + 1 WHERE id = {trade}",
        "UPDATE trades SET buyer_fee = buyer_fee - 1 WHERE id = {trade}",
        {"trade {trade}, buy"},
        False,
    ),
    "an entry without a trade": (
        "entries.trades",
        "UPDATE ledger_entry SET key = 'trade:1:sell:FLIP_OPEN' WHERE id = {entry}",
        "UPDATE ledger_entry SET key = 'trade:{trade}:sell:FLIP_OPEN' WHERE id = {entry}",
        {"entry {entry}"},
        False,
    ),
    "an entry with another line than log and balances make": (
        "log.replay",
        "UPDATE ledger_line SET amount = amount - 0.01 WHERE entry_id = {entry} AND n = 2",
        "UPDATE ledger_line SET amount = amount + 0.01 WHERE entry_id = {entry} AND n = 2",
        {"entry of trade:{trade}:sell:FLIP_OPEN"},
        False,
    ),
    "an entry that is not there": (
        "log.replay",
        "UPDATE ledger_entry SET key = 'other' WHERE id = {entry}",
        "UPDATE ledger_entry SET key = 'trade:{trade}:sell:FLIP_OPEN' WHERE id = {entry}",
        {"entry of trade:{trade}:sell:FLIP_OPEN"},
        True,
    ),
    "a position of another cost than the log makes": (
        "log.replay",
        f"UPDATE positions SET open_cost = open_cost + 1 {OF_ALICE}",
        f"UPDATE positions SET open_cost = open_cost - 1 {OF_ALICE}",
        {"user {alice}, {symbol}"},
        True,
    ),
}


@pytest.mark.parametrize("compare", [look, full], ids=["look", "full"])
@pytest.mark.parametrize("what", CASES)
def test_a_check_of_contracts_finds_its_damage_and_passes_again(names, what: str, compare: Compare) -> None:
    check, damaging, repairing, subjects, full_only = CASES[what]
    if full_only and compare is look:
        compare = full
    damage(damaging.format(**names))

    assert compare(check) == {(check, subject.format(**names)) for subject in subjects}

    damage(repairing.format(**names))
    assert compare(check) == set()


def test_every_check_of_contracts_is_damaged_by_a_case() -> None:
    assert {check.name for check in positions.CHECKS} <= {case[0] for case in CASES.values()}
