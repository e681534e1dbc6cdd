"""The income statement: revenue, what is deducted from it, expenses, and the result, over one period or several."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from ledger.chart import AccountCode, Root
from ledger.reports import balances, moments, scopes
from ledger.reports.balances import Amounts, Holding
from ledger.reports.moments import BEGINNING, Period, PeriodBackwardsError
from ledger.reports.scopes import Scope
from ledger.reports.selection import Selection

CONTRA_REVENUE: Final = frozenset({AccountCode.EXPENSE_MAKER_REBATE.value})
"""Expenses that are shown as deductions from revenue: a rebate is a fee given back."""


@dataclass(frozen=True, slots=True)
class IncomeRow:
    """One account; amounts one a period, positive in its own sense (revenue earned, expense borne)."""

    code: str
    amounts: Amounts


@dataclass(frozen=True, slots=True)
class AssetIncome:
    """The income statement of one asset, one column a period."""

    asset: str
    revenue: list[IncomeRow]
    deductions: list[IncomeRow]
    expenses: list[IncomeRow]
    columns: int

    def _sum(self, rows: Sequence[IncomeRow]) -> Amounts:
        return tuple(scopes.total([row.amounts[place] for row in rows]) for place in range(self.columns))

    @property
    def gross(self) -> Amounts:
        """Return the sum of the revenue accounts."""
        return self._sum(self.revenue)

    @property
    def net_revenue(self) -> Amounts:
        """Return revenue less what is deducted from it."""
        return _less(self.gross, self._sum(self.deductions))

    @property
    def expense(self) -> Amounts:
        """Return the sum of the expenses that are no deductions."""
        return self._sum(self.expenses)

    @property
    def result(self) -> Amounts:
        """Return what is left: a profit, or below zero a loss."""
        return _less(self.net_revenue, self.expense)


@dataclass(frozen=True, slots=True)
class IncomeStatement:
    """The income statements of every asset."""

    scope: Scope
    owner_id: int | None
    periods: tuple[Period, ...]
    sheets: list[AssetIncome]


def income_statement(
    scope: Scope,
    periods: Sequence[tuple[datetime | None, datetime | None]],
    *,
    owner_id: int | None = None,
    asset: str | None = None,
    zeros: bool = False,
) -> IncomeStatement:
    """Return revenue and expenses of some periods, one column each. Two statements.

    Args:
        periods: Start and end; None is the beginning of the books, or the latest.
        owner_id: One user's result; only in the users' scope.
        zeros: Rows that are zero in every column too.

    Raises:
        PeriodBackwardsError: A period ends before it begins.
    """
    if any(start is not None and end is not None and end < start for start, end in periods):
        raise PeriodBackwardsError
    cuts = moments.cuts([at for start, end in periods for at in (start or BEGINNING, end)])
    codes = tuple(
        row.code.value for row in scopes.accounts(scope) if scopes.root(scope, row.code) in {Root.REVENUE, Root.EXPENSE}
    )
    holdings = balances.totals(Selection(scope, owner_id=owner_id, codes=codes, asset=asset), cuts)
    by_asset: dict[str, list[Holding]] = defaultdict(list)
    for holding in holdings:
        by_asset[holding.asset].append(holding)
    sheets = [_sheet(scope, code, by_asset[code], codes, zeros=zeros) for code in sorted(by_asset)]
    shown = [sheet for sheet in sheets if sheet.revenue or sheet.deductions or sheet.expenses]
    return IncomeStatement(
        scope, owner_id, tuple(Period(*cuts[place : place + 2]) for place in range(0, len(cuts), 2)), shown
    )


def _sheet(scope: Scope, asset: str, holdings: Sequence[Holding], codes: Sequence[str], *, zeros: bool) -> AssetIncome:
    """Return one asset's statement, accounts in the order of the chart."""
    columns = len(holdings[0].amounts) // 2
    rows: dict[str, list[IncomeRow]] = {"revenue": [], "deductions": [], "expenses": []}
    for code in codes:
        root = scopes.root(scope, code) or Root.EXPENSE
        earned = tuple(
            scopes.total(
                [scopes.natural(root, _change(holding, place)) for holding in holdings if holding.code == code]
            )
            for place in range(columns)
        )
        if zeros or any(earned):
            kind = "revenue" if root == Root.REVENUE else "deductions" if code in CONTRA_REVENUE else "expenses"
            rows[kind].append(IncomeRow(code, earned))
    return AssetIncome(asset, columns=columns, **rows)


def _change(holding: Holding, place: int) -> Decimal:
    """Return what the period in a column added, debit positive."""
    opening, closing = holding.amounts[2 * place : 2 * place + 2]
    return scopes.total((closing, scopes.negated(opening)))


def _less(whole: Amounts, part: Amounts) -> Amounts:
    return tuple(scopes.total((one, scopes.negated(other))) for one, other in zip(whole, part, strict=True))
