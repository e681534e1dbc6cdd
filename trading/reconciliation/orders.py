"""Checks of orders against wallets, and of what traders and other systems are told."""

from datetime import datetime, timedelta
from typing import Final

from django.db import connection

from exchange.kernel.errors import gettext_noop
from ledger.reconciliation.accounts import audit_check, touched_check
from ledger.reconciliation.checks import Check, Progress, Scope, Seen, Severity
from ledger.reconciliation.sql import findings
from trading import audit
from trading.reconciliation import scope as trades

OVERLAP: Final = timedelta(seconds=60)
"""Rows written so long before a look may have been committed after it; none takes longer to commit."""

_HOLDS: Final = """, wallet AS MATERIALIZED (
    SELECT a.id, a.owner_id, a.asset, a.balance
    FROM touched t JOIN ledger_account a ON a.id = t.id WHERE a.code = '1020'
), held AS (
    SELECT w.id, coalesce(sum(o.hold_remaining), 0) AS total
    FROM wallet w LEFT JOIN orders o ON o.user_id = w.owner_id AND o.hold_asset = w.asset
         AND o.status IN ('new', 'partial_filled', 'pending_review', 'untriggered')
    GROUP BY w.id
), suspended AS (
    SELECT (h ->> 0)::bigint AS owner_id, h ->> 1 AS asset, sum((h ->> 2)::numeric) AS total
    FROM suspended_entries s CROSS JOIN LATERAL jsonb_array_elements(s.held) AS h WHERE s.state = 'OPEN' GROUP BY 1, 2
)
SELECT 'user ' || w.owner_id || ', ' || w.asset, w.id, w.asset, w.balance - h.total - coalesce(s.total, 0),
       'differs',
       json_build_object('user', w.owner_id, 'asset', w.asset, 'wallet', trim_scale(w.balance)::text,
                         'orders', trim_scale(h.total + coalesce(s.total, 0))::text)
FROM wallet w JOIN held h ON h.id = w.id
LEFT JOIN suspended s ON s.owner_id = w.owner_id AND s.asset = w.asset
WHERE w.balance <> h.total + coalesce(s.total, 0)
"""
_TOLD_LATELY: Final = """
WITH touched AS MATERIALIZED (
    SELECT user_id, min(first) AS first FROM (
        SELECT user_id, sequence AS first FROM private_messages WHERE created_at >= %(since)s
        UNION ALL SELECT user_id, 0 FROM unnest(%(again)s::bigint[]) AS user_id) t
    GROUP BY user_id
), message AS (
    SELECT p.* FROM touched t JOIN private_messages p ON p.user_id = t.user_id AND p.sequence >= t.first
)
"""
_TOLD: Final = "WITH message AS (SELECT * FROM private_messages)"
_DENSE: Final = """, told AS (
    SELECT user_id, min(sequence - facts) + 1 AS first, max(sequence) AS last, sum(facts) AS events,
           coalesce(bool_or(sequence - facts <> previous), false) AS has_gap
    FROM (
        SELECT user_id, sequence, cardinality(channels) AS facts,
               lag(sequence) OVER (PARTITION BY user_id ORDER BY sequence) AS previous FROM message
    ) m
    GROUP BY user_id
)
SELECT 'user ' || t.user_id, t.user_id, NULL::text, NULL::numeric,
       CASE WHEN t.last IS DISTINCT FROM g.event_sequence THEN 'end' ELSE 'gap' END,
       json_build_object('user', t.user_id, 'events', t.events, 'first', t.first, 'last', t.last,
                         'gate', g.event_sequence)
FROM told t LEFT JOIN ledger_gate g ON g.owner_id = t.user_id
WHERE t.last IS DISTINCT FROM g.event_sequence OR t.has_gap
"""
_OUTBOX: Final = """, told AS MATERIALIZED (
    SELECT aggregateid FROM outbox WHERE id >= %(oldest)s AND type = 'TradeExecuted'
)
SELECT 'trade ' || t.id, json_build_array(t.instrument_id, t.number - 1, t.number), NULL::text, NULL::numeric,
       CASE WHEN count(o.aggregateid) = 0 THEN 'missing' ELSE 'doubled' END,
       json_build_object('trade', t.id, 'count', count(o.aggregateid))
FROM trade t LEFT JOIN told o ON o.aggregateid = t.id::text
GROUP BY t.id, t.instrument_id, t.number HAVING count(o.aggregateid) <> 1
"""
_OUTBOX_WHOLE: Final = """
SELECT 'trade ' || coalesce(t.id::text, o.aggregateid),
       CASE WHEN t.id IS NOT NULL THEN json_build_array(t.instrument_id, t.number - 1, t.number) END,
       NULL::text, NULL::numeric,
       CASE WHEN t.id IS NULL THEN 'no_trade' WHEN o.number IS NULL THEN 'missing' ELSE 'doubled' END,
       json_build_object('trade', coalesce(t.id::text, o.aggregateid), 'count', coalesce(o.number, 0))
FROM (SELECT t.id, t.instrument_id, t.number FROM trades t
      WHERE t.executed_at >= (SELECT min(created_at) FROM outbox)) t
FULL JOIN (SELECT aggregateid, count(*) AS number FROM outbox WHERE type = 'TradeExecuted' GROUP BY 1) o
     ON o.aggregateid = t.id::text
LEFT JOIN trades e ON e.id::text = o.aggregateid
WHERE (t.id IS NOT NULL AND o.number IS DISTINCT FROM 1) OR (t.id IS NULL AND (e.id IS NULL OR o.number <> 1))
"""
_OUTBOX_ENDS: Final = """
SELECT coalesce(min(id) FILTER (WHERE created_at >= %(recent)s), max(id) + 1, %(oldest)s) FROM outbox
WHERE id >= %(oldest)s
"""


def _look_at_events(scope: Scope) -> Seen:
    """Compare what traders were told since the last look, a little of the time before it included."""
    last = datetime.fromisoformat(scope.position["at"]) if scope.position else scope.now
    params = {"since": last - OVERLAP, "again": list(scope.again)}
    found = findings(_TOLD_LATELY + _DENSE, params)
    return Seen(found, {"at": scope.now.isoformat()}, 1)


def _full_events(_progress: Progress) -> Seen:
    return Seen(findings(_TOLD + _DENSE, {}), {}, 1)


def _look_at_outbox(scope: Scope) -> Seen:
    """Compare new trades with the outbox rows that may be theirs: ids are given before rows are committed."""
    oldest: int = scope.position.get("outbox", 0)
    fresh, old = trades.new(scope), trades.again(scope)
    found = (
        findings(trades.TRADES + _OUTBOX, trades.columns([*fresh, *old]) | {"oldest": oldest}) if fresh or old else []
    )
    seen = trades.seen(scope, found, fresh)
    with connection.cursor() as cursor:
        cursor.execute(_OUTBOX_ENDS, {"oldest": oldest, "recent": scope.now - OVERLAP})
        oldest = cursor.fetchone()[0]
    is_caught_up = not seen.behind
    return seen._replace(
        position=seen.position | {"outbox": oldest if is_caught_up else scope.position.get("outbox", 0)}
    )


def _full_outbox(_progress: Progress) -> Seen:
    return Seen(findings(_OUTBOX_WHOLE, {}), {}, 1)


CHECKS: Final = (
    touched_check(
        "orders.holds",
        _HOLDS,
        compares=gettext_noop(
            "What open orders hold, and what suspended entries left there, against the order_hold wallets."
        ),
        causes={
            "differs": gettext_noop(
                "The order_hold wallet of user %(user)s has %(wallet)s %(asset)s; open orders hold %(orders)s."
            )
        },
        equation="R5",
        severity=Severity.STOP,
    ),
    Check(
        name="private.events",
        compares=gettext_noop("What traders' screens are told against counting without a gap."),
        causes={
            "gap": gettext_noop("User %(user)s was told %(events)s things, numbered %(first)s to %(last)s."),
            "end": gettext_noop("User %(user)s was told things up to number %(last)s; the gate stands at %(gate)s."),
        },
        look=_look_at_events,
        full=_full_events,
        severity=Severity.WATCH,
    ),
    Check(
        name="outbox.trades",
        compares=gettext_noop("Each trade against the domain event in the outbox that other systems read."),
        causes={
            "missing": gettext_noop("The outbox has no event of trade %(trade)s."),
            "doubled": gettext_noop("The outbox has %(count)s events of trade %(trade)s."),
            "no_trade": gettext_noop("The outbox has an event of trade %(trade)s, which does not exist."),
        },
        look=_look_at_outbox,
        full=_full_outbox,
    ),
    audit_check(
        "audit.road", audit.road_invariants, gettext_noop("Orders, trades and log against every invariant of the road.")
    ),
)
