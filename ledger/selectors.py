"""Reads of the books, for pages and APIs. Nothing here writes."""

from collections import defaultdict
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from django.db import connection

from exchange.kernel.errors import require
from ledger.chart import AccountCode

LINES_MAX: Final = 1_000
_END: Final = (2**62, 0)
"""A place after every line: keyset pages start here."""


class JournalLine(NamedTuple):
    """One line as a journal shows it.

    Args:
        owner_id: The user; None is the platform.
        account: The account's name in this journal: `wallet.available` for the user is
            `user.available` for the platform.
        root: The part of the statements it belongs to, a `Root`.
        amount: Debit positive, with the sign that this journal sees.
        balance_after: The account's balance after the line, with the same sign.
    """

    entry_id: int
    n: int
    kind: str
    key: str
    effective_at: datetime
    recorded_at: datetime
    late: bool
    trace: str
    owner_id: int | None
    account: str
    root: str
    asset: str
    sub: str
    account_id: int
    amount: Decimal
    balance_after: Decimal


_COLUMNS = ", ".join(f"j.{name}" for name in JournalLine._fields)
_OF_ENTRY = {
    view: f"SELECT {_COLUMNS} FROM {view} j WHERE entry_id = %s ORDER BY n LIMIT {LINES_MAX}"
    for view in ("user_journal", "platform_journal")
}
_OF_ACCOUNTS = f"""
SELECT {_COLUMNS} FROM ledger_account a
CROSS JOIN LATERAL (
    SELECT * FROM {{view}} l
    WHERE l.account_id = a.id AND (l.entry_id, l.n) < (%s, %s)
    ORDER BY l.entry_id DESC, l.n DESC LIMIT %s
) j
WHERE {{whose}}
ORDER BY j.entry_id DESC, j.n DESC LIMIT %s
"""
_DEBTS_SINCE = """
SELECT a.asset, e.recorded_at FROM ledger_account a
CROSS JOIN LATERAL (
    SELECT coalesce(max(entry_id), 0) AS entry_id FROM ledger_line WHERE account_id = a.id AND balance_after = 0
) paid
CROSS JOIN LATERAL (
    SELECT min(entry_id) AS entry_id FROM ledger_line WHERE account_id = a.id AND entry_id > paid.entry_id
) began
JOIN ledger_entry e ON e.id = began.entry_id
WHERE a.code = %s AND a.owner_id = %s AND a.balance < 0
"""


def _lines(statement: str, params: list[int | str | None]) -> list[JournalLine]:
    """Run a statement whose columns are those of `JournalLine`."""
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return [JournalLine(*row) for row in cursor.fetchall()]


def entry_in_user_journals(entry_id: int) -> list[JournalLine]:
    """Return an entry's lines as its users' journals show them."""
    return _lines(_OF_ENTRY["user_journal"], [entry_id])


def entry_in_platform_journal(entry_id: int) -> list[JournalLine]:
    """Return an entry's lines as the platform's journal shows them."""
    return _lines(_OF_ENTRY["platform_journal"], [entry_id])


def user_journal(
    owner_id: int, *, asset: str | None = None, before: tuple[int, int] = _END, limit: int = 50
) -> list[JournalLine]:
    """Return a user's lines, newest first; a page costs the same however long the journal is.

    Args:
        asset: Only this asset.
        before: Entry id and line number of the last line of the previous page.
    """
    require(0 < limit <= LINES_MAX, f"a page of {limit} lines")
    statement = _OF_ACCOUNTS.format(view="user_journal", whose="a.owner_id = %s AND (%s::text IS NULL OR a.asset = %s)")
    return _lines(statement, [*before, limit, owner_id, asset, asset, limit])


def account_lines(account_id: int, *, before: tuple[int, int] = _END, limit: int = 50) -> list[JournalLine]:
    """Return the newest lines of one account: in the user's view where it has one, else the platform's."""
    require(0 < limit <= LINES_MAX, f"a page of {limit} lines")
    rows: list[JournalLine] = []
    for view, face in (("user_journal", "a.face <> 'PLATFORM'"), ("platform_journal", "a.face = 'PLATFORM'")):
        statement = _OF_ACCOUNTS.format(view=view, whose=f"a.id = %s AND {face}")
        rows += _lines(statement, [*before, limit, account_id, limit])
    return rows


def wallets(owner_id: int) -> dict[str, dict[AccountCode, Decimal]]:
    """Return what a user owns and owes: asset -> wallet or debt -> balance, summed over its parts.

    One statement. Assets that the user never had are absent.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT asset, code, sum(balance) FROM ledger_account"
            " WHERE owner_id = %s AND face = 'BOTH' GROUP BY asset, code ORDER BY asset, code",
            [owner_id],
        )
        found: dict[str, dict[AccountCode, Decimal]] = defaultdict(dict)
        for asset, code, balance in cursor.fetchall():
            found[asset][AccountCode(code)] = balance
    return dict(found)


def debts_since(owner_id: int) -> dict[str, datetime]:
    """Return since when a user owes, by asset: the first line after the debt was last nothing. One statement."""
    with connection.cursor() as cursor:
        cursor.execute(_DEBTS_SINCE, [AccountCode.DEBT, owner_id])
        return dict(cursor.fetchall())


def estimated_rows(table: str) -> int:
    """Return about how many rows a table has, without counting them; 0 before its first ANALYZE."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = %s::regclass", [table])
        return int(cursor.fetchone()[0])
