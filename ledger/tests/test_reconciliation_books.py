"""Each check of the books fails when what it watches is damaged, by name, and passes again when it is repaired."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.utils.translation import override

from ledger.reconciliation.models import Break, BreakEvent, CheckMark
from ledger.services import journal
from ledger.tests.factories import NOW, freeze
from ledger.tests.reconciling import damage, full, look

pytestmark = pytest.mark.django_db


DAMAGES: dict[str, tuple[list[str], list[str], set[str]]] = {
    "entries.balance": (
        ["UPDATE ledger_line SET amount = amount + 1 WHERE entry_id = 2 AND n = 1"],
        ["UPDATE ledger_line SET amount = amount - 1 WHERE entry_id = 2 AND n = 1"],
        {"entry 2, platform, USDT", "entry 2, user {alice}, USDT"},
    ),
    "lines.chain": (
        ["UPDATE ledger_line SET balance_after = balance_after + 1 WHERE entry_id = 2 AND n = 2"],
        ["UPDATE ledger_line SET balance_after = balance_after - 1 WHERE entry_id = 2 AND n = 2"],
        {"line 2.2"},
    ),
    "lines.bounds": (
        ["UPDATE ledger_line SET balance_after = -5 WHERE entry_id = 2 AND n = 2"],
        ["UPDATE ledger_line SET balance_after = 70 WHERE entry_id = 2 AND n = 2"],
        {"line 2.2"},
    ),
    "entries.hash": (
        ["UPDATE ledger_entry SET trace = 'other' WHERE id = 2"],
        ["UPDATE ledger_entry SET trace = 'trace-1' WHERE id = 2"],
        {"entry 2"},
    ),
    "balances.lines": (
        ["UPDATE ledger_account SET balance = balance + 1 WHERE code = '1020'"],
        ["UPDATE ledger_account SET balance = balance - 1 WHERE code = '1020'"],
        {"account {hold}"},
    ),
    "users.balance": (
        ["UPDATE ledger_account SET balance = balance + 1 WHERE code = '1020'"],
        ["UPDATE ledger_account SET balance = balance - 1 WHERE code = '1020'"],
        {"user {alice}, USDT"},
    ),
    "platform.owed": (
        ["UPDATE ledger_account SET balance = balance + 1 WHERE code = '1110'"],
        ["UPDATE ledger_account SET balance = balance - 1 WHERE code = '1110'"],
        {"USDT"},
    ),
}


@pytest.fixture
def names(customer) -> dict[str, Any]:
    """Books with two entries; what the expected subjects stand for."""
    alice = customer("alice", USDT=100)
    journal.post([freeze("a", alice.id, 30)], NOW)
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM ledger_account WHERE code = '1020'")
        return {"alice": alice.id, "hold": cursor.fetchone()[0]}


@pytest.mark.parametrize("compare", [look, full], ids=["look", "full"])
@pytest.mark.parametrize("name", DAMAGES)
def test_a_check_finds_its_damage_and_passes_again(
    names, name: str, compare: Callable[..., set[tuple[str, str]]]
) -> None:
    damaging, repairing, subjects = DAMAGES[name]
    assert full() == set()
    CheckMark.objects.all().delete()

    damage(*damaging)

    assert compare(name) == {(name, subject.format(**names)) for subject in subjects}
    damage(*repairing)
    assert compare(name) == set()
    assert set(BreakEvent.objects.values_list("kind", flat=True)) == {"FOUND", "PASSED"}


def test_an_amount_says_by_how_much(names) -> None:
    damage(*DAMAGES["balances.lines"][0])

    look("balances.lines")

    [row] = Break.objects.all()
    assert (row.asset, row.amount) == ("USDT", Decimal(1))
    with override("en"):
        assert row.told == f"Account {names['hold']} stands at 31 USDT, its lines at 30."
