"""How moments are read from a page's address, and how they and amounts are written."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.forms import ValidationError

from ledger.reports import wording
from ledger.reports.moments import BEGINNING, Cut, Period
from ledger.statement_catalogue import compared
from ledger.statement_forms import EndField, MomentInput, StartField


def utc(year: int, month: int, day: int, *rest: int) -> datetime:
    hour, minute, second, microsecond = (*rest, 0, 0, 0, 0)[:4]
    return datetime(year, month, day, hour, minute, second, microsecond, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-31", utc(2026, 3, 31, 23, 59, 59, 999_999)),
        ("2026-03-31T12:00", utc(2026, 3, 31, 12, 0, 0, 999_999)),
        ("2026-03-31T12:00:05", utc(2026, 3, 31, 12, 0, 5, 999_999)),
        ("2026-03-31 12:00:05", utc(2026, 3, 31, 12, 0, 5, 999_999)),
        ("2026-03-31T12:00:05.123", utc(2026, 3, 31, 12, 0, 5, 123_999)),
        ("2026-03-31T12:00:05.123456Z", utc(2026, 3, 31, 12, 0, 5, 123_456)),
        ("2026-03-31T20:00:05.123456+08:00", utc(2026, 3, 31, 12, 0, 5, 123_456)),
        ("", None),
    ],
)
def test_an_end_stands_for_all_of_what_was_typed(text, moment) -> None:
    assert EndField(required=False).clean(text) == moment


def test_a_start_is_cut_just_before() -> None:
    assert StartField(required=False).clean("2026-03-31") == utc(2026, 3, 30, 23, 59, 59, 999_999)
    assert StartField(required=False).clean("2026-03-31T12:00") == utc(2026, 3, 31, 11, 59, 59, 999_999)


@pytest.mark.parametrize("text", ["x", "2026-02-30", "2026-03-31T25:00", "1999-12-31", "9999-12-31", "0", "2026-03"])
def test_what_is_no_moment_is_refused(text) -> None:
    for field in (EndField(), StartField()):
        with pytest.raises(ValidationError):
            field.clean(text)


def test_the_field_shows_what_was_asked_for() -> None:
    assert MomentInput().format_value("2026-03-31T23:59:59.999999Z") == "2026-03-31T23:59:59"
    assert MomentInput().format_value("nonsense") is None


def test_an_earlier_period_to_compare_with_is_as_long_or_a_year_before() -> None:
    march = utc(2028, 2, 29), utc(2028, 3, 31)

    assert compared(*march, "previous") == [(utc(2028, 1, 29), utc(2028, 2, 29))]
    assert compared(*march, "year") == [(utc(2027, 2, 28), utc(2027, 3, 31))]
    assert compared(None, march[1], "year") == []
    assert compared(*march, "") == []


@pytest.mark.parametrize(
    ("amount", "decimals", "text"),
    [
        ("0", 2, "0.00"),
        ("-0.00", 0, "0"),
        ("1234567.5", 2, "1,234,567.50"),
        ("-1234.56789", 2, f"{wording.MINUS}1,234.56789"),
        ("12345678901234567890.123456789012345678", 2, "12,345,678,901,234,567,890.123456789012345678"),
        (
            "-12345678901234567890.123456789012345678",
            2,
            f"{wording.MINUS}12,345,678,901,234,567,890.123456789012345678",
        ),
    ],
)
def test_amounts_are_written_to_their_last_digit(amount, decimals, text) -> None:
    assert wording.amount(Decimal(amount), decimals) == text


def test_whole_days_are_written_as_days() -> None:
    whole = Period(Cut(utc(2026, 2, 28, 23, 59, 59, 999_999), 1, 9), Cut(utc(2026, 3, 31, 23, 59, 59, 999_999), 5, 9))

    assert wording.between(whole) == "From 2026-03-01 to 2026-03-31, UTC"
    assert wording.span(whole) == f"2026-03-01 {wording.DASH} 2026-03-31"
    assert wording.as_of(whole.end) == "As of 2026-03-31 UTC, entry 5"


def test_a_whole_second_is_written_as_one_and_a_moment_as_it_is() -> None:
    assert wording.last(utc(2026, 3, 31, 12, 0, 5, 999_999)) == "2026-03-31 12:00:05"
    assert wording.last(utc(2026, 3, 31, 12, 0, 5, 1)) == "2026-03-31 12:00:05.000001"


def test_the_life_of_the_books_is_named() -> None:
    life = Period(Cut(BEGINNING, 0, 9), Cut(None, 9, 9))

    assert wording.between(life) == "From the beginning of the books to the latest entry, UTC"
    assert (wording.span(life), wording.as_of(life.end)) == ("to Latest", "Latest, entry 9")
