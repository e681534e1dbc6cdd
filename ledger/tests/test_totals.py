"""Kept totals: statements of all users are the same with them as without, and only their function writes them."""

from datetime import timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction

from ledger import audit
from ledger.posting_rules import EventKind
from ledger.reports import balances, moments
from ledger.reports.balances import Holding
from ledger.reports.scopes import Scope
from ledger.reports.selection import Selection
from ledger.services import totals
from ledger.tasks import WORK
from ledger.tests.factories import event, freeze
from ledger.tests.history import march, post

pytestmark = pytest.mark.usefixtures("books")

MOMENTS = [None, *(march(1) + timedelta(hours=3 * place) for place in range(-1, 12))]


@pytest.fixture
def owners(people):
    """The books of `history`, and after them thirty deposits and orders, every third recorded late."""
    owners = [person.id for person in people]
    for number in range(30):
        at = march(7) + timedelta(hours=number)
        happened_at = at - timedelta(days=3) if number % 3 == 0 else None
        owner = owners[number % 2]
        post(event(EventKind.DEPOSIT, f"more:{number}", owner, number + 1), at, happened_at=happened_at)
        post(freeze(f"more:{number}:freeze", owner, "0.5"), at, happened_at=happened_at)
    return owners


def keep(every: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT ledger_keep_totals(1000, %s)", [every])
        return cursor.fetchone()[0]


def ever_held(holdings: list[Holding]) -> list[Holding]:
    return [holding for holding in holdings if any(holding.amounts)]


@pytest.mark.parametrize("every", [1, 7, 100])
@pytest.mark.parametrize(
    "selection",
    [
        *(Selection(scope) for scope in Scope),
        Selection(Scope.USERS, codes=("1010", "5030"), asset="USDT"),
        Selection(Scope.PLATFORM, asset="BTC"),
        Selection(Scope.PLATFORM, sub="main"),
        Selection(Scope.PLATFORM, codes=("1010", "1110")),
    ],
)
def test_statements_are_the_same_from_totals_as_from_accounts(owners, selection, every, monkeypatch) -> None:
    keep(every)
    cuts = moments.cuts([*MOMENTS, *(march(7) + timedelta(hours=5 * place) for place in range(8))])

    found = balances.totals(selection, cuts)
    monkeypatch.setattr(balances, "TAIL_ENTRIES_MAX", -1)

    assert ever_held(found) == ever_held(balances.totals(selection, cuts))
    assert ever_held(found)


def test_totals_are_kept_after_every_so_many_entries_and_only_once(owners) -> None:
    assert [keep(20), keep(20)] == [3, 0]

    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT entry_id FROM ledger_total ORDER BY 1")
        assert cursor.fetchall() == [(20,), (40,), (60,)]
        cursor.execute("SELECT balance FROM ledger_total WHERE entry_id = 20 AND code = '3110' AND asset = 'USDT'")
        assert cursor.fetchall() == [(Decimal(-1000),)]
    assert [cut.summed for cut in moments.cuts([None, march(1)])] == [60, 0]


def test_the_back_office_keeps_what_is_due(owners, monkeypatch) -> None:
    monkeypatch.setattr(totals, "EVERY_ENTRIES", 30)
    assert totals.due() == 2

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL ROLE exchange_back_office")
        assert WORK["totals"](march(9)) == 2
        cursor.execute("RESET ROLE")

    assert totals.due() == 0


@pytest.mark.parametrize("role", ["exchange_web", "exchange_worker", "exchange_back_office"])
@pytest.mark.parametrize(
    "attack",
    [
        "INSERT INTO ledger_total VALUES (1, '1110', 'USDT', '', 5)",
        "UPDATE ledger_total SET balance = 0",
        "DELETE FROM ledger_total",
        "TRUNCATE ledger_total",
    ],
)
def test_no_process_can_write_totals(owners, attack, role) -> None:
    keep(7)

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL ROLE {role}")
        with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
            cursor.execute(attack)
        cursor.execute("RESET ROLE")


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE ledger_total SET balance = balance + 0.000001 WHERE entry_id = 40 AND code = '1010' AND asset = 'USDT'",
        "DELETE FROM ledger_total WHERE entry_id = 20 AND code = '3110'",
        "INSERT INTO ledger_total VALUES (20, '1190', 'USDT', 'x', 1)",
    ],
)
def test_the_audit_notices_a_total_that_does_not_follow(owners, harm) -> None:
    name = "kept totals follow from the lines"
    keep(20)
    assert audit.run({name: audit.CHECKS[name]}, "")[0].ok

    with connection.cursor() as cursor:
        cursor.execute(harm)

    assert not audit.run({name: audit.CHECKS[name]}, "")[0].ok
    totals.forget()
    assert audit.run({name: audit.CHECKS[name]}, "")[0].ok


def test_one_command_makes_the_totals_anew(owners, monkeypatch, settings) -> None:
    settings.EMBEDDED_POSTGRES = settings.EMBEDDED_REDIS = False  # they run already
    monkeypatch.setattr(totals, "EVERY_ENTRIES", 10)
    keep(10)
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM ledger_total ORDER BY 1, 2, 3, 4")
        before = cursor.fetchall()
        cursor.execute("UPDATE ledger_total SET balance = 0")

    call_command("rebuild_totals", stdout=StringIO())

    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM ledger_total ORDER BY 1, 2, 3, 4")
        assert cursor.fetchall() == before
