"""What users owe: read before a batch is drafted, and repaid afterwards where an entry could not repay it itself."""

from collections.abc import Iterable
from datetime import datetime

from django.db import connection

from ledger import posting_rules
from ledger.posting_rules import EventKind
from ledger.services import journal
from ledger.waterfall import Debts

_OWED = """
SELECT owner_id, asset, -sum(balance) FROM ledger_account
WHERE owner_id = ANY (%s::bigint[]) AND code = '2010' AND balance < 0 GROUP BY owner_id, asset
"""
_IDLE = """
SELECT d.owner_id, d.asset, least(-d.balance, w.balance) FROM ledger_account d
JOIN ledger_account w ON w.owner_id = d.owner_id AND w.code = '1010' AND w.asset = d.asset AND w.sub = d.sub
WHERE d.owner_id = ANY (%s::bigint[]) AND d.code = '2010' AND d.balance < 0 AND w.balance > 0
ORDER BY d.owner_id, d.asset
"""


def owed(owner_ids: Iterable[int]) -> Debts:
    """Return what these users owe, for drafts whose credits repay it. One statement; their gates are held."""
    with connection.cursor() as cursor:
        cursor.execute(_OWED, [list(owner_ids)])
        return Debts(cursor.fetchall())


def repay_from_available(owner_ids: Iterable[int], *, cause: str, trace: str, now: datetime) -> int:
    """Repay debts from what available holds, after entries whose lines are given: reversals, manual entries.

    Args:
        cause: What made it necessary, such as `reversal:17`; part of the keys.

    Returns:
        How many repayments were posted.
    """
    with connection.cursor() as cursor:
        cursor.execute(_IDLE, [list(owner_ids)])
        rows = cursor.fetchall()
    drafts = [
        posting_rules.draft(
            EventKind.DEBT_REPAYMENT,
            key=f"{cause}:repay:{owner_id}:{asset}",
            effective_at=now,
            trace=trace,
            roles={"user": owner_id},
            assets={"asset": asset},
            amounts={"amount": amount},
        )
        for owner_id, asset, amount in rows
    ]
    return len(journal.post(drafts, now))
