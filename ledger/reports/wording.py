"""How amounts and moments are written for people: exact, in UTC, thousands apart."""

from datetime import datetime, timedelta
from decimal import Decimal

from django.utils.translation import gettext

from exchange.kernel.money import plain
from ledger.reports.moments import BEGINNING, Cut, Period

MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"
INSTANT = timedelta(microseconds=1)


def amount(value: Decimal, decimals: int = 0) -> str:
    """Write an amount with at least its asset's decimals and never fewer than it has: nothing is rounded."""
    whole, _, rest = plain(value.copy_abs()).partition(".")
    rest = rest.ljust(decimals, "0")
    text = f"{int(whole):,}.{rest}" if rest else f"{int(whole):,}"
    return f"{MINUS}{text}" if value < 0 else text


def moment(at: datetime) -> str:
    """Write a moment to the second, or as exactly as it is."""
    text = f"{at:%Y-%m-%d %H:%M:%S}"
    return f"{text}.{at.microsecond:06d}" if at.microsecond else text


def first(start: datetime) -> str:
    """Write the first moment of a period that begins after another: a day, where it is the whole of it."""
    begin = start + INSTANT
    return f"{begin:%Y-%m-%d}" if begin == _midnight(begin) else moment(begin)


def last(end: datetime) -> str:
    """Write the last moment of a period: a day or a second, where it is the whole of it."""
    following = end + INSTANT
    if following == _midnight(following):
        return f"{end:%Y-%m-%d}"
    return moment(end) if following.microsecond else f"{end:%Y-%m-%d %H:%M:%S}"


def _midnight(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


def as_of(cut: Cut) -> str:
    """Say which moment a cut is of, and its last entry."""
    if cut.at is None:
        return gettext("Latest, entry %(entry)s") % {"entry": f"{cut.entry_id:,}"}
    return gettext("As of %(moment)s UTC, entry %(entry)s") % {"moment": last(cut.at), "entry": f"{cut.entry_id:,}"}


def between(period: Period) -> str:
    """Say which period is told."""
    start, end = period
    until = gettext("the latest entry") if end.at is None else last(end.at)
    if start.at is None or start.at <= BEGINNING:
        return gettext("From the beginning of the books to %(end)s, UTC") % {"end": until}
    return gettext("From %(start)s to %(end)s, UTC") % {"start": first(start.at), "end": until}


def column(cut: Cut) -> str:
    """Write a cut as the head of a column."""
    return gettext("Latest") if cut.at is None else last(cut.at)


def iso(at: datetime) -> str:
    """Write a moment as the pages' addresses have it."""
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond:06d}Z"


def days(start: datetime, end: datetime) -> str:
    """Write a span in short: one day by its date, others from first to last."""
    one, other = first(start), last(end)
    return one if one == other else f"{one} {DASH} {other}"


def span(period: Period) -> str:
    """Write a period as the head of a column."""
    start, end = period
    until = gettext("Latest") if end.at is None else last(end.at)
    if start.at is None or start.at <= BEGINNING:
        return gettext("to %(end)s") % {"end": until}
    return until if first(start.at) == until else f"{first(start.at)} {DASH} {until}"
