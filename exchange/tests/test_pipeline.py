"""Statements that go without a cursor: prepared once, answered as a cursor is, and in order with those of cursors."""

import gc
import weakref
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import DataError, connection

from exchange import database, pipeline

pytestmark = pytest.mark.django_db(transaction=True)

VALUES = ["繁體 100%", 1, -40_000, 2**40, 2**70, True, None, b"\x00\xff", Decimal("1.50"), date(2026, 1, 2)]
KINDS = ["text", "int", "int", "bigint", "numeric", "boolean", "int", "bytea", "numeric", "date"]


@pytest.fixture
def preparing() -> Any:
    """Let the connection prepare statements, as those of the online roles do."""
    connection.ensure_connection()
    driver = connection.connection
    before, driver.prepare_threshold = driver.prepare_threshold, 5
    yield driver
    driver.prepare_threshold = before


def _prepared(word: str) -> int:
    """Return how many statements with a word the connection has prepared."""
    [[(count,)]] = database.fetch(
        ("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE %s", (f"%{word}%",))
    )
    return int(count)


def test_every_value_comes_back_as_by_a_cursor() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
    statement = ("SELECT '%%', " + ", ".join(f"%s::{kind}" for kind in [*KINDS, "timestamptz"]), (*VALUES, moment))
    by_cursor = database.fetch(statement)

    with database.pipelined_transaction():
        sent = database.fetch(statement)

    assert sent == by_cursor == [[("%", *VALUES, moment)]]


def test_a_statement_is_prepared_once_and_anew_after_a_rollback(preparing) -> None:
    with database.pipelined_transaction():
        first = [database.send("SELECT %s::int AS once", number) for number in (1, 2)]
    after_two = _prepared("AS once")
    with pytest.raises(DataError), database.pipelined_transaction():
        database.fetch(("SELECT 1 / %s::int AS once", (0,)))
    with database.pipelined_transaction():
        again = database.fetch(("SELECT %s::int AS once", (3,)))

    assert [answer.rows() for answer in first] == [[(1,)], [(2,)]]
    assert after_two == 1
    assert again == [[(3,)]]


def test_nothing_is_prepared_where_the_connection_prepares_nothing() -> None:
    assert connection.connection is None or connection.connection.prepare_threshold is None

    with database.pipelined_transaction():
        database.fetch(("SELECT %s::int AS never", (1,)))

    assert _prepared("AS never") == 0


def test_rows_can_be_asked_for_again() -> None:
    by_cursor = database.send("SELECT %s::int", 1)
    with database.pipelined_transaction():
        sent = database.send("SELECT %s::int", 2)
        first = sent.rows()

    assert (first, sent.rows()) == ([(2,)], [(2,)])
    assert (by_cursor.rows(), by_cursor.rows()) == ([(1,)], [(1,)])


def test_cursors_and_statements_without_one_are_answered_in_order() -> None:
    with database.pipelined_transaction():
        before = database.send("SELECT %s::text", "first")
        with connection.cursor() as cursor:
            cursor.execute("SELECT %s::text", ["second"])
            after = database.send("SELECT %s::int[]", [3])  # a list is a cursor's
            last = database.send("SELECT %s::text", "fourth")
            second = cursor.fetchone()

    assert (before.rows(), second, after.rows(), last.rows()) == ([("first",)], ("second",), [([3],)], [("fourth",)])


def _fail() -> None:
    """Send a statement that fails, and one after it."""
    with database.pipelined_transaction():
        failing = database.send("SELECT 1 / %s::int", 0)
        database.send("SELECT %s::int", 1)
        failing.rows()


def test_an_error_is_djangos_and_what_followed_it_is_not_done() -> None:
    with pytest.raises(DataError) as caught:
        _fail()

    assert isinstance(caught.value.__cause__, psycopg.errors.DivisionByZero)


def test_who_watches_statements_sees_these_too() -> None:
    seen = []

    def watch(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:  # noqa: FBT001 -- Django's order
        seen.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(watch), database.pipelined_transaction():
        rows = database.fetch(("SELECT %s::int", (1,)))

    assert rows == [[(1,)]]
    assert seen == [("SELECT %s::int", (1,))]


def test_a_moment_without_its_zone_is_left_to_a_cursor() -> None:
    assert pipeline.written([datetime(2026, 1, 2)]) is None  # noqa: DTZ001 -- that is the point
    assert pipeline.written([["a list"]]) is None
    assert pipeline.written(["cut\0here"]) is None


def test_a_connection_is_not_kept_by_what_read_its_rows() -> None:
    with psycopg.connect(**connection.get_connection_params()) as other, other.pipeline():
        sent = pipeline.send(other, "SELECT %s::int", [(b"1", 23, psycopg.pq.Format.TEXT)])
        assert sent.rows() == [(1,)]
    kept = weakref.ref(other)
    del other, sent
    gc.collect()

    assert kept() is None
