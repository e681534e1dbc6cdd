"""Helpers for tests of reconciliation: damage, look, look at everything, and say what is broken."""

from django.db import connection, transaction

from ledger.reconciliation import accounts, checks, entries, runner, transfers
from ledger.reconciliation.models import Break, RunKind
from ledger.tests.factories import NOW

BOOKS = [check.name for check in (*entries.CHECKS, *accounts.CHECKS, *transfers.CHECKS)]
"""Entries in these tests stand for themselves: checks of upper apps would look for the orders behind them."""


def damage(*statements: str) -> None:
    """Write past every trigger, as only a superuser can."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        for statement in statements:
            cursor.execute(statement)
        cursor.execute("SET LOCAL session_replication_role = origin")


def everything() -> list[str]:
    """Return the names of all checks, those of upper apps included."""
    return [check.name for check in checks.registered()]


def look(*names: str) -> set[tuple[str, str]]:
    """Make one round of looks, of the books' checks if none is named; return the unresolved breaks."""
    run = runner.start(RunKind.CONTINUOUS, now=NOW)
    results = runner.look(run, now=NOW, names=names or BOOKS, due_only=False)
    assert results is not None
    assert [result.failure for result in results if result.failure] == []
    return unresolved()


def full(*names: str) -> set[tuple[str, str]]:
    """Make a full pass, of the books' checks if none is named; return the unresolved breaks: check and subject."""
    run = runner.start(RunKind.FULL, now=NOW)
    results = runner.full(run, clock=lambda: NOW, names=names or BOOKS)
    assert results is not None
    assert [result.failure for result in results if result.failure] == []
    return unresolved()


def unresolved() -> set[tuple[str, str]]:
    return set(Break.objects.exclude(state="RESOLVED").values_list("check_name", "subject"))


def analyze() -> None:
    """Let the planner know the tables as they are, whatever other tests have left of its statistics."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_stat_xact_user_tables WHERE schemaname = 'public'")
        for (name,) in cursor.fetchall():
            cursor.execute(f'ANALYZE "{name}"')


def rows_read(*without: str) -> int:
    """Return how many rows this transaction has read so far, of ordinary tables but those named."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables"
            " WHERE relname <> ALL (%s)",
            [list(without)],
        )
        return int(cursor.fetchone()[0])
