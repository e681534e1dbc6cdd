"""CONTRACTS.md is traded from its first block to its last; books, positions and orders must show what it prints."""

from decimal import Decimal
from pathlib import Path

import pytest

from ledger.models import JournalEntry
from trading.tests import worked_contracts
from trading.tests.contracts import desk, make_contract

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]
PEOPLE = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "henry", "ivan")


def test_every_worked_example_of_contracts_trades_as_written(customer, tmp_path: Path) -> None:
    people = {name: customer(name, USDT=1_000) for name in PEOPLE}
    make_contract(maker_fee_rate=Decimal("0.0002"), taker_fee_rate=Decimal("0.0005"))
    after = JournalEntry.objects.latest("id").id

    with desk(tmp_path) as at:
        at.settle()
        for lines, text in worked_contracts.blocks():
            for line in lines:
                worked_contracts.happen(at, people, line)
            shown, after = worked_contracts.shown(people, after)
            assert shown == text
