"""A pool whose connections all died answers from new ones after a single failure."""

from collections.abc import Iterator

import psycopg
import pytest
from django.db import OperationalError, connection
from psycopg_pool import ConnectionPool, PoolTimeout

from exchange.api import lost_connections

pytestmark = pytest.mark.django_db

PATIENT_SECONDS = 60.0


@pytest.fixture
def pool() -> Iterator[ConnectionPool]:
    """A pool as a web process has one, with three idle connections."""
    options = {name: connection.settings_dict[key] for name, key in (("host", "HOST"), ("user", "USER"))}
    made: ConnectionPool = ConnectionPool(
        kwargs={**options, "dbname": connection.settings_dict["NAME"], "autocommit": True},
        min_size=3,
        max_size=8,
        timeout=PATIENT_SECONDS,
        open=False,
    )
    with made:
        made.wait(PATIENT_SECONDS)
        yield made


def _kill_all(pool: ConnectionPool) -> None:
    """End the server's side of every connection, as a restart does."""
    taken = [pool.getconn() for _ in range(3)]
    pids = [one.info.backend_pid for one in taken]
    for one in taken:
        pool.putconn(one)
    with connection.cursor() as cursor:
        for pid in pids:
            cursor.execute("SELECT pg_terminate_backend(%s, 60000)", [pid])


def test_the_first_failure_replaces_every_dead_connection(
    pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(connection), "pool", pool, raising=False)
    monkeypatch.setattr(lost_connections, "LOOKED_SECONDS_MAX", PATIENT_SECONDS)
    _kill_all(pool)
    with pytest.raises(psycopg.OperationalError) as failure, pool.connection() as first:
        first.execute("SELECT 1")

    lost_connections.renew(failure.value)

    for _ in range(4):
        with pool.connection() as next_one:
            assert next_one.execute("SELECT 1").fetchone() == (1,)


def _raised(error: Exception) -> Exception:
    """Return the error as Django raises it."""
    wrapped = OperationalError(str(error))
    wrapped.__cause__ = error
    return wrapped


@pytest.mark.parametrize(
    ("error", "is_loss"),
    [
        (psycopg.OperationalError("the connection is closed"), True),
        (psycopg.errors.AdminShutdown("terminating connection"), True),
        (psycopg.errors.LockNotAvailable("canceling statement due to lock timeout"), False),
        (psycopg.errors.UniqueViolation("duplicate key"), False),
        (PoolTimeout("couldn't get a connection"), False),
        (ValueError("no database's"), False),
    ],
)
def test_a_loss_is_told_from_what_was_refused(error: Exception, *, is_loss: bool) -> None:
    assert lost_connections.is_loss(_raised(error)) is is_loss
    assert lost_connections.is_loss(error) is is_loss
