"""Keeps the totals from which statements over all users start; derived from the lines, and made anew by one command."""

from typing import Final

from django.db import connection, transaction

EVERY_ENTRIES: Final = 10_000
"""A set of totals after so many entries: a statement adds at most as many entries' lines to it."""
SETS_MAX: Final = 20


def keep() -> int:
    """Add the totals that are due, at most `SETS_MAX` sets; return how many. The back office's role may."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT ledger_keep_totals(%s, %s)", [SETS_MAX, EVERY_ENTRIES])
        return int(cursor.fetchone()[0])


def forget() -> None:
    """Throw all totals away; statements are slower until they are kept again. Only the tables' owner may."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM ledger_total")


def due() -> int:
    """Return how many sets are still to be made."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (h.entry_id - coalesce((SELECT max(entry_id) FROM ledger_total), 0)) / %s FROM ledger_head h",
            [EVERY_ENTRIES],
        )
        return int(cursor.fetchone()[0])
