"""Background work of the order's road. Everything here may run at any time, and twice."""

from datetime import timedelta
from typing import Any

from celery import shared_task

from exchange import database
from exchange.kernel.clock import utc_now
from trading.events import consumers
from trading.services import private_events, sweeper

PRIVATE_EVENTS_KEPT = timedelta(days=2)
"""How far back a WebSocket client can resume; the orders themselves are kept for good."""

CONSUMED_EVENTS_KEPT = timedelta(days=7)
"""How long each event's note is kept, beside its consumer's position."""

MONTHS_AHEAD = 3


@shared_task(acks_late=True)
def prune_private_events(**_: Any) -> None:
    """Forget what screens were told long ago."""
    private_events.prune(utc_now() - PRIVATE_EVENTS_KEPT)


@shared_task(acks_late=True)
def prune_consumed_events(**_: Any) -> None:
    """Forget which events were handled long ago."""
    consumers.prune(utc_now() - CONSUMED_EVENTS_KEPT)


@shared_task(acks_late=True)
def make_partitions(**_: Any) -> None:
    """Make the coming months' partitions of orders and trades; a row that finds none goes to the default one."""
    today = utc_now().date()
    for table in ("orders", "trades"):
        database.execute("SELECT make_month_partitions(%s::text, %s::date, %s)", table, today, MONTHS_AHEAD)


@shared_task(acks_late=True)
def sweep_holds(*, whole: bool = False, **_: Any) -> None:
    """Put holds and reservations right that were left behind; `trading/services/sweeper.py`.

    Args:
        whole: Look for orders that never came into the log, too.
    """
    sweeper.sweep(now=utc_now(), whole=whole)
