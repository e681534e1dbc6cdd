"""Balances are rebuilt from lines exactly, beside postings, and lines never change."""

import hashlib
import threading
from decimal import Decimal

import pytest
from django.db import connection, transaction

from ledger.services import accounts, journal, rebuild
from ledger.services.rebuild import Rebuilt
from ledger.tests.factories import NOW, freeze, unfreeze
from ledger.tests.reconciling import damage

pytestmark = pytest.mark.django_db


def balances(*, write: bool = True) -> Rebuilt:
    return rebuild.balances(write=write, show=_silent)


def _silent(_done: int, _total: int) -> None:
    """Show nothing."""


def table(name: str, order: str) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {name} ORDER BY {order}")
        return cursor.fetchall()


def books() -> tuple[list[tuple], str]:
    """Return the balances, and a digest of entries and lines."""
    lines = repr((table("ledger_entry", "id"), table("ledger_line", "entry_id, n"))).encode()
    return table("ledger_account", "id"), hashlib.sha256(lines).hexdigest()


@pytest.fixture
def alice(customer):
    made = customer("alice", USDT=100)
    journal.post([freeze("a", made.id, 30), freeze("b", made.id, "0.00000001"), unfreeze("c", made.id, 10)], NOW)
    return made


def test_damaged_balances_are_rebuilt_exactly_and_lines_stay(alice, monkeypatch) -> None:
    monkeypatch.setattr(rebuild, "ACCOUNTS_MAX", 2)
    before = books()
    damage("UPDATE ledger_account SET balance = balance + 1 WHERE bound >= 0")

    done = balances()

    assert books() == before
    assert (done.rows, done.different, done.left) == (4, 4, 0)
    assert "account " in done.named[0]


def test_what_is_right_is_left_alone(alice) -> None:
    before = books()

    done = balances()

    assert (done.rows, done.different) == (4, 0)
    assert books() == before


def test_a_check_only_says_what_is_wrong(alice) -> None:
    damage("UPDATE ledger_account SET balance = balance + 1 WHERE code = '1020'")
    before = books()

    done = balances(write=False)

    assert (done.different, books()) == (1, before)


def test_an_account_whose_lines_are_damaged_is_named_and_left_alone(alice) -> None:
    damage(
        "UPDATE ledger_line SET amount = amount + 5 WHERE entry_id = 2 AND n = 1",
        "UPDATE ledger_account SET balance = balance + 1 WHERE code IN ('1110', '1020')",
    )

    done = balances()

    assert (done.different, done.left) == (2, 1)
    assert balances().left == 1
    with connection.cursor() as cursor:
        cursor.execute("SELECT balance FROM ledger_account WHERE code = '1110'")
        assert cursor.fetchone()[0] == Decimal(100)


@pytest.mark.django_db(transaction=True)
def test_postings_go_on_beside_a_rebuild_and_every_balance_is_right(customer, monkeypatch) -> None:
    alice = customer("alice", USDT=100)
    monkeypatch.setattr(rebuild, "ACCOUNTS_MAX", 1)
    stop = threading.Event()
    posted: list[int] = []

    def poster() -> None:
        number = 0
        try:
            while not stop.is_set():
                number += 1
                with transaction.atomic():
                    accounts.lock([alice.id])
                    journal.post([freeze(f"f{number}", alice.id, 7), unfreeze(f"u{number}", alice.id, 6)], NOW)
                posted.append(number)
                if number == 14:
                    return
        finally:
            connection.close()

    thread = threading.Thread(target=poster)
    thread.start()
    try:
        results = [balances() for _ in range(10)]
    finally:
        stop.set()
        thread.join()

    assert [result.different for result in results] == [0] * 10
    assert posted
