"""Checks of trades: their numbers, their entries, their orders, their domain events."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from exchange.kernel.errors import gettext_noop
from ledger.reconciliation.checks import FINDINGS_MAX, Check, Finding, Progress, Scope, Seen, Severity
from ledger.reconciliation.sql import ENTRIES, ENTRIES_MAX, findings, number_of, parts, ranges
from trading.reconciliation import scope as trades

_NUMBERS: Final = """, number AS (
    SELECT r.instrument_id, s.symbol, generate_series(r.after + 1, r.upto) AS number
    FROM scope r JOIN marketdata_instrument s ON s.id = r.instrument_id
)
SELECT n.symbol || ' trade ' || n.number, json_build_array(n.instrument_id, n.number - 1, n.number), NULL::text,
       NULL::numeric, CASE WHEN count(t.id) = 0 THEN 'missing' ELSE 'doubled' END,
       json_build_object('symbol', n.symbol, 'number', n.number, 'count', count(t.id))
FROM number n LEFT JOIN trade t ON t.instrument_id = n.instrument_id AND t.number = n.number
GROUP BY n.instrument_id, n.symbol, n.number HAVING count(t.id) <> 1
"""

# What each account of a spot match must move by, wallets and debt of one user and asset taken together: the part of
# the hold that is used up and what goes back to available follow from the order (`log.replay`).
_ENTRIES: Final = """, posted AS MATERIALIZED (
    SELECT t.id AS trade_id, e.id AS entry_id, e.kind
    FROM trade t JOIN ledger_entry e ON e.key = 'trade:' || t.id
), part (trade_id, owner_id, code, asset, amount) AS (
    SELECT id, buyer_id, 'wallet', quote, -notional - buyer_fee FROM trade WHERE kind = 'SPOT'
    UNION ALL SELECT id, buyer_id, '3020', quote, notional FROM trade WHERE kind = 'SPOT'
    UNION ALL SELECT id, buyer_id, '5030', quote, buyer_fee FROM trade WHERE kind = 'SPOT'
    UNION ALL SELECT id, buyer_id, 'wallet', base, quantity FROM trade WHERE kind = 'SPOT'
    UNION ALL SELECT id, buyer_id, '3020', base, -quantity FROM trade WHERE kind = 'SPOT'
    UNION ALL SELECT id, seller_id, 'wallet', base, -quantity FROM trade WHERE kind = 'SPOT'
    UNION ALL SELECT id, seller_id, '3020', base, quantity FROM trade WHERE kind = 'SPOT'
    UNION ALL SELECT id, seller_id, 'wallet', quote, notional - seller_fee FROM trade WHERE kind = 'SPOT'
    UNION ALL SELECT id, seller_id, '3020', quote, -notional FROM trade WHERE kind = 'SPOT'
    UNION ALL SELECT id, seller_id, '5030', quote, seller_fee FROM trade WHERE kind = 'SPOT'
    UNION ALL SELECT id, NULL, '4110', quote, -buyer_fee - seller_fee FROM trade WHERE kind = 'SPOT'
), expected AS (
    SELECT trade_id, owner_id, code, asset, sum(amount) AS amount FROM part GROUP BY 1, 2, 3, 4
), stored AS (
    SELECT p.trade_id, a.owner_id, a.asset, sum(l.amount) AS amount,
           CASE WHEN a.code IN ('1010', '1020', '2010') THEN 'wallet' ELSE a.code END AS code
    FROM posted p
    JOIN ledger_line l ON l.entry_id = p.entry_id
    JOIN ledger_account a ON a.id = l.account_id
    WHERE p.kind = 'SPOT_FILL' GROUP BY 1, 2, 3, 5
), moved AS (
    SELECT trade_id, owner_id, code, asset, sum(expected) AS expected, sum(stored) AS stored
    FROM (SELECT trade_id, owner_id, code, asset, amount AS expected, 0 AS stored FROM expected
          UNION ALL SELECT trade_id, owner_id, code, asset, 0, amount FROM stored) m
    GROUP BY 1, 2, 3, 4 HAVING sum(expected) <> sum(stored)
)
SELECT 'trade ' || t.id, json_build_array(t.instrument_id, t.number - 1, t.number), NULL::text, NULL::numeric,
       'no_entry', json_build_object('trade', t.id)
FROM trade t LEFT JOIN posted p ON p.trade_id = t.id WHERE t.kind = 'SPOT' AND p.entry_id IS NULL
UNION ALL
SELECT 'trade ' || t.id || ', ' || coalesce('user ' || m.owner_id, 'platform') || ', ' || m.code || ' ' || m.asset,
       json_build_array(t.instrument_id, t.number - 1, t.number), m.asset, m.stored - m.expected, 'differs',
       json_build_object('trade', t.id, 'who', coalesce('user ' || m.owner_id, 'platform'), 'code', m.code,
                         'asset', m.asset, 'stored', trim_scale(m.stored)::text,
                         'expected', trim_scale(m.expected)::text)
FROM moved m JOIN posted p ON p.trade_id = m.trade_id AND p.kind = 'SPOT_FILL' JOIN trade t ON t.id = m.trade_id
"""
_OF_ENTRIES: Final = f"""
WITH scope AS MATERIALIZED (
    SELECT * FROM unnest(%(after)s::bigint[], %(upto)s::bigint[]) AS r (after, upto)
), {ENTRIES}, match AS (
    SELECT id, key, effective_at, late,
           substring(key FROM '^trade:([0-9]{{1,18}})(?::suspense|:cleared|:(?:buy|sell).*)?$')::bigint AS trade_id
    FROM entry WHERE kind IN ('SPOT_FILL', 'SUSPENSE_SPOT_FILL', 'OPEN_FILL', 'CLOSE_FILL', 'FLIP_OPEN', 'FLIP_CLOSE',
                              'CLOSE_TO_OPEN', 'OPEN_TO_CLOSE', 'SUSPENSE_FILL')
)
SELECT 'entry ' || e.id, e.id, NULL::text, NULL::numeric, 'no_trade', json_build_object('entry', e.id, 'key', e.key)
FROM match e LEFT JOIN trades t ON t.id = e.trade_id AND (e.late OR t.executed_at = e.effective_at)
WHERE t.id IS NULL
"""
_FILLS: Final = """, touched AS MATERIALIZED (
    SELECT DISTINCT ON (order_id) order_id, place FROM (
        SELECT buy_order_id AS order_id, json_build_array(instrument_id, number - 1, number) AS place, number FROM trade
        UNION ALL SELECT sell_order_id, json_build_array(instrument_id, number - 1, number), number FROM trade) s
    ORDER BY order_id, number
), filled AS (
    SELECT o.order_id, sum(s.quantity) AS quantity, sum(s.notional) AS notional, sum(s.fee) AS fee
    FROM touched o CROSS JOIN LATERAL (
        SELECT quantity, notional, buyer_fee AS fee FROM trades WHERE buy_order_id = o.order_id
        UNION ALL SELECT quantity, notional, seller_fee FROM trades WHERE sell_order_id = o.order_id) s
    GROUP BY o.order_id
)
SELECT 'order ' || t.order_id, t.place, NULL::text, NULL::numeric,
       CASE WHEN o.id IS NULL THEN 'no_order' ELSE 'differs' END,
       json_build_object('order', t.order_id, 'quantity', trim_scale(o.filled_quantity)::text,
                         'notional', trim_scale(o.filled_notional)::text, 'fee', trim_scale(o.fee)::text,
                         'trades_quantity', trim_scale(f.quantity)::text,
                         'trades_notional', trim_scale(f.notional)::text, 'trades_fee', trim_scale(f.fee)::text)
FROM touched t JOIN filled f ON f.order_id = t.order_id LEFT JOIN orders o ON o.id = t.order_id
WHERE (o.filled_quantity, o.filled_notional, o.fee) IS DISTINCT FROM (f.quantity, f.notional, f.fee)
"""


def _look_at_entries(scope: Scope) -> Seen:
    """Compare the entries since the mark."""
    after: int = scope.position.get("entry", 0)
    upto = min(scope.entry_head, after + ENTRIES_MAX)
    if upto <= after and not scope.again:
        return Seen([], {"entry": after}, 0)
    found = findings(_OF_ENTRIES, ranges(after, upto, scope.again))
    return Seen(found, {"entry": max(upto, after)}, max(upto - after, 0), max(scope.entry_head - upto, 0))


def _full_over_entries(progress: Progress) -> Seen:
    head = number_of("SELECT entry_id FROM ledger_head")
    found: list[Finding] = []
    for after, upto in parts(head, ENTRIES_MAX):
        progress(after, head)
        found += findings(_OF_ENTRIES, ranges(after, upto, ()))[: FINDINGS_MAX + 1 - len(found)]
    return Seen(found, {"entry": head}, head)


def _check(name: str, statement: str, **options: Any) -> Check:
    look: Callable[[Scope], Seen] = partial(trades.look, statement)
    return Check(name=name, look=look, full=partial(trades.full, statement), **options)


CHECKS: Final = (
    _check(
        "trades.numbers",
        _NUMBERS,
        compares=gettext_noop("The trades of each instrument against counting from 1."),
        causes={
            "missing": gettext_noop("There is no trade %(number)s of %(symbol)s."),
            "doubled": gettext_noop("There are %(count)s trades %(number)s of %(symbol)s."),
        },
    ),
    _check(
        "trades.entries",
        _ENTRIES,
        compares=gettext_noop("Each trade against its journal entry: there is one, and it moves what the trade says."),
        causes={
            "no_entry": gettext_noop("Trade %(trade)s has no entry."),
            "differs": gettext_noop(
                "The entry of trade %(trade)s moves account %(code)s of %(who)s by %(stored)s %(asset)s;"
                " the trade says %(expected)s."
            ),
        },
        equation="R7",
        severity=Severity.STOP,
    ),
    Check(
        name="entries.trades",
        compares=gettext_noop("Each journal entry of a match against the trade that it names."),
        causes={"no_trade": gettext_noop("Entry %(entry)s is of %(key)s, and there is no such trade.")},
        look=_look_at_entries,
        full=_full_over_entries,
        equation="R7",
        severity=Severity.STOP,
    ),
    _check(
        "orders.fills",
        _FILLS,
        compares=gettext_noop("What an order says has filled, and its fee, against its trades."),
        causes={
            "no_order": gettext_noop("Order %(order)s has trades and does not exist."),
            "differs": gettext_noop(
                "Order %(order)s says %(quantity)s for %(notional)s, fee %(fee)s; its trades"
                " %(trades_quantity)s for %(trades_notional)s, fee %(trades_fee)s."
            ),
        },
    ),
)
