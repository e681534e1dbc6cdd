"""Checks of what enters and leaves: withdrawals against holds, custody accounts against banks and chains."""

from typing import Final

from exchange.kernel.errors import gettext_noop
from ledger.reconciliation.accounts import audit_check, state_check, touched_check
from ledger.reconciliation.checks import Severity
from ledger.reconciliation.sql import line_before
from ledger.transfers import audit

_HOLDS: Final = """, wallet AS MATERIALIZED (
    SELECT a.id, a.owner_id, a.asset, a.balance
    FROM touched t JOIN ledger_account a ON a.id = t.id WHERE a.code = '1030'
), due AS (
    SELECT w.id, coalesce(sum(d.amount), 0) AS total
    FROM wallet w LEFT JOIN ledger_withdrawal d ON d.owner_id = w.owner_id AND d.asset_id = w.asset
         AND d.state NOT IN ('SETTLED', 'REJECTED', 'CANCELLED')
    GROUP BY w.id
)
SELECT 'user ' || w.owner_id || ', ' || w.asset, w.id, w.asset, w.balance - d.total, 'differs',
       json_build_object('user', w.owner_id, 'asset', w.asset, 'wallet', trim_scale(w.balance)::text,
                         'withdrawals', trim_scale(d.total)::text)
FROM wallet w JOIN due d ON d.id = w.id WHERE w.balance <> d.total
"""

# The books at the statement's moment: the balance after the last entry recorded by then, and what was recorded
# afterwards but had happened by then. Nothing is effective before it happens. Of what the statement reports, some is on
# its way into the books: deposits that too few blocks confirm, and what the back office is just about to post.
_STATEMENTS: Final = f"""
SELECT c.sub || ', ' || c.asset_id, NULL::bigint, c.asset_id, b.balance + w.coming - s.balance, 'differs',
       json_build_object('account', c.name, 'asset', c.asset_id, 'books', trim_scale(b.balance)::text,
                         'statement', trim_scale(s.balance)::text,
                         'at', to_char(s.as_of AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'))
FROM ledger_custodyaccount c
CROSS JOIN LATERAL (
    SELECT balance, as_of FROM ledger_custodystatement WHERE custody_id = c.id ORDER BY as_of DESC, id DESC LIMIT 1
) s
CROSS JOIN LATERAL (
    SELECT coalesce(max(id), 0) AS id FROM (
        SELECT id FROM ledger_entry WHERE recorded_at <= s.as_of ORDER BY recorded_at DESC, id DESC LIMIT 1) e
) cut
LEFT JOIN ledger_account a ON a.owner_id IS NULL AND a.code = '1110' AND a.asset = c.asset_id AND a.sub = c.sub
CROSS JOIN LATERAL (
    SELECT coalesce((SELECT balance_after FROM ({line_before("a.id, cut.id + 1, 0")}) l WHERE l.account_id = a.id), 0)
         + coalesce((SELECT sum(l.amount) FROM ledger_line l JOIN ledger_entry e ON e.id = l.entry_id
                     WHERE l.account_id = a.id AND l.entry_id > cut.id AND e.effective_at <= s.as_of), 0) AS balance
) b
CROSS JOIN LATERAL (
    SELECT coalesce((SELECT sum(d.amount) FROM ledger_depositnotice d JOIN ledger_statementline l ON l.id = d.line_id
                     WHERE d.custody_id = c.id AND d.state IN ('ANNOUNCED', 'CONFIRMED') AND l.occurred_at <= s.as_of
                       AND d.entry_id IS NULL AND d.receipt_entry_id IS NULL), 0)
         - coalesce((SELECT sum(p.amount - p.fee + CASE WHEN p.gas_custody_id IS NULL THEN p.network_fee ELSE 0 END)
                     FROM ledger_withdrawal p
                     WHERE p.custody_id = c.id AND p.state = 'SETTLING' AND p.paid_at <= s.as_of), 0) AS coming
) w
WHERE b.balance + w.coming <> s.balance
"""

# What waits for its owner or a second person must be there; what was refused may have been paid back by hand.
_SUSPENSE: Final = """
SELECT w.asset, NULL::bigint, w.asset, w.held - w.waiting, 'differs',
       json_build_object('asset', w.asset, 'held', trim_scale(w.held)::text, 'waiting', trim_scale(w.waiting)::text,
                         'refused', trim_scale(w.refused)::text)
FROM (
    SELECT asset, sum(held) AS held, sum(waiting) AS waiting, sum(refused) AS refused FROM (
        SELECT asset, -balance AS held, 0 AS waiting, 0 AS refused FROM ledger_account
        WHERE owner_id IS NULL AND code = '1190' AND sub = 'deposits'
        UNION ALL
        SELECT amount_currency, 0, CASE state WHEN 'REFUSED' THEN 0 ELSE amount END,
               CASE state WHEN 'REFUSED' THEN amount ELSE 0 END
        FROM ledger_depositnotice WHERE receipt_entry_id IS NOT NULL AND state <> 'CREDITED'
    ) part GROUP BY asset
) w
WHERE w.held < w.waiting OR w.held > w.waiting + w.refused
"""

CHECKS: Final = (
    state_check(
        "suspense.deposits",
        _SUSPENSE,
        compares=gettext_noop("Deposits that wait in suspense against its account."),
        causes={
            "differs": gettext_noop(
                "Suspense holds %(held)s %(asset)s of deposits; %(waiting)s wait, and %(refused)s were refused."
            )
        },
        every=30,
    ),
    touched_check(
        "withdrawals.holds",
        _HOLDS,
        compares=gettext_noop("Withdrawals under way against the withdraw_hold wallets of their owners."),
        causes={
            "differs": gettext_noop(
                "The withdraw_hold wallet of user %(user)s has %(wallet)s %(asset)s; withdrawals under way are"
                " %(withdrawals)s."
            )
        },
        equation="R5",
        severity=Severity.STOP,
    ),
    state_check(
        "custody.statements",
        _STATEMENTS,
        compares=gettext_noop(
            "Each custody account against the newest statement of its bank or chain, at the statement's moment."
        ),
        causes={
            "differs": gettext_noop(
                "At %(at)s the books have %(books)s %(asset)s in %(account)s; its statement says %(statement)s."
            )
        },
        equation="R6",
        every=30,
    ),
    audit_check(
        "audit.transfers",
        audit.invariants,
        gettext_noop("Deposits and withdrawals against every invariant of theirs."),
    ),
)
