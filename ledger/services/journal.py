"""The door of the books, from Python: the only module that posts entries."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import psycopg
from django.db import DatabaseError, connection

from exchange import database
from exchange.kernel.errors import DomainError, InvariantViolationError, gettext_noop, require
from ledger.entries import AccountKey, EntryDraft, PostedEntry
from ledger.services import accounts

__all__ = [
    "AlreadyReversedError",
    "EntryDraft",
    "EntryUnknownError",
    "InFutureError",
    "LedgerBoundError",
    "PeriodClosedError",
    "PostedEntry",
    "door_call",
    "post",
    "posted",
    "refusal",
]

ENTRIES_MAX = 50_000
LINES_PER_ENTRY_MAX = 1_000


class LedgerBoundError(DomainError):
    """A line would take an account past its bound: a wallet below zero, a debt above."""

    code = 4001
    name = "LEDGER_BOUND"
    message = gettext_noop("The balance of account %(code)s in %(asset)s does not cover this.")


class AlreadyReversedError(DomainError):
    """The entry was reversed before."""

    code = 4002
    name = "ALREADY_REVERSED"
    status = 409
    message = gettext_noop("This entry has already been reversed.")


class EntryUnknownError(DomainError):
    """There is no such entry."""

    code = 4005
    name = "ENTRY_UNKNOWN"
    status = 404
    message = gettext_noop("There is no journal entry %(entry)s.")


class PeriodClosedError(DomainError):
    """The entry would be effective in a closed period."""

    code = 4003
    name = "PERIOD_CLOSED"
    status = 409
    message = gettext_noop("%(effective_at)s lies in a closed period; the books are open from %(closed_before)s on.")


class InFutureError(DomainError):
    """The entry would be effective in the future."""

    code = 4004
    name = "EFFECTIVE_IN_FUTURE"
    message = gettext_noop("%(effective_at)s is in the future.")


_POST = (
    "SELECT entry_id, entry_kind, repeated FROM ledger_post(%s::timestamptz,"
    " %s::text[], %s::text[], %s::timestamptz[], %s::text[], %s::bigint[],"
    " %s::integer[], %s::smallint[], %s::bigint[], %s::numeric[])"
)


def door_call(drafts: Sequence[EntryDraft], now: datetime) -> tuple[str, list[Any]]:
    """Return the one statement that posts these drafts, for callers that pipeline it with others.

    Account ids are resolved before (that may run statements). `posted` reads the statement's rows.
    Lines of amount zero are dropped.
    """
    require(0 < len(drafts) <= ENTRIES_MAX, f"{len(drafts)} entries in one batch")
    numbers: list[int] = []
    line_numbers: list[int] = []
    lines: list[tuple[AccountKey, Decimal]] = []
    for number, draft in enumerate(drafts, start=1):
        own = [line for line in draft.lines if line[1]]
        count = len(own)
        if not 0 < count <= LINES_PER_ENTRY_MAX:
            raise InvariantViolationError(f"entry {draft.key} has {count} lines")
        numbers += [number] * count
        line_numbers += range(1, count + 1)
        lines += own
    return _POST, [
        now,
        database.array([draft.kind for draft in drafts]),
        database.array([draft.key for draft in drafts]),
        database.array([draft.effective_at for draft in drafts]),
        database.array([draft.trace for draft in drafts]),
        database.array([draft.reverses for draft in drafts]),
        database.array(numbers),
        database.array(line_numbers),
        database.array(accounts.ids_of([key for key, _ in lines])),
        database.array([amount for _, amount in lines]),
    ]


def posted(drafts: Sequence[EntryDraft], rows: Iterable[tuple[int, str, bool]]) -> list[PostedEntry]:
    """Read the rows that the statement of `door_call` returned: one a draft, in order."""
    return [PostedEntry(row[0], draft.key, row[1], row[2]) for draft, row in zip(drafts, rows, strict=True)]


def post(drafts: Sequence[EntryDraft], now: datetime) -> list[PostedEntry]:
    """Post a batch of entries, all or none; one call of the door, whatever the batch.

    The caller holds the gates of all owners concerned: `accounts.lock`, Note [Lock order].

    Args:
        drafts: In posting order. A key that was posted before, or earlier in this batch, posts nothing
            and is answered with the first entry.
        now: Becomes `recorded_at`, unless that would be before the previous entry or in the future.

    Raises:
        LedgerBoundError: An account would pass its bound; nothing of the batch was posted.
        AlreadyReversedError: An entry to be reversed was reversed before.
        PeriodClosedError: An entry that can be refused (none of `posting_rules.FACTS`) lies in a closed period.
        InFutureError: Such an entry lies more than a minute in the future.
        InvariantViolationError: An entry does not balance, or breaks the journal's own rules: a bug.
    """
    if not drafts:
        return []
    statement, params = door_call(drafts, now)
    with connection.cursor() as cursor:
        try:
            cursor.execute(statement, params)
        except DatabaseError as error:
            translated = refusal(error)
            if translated is error:
                raise
            raise translated from error
        return posted(drafts, cursor.fetchall())


def refusal(error: Exception) -> Exception:
    """Translate what the door raised: a refusal, a broken invariant, or the error itself if it is neither.

    Args:
        error: Of psycopg, or Django's wrapping of one.
    """
    source = error if isinstance(error, psycopg.Error) else error.__cause__
    if not isinstance(source, psycopg.Error):
        return error
    constraint = source.diag.constraint_name
    if constraint == "ledger_account_bound":
        detail = source.diag.message_detail or ""
        return LedgerBoundError(**(json.loads(detail) if detail.startswith("{") else {"code": "", "asset": ""}))
    if constraint == "ledger_entry_reverses_once":
        return AlreadyReversedError()
    if constraint in {"ledger_period_closed", "ledger_entry_future"}:
        said = json.loads(source.diag.message_detail or "{}")
        return PeriodClosedError(**said) if constraint == "ledger_period_closed" else InFutureError(**said)
    if constraint and constraint.startswith(("ledger_entry_", "ledger_line_", "ledger_account_")):
        return InvariantViolationError(f"{constraint}: {source.diag.message_detail}")
    return error
