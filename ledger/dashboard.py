"""What the administration's first page tells of the books: a month of assets, liabilities and revenue, and what waits.

Note [Liabilities from the platform's own accounts]
    Every entry balances in the platform's journal, so what it owes users follows from the accounts that are its own:
    A = L + E + R - X leaves L once the others are known. These are a few dozen accounts however many users there are,
    so a month of days costs about as much as one. Debts of users are therefore taken off what it owes to users, and
    are not among the assets here; the balance sheet shows both in full.
"""

import itertools
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from exchange.kernel.money import EXACT
from ledger.chart import CHART, AccountCode, Face, Root
from ledger.control_models import Proposal, ProposalState
from ledger.models import DepositNotice, Withdrawal
from ledger.reconciliation import reading
from ledger.reports import balances, moments, scopes
from ledger.reports.balances import Amounts, Holding
from ledger.reports.scopes import Scope
from ledger.reports.selection import Selection
from ledger.transfers.models.deposits import DepositState
from ledger.transfers.models.withdrawals import WithdrawalState

DAYS: Final = 30
OWN: Final = tuple(code.value for code, row in CHART.items() if row.face == Face.PLATFORM)
WITHDRAWALS_OPEN: Final = (WithdrawalState.REQUESTED, WithdrawalState.REVIEW, WithdrawalState.APPROVAL)
DEPOSITS_OPEN: Final = (DepositState.ANNOUNCED, DepositState.CONFIRMED)


class Month(NamedTuple):
    """The days of one asset; amounts are its own units, positive as statements print them.

    Args:
        asset: Its code; empty when there are no books.
        assets: Every asset that the platform has accounts of.
        ends: The first moment after each day; the last is now.
        held: What the platform holds as of each end: custody and suspense.
        owed: What it owes, less what users owe it: Note [Liabilities from the platform's own accounts].
        revenue: What each day brought: one amount for each end.
    """

    asset: str
    assets: list[str]
    ends: list[datetime]
    held: list[Decimal]
    owed: list[Decimal]
    revenue: list[Decimal]


class Waiting(NamedTuple):
    """How much waits for people."""

    breaks: int
    withdrawals: int
    deposits: int
    proposals: int


def month(asset: str, *, now: datetime) -> Month:
    """Return the last days of an asset, in two statements however many accounts and entries there are.

    Args:
        asset: An asset; one that the platform has no accounts of becomes the one with most accounts.
    """
    midnight = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    days = [midnight - timedelta(days=back) for back in range(DAYS - 1, -1, -1)]
    ends: list[datetime | None] = [moments.just_before(day) for day in days]
    holdings = balances.totals(Selection(Scope.PLATFORM, codes=OWN), moments.cuts([*ends, None]))
    counted = Counter(holding.asset for holding in holdings)
    assets = sorted(counted)
    if asset not in counted:
        asset = min(assets, key=lambda code: (-counted[code], code), default="")
    mine = [holding for holding in holdings if holding.asset == asset]
    count = len(days) + 1
    held = _sums(mine, count, {Root.ASSET})
    owed = _sums(mine, count, {Root.ASSET, Root.EQUITY, Root.REVENUE, Root.EXPENSE})
    earned = [scopes.negated(amount) for amount in _sums(mine, count, {Root.REVENUE})]
    revenue = [EXACT.subtract(later, earlier) for earlier, later in itertools.pairwise(earned)]
    return Month(asset, assets, [*days[1:], now], held[1:], owed[1:], revenue)


def _sums(holdings: Sequence[Holding], count: int, roots: set[Root]) -> list[Decimal]:
    """Return the sum of what stands under some roots, debit positive, for each cut."""
    columns: list[Amounts] = [row.amounts for row in holdings if CHART[AccountCode(row.code)].platform_root in roots]
    return [scopes.total([column[place] for column in columns]) for place in range(count)]


def waiting() -> Waiting:
    """Count what waits for people, each by an index of what is open."""
    return Waiting(
        breaks=reading.unresolved_count(),
        withdrawals=Withdrawal.objects.filter(state__in=WITHDRAWALS_OPEN).count(),
        deposits=DepositNotice.objects.filter(state__in=DEPOSITS_OPEN).count(),
        proposals=Proposal.objects.filter(state=ProposalState.PROPOSED).count(),
    )
