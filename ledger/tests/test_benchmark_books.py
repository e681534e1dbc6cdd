"""The books that the benchmark of statements makes are whole: every invariant, hash by hash, and every statement."""

import pytest
from django.db import connection

from ledger import audit
from ledger.benchmarks import sampled, statements
from ledger.benchmarks.generated import Books
from ledger.models import JournalEntry, Line
from ledger.reports import moments
from ledger.reports.scopes import Scope
from ledger.reports.sheet import balance_sheet
from ledger.reports.trial import trial_balance


@pytest.fixture
def made(db) -> Books:
    """Books of 3,000 lines, loaded as the benchmark loads them, but with the indexes in place."""
    books = Books(3_000, 100)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(statements.ASSETS)
        for chunk in books.chunks():
            statements.load(cursor, chunk)
        statements.finish(cursor, books)
        cursor.execute("SET LOCAL session_replication_role = origin")
    return books


def test_every_invariant_holds(made) -> None:
    assert [invariant for invariant in audit.invariants() if not invariant.ok] == []
    assert 3_000 <= Line.objects.count() == made.made < 3_100
    assert JournalEntry.objects.filter(late=True).exists()


def test_the_audit_of_a_sample_uses_the_audits_own_checks_and_leaves_nothing_behind(made) -> None:
    checked = sampled.audit_sample()

    assert {invariant.name for invariant in checked} <= set(audit.CHECKS)
    assert [invariant for invariant in checked if not invariant.ok] == []
    assert Line.objects.count() == made.made


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE ledger_line SET amount = amount + 0.000001 WHERE entry_id = 50 AND n = 1",
        "UPDATE ledger_account SET balance = balance + 1 WHERE id = 1",
        "UPDATE ledger_entry SET trace = 'x' WHERE id = 7",
        "DELETE FROM ledger_line WHERE entry_id = 60 AND n = 2",
    ],
)
def test_the_audit_of_a_sample_notices_harm(made, harm) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(harm)

    assert [invariant.name for invariant in sampled.audit_sample() if not invariant.ok] != []


@pytest.mark.parametrize("scope", Scope)
def test_statements_of_them_hold_at_every_moment(made, scope) -> None:
    life = moments.life()
    assert life.first_at is not None
    assert life.last_at is not None
    middle = life.first_at + (life.last_at - life.first_at) / 2

    assert balance_sheet(scope, [life.first_at, middle, life.last_at, None]).holds
    assert trial_balance(scope, middle, None).holds
