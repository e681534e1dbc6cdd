"""Django's database backend with a pool that hands out the connection that came back last.

Note [Warmest first]
    psycopg's pool hands out its connections in turn, so that orders that come one at a time are each decided by another
    of them: by a process of PostgreSQL whose plans and catalogue have left the processor's caches, and which is itself
    asleep. The one that came back last has them at hand. Those that nobody needs any more are at the other end of the
    row, from where the pool takes what it closes.
"""

from typing import Any

import psycopg
from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base
from psycopg_pool import ConnectionPool


class WarmestFirst(ConnectionPool["psycopg.Connection[Any]"]):
    """Hands out the connection that came back last: Note [Warmest first]."""

    def _get_ready_connection(self, timeout: float | None) -> "psycopg.Connection[Any] | None":
        """Let the last one be the first, which is the one that is taken; the pool's lock is held."""
        self._pool.rotate(1)
        return super()._get_ready_connection(timeout)


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's connection to PostgreSQL, with that pool."""

    @property
    def pool(self) -> Any:
        """Return the process's pool, made as Django makes it; none where the settings name none."""
        pools: dict[str, ConnectionPool[Any]] = self._connection_pools  # type: ignore[attr-defined]  # no stub has it
        options = self.settings_dict["OPTIONS"].get("pool")
        is_fit = isinstance(options, dict) and not self.settings_dict["CONN_MAX_AGE"]  # Django says what is wrong
        if options and is_fit and self.alias != NO_DB_ALIAS and self.alias not in pools:
            made = WarmestFirst(
                kwargs={**self.get_connection_params(), "autocommit": True},
                open=False,
                configure=self._configure_connection,  # type: ignore[attr-defined]  # nor this
                check=ConnectionPool.check_connection if self.settings_dict["CONN_HEALTH_CHECKS"] else None,
                **options,
            )
            pools.setdefault(self.alias, made)
        return super().pool
