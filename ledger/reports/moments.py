"""Moments and periods of the books: which entries a report counts, decided once, before any figure is read.

Note [When an entry counts]
    An entry counts from its `recorded_at`; one that is flagged late, from its `effective_at`. The books as of a moment
    are therefore all entries up to a number (the last one recorded by then), and of the later ones those flagged late
    that had happened by then. An entry that would fall into a closed period has been made effective after it by the
    door, so the figures of a closed period stay.

Note [Head of a report]
    A report counts no entry beyond the head of the journal at the moment when it was asked for. Since the books are
    only ever added to, every statement that uses the same cut sees the same figures, page after page, without a
    transaction that stays open.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from django.db import connection

from exchange.kernel.errors import DomainError, gettext_noop

BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""A moment before any books: what was opened with nothing."""


class PeriodBackwardsError(DomainError):
    """A period ends before it begins."""

    code = 4400
    name = "PERIOD_BACKWARDS"
    status = 400
    message = gettext_noop("The period ends before it begins.")


class Cut(NamedTuple):
    """The books as of a moment: Note [When an entry counts].

    Args:
        at: The moment; None is the latest, the head itself.
        entry_id: The last entry recorded by then; 0 when there was none.
        head: No entry beyond this one is counted: Note [Head of a report].
        closed_at: The end of the last closed period by then: the first moment after it; None when none was closed.
        summed: The last entry by then after which totals are kept (`ledger_total`); 0 when there is none.
    """

    at: datetime | None
    entry_id: int
    head: int
    closed_at: datetime | None = None
    summed: int = 0


class Period(NamedTuple):
    """What happened after one moment up to and with another; both cuts have the same head."""

    start: Cut
    end: Cut


class Life(NamedTuple):
    """How far the books reach: the first and the last moment of recording, None while they are empty."""

    first_at: datetime | None
    last_at: datetime | None
    entries: int


_CUTS = """
SELECT c.at, c.entry_id, c.head,
       (SELECT max(p.ends_at) FROM ledger_period p
        WHERE p.action = 'CLOSE' AND p.ends_at <= c.closed_before AND (c.at IS NULL OR p.ends_at <= c.at)),
       coalesce((SELECT max(t.entry_id) FROM ledger_total t WHERE t.entry_id <= c.entry_id), 0)
FROM (
    SELECT m.at, m.place, h.entry_id AS head, h.closed_before,
           CASE WHEN m.at IS NULL THEN h.entry_id ELSE coalesce((
               SELECT e.id FROM ledger_entry e WHERE e.recorded_at <= m.at
               ORDER BY e.recorded_at DESC, e.id DESC LIMIT 1
           ), 0) END AS entry_id
    FROM unnest(%s::timestamptz[]) WITH ORDINALITY AS m (at, place)
    CROSS JOIN ledger_head h
) c
ORDER BY c.place
"""
_LIFE = """
SELECT (SELECT recorded_at FROM ledger_entry ORDER BY recorded_at, id LIMIT 1),
       CASE WHEN entry_id > 0 THEN recorded_at END, entry_id
FROM ledger_head
"""


def cuts(moments: Sequence[datetime | None]) -> tuple[Cut, ...]:
    """Return the books as of each moment, all with one head; None is the latest. One statement."""
    with connection.cursor() as cursor:
        cursor.execute(_CUTS, [list(moments)])
        return tuple(Cut(*row) for row in cursor.fetchall())


def period(start: datetime | None, end: datetime | None) -> Period:
    """Return the time between two moments. One statement.

    Args:
        start: What counts from here is of the period no more; None is the beginning of the books.
        end: What counts by here is of the period; None is the latest.

    Raises:
        PeriodBackwardsError: The end lies before the start.
    """
    if start is not None and end is not None and end < start:
        raise PeriodBackwardsError
    return Period(*cuts([start or BEGINNING, end]))


def just_before(moment: datetime) -> datetime:
    """Return the last moment that is before another: what counts by then had happened before it."""
    return moment - timedelta(microseconds=1)


def life() -> Life:
    """Return how far the books reach. One statement."""
    with connection.cursor() as cursor:
        cursor.execute(_LIFE)
        return Life(*cursor.fetchone())
