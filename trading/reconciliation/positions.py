"""Checks of positions against the books: R1, R2, R3 and R5 for contracts, and each contract trade's entries (R7)."""

from functools import partial
from typing import Final

from exchange.kernel.errors import gettext_noop
from ledger.reconciliation.accounts import state_check, touched_check
from ledger.reconciliation.checks import Check, Severity
from trading.reconciliation import scope as trades

_ZERO: Final = """
SELECT p.symbol, NULL::bigint, NULL::text, sum(p.quantity), 'differs',
       json_build_object('symbol', p.symbol, 'quantity', trim_scale(sum(p.quantity))::text)
FROM positions p WHERE p.quantity <> 0 GROUP BY p.symbol HAVING sum(p.quantity) <> 0
"""
_RESULTS: Final = """
SELECT p.symbol, NULL::bigint, NULL::text, sum(p.realised_pnl - p.open_cost), 'differs',
       json_build_object('symbol', p.symbol, 'realised', trim_scale(sum(p.realised_pnl))::text,
                         'cost', trim_scale(sum(p.open_cost))::text)
FROM positions p GROUP BY p.symbol HAVING sum(p.realised_pnl) <> sum(p.open_cost)
"""
_CLEARING: Final = """, clearing AS MATERIALIZED (
    SELECT a.id, a.asset, a.sub, a.balance
    FROM touched t JOIN ledger_account a ON a.id = t.id WHERE a.code = '2110' AND a.sub <> ''
), cost AS (
    SELECT c.id, coalesce(sum(p.open_cost), 0) AS total
    FROM clearing c
    LEFT JOIN marketdata_instrument i ON i.symbol = c.sub
    LEFT JOIN positions p ON p.instrument_id = i.id AND p.quantity <> 0 GROUP BY c.id
)
SELECT c.sub, c.id, c.asset, c.balance - o.total, 'differs',
       json_build_object('symbol', c.sub, 'asset', c.asset, 'clearing', trim_scale(c.balance)::text,
                         'cost', trim_scale(o.total)::text)
FROM clearing c JOIN cost o ON o.id = c.id WHERE c.balance <> o.total
"""
_MARGIN: Final = """, wallet AS MATERIALIZED (
    SELECT a.id, a.owner_id, a.asset, a.sub, a.balance
    FROM touched t JOIN ledger_account a ON a.id = t.id WHERE a.code = '1040'
), suspended AS (
    SELECT (l ->> 0)::bigint AS owner_id, l ->> 2 AS asset, l ->> 3 AS sub, sum((l ->> 4)::numeric) AS margin
    FROM suspended_entries s CROSS JOIN LATERAL jsonb_array_elements(s.lines) AS l
    WHERE s.state = 'OPEN' AND l ->> 1 = '1040' GROUP BY 1, 2, 3
), expected AS (
    SELECT w.*, coalesce(p.margin, 0) - coalesce(s.margin, 0) AS margin
    FROM wallet w
    LEFT JOIN marketdata_instrument i ON i.symbol = w.sub
    LEFT JOIN positions p ON p.user_id = w.owner_id AND p.instrument_id = i.id
    LEFT JOIN suspended s ON s.owner_id = w.owner_id AND s.asset = w.asset AND s.sub = w.sub
)
SELECT 'user ' || e.owner_id || ', ' || e.sub, e.id, e.asset, e.balance - e.margin, 'differs',
       json_build_object('user', e.owner_id, 'symbol', e.sub, 'asset', e.asset,
                         'wallet', trim_scale(e.balance)::text, 'margin', trim_scale(e.margin)::text)
FROM expected e WHERE e.balance <> e.margin
"""

# One entry for a side that only opens or only closes; two, FLIP_CLOSE and FLIP_OPEN, for one that turns around.
_ENTRIES: Final = """, side AS MATERIALIZED (
    SELECT t.id AS trade_id, t.instrument_id, t.number, t.quote, t.symbol, s.* FROM trade t
    CROSS JOIN LATERAL (VALUES ('buy', t.buyer_id, t.buyer_fee), ('sell', t.seller_id, t.seller_fee))
        AS s (side, user_id, fee)
    WHERE t.kind = 'PERP'
), posted AS MATERIALIZED (
    SELECT s.trade_id, s.side, e.id AS entry_id, k.ending FROM side s
    CROSS JOIN LATERAL (VALUES (''), (':FLIP_CLOSE'), (':FLIP_OPEN')) AS k (ending)
    JOIN ledger_entry e ON e.key = 'trade:' || s.trade_id || ':' || s.side || k.ending
), shape AS (
    SELECT s.trade_id, s.side, coalesce(array_agg(p.ending ORDER BY p.ending) FILTER (WHERE p.entry_id IS NOT NULL),
                                        ARRAY[]::text[]) AS endings
    FROM side s LEFT JOIN posted p ON p.trade_id = s.trade_id AND p.side = s.side GROUP BY 1, 2
), moved AS (
    SELECT p.trade_id, p.side, coalesce(sum(l.amount) FILTER (WHERE a.code = '5030'), 0) AS charged,
           coalesce(-sum(l.amount) FILTER (WHERE a.code = '4110'), 0) AS earned,
           coalesce(-sum(l.amount) FILTER (WHERE a.code IN ('4010', '5010')), 0) AS realised,
           coalesce(sum(l.amount) FILTER (WHERE a.code = '2110'), 0) AS cleared,
           bool_and(a.asset = s.quote AND a.owner_id IS NOT DISTINCT FROM
                    CASE WHEN a.owner_id IS NULL THEN NULL ELSE s.user_id END
                    AND (a.code NOT IN ('1040', '2110') OR a.sub = s.symbol)) AS own
    FROM posted p JOIN side s ON s.trade_id = p.trade_id AND s.side = p.side
    JOIN ledger_line l ON l.entry_id = p.entry_id JOIN ledger_account a ON a.id = l.account_id
    GROUP BY 1, 2
)
SELECT 'trade ' || s.trade_id || ', ' || s.side, json_build_array(s.instrument_id, s.number - 1, s.number),
       NULL::text, NULL::numeric,
       CASE WHEN h.endings = ARRAY[]::text[] THEN 'no_entry'
            WHEN h.endings NOT IN (ARRAY[''], ARRAY[':FLIP_CLOSE', ':FLIP_OPEN']) THEN 'entries' ELSE 'differs' END,
       json_build_object('trade', s.trade_id, 'side', s.side, 'entries', cardinality(h.endings),
                         'fee', trim_scale(s.fee)::text, 'charged', trim_scale(coalesce(m.charged, 0))::text,
                         'earned', trim_scale(coalesce(m.earned, 0))::text,
                         'realised', trim_scale(coalesce(m.realised, 0))::text,
                         'cleared', trim_scale(coalesce(m.cleared, 0))::text)
FROM side s JOIN shape h ON h.trade_id = s.trade_id AND h.side = s.side
LEFT JOIN moved m ON m.trade_id = s.trade_id AND m.side = s.side
WHERE h.endings NOT IN (ARRAY[''], ARRAY[':FLIP_CLOSE', ':FLIP_OPEN'])
   OR (s.fee, s.fee, m.realised, true) IS DISTINCT FROM (coalesce(m.charged, 0), coalesce(m.earned, 0),
                                                        m.cleared, coalesce(m.own, true))
"""

CHECKS: Final = (
    state_check(
        "positions.zero",
        _ZERO,
        compares=gettext_noop("The long positions of each contract against the short ones."),
        causes={"differs": gettext_noop("The positions of %(symbol)s add up to %(quantity)s, not to zero.")},
        equation="R1",
        every=60,
        severity=Severity.STOP,
    ),
    state_check(
        "positions.results",
        _RESULTS,
        compares=gettext_noop("What was realised in each contract against what its open positions cost."),
        causes={"differs": gettext_noop("In %(symbol)s %(realised)s were realised; the open positions cost %(cost)s.")},
        equation="R3",
        every=60,
        severity=Severity.STOP,
    ),
    touched_check(
        "positions.clearing",
        _CLEARING,
        compares=gettext_noop("The clearing account of each contract against the signed open cost of its positions."),
        causes={
            "differs": gettext_noop(
                "The clearing account of %(symbol)s stands at %(clearing)s %(asset)s; its positions cost %(cost)s."
            )
        },
        equation="R2",
        severity=Severity.STOP,
    ),
    touched_check(
        "positions.margin",
        _MARGIN,
        compares=gettext_noop("The margin wallets of traders against the margin of their positions."),
        causes={
            "differs": gettext_noop(
                "The margin wallet of user %(user)s for %(symbol)s has %(wallet)s %(asset)s; the position has"
                " %(margin)s."
            )
        },
        equation="R5",
        severity=Severity.STOP,
    ),
    Check(
        name="contracts.entries",
        compares=gettext_noop("Each side of a contract's trade against its entry, or its two where it turns around."),
        causes={
            "no_entry": gettext_noop("The %(side)s side of trade %(trade)s has no entry."),
            "entries": gettext_noop("The %(side)s side of trade %(trade)s has %(entries)s entries, not its own."),
            "differs": gettext_noop(
                "The %(side)s side of trade %(trade)s has a fee of %(fee)s. Its entries charge %(charged)s, earn"
                " %(earned)s, realise %(realised)s, clear %(cleared)s."
            ),
        },
        look=partial(trades.look, _ENTRIES),
        full=partial(trades.full, _ENTRIES),
        equation="R7",
        severity=Severity.STOP,
    ),
)
