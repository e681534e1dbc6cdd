"""The fee report: what the platform charged and gave back, by day, week or month, and who paid most."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final, NamedTuple

from exchange.kernel.errors import DomainError, gettext_noop
from ledger.chart import AccountCode, Root
from ledger.reports import balances, moments, scopes
from ledger.reports.moments import Period
from ledger.reports.scopes import Scope
from ledger.reports.selection import Selection

STEPS_MAX: Final = 62
PAYERS_MAX: Final = 100
CHARGED: Final = (AccountCode.REVENUE_TRADING_FEE, AccountCode.REVENUE_WITHDRAW_FEE)
GIVEN_BACK: Final = (AccountCode.EXPENSE_MAKER_REBATE, AccountCode.EXPENSE_NETWORK)
OF_A_USER: Final = (
    AccountCode.COST_FEE,
    AccountCode.COST_WITHDRAW_FEE,
    AccountCode.COST_LIQUIDATION_FEE,
    AccountCode.GAIN_REBATE,
)


class Step(StrEnum):
    """The length of a report's rows."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class TooManyStepsError(DomainError):
    """The period has more days, weeks or months than one report shows."""

    code = 4401
    name = "TOO_MANY_STEPS"
    status = 400
    message = gettext_noop("A report shows at most %(steps_max)s rows; choose a shorter period or longer steps.")


class FeeStep(NamedTuple):
    """The fees of one day, week or month; amounts by code of `CHARGED` and `GIVEN_BACK`, not turned."""

    start_at: datetime
    end_at: datetime
    amounts: dict[str, Decimal]

    @property
    def net(self) -> Decimal:
        """Return what was charged less what was given back or spent."""
        return _net(self.amounts)


@dataclass(frozen=True, slots=True)
class AssetFees:
    """The fees in one asset."""

    asset: str
    steps: list[FeeStep]
    totals: dict[str, Decimal]

    @property
    def net(self) -> Decimal:
        """Return what was charged less what was given back or spent, over the whole period."""
        return _net(self.totals)


class Payer(NamedTuple):
    """What one user paid in one asset over the period, by code of `OF_A_USER`, and all of it less rebates."""

    owner_id: int
    asset: str
    amounts: dict[str, Decimal]
    net: Decimal


@dataclass(frozen=True, slots=True)
class FeeReport:
    """The fees of a period."""

    period: Period
    step: Step
    sheets: list[AssetFees]
    payers: list[Payer]


def fee_report(start: datetime, end: datetime, step: Step, *, asset: str | None = None) -> FeeReport:
    """Return the fees of a period. Three statements, whatever the period and its steps.

    Args:
        start: What counts after it is of the period.
        end: What counts by then is of the period.
        step: The rows are whole days, weeks (from Monday) or months in UTC, the first and last cut to the period.

    Raises:
        PeriodBackwardsError: The end lies before the start.
        TooManyStepsError: The period has more than `STEPS_MAX` steps.
    """
    if end < start:
        raise moments.PeriodBackwardsError
    bounds = boundaries(start, end, step)
    cuts = moments.cuts(bounds)
    codes = tuple(code.value for code in (*CHARGED, *GIVEN_BACK))
    holdings = balances.totals(Selection(Scope.PLATFORM, codes=codes, asset=asset), cuts)
    period = Period(cuts[0], cuts[-1])
    sheets = [_sheet(code, holdings, bounds) for code in sorted({holding.asset for holding in holdings})]
    return FeeReport(
        period, step, [sheet for sheet in sheets if any(sheet.totals.values())], _payers(period, asset=asset)
    )


def boundaries(start: datetime, end: datetime, step: Step) -> list[datetime]:
    """Return the moments between which the rows lie: start, every begin of a step within, end.

    Raises:
        TooManyStepsError: There would be too many rows.
    """
    start, end = start.astimezone(UTC), end.astimezone(UTC)
    bounds = [start]
    while (following := _following(bounds[-1], step)) < end:
        bounds.append(following)
        if len(bounds) > STEPS_MAX:
            raise TooManyStepsError(steps_max=STEPS_MAX)
    return [*bounds, end]


def _following(moment: datetime, step: Step) -> datetime:
    """Return the last microsecond of the step that follows a moment: what counts by then is of that step."""
    instant = timedelta(microseconds=1)
    day = (moment + instant).replace(hour=0, minute=0, second=0, microsecond=0)
    if step == Step.DAY:
        following = day + timedelta(days=1)
    elif step == Step.WEEK:
        following = day + timedelta(days=7 - day.weekday())
    else:
        following = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    return following - instant


def _sheet(asset: str, holdings: Sequence[balances.Holding], bounds: Sequence[datetime]) -> AssetFees:
    """Return the fees in one asset by step."""
    steps = []
    own = [holding for holding in holdings if holding.asset == asset]
    for place in range(len(bounds) - 1):
        amounts = {holding.code: _earned(holding.code, holding.amounts[place : place + 2]) for holding in own}
        steps.append(FeeStep(bounds[place], bounds[place + 1], amounts))
    totals = {holding.code: _earned(holding.code, (holding.amounts[0], holding.amounts[-1])) for holding in own}
    return AssetFees(asset, steps, totals)


def _earned(code: str, ends: tuple[Decimal, ...]) -> Decimal:
    """Return a period's revenue or expense, positive in its own sense."""
    opening, closing = ends
    change = scopes.total((closing, scopes.negated(opening)))
    return scopes.natural(scopes.root(Scope.PLATFORM, code) or Root.EXPENSE, change)


def _net(amounts: dict[str, Decimal]) -> Decimal:
    """Return what was charged less what was given back or spent."""
    charged = [amounts.get(code.value, Decimal(0)) for code in CHARGED]
    return scopes.total([*charged, *(scopes.negated(amounts.get(code.value, Decimal(0))) for code in GIVEN_BACK)])


def _payers(period: Period, *, asset: str | None) -> list[Payer]:
    """Return the users who paid most, net of rebates, in each asset together, most first."""
    selection = Selection(Scope.USERS, codes=tuple(code.value for code in OF_A_USER), asset=asset)
    paid = balances.largest_changes(selection, period, limit=PAYERS_MAX)
    return [Payer(owner_id, code, amounts, net) for owner_id, code, amounts, net in paid]
