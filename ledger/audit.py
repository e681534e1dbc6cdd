"""Re-derives the books from their lines: every invariant of the ledger, by name, in one snapshot.

Each check is one aggregating statement that returns what is broken, a few rows of it; no row means that the
invariant holds. The database refuses every such break when it is written; this looks with other means.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from django.db import connection, transaction

BROKEN_SHOWN_MAX = 5


class Invariant(NamedTuple):
    """A rule of the books and whether it holds; `detail` says what was counted, or what is broken."""

    name: str
    ok: bool
    detail: str


CHECKS: dict[str, str] = {
    "entries balance in the user's view": """
        SELECT 'entry ' || l.entry_id || ' user ' || a.owner_id || ' ' || a.asset || ' off by ' || sum(l.amount)
        FROM ledger_line l JOIN ledger_account a ON a.id = l.account_id
        WHERE a.face <> 'PLATFORM'
        GROUP BY l.entry_id, a.owner_id, a.asset HAVING sum(l.amount) <> 0""",
    "entries balance in the platform's view": """
        SELECT 'entry ' || l.entry_id || ' ' || a.asset || ' off by '
               || sum(CASE a.face WHEN 'BOTH' THEN -l.amount ELSE l.amount END)
        FROM ledger_line l JOIN ledger_account a ON a.id = l.account_id
        WHERE a.face <> 'USER'
        GROUP BY l.entry_id, a.asset
        HAVING sum(CASE a.face WHEN 'BOTH' THEN -l.amount ELSE l.amount END) <> 0""",
    "balances equal the sum of their lines": """
        SELECT 'account ' || a.id || ' has ' || a.balance || ', its lines ' || coalesce(l.total, 0)
        FROM ledger_account a
        LEFT JOIN (SELECT account_id, sum(amount) AS total FROM ledger_line GROUP BY account_id) l
               ON l.account_id = a.id
        WHERE a.balance <> coalesce(l.total, 0)""",
    "running balances follow from their lines": """
        SELECT 'line ' || entry_id || '.' || n || ' has ' || balance_after || ', its lines ' || total
        FROM (SELECT entry_id, n, balance_after,
                     sum(amount) OVER (PARTITION BY account_id ORDER BY entry_id, n ROWS UNBOUNDED PRECEDING) AS total
              FROM ledger_line) l
        WHERE balance_after <> total""",
    "accounts know their last change": """
        SELECT 'account ' || a.id || ' names entry ' || a.last_entry_id || ', its lines ' || coalesce(l.last, 0)
        FROM ledger_account a
        LEFT JOIN (SELECT account_id, max(entry_id) AS last FROM ledger_line GROUP BY account_id) l
               ON l.account_id = a.id
        WHERE a.last_entry_id <> coalesce(l.last, 0)""",
    "no account ever passed its bound": """
        SELECT 'line ' || l.entry_id || '.' || l.n || ' left account ' || a.id || ' at ' || l.balance_after
        FROM ledger_line l JOIN ledger_account a ON a.id = l.account_id
        WHERE a.bound <> 0 AND sign(l.balance_after) * a.bound < 0""",
    "users' wallets are at or above zero": """
        SELECT 'account ' || id || ' of user ' || owner_id || ' has ' || balance || ' ' || asset
        FROM ledger_account WHERE code IN ('1010', '1020', '1030', '1040') AND balance < 0""",
    "nobody owes while having something available": """
        SELECT 'user ' || d.owner_id || ' owes ' || -d.balance || ' and has ' || w.balance || ' ' || d.asset
        FROM ledger_account d
        JOIN ledger_account w ON w.owner_id = d.owner_id AND w.asset = d.asset AND w.code = '1010'
        WHERE d.code = '2010' AND d.balance < 0 AND w.balance > 0""",
    "what users own equals what the platform owes": """
        SELECT coalesce(u.asset, p.asset) || ': users own ' || coalesce(u.total, 0)
               || ', the platform owes ' || coalesce(p.total, 0)
        FROM (SELECT asset, sum(balance) AS total FROM ledger_account WHERE face = 'BOTH' GROUP BY asset) u
        FULL JOIN (SELECT asset, sum(balance) AS total FROM ledger_account WHERE face = 'PLATFORM' GROUP BY asset) p
             ON p.asset = u.asset
        WHERE coalesce(u.total, 0) <> coalesce(p.total, 0)""",
    "every user's own books balance": """
        SELECT 'user ' || owner_id || ' ' || asset || ' off by ' || sum(balance)
        FROM ledger_account WHERE owner_id IS NOT NULL
        GROUP BY owner_id, asset HAVING sum(balance) <> 0""",
    "entry numbers have no gap": """
        SELECT count(*) || ' entries, numbered ' || min(id) || ' to ' || max(id)
        FROM ledger_entry HAVING count(*) > 0 AND (min(id) <> 1 OR max(id) <> count(*))""",
    "entries are in order of recording": """
        SELECT 'entry ' || id || ' recorded before its predecessor'
        FROM (SELECT id, recorded_at, lag(recorded_at) OVER (ORDER BY id) AS previous FROM ledger_entry) e
        WHERE recorded_at < previous""",
    "the hash chain is whole": """
        SELECT 'entry ' || id || ' does not hash to what it says'
        FROM (SELECT e.id, e.hash, lag(e.hash, 1, sha256('')) OVER (ORDER BY e.id)
                     || ledger_payload(e.id, e.kind, e.key, e.effective_at, e.late, e.recorded_at, e.trace,
                                       e.reverses, l.lines) AS hashed
              FROM ledger_entry e
              LEFT JOIN (SELECT entry_id, string_agg(n || ':' || account_id || ':' || amount || ':' || balance_after,
                                                     ',' ORDER BY n) AS lines
                         FROM ledger_line GROUP BY entry_id) l ON l.entry_id = e.id) e
        WHERE hash IS DISTINCT FROM sha256(hashed)""",
    "the head is the last entry": """
        SELECT 'head at ' || h.entry_id || ', last entry ' || coalesce(e.id, 0)
        FROM ledger_head h LEFT JOIN (SELECT * FROM ledger_entry ORDER BY id DESC LIMIT 1) e ON true
        WHERE h.entry_id <> coalesce(e.id, 0) OR h.hash <> coalesce(e.hash, sha256(''))
           OR h.recorded_at <> coalesce(e.recorded_at, '-infinity')""",
    "nothing was posted into a closed period": """
        SELECT 'entry ' || e.id || ' is effective at ' || e.effective_at || ', closed before ' || p.closed_before
        FROM (SELECT entry_id, lead(entry_id) OVER (ORDER BY id) AS next_entry_id,
                     CASE action WHEN 'CLOSE' THEN ends_at ELSE starts_at END AS closed_before FROM ledger_period) p
        JOIN ledger_entry e ON e.id > p.entry_id AND e.id <= coalesce(p.next_entry_id, e.id)
        WHERE e.effective_at < p.closed_before""",
    "entries that people make were approved by another": """
        SELECT 'entry ' || e.id FROM ledger_entry e
        LEFT JOIN ledger_proposal p ON p.entry_id = e.id AND p.kind = e.kind AND p.state = 'POSTED'
                                   AND p.checker_id <> p.maker_id AND p.reverses_id IS NOT DISTINCT FROM e.reverses
        WHERE (e.kind IN ('REVERSAL', 'MANUAL', 'CORRECTION') OR e.reverses IS NOT NULL) AND p.id IS NULL
          AND NOT EXISTS (SELECT FROM ledger_proposal w WHERE 'proposal:' || w.id = e.key AND w.state = 'APPROVED')""",
    "reversals negate their entries": """
        SELECT 'entry ' || e.id || ' line ' || n FROM ledger_entry e
        CROSS JOIN LATERAL (
            SELECT coalesce(r.n, o.n) AS n
            FROM (SELECT * FROM ledger_line WHERE entry_id = e.id) r
            FULL JOIN (SELECT * FROM ledger_line WHERE entry_id = e.reverses) o ON o.n = r.n
            WHERE r.account_id IS DISTINCT FROM o.account_id OR r.amount IS DISTINCT FROM -o.amount) l
        WHERE e.reverses IS NOT NULL""",
    "kept totals follow from the lines": """
        SELECT 'total of ' || coalesce(x.code, t.code) || ' ' || coalesce(x.asset, t.asset) || ' after entry '
               || coalesce(x.entry_id, t.entry_id) || ' is ' || coalesce(t.balance, 0) || ', its lines '
               || coalesce(x.balance, 0)
        FROM (
            WITH edge AS (
                SELECT entry_id, row_number() OVER (ORDER BY entry_id) AS k
                FROM (SELECT DISTINCT entry_id FROM ledger_total) d
            ), edges AS (
                SELECT array_agg(entry_id ORDER BY entry_id) AS ids FROM edge
            ), moved AS (
                SELECT width_bucket(l.entry_id - 1, e.ids) + 1 AS k, a.code, a.asset, a.sub, sum(l.amount) AS amount
                FROM ledger_line l JOIN ledger_account a ON a.id = l.account_id CROSS JOIN edges e
                WHERE l.entry_id <= e.ids[cardinality(e.ids)]
                GROUP BY 1, 2, 3, 4
            )
            SELECT e.entry_id, p.code, p.asset, p.sub,
                   sum(coalesce(m.amount, 0)) OVER (PARTITION BY p.code, p.asset, p.sub ORDER BY e.k) AS balance
            FROM edge e
            CROSS JOIN (SELECT DISTINCT code, asset, sub FROM moved) p
            LEFT JOIN moved m ON m.k = e.k AND m.code = p.code AND m.asset = p.asset AND m.sub = p.sub
        ) x
        FULL JOIN ledger_total t
               ON t.entry_id = x.entry_id AND t.code = x.code AND t.asset = x.asset AND t.sub = x.sub
        WHERE coalesce(t.balance, 0) <> coalesce(x.balance, 0)""",
    "every key posted once": """
        SELECT 'key ' || key || ' posted ' || count(*) || ' times'
        FROM ledger_entry GROUP BY key HAVING count(*) > 1""",
    "every entry has lines, every line an entry and an account": """
        SELECT 'entry ' || e.id || ' has no line' FROM ledger_entry e
        WHERE NOT EXISTS (SELECT FROM ledger_line l WHERE l.entry_id = e.id)
        UNION ALL
        SELECT 'line ' || l.entry_id || '.' || l.n || ' hangs in the air' FROM ledger_line l
        LEFT JOIN ledger_entry e ON e.id = l.entry_id LEFT JOIN ledger_account a ON a.id = l.account_id
        WHERE e.id IS NULL OR a.id IS NULL""",
    "every account has a known asset": """
        SELECT 'account ' || a.id || ' in ' || a.asset FROM ledger_account a
        LEFT JOIN ledger_asset s ON s.code = a.asset WHERE s.code IS NULL""",
    "every deposit has its entry": """
        SELECT 'deposit ' || d.key FROM ledger_depositnotice d
        LEFT JOIN ledger_entry e ON e.id = d.entry_id
                                AND (e.kind, e.key) IN (('DEPOSIT', d.key), ('SUSPENSE_CREDIT', d.key || ':credit'))
        LEFT JOIN ledger_line l ON l.entry_id = e.id AND l.amount = -d.amount
        LEFT JOIN ledger_account a ON a.id = l.account_id AND a.code = '3010' AND a.owner_id = d.owner_id
                                  AND a.asset = d.amount_currency
        GROUP BY d.id, d.key, d.state HAVING count(a.id) <> CASE d.state WHEN 'CREDITED' THEN 1 ELSE 0 END""",
    "the newest proof of reserves says what the books say": """
        SELECT 'publication ' || p.id || ' says ' || coalesce(f.asset, '?') || ' is owed ' || coalesce(f.total, 0)
               || ', held ' || coalesce(f.custody_total, 0) || '; the books ' || coalesce(f.asset_in_books, '?') || ' '
               || coalesce(f.owed, 0) || ' and ' || coalesce(f.held, 0)
        FROM (SELECT id, entry_id, statement::jsonb AS said FROM ledger_publication
              WHERE state = 'PUBLISHED' ORDER BY id DESC LIMIT 1) p
        CROSS JOIN LATERAL (
            SELECT t.asset, t.total, t.custody_total, b.asset AS asset_in_books, b.owed, b.held
            FROM jsonb_to_recordset(p.said -> 'assets') AS t (asset text, total numeric, custody_total numeric)
            FULL JOIN (
                SELECT a.asset,
                       sum(l.balance_after * 10::numeric ^ s.decimals) FILTER (WHERE a.code <> '1110') AS owed,
                       sum(l.balance_after * 10::numeric ^ s.decimals) FILTER (WHERE a.code = '1110') AS held
                FROM ledger_account a JOIN ledger_asset s ON s.code = a.asset
                JOIN LATERAL (SELECT balance_after FROM ledger_line
                              WHERE account_id = a.id AND entry_id <= p.entry_id
                              ORDER BY entry_id DESC, n DESC LIMIT 1) l ON l.balance_after <> 0
                WHERE a.code IN ('1010', '1020', '1030', '1040', '1110')
                GROUP BY a.asset
            ) b ON b.asset = t.asset
        ) f
        WHERE coalesce(f.total, 0) <> coalesce(f.owed, 0) OR coalesce(f.custody_total, 0) <> coalesce(f.held, 0)""",
}


@contextmanager
def snapshot() -> Iterator[None]:
    """Read everything as of one moment, so that postings meanwhile raise no false alarm.

    Inside a transaction that is already open, that transaction's view is used.
    """
    if connection.in_atomic_block:
        yield
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def run(checks: dict[str, str], counted: str) -> list[Invariant]:
    """Run checks in the snapshot of now; other apps audit with it too.

    Args:
        checks: By name, a statement whose rows, of one text column, are what is broken.
        counted: What is said of a check that found nothing.
    """
    results = []
    with connection.cursor() as cursor:
        for name, statement in checks.items():
            cursor.execute(f"SELECT * FROM ({statement}) AS broken (what) LIMIT {BROKEN_SHOWN_MAX + 1}")
            broken = [row[0] for row in cursor.fetchall()]
            shown = "; ".join(broken[:BROKEN_SHOWN_MAX]) + ("; and more" if len(broken) > BROKEN_SHOWN_MAX else "")
            results.append(Invariant(name, not broken, shown or counted))
    return results


def invariants() -> list[Invariant]:
    """Check the whole ledger; one result an invariant, in a fixed order."""
    with snapshot():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT (SELECT entry_id FROM ledger_head), (SELECT count(*) FROM ledger_line),"
                " (SELECT count(*) FROM ledger_account)"
            )
            entries, lines, open_accounts = cursor.fetchone()
        return run(CHECKS, f"{entries} entries, {lines} lines, {open_accounts} accounts")
