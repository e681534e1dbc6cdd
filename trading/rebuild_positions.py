"""Rebuilds positions from their history, and what is reserved of them from the parts of orders; neither is changed.

Settlement, admission and the changes of margin and leverage write positions. All of them write through
`save_positions`, and wait while the table is locked here: for as long as it takes to add up the history once. What is
missing of a margin, and whether a position is taken over, is in no history and stays as it is.
"""

from typing import Final

from django.db import connection, transaction

from ledger.services.rebuild import Rebuilt, Shown

LOCK_WAIT: Final = "30s"

_LOCK: Final = "LOCK TABLE positions IN SHARE ROW EXCLUSIVE MODE"
_MADE: Final = """
CREATE TEMP TABLE made_position ON COMMIT DROP AS
SELECT coalesce(h.user_id, p.user_id) AS user_id, coalesce(h.instrument_id, p.instrument_id) AS instrument_id,
       coalesce(h.quantity, 0) AS quantity, coalesce(h.open_cost, 0) AS open_cost, coalesce(h.margin, 0) AS margin,
       coalesce(h.result, 0) AS realised_pnl, coalesce(r.reserved, 0) AS reserved,
       coalesce(h.leverage, p.leverage) AS leverage, coalesce(h.version, 0) AS version
FROM positions p
FULL JOIN (SELECT user_id, instrument_id, sum(quantity) AS quantity, sum(open_cost) AS open_cost,
                  sum(margin) AS margin, sum(result) AS result, max(version) AS version,
                  (array_agg(leverage ORDER BY version DESC))[1] AS leverage
           FROM position_events GROUP BY 1, 2) h ON h.user_id = p.user_id AND h.instrument_id = p.instrument_id
LEFT JOIN (SELECT user_id, instrument_id, sum(quantity_left) AS reserved FROM order_parts
           WHERE kind = 'REDUCE' AND state = 'TRIED' GROUP BY 1, 2) r
       ON r.user_id = coalesce(h.user_id, p.user_id) AND r.instrument_id = coalesce(h.instrument_id, p.instrument_id)
"""
_DIFFERENT: Final = """
DELETE FROM made_position m USING positions p
WHERE p.user_id = m.user_id AND p.instrument_id = m.instrument_id
  AND (p.quantity, p.open_cost, p.margin, p.realised_pnl, p.reserved, p.leverage, p.version) =
      (m.quantity, m.open_cost, m.margin, m.realised_pnl, m.reserved, m.leverage, m.version)
"""
_NAMED: Final = """
SELECT 'position of user ' || m.user_id || ' in ' || i.symbol
FROM made_position m JOIN marketdata_instrument i ON i.id = m.instrument_id ORDER BY m.user_id, m.instrument_id
"""
_PUT_RIGHT: Final = """
INSERT INTO positions AS p (user_id, instrument_id, symbol, quantity, open_cost, margin, reserved, realised_pnl,
    leverage, version, updated_at)
SELECT m.user_id, m.instrument_id, i.symbol, m.quantity, m.open_cost, m.margin, m.reserved, m.realised_pnl,
       m.leverage, m.version, now()
FROM made_position m JOIN marketdata_instrument i ON i.id = m.instrument_id
ON CONFLICT (user_id, instrument_id) DO UPDATE SET quantity = excluded.quantity, open_cost = excluded.open_cost,
    margin = excluded.margin, reserved = excluded.reserved, realised_pnl = excluded.realised_pnl,
    leverage = excluded.leverage, version = excluded.version, updated_at = excluded.updated_at,
    margin_missing = CASE WHEN excluded.quantity = 0 THEN 0 ELSE p.margin_missing END
"""


def positions(*, write: bool, show: Shown) -> Rebuilt:
    """Compare every position with its history and its reservations, and put right what is wrong.

    Args:
        write: Else nothing is changed.
    """
    done = Rebuilt(written=write)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_WAIT])
        cursor.execute(_LOCK)
        cursor.execute(_MADE)
        done.rows = cursor.rowcount
        cursor.execute(_DIFFERENT)
        cursor.execute(_NAMED)
        done.name(row[0] for row in cursor.fetchall())
        if write and done.different:
            cursor.execute(_PUT_RIGHT)
        show(done.rows, done.rows)
        cursor.execute("DROP TABLE made_position")
    return done
