"""The formats that a journal can be exported in, by name, and how a period is asked for."""

from datetime import UTC, date, datetime, time
from typing import Final

from exchange.kernel.errors import DomainError, gettext_noop
from ledger.exports import beancount, hledger
from ledger.exports.transactions import Format

FORMATS: Final[dict[str, Format]] = {form.NAME: form for form in (beancount, hledger)}


class MomentFormatError(DomainError):
    """A date or moment cannot be read."""

    code = 4453
    name = "EXPORT_MOMENT"
    message = gettext_noop("%(text)s is neither a date such as 2026-03-31 nor a moment such as 2026-03-31T15:30:00.")


def first_moment(text: str) -> datetime | None:
    """Read when a period begins: a date means its first moment; nothing means no limit. UTC unless it says another."""
    return _moment(text, time.min)


def last_moment(text: str) -> datetime | None:
    """Read when a period ends: a date means its last moment; nothing means no limit. UTC unless it says another."""
    return _moment(text, time.max)


def _moment(text: str, of_date: time) -> datetime | None:
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        pass
    else:
        return datetime.combine(day, of_date, tzinfo=UTC)
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise MomentFormatError(text=text[:40]) from None
