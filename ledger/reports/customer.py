"""One user's account statement: every movement of the user's funds with the balance after it, as a bank would send it.

A row is one entry's effect on one asset. What only moves funds between the user's own wallets (an order's hold) leaves
the total as it is, and is left out unless asked for.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

from django.db import connection

from exchange.kernel.errors import require
from ledger.chart import WALLETS, AccountCode
from ledger.reports import lines, scopes
from ledger.reports.balances import OF_ENTRY, SPAN
from ledger.reports.lines import LAST_N, Place
from ledger.reports.moments import BEGINNING, Period
from ledger.reports.scopes import Scope
from ledger.reports.selection import Selection

PAGE_MAX: Final = 1_000
SEARCHED_MAX: Final = 2_000
"""So many entries are looked through for a page that leaves holds out."""

FUNDS: Final = (*(code.value for code in WALLETS), AccountCode.DEBT.value)


class Funds(NamedTuple):
    """A user's funds in one asset, or a change of them, in the user's view.

    Args:
        held: In orders and in withdrawals.
        debt: Zero or negative: what is owed to the platform.
    """

    available: Decimal
    held: Decimal
    margin: Decimal
    debt: Decimal

    @property
    def total(self) -> Decimal:
        """Return all wallets less the debt."""
        return scopes.total(self)

    def plus(self, change: "Funds") -> "Funds":
        """Return the funds after a change."""
        return Funds(*(scopes.total(pair) for pair in zip(self, change, strict=True)))


NOTHING: Final = Funds(Decimal(0), Decimal(0), Decimal(0), Decimal(0))


class Movement(NamedTuple):
    """What one entry did to the user's funds in one asset, and the funds after it."""

    entry_id: int
    kind: str
    key: str
    counts_at: datetime
    recorded_at: datetime
    late: bool
    trace: str
    asset: str
    change: Funds
    after: Funds


class Statement(NamedTuple):
    """A page of a user's statement.

    Args:
        opening: By asset, the funds before the first movement of this page.
        closing: By asset, the funds at the end of the period, whatever the page.
        next_entry_id: The entry after which the next page begins; None at the end.
    """

    period: Period
    opening: dict[str, Funds]
    movements: list[Movement]
    closing: dict[str, Funds]
    next_entry_id: int | None


_SUMS: Final = f"""
SELECT e.id, e.kind, e.key, CASE WHEN e.late THEN e.effective_at ELSE e.recorded_at END, e.recorded_at, e.late, e.trace,
       a.asset,
       coalesce(sum(l.amount) FILTER (WHERE a.code = '1010'), 0),
       coalesce(sum(l.amount) FILTER (WHERE a.code IN ('1020', '1030')), 0),
       coalesce(sum(l.amount) FILTER (WHERE a.code = '1040'), 0),
       coalesce(sum(l.amount) FILTER (WHERE a.code = '2010'), 0)
FROM page p
JOIN ledger_entry e ON e.id = p.entry_id
{OF_ENTRY}
JOIN chosen a ON a.id = l.account_id
GROUP BY e.id, a.asset
ORDER BY e.id, a.asset
"""
_IN_ORDER: Final = f"""
WITH chosen AS MATERIALIZED (SELECT a.id, a.asset, a.code FROM ledger_account a WHERE {{where}}), page AS MATERIALIZED (
    SELECT DISTINCT x.entry_id FROM chosen a CROSS JOIN LATERAL (
        SELECT DISTINCT l.entry_id FROM ledger_line l
        WHERE l.account_id = a.id AND l.entry_id > %s AND l.entry_id <= %s
        ORDER BY l.entry_id LIMIT %s
    ) x ORDER BY x.entry_id LIMIT %s
)
{_SUMS}
"""
_LATE: Final = f"""
WITH chosen AS MATERIALIZED (SELECT a.id, a.asset, a.code FROM ledger_account a WHERE {{where}}), page AS MATERIALIZED (
    SELECT DISTINCT e.id AS entry_id FROM ledger_entry e
    {OF_ENTRY}
    WHERE e.late AND {SPAN} @> %s::timestamptz
      AND e.effective_at > %s AND e.id > %s AND e.id <= %s AND l.account_id IN (SELECT id FROM chosen)
    ORDER BY e.id LIMIT %s
)
{_SUMS}
"""


def statement(
    owner_id: int,
    period: Period,
    *,
    asset: str | None = None,
    holds: bool = False,
    after_entry_id: int | None = None,
    limit: int = 100,
) -> Statement:
    """Return a page of a user's statement, in the order of the entries. At most four statements.

    Args:
        asset: This asset alone.
        holds: Movements between the user's own wallets too.
        after_entry_id: Where the previous page ended; None is the first page.
        limit: At most so many entries; a page may have fewer and still be followed by another.
    """
    require(0 < limit <= PAGE_MAX, f"a page of {limit} entries")
    selection = Selection(Scope.USERS, owner_id=owner_id, codes=FUNDS, asset=asset)
    first = lines.beginning(period)
    place = first if after_entry_id is None else max(first, Place(after_entry_id, LAST_N))
    opening = _funds(lines.before(selection, period, place))
    closing = _funds(lines.before(selection, period, Place(period.end.head, LAST_N)))
    rows, following = _rows(selection, period, place.entry_id, limit=limit, holds=holds)
    running = dict(opening)
    movements = []
    for row in rows:
        code, change = row[7], Funds(*row[8:])
        running[code] = running.get(code, NOTHING).plus(change)
        if holds or change.total:
            movements.append(Movement._make([*row[:8], change, running[code]]))
    return Statement(period, opening, movements, closing, following)


def _rows(selection: Selection, period: Period, after: int, *, limit: int, holds: bool) -> tuple[list[Any], int | None]:
    """Return the effects of at most `limit` entries, and the entry after which to go on."""
    start_at, end = period.start.at or BEGINNING, period.end.entry_id
    where, params = selection.where()
    searched = limit if holds else SEARCHED_MAX
    found: list[Any] = []
    with connection.cursor() as cursor:
        if after < end:
            bounds = [*params, after, end, searched + 1, searched + 1]
            cursor.execute(_IN_ORDER.format(where=where), bounds)
            found, following = _first(cursor.fetchall(), searched, limit, start_at, holds=holds)
            if following is not None:
                return found, following
        if period.end.at is None:
            return found, None
        rest = limit - len({row[0] for row in found if holds or scopes.total(row[8:])})
        if rest <= 0:
            return found, max(after, end)
        bounds = [*params, period.end.at, start_at, max(after, end), period.end.head, rest + 1]
        cursor.execute(_LATE.format(where=where), bounds)
        late, following = _first(cursor.fetchall(), rest, rest, start_at, holds=True)
        return found + late, following


def _first(
    rows: list[Any], searched: int, limit: int, start_at: datetime, *, holds: bool
) -> tuple[list[Any], int | None]:
    """Cut rows to whole entries: at most `searched`, of which at most `limit` are shown; say where to go on.

    Late entries that had happened before the period are in its opening balance, and left out.
    """
    entries: dict[int, list[Any]] = {}
    for row in rows:
        entries.setdefault(row[0], []).append(row)
    kept: list[Any] = []
    shown = 0
    last: int | None = None
    for number, (entry_id, effects) in enumerate(entries.items()):
        if number == searched or shown == limit:
            return kept, last
        last = entry_id
        if effects[0][5] and effects[0][3] <= start_at:
            continue
        kept += effects
        shown += any(holds or scopes.total(effect[8:]) for effect in effects)
    return kept, None


def _funds(balances: dict[tuple[str, str], Decimal]) -> dict[str, Funds]:
    """Turn balances by asset and code into funds by asset; assets in order of their code."""
    found: dict[str, Funds] = {}
    for (asset, code), amount in sorted(balances.items()):
        wallet = {
            AccountCode.AVAILABLE: Funds(amount, *NOTHING[1:]),
            AccountCode.MARGIN: NOTHING._replace(margin=amount),
            AccountCode.DEBT: NOTHING._replace(debt=amount),
        }.get(AccountCode(code), NOTHING._replace(held=amount))
        found[asset] = found.get(asset, NOTHING).plus(wallet)
    return found
