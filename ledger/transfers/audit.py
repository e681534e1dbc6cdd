"""Re-derives what deposits and withdrawals say from the books: every invariant by name, like `ledger.audit`."""

from ledger.audit import Invariant, run, snapshot

CHECKS: dict[str, str] = {
    "withdrawals under way equal the withdrawal holds": """
        SELECT 'user ' || coalesce(w.owner_id, h.owner_id) || ' ' || coalesce(w.asset, h.asset) || ': '
               || coalesce(w.total, 0) || ' under way, ' || coalesce(h.total, 0) || ' held'
        FROM (SELECT owner_id, asset_id AS asset, sum(amount) AS total FROM ledger_withdrawal
              WHERE state NOT IN ('SETTLED', 'REJECTED', 'CANCELLED') GROUP BY owner_id, asset_id) w
        FULL JOIN (SELECT owner_id, asset, sum(balance) AS total FROM ledger_account
                   WHERE code = '1030' GROUP BY owner_id, asset) h
             ON h.owner_id = w.owner_id AND h.asset = w.asset
        WHERE coalesce(w.total, 0) <> coalesce(h.total, 0)""",
    "every withdrawal has its entries": """
        SELECT 'withdrawal ' || w.id || ' ' || w.state FROM ledger_withdrawal w
        LEFT JOIN ledger_entry h ON h.id = w.hold_entry_id AND h.kind = 'WITHDRAWAL_HOLD'
                                AND h.key = 'withdrawal:' || w.id || ':hold'
        LEFT JOIN ledger_entry f ON f.id = w.final_entry_id
        WHERE h.id IS NULL OR CASE
            WHEN w.state = 'SETTLED' THEN f.key IS DISTINCT FROM 'withdrawal:' || w.id || ':settle'
            WHEN w.state IN ('REJECTED', 'CANCELLED') THEN f.key IS DISTINCT FROM 'withdrawal:' || w.id || ':release'
            ELSE f.id IS NOT NULL END""",
    "what was settled left by its amount and fee": """
        SELECT 'withdrawal ' || w.id || ' of ' || w.amount || ' settled by entry ' || w.final_entry_id
        FROM ledger_withdrawal w
        LEFT JOIN LATERAL (
            SELECT sum(l.amount) FILTER (WHERE a.code = '1030') AS held,
                   sum(l.amount) FILTER (WHERE a.code = '3010') AS gone,
                   coalesce(sum(l.amount) FILTER (WHERE a.code = '4120'), 0) AS fee
            FROM ledger_line l JOIN ledger_account a ON a.id = l.account_id
            WHERE l.entry_id = w.final_entry_id AND a.asset = w.asset_id) e ON true
        WHERE w.state = 'SETTLED'
          AND (e.held, e.gone, e.fee) IS DISTINCT FROM (-w.amount, w.amount - w.fee, -w.fee)""",
    "every step of a transfer was taken once and in order": """
        SELECT coalesce('withdrawal ' || withdrawal_id, 'deposit ' || deposit_id) || ' version ' || version
        FROM (SELECT withdrawal_id, deposit_id, version, from_state,
                     lag(to_state, 1, '') OVER w AS previous, lag(version, 1, 0) OVER w AS earlier
              FROM ledger_transferevent WINDOW w AS (PARTITION BY withdrawal_id, deposit_id ORDER BY version)) e
        WHERE from_state <> previous OR version <> earlier + 1""",
    "every transfer stands where its last step left it": """
        SELECT 'withdrawal ' || w.id || ' ' || w.state FROM ledger_withdrawal w
        LEFT JOIN ledger_transferevent e ON e.withdrawal_id = w.id AND e.version = w.version
        WHERE e.to_state IS DISTINCT FROM w.state
        UNION ALL
        SELECT 'deposit ' || d.id || ' ' || d.state FROM ledger_depositnotice d
        LEFT JOIN ledger_transferevent e ON e.deposit_id = d.id AND e.version = d.version
        WHERE d.source <> 'DIRECT' AND e.to_state IS DISTINCT FROM d.state""",
    "two people stand behind every payout": """
        SELECT 'withdrawal ' || id FROM ledger_withdrawal
        WHERE state IN ('APPROVED', 'SETTLING', 'SETTLED')
          AND (reviewed_by_id IS NULL OR approved_by_id IS NULL OR reviewed_by_id = approved_by_id
               OR owner_id IN (reviewed_by_id, approved_by_id, coalesce(paid_by_id, 0)))""",
    "what is in suspense for a deposit is in the books": """
        SELECT 'deposit ' || d.key FROM ledger_depositnotice d
        LEFT JOIN ledger_entry e ON e.id = d.receipt_entry_id AND e.kind = 'SUSPENSE_RECEIPT'
                                AND e.key = d.key || ':receipt'
        WHERE d.receipt_entry_id IS NOT NULL AND e.id IS NULL""",
    "statements follow from row to row": """
        SELECT 'line ' || l.reference || ' of statement ' || l.statement_id
        FROM (SELECT reference, statement_id, n, balance, amount, fee,
                     lag(balance) OVER w AS before, lag(n) OVER w AS earlier
              FROM ledger_statementline WINDOW w AS (PARTITION BY statement_id ORDER BY n)) l
        WHERE l.earlier = l.n - 1 AND l.balance <> l.before + l.amount - l.fee""",
}


def invariants() -> list[Invariant]:
    """Check all deposits and withdrawals; one result an invariant, in a fixed order."""
    with snapshot():
        return run(CHECKS, "holds")


OBSTACLES: dict[str, str] = {
    "deposits are credited": """
        SELECT 'deposit ' || id || ' of ' || amount || ' ' || amount_currency FROM ledger_depositnotice
        WHERE state = 'CONFIRMED' AND occurred_at < %(ends_at)s""",
    "payouts are settled": """
        SELECT 'withdrawal ' || id || ' of ' || amount || ' ' || asset_id FROM ledger_withdrawal
        WHERE state = 'SETTLING' AND paid_at < %(ends_at)s""",
}
"""What of a period is unfinished, for `ledger.services.periods`."""
