"""Writes breaks down and moves them on: what the checks see, and what people do about it. Every change leaves an event.

One row a check and subject, for ever: what is found again opens the same row again, and its history shows both.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.db import transaction

from exchange.kernel.errors import DomainError, gettext_noop
from exchange.kernel.money import plain
from ledger import access
from ledger.access import Right
from ledger.reconciliation.checks import FINDINGS_MAX, MORE, Check, Finding
from ledger.reconciliation.models import Break, BreakEvent, BreakEventKind, BreakState, ReconciliationRun
from ledger.services import finance_log

SUBJECT_LENGTH_MAX: Final = 128
TEXT_LENGTH_MAX: Final = 2_000
CHANGES_APART: Final = timedelta(minutes=10)
"""A break whose amount moves all the time adds to its history no more often than this."""


class BreakNotFoundError(DomainError):
    """There is no such break."""

    code = 4080
    name = "BREAK_NOT_FOUND"
    status = 404
    message = gettext_noop("There is no break %(break_id)s.")


class BreakTextError(DomainError):
    """An explanation, a resolution, a reopening or a comment needs words."""

    code = 4081
    name = "BREAK_TEXT"
    message = gettext_noop("Say why, in at most %(maximum)s characters.")


class BreakStateError(DomainError):
    """The break is in a state in which this cannot be done."""

    code = 4082
    name = "BREAK_STATE"
    status = 409
    message = gettext_noop("Break %(break_id)s is %(state)s: this cannot be done now.")


class BreakOwnerError(DomainError):
    """The person may not work on breaks."""

    code = 4083
    name = "BREAK_OWNER"
    message = gettext_noop("%(user)s does not work on breaks.")


@dataclass
class Looked:
    """What one check's look or full pass has found, and which unresolved breaks it covered.

    Args:
        covered: Subjects of unresolved breaks that were looked at again; all of them after a full pass.
    """

    check: Check
    findings: Sequence[Finding]
    covered: set[str]


@dataclass
class Recorded:
    """What recording has changed."""

    opened: list[Break] = field(default_factory=list)
    """New, or back again: those that an alert is about."""
    resolved: list[Break] = field(default_factory=list)


def limited(found: Sequence[Finding]) -> tuple[list[Finding], bool]:
    """Return findings one a subject, cut to FINDINGS_MAX, and whether more were cut off."""
    single = {finding.subject[:SUBJECT_LENGTH_MAX]: finding for finding in reversed(found)}
    listed = [finding._replace(subject=subject) for subject, finding in reversed(single.items())]
    if len(listed) <= FINDINGS_MAX:
        return listed, False
    return [*listed[:FINDINGS_MAX], Finding(MORE, MORE, {"count": FINDINGS_MAX})], True


@transaction.atomic
def record(looks: Iterable[Looked], run: ReconciliationRun, *, now: datetime) -> Recorded:
    """Open, renew and resolve breaks. Statements: at most 5, whatever was found; 1 when nothing was or is.

    A check that found too much to list resolves nothing.
    """
    done = Recorded()
    events: list[BreakEvent] = []
    created: list[Break] = []
    changed: list[Break] = []
    looked = list(looks)
    known = _unresolved_and_found(looked)
    for look in looked:
        listed, is_cut = limited(look.findings)
        for finding in listed:
            row = known.get((look.check.name, finding.subject))
            if row is None:
                created.append(_new(look.check, finding, run, now))
                continue
            events += _renew(row, look.check, finding, run, now, done)
            changed.append(row)
        found = {finding.subject for finding in listed}
        for row in known.values():
            passes = row.check_name == look.check.name and row.subject in look.covered - found
            if passes and not is_cut and row.state != BreakState.RESOLVED:
                row.state, row.resolved_at = BreakState.RESOLVED, now
                events.append(BreakEvent(of=row, at=now, kind=BreakEventKind.PASSED, detail={"run": run.pk}))
                changed.append(row)
                done.resolved.append(row)
    _store(created, changed, events, now=now)
    done.opened += created
    return done


def _unresolved_and_found(looked: Sequence[Looked]) -> dict[tuple[str, str], Break]:
    """Lock the rows that recording may change, in order of id."""
    found = {(look.check.name, finding.subject) for look in looked for finding in limited(look.findings)[0]}
    covered = {(look.check.name, subject) for look in looked for subject in look.covered}
    wanted = found | covered
    if not wanted:
        return {}
    rows = Break.objects.select_for_update().filter(
        check_name__in={name for name, _ in wanted}, subject__in={subject for _, subject in wanted}
    )
    return {(row.check_name, row.subject): row for row in rows.order_by("id")}


def _new(check: Check, finding: Finding, run: ReconciliationRun, now: datetime) -> Break:
    return Break(
        check_name=check.name,
        subject=finding.subject,
        asset=finding.asset,
        amount=finding.amount,
        cause=check.cause_text(finding.cause),
        figures=dict(finding.figures),
        place=finding.place,
        first_seen_at=now,
        last_seen_at=now,
        changed_at=now,
        run=run,
    )


def _renew(
    row: Break, check: Check, finding: Finding, run: ReconciliationRun, now: datetime, done: Recorded
) -> list[BreakEvent]:
    """Bring a row that stands up to date; an explanation holds only for what it explained."""
    events: list[BreakEvent] = []
    cause = check.cause_text(finding.cause)
    differs = (row.cause, row.amount) != (cause, finding.amount)
    if row.state == BreakState.RESOLVED:
        row.state, row.resolved_at, row.owner = BreakState.OPEN, None, None
        events.append(_seen(row, BreakEventKind.RETURNED, finding, run, now))
        done.opened.append(row)
    elif differs and row.state == BreakState.EXPLAINED:
        row.state = BreakState.ASSIGNED if row.owner_id else BreakState.OPEN
        events.append(_seen(row, BreakEventKind.CHANGED, finding, run, now))
        done.opened.append(row)
    elif differs and now - row.changed_at >= CHANGES_APART:
        events.append(_seen(row, BreakEventKind.CHANGED, finding, run, now))
    if events:
        row.changed_at = now
    row.cause, row.figures, row.amount, row.asset = cause, dict(finding.figures), finding.amount, finding.asset
    row.place, row.last_seen_at, row.run = finding.place, now, run
    return events


def _seen(row: Break, kind: BreakEventKind, finding: Finding, run: ReconciliationRun, now: datetime) -> BreakEvent:
    detail = {"run": run.pk, "figures": dict(finding.figures)}
    if finding.amount is not None:
        detail["amount"] = plain(finding.amount)
    return BreakEvent(of=row, at=now, kind=kind, detail=detail)


def _store(created: list[Break], changed: list[Break], events: list[BreakEvent], *, now: datetime) -> None:
    """Write rows and events, each by one statement."""
    if created:
        Break.objects.bulk_create(created)
        for row in created:
            detail: dict[str, Any] = {"run": row.run_id, "figures": row.figures}
            if row.amount is not None:
                detail["amount"] = plain(row.amount)
            events.append(BreakEvent(of=row, at=now, kind=BreakEventKind.FOUND, detail=detail))
    if changed:
        fields = [
            *("asset", "amount", "cause", "figures", "place", "state", "owner"),
            *("last_seen_at", "resolved_at", "changed_at", "run"),
        ]
        Break.objects.bulk_update(changed, fields)
    if events:
        BreakEvent.objects.bulk_create(events)


# --- what people do -----------------------------------------------------------------------------------------------
def _opened(break_id: int, *, by: int, text: str, needs_text: bool) -> tuple[Break, str]:
    """Lock a break for a person who may work on it.

    Raises:
        NotAllowedError, BreakNotFoundError, BreakTextError: It may not be, there is none, or the words are missing.
    """
    access.check(get_user_model().objects.filter(pk=by).first(), Right.WORK_ON_BREAKS)
    text = text.strip()
    if len(text) > TEXT_LENGTH_MAX or (needs_text and not text):
        raise BreakTextError(maximum=TEXT_LENGTH_MAX)
    row = Break.objects.select_for_update(of=("self",)).filter(pk=break_id).first()
    if row is None:
        raise BreakNotFoundError(break_id=break_id)
    return row, text


def _write_down(row: Break, kind: BreakEventKind, *, by: int, text: str, now: datetime, **detail: Any) -> None:
    """Save a person's change with its event and the finance log's row."""
    row.save()
    BreakEvent.objects.create(of=row, at=now, kind=kind, by_id=by, text=text, detail=detail)
    finance_log.record(
        f"break.{kind.lower()}",
        now=now,
        user_id=by,
        subject=str(row.pk),
        detail={"check": row.check_name, "subject": row.subject, "text": text, **detail},
    )


def _require(row: Break, *states: BreakState) -> None:
    if row.state not in states:
        raise BreakStateError(break_id=row.pk, state=row.get_state_display())


@transaction.atomic
def assign(break_id: int, owner_id: int, *, by: int, now: datetime, text: str = "") -> Break:
    """Give a break to somebody who may work on it.

    Raises:
        BreakOwnerError: The new owner may not.
        BreakStateError: It is resolved.
    """
    row, text = _opened(break_id, by=by, text=text, needs_text=False)
    owner = get_user_model().objects.filter(pk=owner_id).first()
    if not access.may(owner, Right.WORK_ON_BREAKS):
        raise BreakOwnerError(user=str(owner or owner_id))
    _require(row, BreakState.OPEN, BreakState.ASSIGNED, BreakState.EXPLAINED)
    row.owner_id = owner_id
    row.state = BreakState.ASSIGNED if row.state == BreakState.OPEN else BreakState(row.state)
    _write_down(row, BreakEventKind.ASSIGNED, by=by, text=text, now=now, owner=owner_id)
    return row


@transaction.atomic
def explain(break_id: int, text: str, *, by: int, now: datetime) -> Break:
    """Say why things differ and will for a while; the break stays until they agree.

    Raises:
        BreakStateError: It is resolved.
    """
    row, text = _opened(break_id, by=by, text=text, needs_text=True)
    _require(row, BreakState.OPEN, BreakState.ASSIGNED, BreakState.EXPLAINED)
    row.state = BreakState.EXPLAINED
    row.owner_id = row.owner_id or by
    _write_down(row, BreakEventKind.EXPLAINED, by=by, text=text, now=now)
    return row


@transaction.atomic
def resolve(break_id: int, text: str, *, by: int, now: datetime) -> Break:
    """Close a break by hand; if the check still fails there, its next look opens it again.

    Raises:
        BreakStateError: It is resolved already.
    """
    row, text = _opened(break_id, by=by, text=text, needs_text=True)
    _require(row, BreakState.OPEN, BreakState.ASSIGNED, BreakState.EXPLAINED)
    row.state, row.resolved_at = BreakState.RESOLVED, now
    _write_down(row, BreakEventKind.RESOLVED, by=by, text=text, now=now)
    return row


@transaction.atomic
def reopen(break_id: int, text: str, *, by: int, now: datetime) -> Break:
    """Take back an explanation or a resolution.

    Raises:
        BreakStateError: It is being worked on anyway.
    """
    row, text = _opened(break_id, by=by, text=text, needs_text=True)
    _require(row, BreakState.EXPLAINED, BreakState.RESOLVED)
    row.state = BreakState.ASSIGNED if row.owner_id else BreakState.OPEN
    row.resolved_at = None
    _write_down(row, BreakEventKind.REOPENED, by=by, text=text, now=now)
    return row


@transaction.atomic
def comment(break_id: int, text: str, *, by: int, now: datetime) -> Break:
    """Add words to the history."""
    row, text = _opened(break_id, by=by, text=text, needs_text=True)
    _write_down(row, BreakEventKind.COMMENT, by=by, text=text, now=now)
    return row
