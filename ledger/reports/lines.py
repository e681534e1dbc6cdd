"""The general ledger: the lines behind a figure, page by page, with the balance that they run through.

Lines stand in the order of their entries. Those of entries recorded after the period that had happened in it come
last; those that had happened before it are part of the opening balance (Note [When an entry counts] in `moments`).
Opening balance and lines therefore add up to the closing balance, to the last digit.

Note [Long journals]
    Lines of few accounts are found through the accounts' index. Lines of many accounts (every user's available
    wallet) are found by walking the journal, at most `WINDOW_ENTRIES` entries a page, so that a page has its price
    however rare the lines are; a page may therefore show less than asked for and say where to go on.
"""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

from django.db import connection

from exchange.kernel.errors import require
from ledger.reports import scopes
from ledger.reports.balances import OF_ENTRY, SPAN
from ledger.reports.moments import BEGINNING, Period
from ledger.reports.selection import Selection

LINES_PAGE_MAX: Final = 5_000
FEW_ACCOUNTS: Final = 50
WINDOW_ENTRIES: Final = 100_000
LAST_N: Final = 32_767
"""The largest number that a line of an entry can have."""


class Place(NamedTuple):
    """A line's place in the journal."""

    entry_id: int
    n: int


class BookLine(NamedTuple):
    """One line as the general ledger shows it; amounts debit positive, in the view of the scope.

    Args:
        counts_at: From when it counts: when it was recorded, or if that was late, when it happened.
    """

    entry_id: int
    n: int
    kind: str
    key: str
    counts_at: datetime
    recorded_at: datetime
    late: bool
    trace: str
    account_id: int
    owner_id: int | None
    code: str
    asset: str
    sub: str
    amount: Decimal


class LinePage(NamedTuple):
    """Some lines of a period.

    Args:
        opening: The balance before the first of these lines; None where the selection has several assets.
        running: The balance after each line; empty where there is no opening.
        next: Where the following page begins; None at the end.
    """

    opening: Decimal | None
    lines: list[BookLine]
    running: list[Decimal]
    next: Place | None


_COLUMNS: Final = """
       l.entry_id, l.n, e.kind, e.key, CASE WHEN e.late THEN e.effective_at ELSE e.recorded_at END, e.recorded_at,
       e.late, e.trace, a.id, a.owner_id, a.code, a.asset, a.sub, l.amount
"""
_OF_FEW: Final = f"""
SELECT {_COLUMNS}
FROM ledger_account a
CROSS JOIN LATERAL (
    SELECT l.entry_id, l.n, l.amount FROM ledger_line l
    WHERE l.account_id = a.id AND (l.entry_id, l.n) > (%s, %s) AND l.entry_id <= %s
    ORDER BY l.entry_id, l.n LIMIT %s
) l
JOIN ledger_entry e ON e.id = l.entry_id
WHERE a.id = ANY(%s::bigint[])
ORDER BY l.entry_id, l.n LIMIT %s
"""
_OF_MANY: Final = f"""
SELECT {_COLUMNS}
FROM ledger_line l
JOIN ledger_account a ON a.id = l.account_id
JOIN ledger_entry e ON e.id = l.entry_id
WHERE (l.entry_id, l.n) > (%s, %s) AND l.entry_id <= %s AND {{where}}
ORDER BY l.entry_id, l.n LIMIT %s
"""
_LATE: Final = f"""
SELECT {_COLUMNS}
FROM ledger_entry e
{OF_ENTRY}
JOIN ledger_account a ON a.id = l.account_id
WHERE e.late AND {SPAN} @> %s::timestamptz AND e.effective_at > %s AND e.id <= %s
  AND (l.entry_id, l.n) > (%s, %s) AND {{where}}
ORDER BY l.entry_id, l.n LIMIT %s
"""
_BEFORE: Final = f"""
WITH chosen AS MATERIALIZED (SELECT a.id, a.asset, a.code FROM ledger_account a WHERE {{where}})
SELECT asset, code, sum(amount) FROM (
    SELECT a.asset, a.code, b.balance_after AS amount
    FROM chosen a CROSS JOIN LATERAL (
        SELECT l.balance_after FROM ledger_line l
        WHERE l.account_id = a.id AND (l.entry_id, l.n) <= (%s, %s)
        ORDER BY l.entry_id DESC, l.n DESC LIMIT 1
    ) b
    UNION ALL
    SELECT a.asset, a.code, l.amount
    FROM ledger_entry e {OF_ENTRY} JOIN chosen a ON a.id = l.account_id
    WHERE e.late AND {SPAN} @> %s::timestamptz AND e.id <= %s AND (l.entry_id, l.n) > (%s, %s)
    UNION ALL
    SELECT a.asset, a.code, l.amount
    FROM ledger_entry e {OF_ENTRY} JOIN chosen a ON a.id = l.account_id
    WHERE e.late AND {SPAN} @> %s::timestamptz AND e.effective_at > %s
      AND (l.entry_id, l.n) > (%s, %s) AND (l.entry_id, l.n) <= (%s, %s)
) AS part GROUP BY asset, code
"""


def beginning(period: Period) -> Place:
    """Return the place before a period's first line."""
    return Place(period.start.entry_id, LAST_N)


def page(selection: Selection, period: Period, *, after: Place | None = None, limit: int = 100) -> LinePage:
    """Return lines of the selected accounts, in order of their entries. At most five statements.

    Args:
        after: The last line of the previous page; None is the first page.
        limit: At most so many lines.
    """
    require(0 < limit <= LINES_PAGE_MAX, f"a page of {limit} lines")
    place = max(after or beginning(period), beginning(period))
    opening = scopes.total(tuple(before(selection, period, place).values())) if selection.adds_up else None
    lines, following = _lines(selection, period, place, limit)
    running: list[Decimal] = []
    balance = opening
    for line in lines:
        if balance is not None:
            balance = scopes.total((balance, line.amount))
            running.append(balance)
    return LinePage(opening, lines, running, following)


def every(selection: Selection, period: Period) -> Iterator[BookLine]:
    """Yield all lines of a period, page by page, for files; nothing but a page is kept in memory."""
    place: Place | None = beginning(period)
    while place is not None:
        lines, place = _lines(selection, period, place, LINES_PAGE_MAX)
        yield from lines


def before(selection: Selection, period: Period, place: Place) -> dict[tuple[str, str], Decimal]:
    """Return the selection's balances by asset and code just after a place of its listing. One statement.

    Counted are all lines up to the place; late ones that had happened before the period and stand after the place;
    and of those recorded after the period that had happened in it, the ones up to the place.
    """
    (start_at, _, head, *_), (end_at, end, *_) = period
    last = Place(end, LAST_N)
    booked, listed = min(place, last), max(place, last)
    where, params = selection.where()
    with connection.cursor() as cursor:
        cursor.execute(
            _BEFORE.format(where=where),
            [*params, *booked, start_at, head, *booked, end_at, start_at, *last, *listed],
        )
        return {(asset, code): scopes.seen(selection.scope, code, amount) for asset, code, amount in cursor.fetchall()}


def _lines(selection: Selection, period: Period, place: Place, limit: int) -> tuple[list[BookLine], Place | None]:
    """Return a page of lines and where the next one begins."""
    start_at, end = period.start.at or BEGINNING, period.end.entry_id
    found: list[BookLine] = []
    if place.entry_id <= end:
        account_ids = _few_accounts(selection)
        if account_ids is None:
            last = min(end, place.entry_id + WINDOW_ENTRIES)
            where, params = selection.where()
            rows = _run(_OF_MANY.format(where=where), [*place, last, *params, limit + 1])
        else:
            last = end
            rows = _run(_OF_FEW, [*place, last, limit + 1, account_ids, limit + 1])
        found = [line for line in rows[:limit] if not (line.late and line.counts_at <= start_at)]
        if len(rows) > limit:
            return _seen(selection, found), Place(rows[limit - 1].entry_id, rows[limit - 1].n)
        if last < end:
            return _seen(selection, found), Place(last, LAST_N)
        place = Place(end, LAST_N)
    if period.end.at is None:
        return _seen(selection, found), None
    rest = limit - len(found)
    where, params = selection.where()
    bounds = [period.end.at, start_at, period.end.head, *place, *params, rest + 1]
    late = _run(_LATE.format(where=where), bounds)
    found += late[:rest]
    following = Place(found[-1].entry_id, found[-1].n) if len(late) > rest and found else None
    return _seen(selection, found), following


def _few_accounts(selection: Selection) -> list[int] | None:
    """Return the ids of the selected accounts, or None when there are many: Note [Long journals]."""
    where, params = selection.where()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT a.id FROM ledger_account a WHERE {where} LIMIT {FEW_ACCOUNTS + 1}", params)
        ids = [row[0] for row in cursor.fetchall()]
    return ids if len(ids) <= FEW_ACCOUNTS else None


def _run(statement: str, params: list[Any]) -> list[BookLine]:
    """Run a statement whose columns are those of `BookLine`."""
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return [BookLine(*row) for row in cursor.fetchall()]


def _seen(selection: Selection, lines: list[BookLine]) -> list[BookLine]:
    """Return stored lines as the scope's journal has them."""
    return [line._replace(amount=scopes.seen(selection.scope, line.code, line.amount)) for line in lines]
