"""A transaction for statements that may take longer than the web's transactions are allowed to."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.db import connection, transaction

SECONDS_MAX: Final = 30


@contextmanager
def patiently() -> Iterator[None]:
    """Read as of one moment, for up to half a minute. Nothing can be written, so nothing is locked for others.

    The web's own limit is short because its transactions hold locks. Compiling queries would cost more than it saves.
    """
    # Positions are valued beside the books' totals: both must be of one moment. An open transaction keeps its view.
    mode = "READ ONLY" if connection.in_atomic_block else "ISOLATION LEVEL REPEATABLE READ, READ ONLY"
    with transaction.atomic():
        with connection.cursor() as cursor:
            # The limit must be lifted before it can be set anew: a timer that runs is not moved. Source: PostgreSQL 18,
            # assign_transaction_timeout in src/backend/tcop/postgres.c.
            cursor.execute(f"SET TRANSACTION {mode}; SET LOCAL transaction_timeout = 0")
            cursor.execute(f"SET LOCAL transaction_timeout = '{SECONDS_MAX}s'; SET LOCAL jit = off")
            # A sum over all accounts reads whole tables, where the order's statements never do (exchange/settings).
            cursor.execute("SET LOCAL enable_seqscan = on; SET LOCAL plan_cache_mode = auto")
        yield
