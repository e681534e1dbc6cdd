"""Arrays are written as the database reads them: every value comes back as it went in."""

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import IntEnum, StrEnum

import pytest
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
