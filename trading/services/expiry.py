"""Tells the engine the time when an order's is over: the engine reads no clock, so time is a command like any other."""

from datetime import datetime

from exchange import database
from exchange.kernel.clock import to_ns
from matching_worker.protocol import CommandKind
from trading.services import command_log
from trading.services.command_log import CommandRow

_DUE = """
SELECT 1 FROM orders o JOIN marketdata_instrument i ON i.id = o.instrument_id
WHERE i.shard = %s AND o.expires_at <= %s AND o.status IN ('new', 'partial_filled', 'untriggered') LIMIT 1
"""


def tell_time(shard: int, *, now: datetime) -> bool:
    """Append a TIME command if an open order of the shard should have ended; tell whether one was needed.

    Repeating it does no harm: what has ended is not found again.
    """
    [rows] = database.fetch((_DUE, (shard, now)))
    if not rows:
        return False
    time = CommandRow(
        kind=CommandKind.TIME,
        instrument_id=0,
        order_id=0,
        trader_id=0,
        timestamp_ns=to_ns(now),
        side=0,
        order_type=0,
        time_in_force=0,
    )
    command_log.append(shard, [time], now=now)
    return True
