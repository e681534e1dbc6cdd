"""The cash flow of custody: what came into each wallet and bank account, what left it, and why.

A pass over the custody accounts' lines of the period; there are few such accounts, and only money that enters or
leaves the exchange touches them.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, NamedTuple

from django.db import connection

from ledger.chart import AccountCode
from ledger.reports import balances, moments, scopes
from ledger.reports.balances import OF_ENTRY, SPAN
from ledger.reports.moments import Period
from ledger.reports.scopes import Scope
from ledger.reports.selection import Selection


class Activity(StrEnum):
    """Why money moved in or out of custody."""

    CUSTOMERS = "customers"
    OPERATIONS = "operations"
    OWNERS = "owners"
    BETWEEN = "between"
    OTHER = "other"


ACTIVITIES: Final[dict[str, Activity]] = {
    "DEPOSIT": Activity.CUSTOMERS,
    "WITHDRAWAL_SETTLE": Activity.CUSTOMERS,
    "CAPITAL": Activity.OWNERS,
    "CAPITAL_PAYOUT": Activity.OWNERS,
    "CUSTODY_TRANSFER": Activity.BETWEEN,
    "CUSTODY_CHARGE": Activity.OPERATIONS,
}
"""By kind of entry; kinds that are not named are other activities. Network fees are operations, whatever the kind."""


class Flow(NamedTuple):
    """What one kind of entry moved in a custody account: incoming and outgoing are not negative."""

    activity: Activity
    kind: str
    incoming: Decimal
    outgoing: Decimal
    lines: int

    @property
    def net(self) -> Decimal:
        """Return what the flow added."""
        return scopes.total((self.incoming, scopes.negated(self.outgoing)))


@dataclass(frozen=True, slots=True)
class CustodyFlow:
    """One custody account: opening balance, flows, closing balance."""

    asset: str
    sub: str
    opening: Decimal
    flows: list[Flow]
    closing: Decimal

    @property
    def holds(self) -> bool:
        """Tell whether opening balance and flows make the closing balance."""
        return scopes.total([self.opening, *(flow.net for flow in self.flows)]) == self.closing


@dataclass(frozen=True, slots=True)
class CashFlow:
    """The flows of every custody account over a period."""

    period: Period
    accounts: list[CustodyFlow]

    @property
    def holds(self) -> bool:
        """Tell whether every account adds up."""
        return all(account.holds for account in self.accounts)


_FLOWS: Final = f"""
WITH chosen AS MATERIALIZED (SELECT a.id, a.asset, a.sub FROM ledger_account a WHERE {{where}}), moved AS (
    SELECT a.asset, a.sub, l.entry_id, l.n, l.amount, e.kind
    FROM chosen a JOIN ledger_line l ON l.account_id = a.id JOIN ledger_entry e ON e.id = l.entry_id
    WHERE l.entry_id > %s AND l.entry_id <= %s AND NOT (e.late AND e.effective_at <= %s)
    UNION ALL
    SELECT a.asset, a.sub, l.entry_id, l.n, l.amount, e.kind
    FROM ledger_entry e {OF_ENTRY} JOIN chosen a ON a.id = l.account_id
    WHERE e.late AND {SPAN} @> %s::timestamptz
      AND e.effective_at > %s AND e.id > %s AND e.id <= %s
), charged AS (
    SELECT m.*, EXISTS (
        SELECT FROM ledger_line x JOIN ledger_account y ON y.id = x.account_id
        WHERE x.entry_id = m.entry_id AND x.n = m.n - 1 AND x.amount = -m.amount
          AND y.code = '{AccountCode.EXPENSE_NETWORK}'
    ) AS is_network_fee
    FROM moved m
)
SELECT asset, sub, kind, is_network_fee,
       coalesce(sum(amount) FILTER (WHERE amount > 0), 0), coalesce(sum(-amount) FILTER (WHERE amount < 0), 0), count(*)
FROM charged GROUP BY asset, sub, kind, is_network_fee ORDER BY kind
"""


def cash_flow(start: datetime | None, end: datetime | None, *, asset: str | None = None) -> CashFlow:
    """Return the custody cash flow of a period. Three statements.

    Args:
        start: None is the beginning of the books.
        end: None is the latest.

    Raises:
        PeriodBackwardsError: The end lies before the start.
    """
    period = moments.period(start, end)
    selection = Selection(Scope.PLATFORM, codes=(AccountCode.CUSTODY.value,), asset=asset)
    held = balances.totals(selection, period)
    flows = _flows(selection, period)
    accounts = [
        CustodyFlow(row.asset, row.sub, row.amounts[0], flows.get((row.asset, row.sub), []), row.amounts[1])
        for row in held
        if any(row.amounts) or (row.asset, row.sub) in flows
    ]
    return CashFlow(period, accounts)


def _flows(selection: Selection, period: Period) -> dict[tuple[str, str], list[Flow]]:
    """Return the flows by custody account, in the order of the activities."""
    (start_at, start, head, *_), (end_at, end, *_) = period
    where, params = selection.where()
    bounds: list[Any] = [start, end, start_at, end_at, start_at, end, head]
    found: dict[tuple[str, str], list[Flow]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(_FLOWS.format(where=where), [*params, *bounds])
        for asset, sub, kind, is_network_fee, incoming, outgoing, count in cursor.fetchall():
            activity = Activity.OPERATIONS if is_network_fee else ACTIVITIES.get(kind, Activity.OTHER)
            found[asset, sub].append(Flow(activity, kind, incoming, outgoing, count))
    order = list(Activity)
    return {place: sorted(flows, key=lambda flow: order.index(flow.activity)) for place, flows in found.items()}
