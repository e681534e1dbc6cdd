"""Background work of market data."""

from typing import Any

from celery import shared_task
from django.db import connection

from exchange.kernel.clock import utc_now

MONTHS_AHEAD = 3


@shared_task(acks_late=True)
def make_partitions(**_: Any) -> int:
    """Make the candle partitions of this month and the next two; daily. Idempotent.

    Rows that were written before their month's partition existed wait in the default one and move.

    Returns:
        How many were made.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT make_month_partitions('klines_1m', %s, %s)", [utc_now().date(), MONTHS_AHEAD])
        return int(cursor.fetchone()[0])
