"""What a process does when PostgreSQL was restarted under its pool of connections.

Note [One failure each]
    A restart of PostgreSQL leaves a pool full of dead connections. Asking each before its use would cost every request
    a round trip; so the first request that meets a dead one has them all looked at, while its own answer is 503. Those
    that come after it wait for a good one.
"""

import threading
from typing import Any, Final

import psycopg
import structlog
from django.db import connection
from psycopg_pool import PoolTimeout

logger = structlog.get_logger("exchange.api")

LOOKED_SECONDS_MAX: Final = 0.2
"""How long the answer waits for the others to be taken out: they are at once, also when none of them answers."""
_GONE_STATES: Final = ("57P", "08")
"""The server ends or starts, or the connection is lost. Source: PostgreSQL 18, appendix A, classes 57 and 08."""

_looking = threading.Lock()


def is_loss(error: BaseException | None) -> bool:
    """Tell whether an error, of Django or psycopg, says that a connection was lost, not that something was refused."""
    while error is not None and not isinstance(error, psycopg.Error):
        error = error.__cause__
    if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) or isinstance(error, PoolTimeout):
        return False
    return error.sqlstate is None or error.sqlstate.startswith(_GONE_STATES)


def renew(error: BaseException) -> None:
    """Replace the dead connections of this process's pool, if an error says that there are: Note [One failure each]."""
    pool: Any = getattr(connection, "pool", None)
    if pool is None or not is_loss(error):
        return
    looking = threading.Thread(target=_look, args=(pool,), name="lost connections", daemon=True)
    looking.start()
    looking.join(LOOKED_SECONDS_MAX)


def _look(pool: Any) -> None:
    """Have every idle connection asked; one thread does it for all."""
    if not _looking.acquire(blocking=False):
        return
    try:
        pool.check()
        logger.warning("connections_renewed", **pool.get_stats())
    finally:
        _looking.release()
