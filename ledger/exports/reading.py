"""Reads the journal for exports, in constant memory, by short statements that need no snapshot.

Entries and lines never change and entry numbers have no gap, so a range of numbers reads the same whenever it is read:
no transaction is held open over a long export, which the web's role could not do either. An entry counts from its
`recorded_at`; one that is flagged late, from its `effective_at`, as in the statements.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

from django.db import connection

from exchange.kernel.money import EXACT
from ledger.chart import AccountCode
from ledger.exports.names import View

ENTRIES_A_PAGE: Final = 500
ACCOUNTS_A_PAGE: Final = 2_000
FACES: Final = {View.USER: ["BOTH", "USER"], View.PLATFORM: ["BOTH", "PLATFORM"]}


class Head(NamedTuple):
    """An entry by its place: its number, when it was recorded, its hash."""

    entry_id: int
    recorded_at: datetime
    hash: str


class Line(NamedTuple):
    """One line of an entry; debit positive, with the sign that the journal sees."""

    account_id: int
    owner_id: int | None
    code: AccountCode
    sub: str
    asset: str
    amount: Decimal


class Entry(NamedTuple):
    """An entry in one of the journals, to which its lines are added.

    Args:
        moment: The moment of the books that it counts for: when it was recorded; if late, when it happened.
    """

    moment: datetime
    id: int
    kind: str
    key: str
    trace: str
    effective_at: datetime
    recorded_at: datetime
    late: bool
    reverses: int | None
    hash: str
    lines: list[Line]


class Balance(NamedTuple):
    """An account and its balance, debit positive, with the sign that the journal sees."""

    account_id: int
    owner_id: int | None
    code: AccountCode
    sub: str
    asset: str
    amount: Decimal


_AT = (
    "SELECT id, recorded_at, encode(hash, 'hex') FROM ledger_entry WHERE {} ORDER BY recorded_at DESC, id DESC LIMIT 1"
)
_IS_LATE = "e.late AND e.effective_at < e.recorded_at"
"""Late, and not moved past its own recording by the end of a closed period."""
_FIRST = f"""
SELECT (SELECT recorded_at FROM ledger_entry WHERE id = 1),
       (SELECT effective_at FROM ledger_entry e WHERE {_IS_LATE} AND id <= %s ORDER BY effective_at, id LIMIT 1)
"""
_DECIMALS = "SELECT code, decimals FROM ledger_asset ORDER BY code"
_ENTRY = f"""
SELECT CASE WHEN {_IS_LATE} THEN e.effective_at ELSE e.recorded_at END, e.id, e.kind, e.key, e.trace, e.effective_at,
       e.recorded_at, e.late, e.reverses, encode(e.hash, 'hex'),
       j.account_id, j.owner_id, j.code, j.sub, j.asset, j.amount
FROM ledger_entry e JOIN {{view}}_journal j ON j.entry_id = e.id
"""
# The planner carries no range from one side of a join to the other: both sides are told.
_IN_ORDER = _ENTRY + (
    "WHERE e.id BETWEEN %(first)s AND %(last)s AND j.entry_id BETWEEN %(first)s AND %(last)s"
    f" AND NOT ({_IS_LATE}) ORDER BY e.id, j.n"
)
_BY_ID = _ENTRY + (
    "WHERE e.id = ANY (%(ids)s::bigint[]) AND j.entry_id = ANY (%(ids)s::bigint[]) ORDER BY e.effective_at, e.id, j.n"
)
_LATE = f"""
SELECT id, effective_at FROM ledger_entry e
WHERE {_IS_LATE} AND id <= %s AND (effective_at, id) > (%s, %s) AND effective_at <= %s
ORDER BY effective_at, id LIMIT %s
"""
_CORRECTIONS = f"""
SELECT j.account_id, sum(j.amount) FROM ledger_entry e JOIN {{view}}_journal j ON j.entry_id = e.id
WHERE {_IS_LATE} AND e.id > %s AND e.id <= %s AND e.effective_at <= %s GROUP BY j.account_id
"""
_BALANCES = """
SELECT a.id, a.owner_id, a.code, a.sub, a.asset,
       CASE WHEN a.face = 'BOTH' AND %s THEN -l.balance_after ELSE l.balance_after END
FROM ({accounts}) a
LEFT JOIN LATERAL (
    SELECT balance_after FROM ledger_line l WHERE l.account_id = a.id AND l.entry_id <= %s
    ORDER BY l.entry_id DESC, l.n DESC LIMIT 1
) l ON true
ORDER BY a.owner_id NULLS FIRST, a.code, a.asset, a.sub
"""
_OF_PLATFORM = "SELECT * FROM ledger_account WHERE owner_id IS NULL"
_OF_USERS = """
SELECT * FROM ledger_account WHERE face = ANY (%s) AND (owner_id, code, asset, sub) > (%s, %s, %s, %s)
ORDER BY owner_id, code, asset, sub LIMIT %s
"""
_NAMED = "SELECT * FROM ledger_account WHERE id = ANY (%s::bigint[])"


Row = tuple[Any, ...]


def _rows(statement: str, params: Sequence[Any] | dict[str, Any]) -> list[Row]:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        rows: list[Row] = cursor.fetchall()
        return rows


def head(as_of: datetime | None) -> Head | None:
    """Return the last entry recorded at or before a moment; None as the moment is now."""
    rows = _rows(_AT.format("%s::timestamptz IS NULL OR recorded_at <= %s"), [as_of, as_of])
    return Head(*rows[0]) if rows else None


def first_moment(known: int) -> datetime | None:
    """Return the earliest moment that an entry up to number `known` counts for."""
    [(recorded_at, happened_at)] = _rows(_FIRST, [known])
    return min(recorded_at, happened_at or recorded_at) if recorded_at else None


def entry_at(moment: datetime, known: int) -> int:
    """Return the number of the last entry recorded at or before a moment and not after entry `known`; 0 if none."""
    rows = _rows(_AT.format("recorded_at <= %s AND id <= %s"), [moment, known])
    return int(rows[0][0]) if rows else 0


def decimals() -> dict[str, int]:
    """Return every asset's decimals."""
    return dict(_rows(_DECIMALS, []))


def _entries(rows: Sequence[Row]) -> Iterator[Entry]:
    """Gather rows of lines into entries."""
    entry: Entry | None = None
    for row in rows:
        if entry is None or entry.id != row[1]:
            if entry is not None:
                yield entry
            entry = Entry._make((*row[:10], []))
        entry.lines.append(Line(row[10], row[11], AccountCode(row[12]), *row[13:]))
    if entry is not None:
        yield entry


def punctual(view: View, first: int, last: int) -> Iterator[Entry]:
    """Yield the entries numbered first to last, in order, but those flagged late."""
    statement = _IN_ORDER.format(view=view)
    for start in range(first, last + 1, ENTRIES_A_PAGE):
        page = {"first": start, "last": min(start + ENTRIES_A_PAGE - 1, last)}
        yield from _entries(_rows(statement, page))


def late(view: View, after: datetime, until: datetime, known: int) -> Iterator[Entry]:
    """Yield the late entries up to number `known` that happened in a period, in the order in which they happened."""
    place: tuple[datetime, int] = (after, known)
    while True:
        found = _rows(_LATE, [known, *place, until, ENTRIES_A_PAGE])
        if not found:
            return
        yield from _entries(_rows(_BY_ID.format(view=view), {"ids": [row[0] for row in found]}))
        place = (found[-1][1], found[-1][0])


class Cut(NamedTuple):
    """The books at a moment: all entries up to a number, and of later ones those that happened before and were late."""

    moment: datetime
    entry_id: int
    known: int


def cut(moment: datetime, known: int) -> Cut:
    """Return the cut at a moment, as known when entry `known` was the last."""
    return Cut(moment, entry_at(moment, known), known)


def _corrected(view: View, at: Cut, pages: Iterator[list[Row]]) -> Iterator[Balance]:
    """Turn rows of balances by number into balances at a cut, leaving out accounts that have no line by then."""
    late_by_account: dict[int, Decimal] = dict(
        _rows(_CORRECTIONS.format(view=view), [at.entry_id, at.known, at.moment])
    )
    for page in pages:
        for account_id, owner_id, code, sub, asset, by_number in page:
            correction = late_by_account.get(account_id)
            if by_number is None and correction is None:
                continue
            amount = EXACT.add(by_number or Decimal(0), correction or Decimal(0))
            yield Balance(account_id, owner_id, AccountCode(code), sub, asset, amount)


def _pages(view: View, entry_id: int) -> Iterator[list[Row]]:
    """Yield all accounts of a journal with their balances by number: the platform's own, then user by user."""
    turned = view == View.PLATFORM
    if turned:
        yield _rows(_BALANCES.format(accounts=_OF_PLATFORM), [True, entry_id])
    statement = _BALANCES.format(accounts=_OF_USERS)
    place: Row = (-(2**62), "", "", "")
    while True:
        page = _rows(statement, [turned, FACES[view], *place, ACCOUNTS_A_PAGE, entry_id])
        if not page:
            return
        yield page
        _, owner_id, code, sub, asset, _ = page[-1]
        place = (owner_id, code, asset, sub)


def balances(view: View, at: Cut) -> Iterator[Balance]:
    """Yield the balance of every account at a cut, the platform's first, then user by user."""
    return _corrected(view, at, _pages(view, at.entry_id))


def balances_of(view: View, at: Cut, account_ids: Collection[int]) -> Iterator[Balance]:
    """Yield the balances of some accounts at a cut, page by page."""
    ids = sorted(account_ids)
    statement = _BALANCES.format(accounts=_NAMED)
    pages = (
        _rows(statement, [view == View.PLATFORM, ids[start : start + ACCOUNTS_A_PAGE], at.entry_id])
        for start in range(0, len(ids), ACCOUNTS_A_PAGE)
    )
    return _corrected(view, at, pages)
