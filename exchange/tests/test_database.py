"""Arrays are written as the database reads them, and pipelined transactions are Django's in all but their waiting."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any

import psycopg
import pytest
from django.db import DataError, IntegrityError, connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from exchange import database

HARD = ['"', "\\", '\\"', "", " ", "{a,b}", "NULL", "null", "繁體", "a\x1fb", "\x1f", "'", '{"k": "v\\n"}', "a,b\n"]


class Word(StrEnum):
    """A word."""

    ONE = "one"


class Number(IntEnum):
    """A number."""

    TWO = 2


def _back(kind: str, values: list[object]) -> list[object]:
    """Send values as an array and return what the database understood."""
    [[(found,)]] = database.fetch((f"SELECT %s::{kind}[]", (database.array(values),)))
    return list(found)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("text", HARD),
        ("text", [*HARD, None]),
        ("text", [None, None]),
        ("bigint", [0, -1, 2**53]),
        ("bigint", [1, None]),
        ("bigint", [2**63 - 1, -(2**63), None]),
        ("numeric", [Decimal("0E-18"), Decimal("-1.50"), Decimal("1E+20"), Decimal(10) ** 19 + Decimal("1e-18")]),
        ("numeric", [Decimal("1.5"), None, 3]),
        ("boolean", [True, False, None]),
        ("date", [date(2026, 1, 2), None]),
        ("bytea", [b"", b"\\\x00\xff", b'"']),
    ],
)
def test_every_value_comes_back(kind, values) -> None:
    assert _back(kind, values) == values
    assert _back(kind, []) == []


@pytest.mark.django_db
def test_words_and_numbers_of_enumerations_are_their_values() -> None:
    assert _back("text", [Word.ONE, "two"]) == ["one", "two"]
    assert _back("int", [Number.TWO, 3]) == [2, 3]


@pytest.mark.django_db
def test_moments_keep_their_microseconds_whatever_their_zone() -> None:
    taipei = timezone(timedelta(hours=8))
    moments = [datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=taipei), datetime(2026, 1, 2, tzinfo=UTC)]

    assert _back("timestamptz", [*moments, None]) == [*moments, None]


def test_what_has_no_place_on_the_road_is_refused() -> None:
    with pytest.raises(TypeError):
        database.array([1.5])
    with pytest.raises(TypeError):
        database.array([2**64])


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00"))))
def test_texts_are_escaped_alike_one_by_one_and_all_at_once(values) -> None:
    one_by_one = "{" + ",".join(database._text(value) for value in values) + "}"

    assert (database.array(values) if values else "{}") == one_by_one


def test_columns_of_no_rows_are_empty_arrays() -> None:
    assert database.columns([], 3) == ["{}", "{}", "{}"]
    assert database.columns([(1, "a"), (2, None)], 2) == ["{1,2}", '{"a",NULL}']


@pytest.mark.django_db
def test_documents_come_back_whatever_texts_are_in_them() -> None:
    payloads = [{"text": text, "list": [1, None, True]} for text in HARD]

    [[(found,)]] = database.fetch((f"SELECT {database.DOCUMENTS}", (database.documents(payloads),)))

    assert [json.loads(text) for text in found] == payloads


class LeftError(Exception):
    """Raised to leave a transaction."""


def _store(name: str) -> None:
    """Send a row that nobody waits for."""
    database.execute("INSERT INTO django_site_notes (name) VALUES (%s)", name)


@pytest.fixture
def notes(transactional_db) -> Iterator[Callable[[], list[str]]]:
    """Make a table whose names must differ at COMMIT; give what reads it from another connection."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE django_site_notes (name text UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    with psycopg.connect(connection.connection.info.dsn, autocommit=True) as other:
        yield lambda: [row[0] for row in other.execute("SELECT name FROM django_site_notes ORDER BY name")]
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE django_site_notes")


def test_a_pipelined_transaction_is_committed_before_what_waits_for_that(notes) -> None:
    seen = []

    with database.pipelined_transaction():
        _store("one")
        transaction.on_commit(lambda: seen.append((notes(), connection.get_autocommit())))
        [[(before,)]] = database.fetch(("SELECT count(*) FROM django_site_notes", ()))

    assert before == 1
    assert seen == [(["one"], True)]


def _store_pipelined(*names: str, then: Callable[[], None]) -> None:
    """Store rows in a pipelined transaction, and do something at its end."""
    with database.pipelined_transaction():
        for name in names:
            _store(name)
        then()


def test_what_commit_refuses_is_an_error_of_django_and_leaves_nothing(notes) -> None:
    seen = []

    with pytest.raises(IntegrityError) as caught:
        _store_pipelined("one", "one", then=lambda: transaction.on_commit(lambda: seen.append("committed")))

    assert isinstance(caught.value.__cause__, psycopg.errors.UniqueViolation)
    assert (notes(), seen, connection.get_autocommit()) == ([], [], True)
    _store_pipelined("two", then=lambda: None)  # the connection is as good as before
    assert notes() == ["two"]


def _leave() -> None:
    """Leave."""
    raise LeftError


def test_a_pipelined_transaction_that_is_left_by_an_error_or_marked_is_undone(notes) -> None:
    with pytest.raises(LeftError):
        _store_pipelined("one", then=_leave)
    with pytest.raises(DataError):
        _store_pipelined("one", then=lambda: database.execute("SELECT 1 / %s::int", 0))
    _store_pipelined("one", then=lambda: transaction.set_rollback(True))

    assert notes() == []


def test_inside_a_transaction_the_outer_one_commits(notes) -> None:
    with transaction.atomic():
        with database.pipelined_transaction():
            _store("one")
        assert notes() == []

    assert notes() == ["one"]


def test_a_pipelined_transaction_waits_for_its_commit_only(notes, tmp_path) -> None:
    connection.ensure_connection()
    wire = connection.connection.pgconn

    with (tmp_path / "messages").open("w+") as messages:
        wire.trace(messages.fileno())
        with database.pipelined_transaction():
            _store("one")
        wire.untrace()
        messages.seek(0)
        asked = [line.split("\t")[3].strip() for line in messages if line.split("\t")[1] == "F"]

    assert asked.count("Sync") == 1
    assert notes() == ["one"]


def _doubled(*numbers: int | None) -> database.Reading[list[int]]:
    """Read numbers, each doubled by the database; none for None."""
    rows = yield [None if number is None else ("SELECT 2 * %s::int", (number,)) for number in numbers]
    return [row[0] for found in rows for row in found]


@pytest.mark.django_db
def test_readings_share_a_round_trip_and_each_finds_its_own_rows(monkeypatch) -> None:
    waits: list[int] = []
    fetch = database.fetch

    def counted(*asked: Any) -> Any:
        waits.append(len(asked))
        return fetch(*asked)

    monkeypatch.setattr(database, "fetch", counted)

    found = database.read(_doubled(1, None, 2), _doubled(), _doubled(3))

    assert found == [[2, 4], [], [6]]
    assert waits == [3]
