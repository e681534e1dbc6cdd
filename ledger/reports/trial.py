"""The trial balance: every account with its opening and closing balance, and what moved in between.

Debits and credits of the period are the sums of its lines, so they cost a pass over them; of a long period only the
net change is told, which two index probes an account give at any size.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

from django.db import connection

from ledger.chart import Root
from ledger.reports import balances, moments, scopes
from ledger.reports.balances import OF_ENTRY, SPAN, Amounts, Holding
from ledger.reports.moments import Period
from ledger.reports.scopes import Scope
from ledger.reports.selection import Selection

TURNOVER_ENTRIES_MAX: Final = 200_000
"""Debits and credits are added up over periods of at most so many entries."""


class Turnover(NamedTuple):
    """Sums of the debits and of the credits of a period; neither is negative."""

    debit: Decimal
    credit: Decimal


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One account of the chart, or one part of it; amounts debit positive, in the view of the scope.

    Args:
        turnover: None where the period is too long to add it up.
    """

    code: str
    root: Root
    sub: str
    opening: Decimal
    closing: Decimal
    turnover: Turnover | None

    @property
    def change(self) -> Decimal:
        """Return what the period added, debit positive."""
        return scopes.total((self.closing, scopes.negated(self.opening)))


class Columns(NamedTuple):
    """Totals of a trial balance; in each pair debits equal credits when the books balance."""

    opening: Turnover
    turnover: Turnover | None
    closing: Turnover


@dataclass(frozen=True, slots=True)
class AssetTrial:
    """The trial balance of one asset."""

    asset: str
    rows: list[TrialRow]

    @property
    def totals(self) -> Columns:
        """Return the sums of debit balances and of credit balances, and of the turnover."""
        turnovers = [row.turnover for row in self.rows]
        known = [turnover for turnover in turnovers if turnover is not None]
        return Columns(
            _split([row.opening for row in self.rows]),
            Turnover(scopes.total([item.debit for item in known]), scopes.total([item.credit for item in known]))
            if len(known) == len(turnovers)
            else None,
            _split([row.closing for row in self.rows]),
        )

    @property
    def holds(self) -> bool:
        """Tell whether debits equal credits in every pair of columns."""
        return all(pair is None or pair.debit == pair.credit for pair in self.totals)


@dataclass(frozen=True, slots=True)
class TrialBalance:
    """The trial balance of every asset over a period.

    Args:
        in_full: Whether debits and credits of the period were added up.
    """

    scope: Scope
    owner_id: int | None
    period: Period
    sheets: list[AssetTrial]
    in_full: bool

    @property
    def holds(self) -> bool:
        """Tell whether every asset balances."""
        return all(sheet.holds for sheet in self.sheets)


def trial_balance(
    scope: Scope,
    start: datetime | None,
    end: datetime | None,
    *,
    owner_id: int | None = None,
    asset: str | None = None,
    zeros: bool = False,
) -> TrialBalance:
    """Return the trial balance of a period. Two statements, three where debits and credits are added up.

    Args:
        start: None is the beginning of the books.
        end: None is the latest.
        owner_id: One user's accounts; only in the users' scope.
        zeros: Accounts without balance and movement too, the whole chart.

    Raises:
        PeriodBackwardsError: The end lies before the start.
    """
    period = moments.period(start, end)
    selection = Selection(scope, owner_id=owner_id, asset=asset)
    holdings = balances.totals(selection, period)
    in_full = period.end.entry_id - period.start.entry_id <= TURNOVER_ENTRIES_MAX
    turnovers = turnover(selection, period) if in_full else {}
    by_asset: dict[str, list[Holding]] = defaultdict(list)
    for holding in holdings:
        by_asset[holding.asset].append(holding)
    sheets = [
        AssetTrial(code, _rows(scope, found, turnovers, in_full=in_full, zeros=zeros))
        for code, found in sorted(by_asset.items())
    ]
    return TrialBalance(scope, owner_id, period, [sheet for sheet in sheets if sheet.rows], in_full)


def _rows(
    scope: Scope,
    holdings: list[Holding],
    turnovers: dict[tuple[str, str, str], Turnover],
    *,
    in_full: bool,
    zeros: bool,
) -> list[TrialRow]:
    """Return one asset's rows in the order of the chart."""
    by_code: dict[str, list[Holding]] = defaultdict(list)
    for holding in holdings:
        by_code[holding.code].append(holding)
    asset = holdings[0].asset
    nothing = (Decimal(0), Decimal(0))
    rows = []
    for account in scopes.accounts(scope):
        root = scopes.root(scope, account.code)
        if root is None:
            continue
        code = account.code.value
        for holding in by_code.get(code) or ([Holding(code, asset, "", nothing)] if zeros else []):
            opening, closing = holding.amounts
            moved = turnovers.get((code, asset, holding.sub), Turnover(*nothing))
            if zeros or opening or closing or any(moved):
                row_turnover = moved if in_full else None
                rows.append(TrialRow(code, root, holding.sub, opening, closing, row_turnover))
    return rows


_TURNOVER: Final = f"""
WITH moved AS (
    SELECT l.account_id, l.amount, 1 AS factor FROM ledger_line l WHERE l.entry_id > %s AND l.entry_id <= %s
    UNION ALL
    SELECT l.account_id, l.amount, -1
    FROM ledger_entry e {OF_ENTRY}
    WHERE e.late AND {SPAN} @> %s::timestamptz
      AND e.id > %s AND e.id <= %s
    UNION ALL
    SELECT l.account_id, l.amount, 1
    FROM ledger_entry e {OF_ENTRY}
    WHERE e.late AND {SPAN} @> %s::timestamptz
      AND e.effective_at > %s AND e.id > %s AND e.id <= %s
)
SELECT a.code, a.asset, a.sub,
       coalesce(sum(m.amount * m.factor) FILTER (WHERE m.amount > 0), 0),
       coalesce(sum(-m.amount * m.factor) FILTER (WHERE m.amount < 0), 0)
FROM moved m JOIN ledger_account a ON a.id = m.account_id
WHERE {{where}}
GROUP BY a.code, a.asset, a.sub
"""


def turnover(selection: Selection, period: Period) -> dict[tuple[str, str, str], Turnover]:
    """Add up debits and credits of a period by code, asset and part. One statement over all its lines.

    The lines of the period by number, less the late ones that counted before it, plus those recorded after it that
    had happened in it.
    """
    (start_at, start, head, *_), (end_at, end, *_) = period
    where, params = selection.where()
    bounds: list[Any] = [start, end, start_at, start, end, end_at, start_at, end, head]
    with connection.cursor() as cursor:
        cursor.execute(_TURNOVER.format(where=where), [*bounds, *params])
        found = {}
        for code, asset, sub, debit, credit in cursor.fetchall():
            is_turned = scopes.sign(selection.scope, code) < 0
            found[code, asset, sub] = Turnover(credit, debit) if is_turned else Turnover(debit, credit)
        return found


def _split(amounts: list[Decimal] | Amounts) -> Turnover:
    """Add up debit balances and credit balances apart."""
    return Turnover(
        scopes.total([amount for amount in amounts if amount > 0]),
        scopes.total([scopes.negated(amount) for amount in amounts if amount < 0]),
    )
