"""Runs the statements of checks: rows are findings, sets of entries are ranges, and plans follow what is new."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from django.db import connection

from ledger.reconciliation.checks import FINDINGS_MAX, Finding

ENTRIES_MAX: Final = 20_000
"""Entries that one look, or one part of a full pass, compares."""

LINES: Final = """
WITH scope AS MATERIALIZED (
    SELECT * FROM unnest(%(after)s::bigint[], %(upto)s::bigint[]) AS r (after, upto)
), line AS MATERIALIZED (
    SELECT r.after, l.entry_id, l.n, l.account_id, l.amount, l.balance_after,
           a.id AS known, a.owner_id, a.code, a.asset, a.face, a.bound
    FROM scope r
    CROSS JOIN LATERAL (SELECT * FROM ledger_line l WHERE l.entry_id > r.after AND l.entry_id <= r.upto OFFSET 0) l
    LEFT JOIN ledger_account a ON a.id = l.account_id
)
"""
"""The lines of the entries in scope, with their accounts.

OFFSET 0 keeps the planner from turning the join around: it would read the whole table and look for its range.
"""

ENTRIES: Final = """
entry AS MATERIALIZED (
    SELECT e.* FROM scope r
    CROSS JOIN LATERAL (SELECT * FROM ledger_entry e WHERE e.id > r.after AND e.id <= r.upto OFFSET 0) e
)
"""
"""The entries in scope."""


def line_before(place: str) -> str:
    """Return the statement that finds the line before a place, in the order of account, entry and number.

    Whoever asks compares the account of what it finds. Asked for by account, the planner may read the lines backwards,
    entry by entry, until one of the account comes: as good as any for busy accounts, and through everything for others.
    """
    return f"""
        SELECT account_id, amount, balance_after FROM ledger_line
        WHERE (account_id, entry_id, n) < ({place})
        ORDER BY account_id DESC, entry_id DESC, n DESC LIMIT 1"""


_PLANNER: Final = ("enable_seqscan", "enable_hashjoin", "enable_mergejoin")


@contextmanager
def planned_for_few() -> Iterator[None]:
    """Make the planner go through indexes: it scans whole tables for sets that look large to it and are not.

    The cost of a look then follows from what is new, however long the tables are.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config(name, 'off', true) FROM unnest(%s::text[]) AS name", [list(_PLANNER)])
        try:
            yield
        finally:
            if connection.in_atomic_block and not connection.needs_rollback:
                cursor.execute("SELECT set_config(name, 'on', true) FROM unnest(%s::text[]) AS name", [list(_PLANNER)])


def findings(statement: str, params: Mapping[str, Any]) -> list[Finding]:
    """Run a statement whose rows are findings: subject, place, asset, amount, cause, figures."""
    with connection.cursor() as cursor:
        cursor.execute(f"{statement} LIMIT {FINDINGS_MAX + 1}", params)
        return [
            Finding(subject, cause, figures, place, asset or "", amount)
            for subject, place, asset, amount, cause, figures in cursor.fetchall()
        ]


def ranges(after: int, upto: int, again: Iterable[int]) -> dict[str, list[int]]:
    """Return what is new, and single numbers before it, as disjoint ranges: each begins after one number."""
    places = sorted({number for number in again if number <= after})
    return {"after": [number - 1 for number in places] + [after], "upto": [*places, max(upto, after)]}


def parts(total: int, size: int) -> Sequence[tuple[int, int]]:
    """Cut 1..total into ranges of a bounded size: (after, upto)."""
    return [(start, min(start + size, total)) for start in range(0, total, size)]


def number_of(statement: str) -> int:
    """Return the one number that a statement selects; 0 for NULL."""
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return int(cursor.fetchone()[0] or 0)
