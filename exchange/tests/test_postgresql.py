"""The pool hands out the connection that came back last, and gives up the one that was idle longest."""

from collections.abc import Iterator

import pytest
from django.db import connection

from exchange.postgresql.base import DatabaseWrapper, WarmestFirst

pytestmark = pytest.mark.django_db

PATIENT_SECONDS = 60.0


@pytest.fixture
def wrapper() -> Iterator[DatabaseWrapper]:
    """A connection of Django's as a web process has one, with three idle connections in its pool."""
    options = {**connection.settings_dict["OPTIONS"], "pool": {"min_size": 3, "max_size": 4}}
    made = DatabaseWrapper({**connection.settings_dict, "OPTIONS": options, "CONN_MAX_AGE": 0}, "pooled")
    made.pool.open(wait=True, timeout=PATIENT_SECONDS)
    yield made
    made.close()
    made.close_pool()


def _backend(wrapper: DatabaseWrapper) -> int:
    """Return the database's process that a call meets which has the connection for itself."""
    wrapper.ensure_connection()
    pid: int = wrapper.connection.info.backend_pid
    wrapper.close()
    return pid


def test_the_connection_that_came_back_last_is_the_next(wrapper: DatabaseWrapper) -> None:
    first, second, third = taken = [wrapper.pool.getconn() for _ in range(3)]
    for one in (second, third, first):
        wrapper.pool.putconn(one)
    alone = [_backend(wrapper) for _ in range(3)]
    again = [wrapper.pool.getconn() for _ in range(3)]

    assert isinstance(wrapper.pool, WarmestFirst)
    assert alone == [first.info.backend_pid] * 3
    assert again == [first, third, second]

    for one in taken:
        wrapper.pool.putconn(one)


def test_what_was_idle_longest_is_given_up_first(wrapper: DatabaseWrapper) -> None:
    taken = [wrapper.pool.getconn() for _ in range(4)]  # one more than the pool keeps
    for one in taken:
        wrapper.pool.putconn(one)
    wrapper.pool._shrink_pool()  # all were in use since it last looked
    _backend(wrapper)
    wrapper.pool._shrink_pool()

    assert [one.closed for one in taken] == [True, False, False, False]
