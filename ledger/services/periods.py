"""Closes and reopens periods: staff ask, the back office looks for what hinders it, and the database closes.

Note [Closed periods]
    Everything effective before `ledger_head.closed_before` is closed; a trigger refuses entries there, whoever
    asks. What happened elsewhere already (`posting_rules.FACTS`) cannot be refused: the door posts it at the first
    open moment, flagged late. Each close and reopening stays as a row with reason, author, moment, and the last
    entry's number and hash: what the books were when it was done.
"""

from datetime import datetime, timedelta
from typing import Final, NamedTuple

import psycopg
import structlog
from django.contrib.auth.models import AbstractUser
from django.db import DatabaseError, IntegrityError, connection, transaction

from exchange.kernel.errors import DomainError, gettext_noop
from ledger import audit
from ledger.access import Right, check
from ledger.control_models import Period, PeriodAction, PeriodRequest, RequestState
from ledger.services import back_office, finance_log

logger = structlog.get_logger(__name__)

SETTLING: Final = timedelta(minutes=5)
"""A period is closed this long after its end at the earliest, since what just happened is still being posted."""
REASON_LENGTH_MIN = 3


class PeriodBoundaryError(DomainError):
    """The moment is not one at which the books can be closed or reopened."""

    code = 4060
    name = "PERIOD_BOUNDARY"
    message = gettext_noop("The books are closed before %(closed_before)s; %(boundary)s is no moment to move that to.")


class ReasonMissingError(DomainError):
    """Closing, reopening, reversing and correcting need a reason."""

    code = 4061
    name = "REASON_MISSING"
    message = gettext_noop("Say why.")


class PeriodObstructedError(DomainError):
    """Something of the period is unfinished or does not add up."""

    code = 4062
    name = "PERIOD_OBSTRUCTED"
    status = 409
    message = gettext_noop("The period cannot be closed: %(obstacles)s")


class RequestPendingError(DomainError):
    """Another request to close or reopen waits to be carried out."""

    code = 4063
    name = "PERIOD_REQUEST_PENDING"
    status = 409
    message = gettext_noop("Another request to close or reopen is being carried out.")


class Obstacle(NamedTuple):
    """What hinders a close: the name of the check, and what it found."""

    name: str
    detail: str


AUDITED: Final = (
    "what users own equals what the platform owes",
    "every user's own books balance",
    "nobody owes while having something available",
    "the head is the last entry",
)
"""Invariants looked at again before a close: those that cost one pass over accounts, not over lines."""

OBSTACLES: dict[str, str] = {
    "suspense is cleared": """
        SELECT a.asset || CASE WHEN a.sub = '' THEN '' ELSE ' ' || a.sub END || ': ' || sum(l.amount)
        FROM ledger_account a JOIN ledger_line l ON l.account_id = a.id JOIN ledger_entry e ON e.id = l.entry_id
        WHERE a.code = '1190' AND e.effective_at < %(ends_at)s
        GROUP BY a.id, a.asset, a.sub HAVING sum(l.amount) <> 0""",
    "funding is settled": """
        SELECT a.asset || ' ' || a.sub || ': ' || sum(l.amount)
        FROM ledger_account a JOIN ledger_line l ON l.account_id = a.id JOIN ledger_entry e ON e.id = l.entry_id
        WHERE a.code = '2120' AND e.effective_at < %(ends_at)s
        GROUP BY a.id, a.asset, a.sub HAVING sum(l.amount) <> 0""",
}
"""By name, a statement whose rows, of one text column, are what of the period is unfinished. Other services add
their own; `%(ends_at)s` is the end of what is to be closed."""


def closed_before() -> datetime:
    """Return the first open moment."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT closed_before FROM ledger_head")
        moment: datetime = cursor.fetchone()[0]
        return moment


def obstacles(ends_at: datetime) -> list[Obstacle]:
    """Look for what hinders closing everything before a moment."""
    found = []
    with audit.snapshot(), connection.cursor() as cursor:
        for name, statement in OBSTACLES.items():
            cursor.execute(f"SELECT * FROM ({statement}) AS broken (what) LIMIT 5", {"ends_at": ends_at})
            rows = [row[0] for row in cursor.fetchall()]
            if rows:
                found.append(Obstacle(name, "; ".join(rows)))
        broken = audit.run({name: audit.CHECKS[name] for name in AUDITED}, "")
        found += [Obstacle(invariant.name, invariant.detail) for invariant in broken if not invariant.ok]
    return found


def ask(author: AbstractUser, action: PeriodAction, boundary: datetime, reason: str, *, now: datetime) -> PeriodRequest:
    """Ask to close everything before a moment, or to reopen everything from a moment on.

    Args:
        boundary: Where closed and open shall meet: later than now for a close, where an earlier close began for a
            reopening.

    Raises:
        NotAllowedError: The author lacks the right to close periods.
        ReasonMissingError: No reason is given.
        PeriodBoundaryError: The books cannot be closed or reopened at that moment.
        RequestPendingError: Another request waits.
    """
    check(author, Right.CLOSE_PERIODS)
    if len(reason.strip()) < REASON_LENGTH_MIN:
        raise ReasonMissingError
    _check_boundary(action, boundary, now)
    with transaction.atomic():
        try:
            with transaction.atomic():
                request = PeriodRequest.objects.create(
                    action=action, boundary=boundary, reason=reason.strip(), author_id=author.pk, asked_at=now
                )
        except IntegrityError:  # ledger_periodrequest_one_waits: another was asked for meanwhile
            raise RequestPendingError from None
        finance_log.record(
            f"period.ask_{action.lower()}",
            now=now,
            user_id=author.pk,
            subject=str(request.pk),
            detail={"boundary": boundary.isoformat(), "reason": request.reason},
        )
        back_office.wake()
    return request


def _check_boundary(action: PeriodAction, boundary: datetime, now: datetime) -> None:
    """Refuse early what the database would refuse later."""
    if PeriodRequest.objects.filter(state=RequestState.ASKED).exists():
        raise RequestPendingError
    current = closed_before()
    if action == PeriodAction.CLOSE:
        possible = current < boundary <= now - SETTLING
    else:
        starts = Period.objects.filter(action=PeriodAction.CLOSE, starts_at=boundary)
        possible = boundary < current and starts.exists()
    if not possible:
        raise PeriodBoundaryError(closed_before=current.isoformat(), boundary=boundary.isoformat())


def carry_out(now: datetime) -> int:
    """Do what was asked, oldest first; what is hindered is refused with the reasons. The back office's role may.

    Returns:
        How many requests were done or refused.
    """
    done = 0
    for request_id in (
        PeriodRequest.objects.filter(state=RequestState.ASKED).order_by("id").values_list("id", flat=True)
    ):
        with transaction.atomic():
            waiting = PeriodRequest.objects.select_for_update(skip_locked=True).filter(state=RequestState.ASKED)
            request = waiting.filter(pk=request_id).first()
            if request is not None:
                _carry_out(request, now)
                done += 1
    return done


def _carry_out(request: PeriodRequest, now: datetime) -> None:
    """Close or reopen, or refuse to; the request is locked."""
    try:
        if request.action == PeriodAction.CLOSE:
            hindering = obstacles(request.boundary)
            if hindering:
                raise PeriodObstructedError(obstacles="; ".join(f"{item.name} ({item.detail})" for item in hindering))
        period_id = _move(request, now)
    except DomainError as refusal:
        _end(request, RequestState.REFUSED, now, refusal=str(refusal))
    else:
        _end(request, RequestState.DONE, now, period_id=period_id)


def _move(request: PeriodRequest, now: datetime) -> int:
    """Call the database's function."""
    with connection.cursor() as cursor:
        try:
            with transaction.atomic():
                cursor.execute(
                    "SELECT ledger_move_period(%s, %s, %s, %s, %s)",
                    [now, request.action, request.boundary, request.reason, request.author_id],
                )
                return int(cursor.fetchone()[0])
        except DatabaseError as error:
            source = error.__cause__
            constraint = source.diag.constraint_name if isinstance(source, psycopg.Error) else None
            if constraint not in {"ledger_period_length", "ledger_period_past", "ledger_period_order"}:
                raise
            boundary = request.boundary.isoformat()
            raise PeriodBoundaryError(closed_before=closed_before().isoformat(), boundary=boundary) from error


def _end(
    request: PeriodRequest, state: RequestState, now: datetime, *, period_id: int | None = None, refusal: str = ""
) -> None:
    """Note what became of a request."""
    request.state, request.ended_at, request.refusal = state, now, refusal
    request.period_id = period_id
    request.save(update_fields=["state", "ended_at", "refusal", "period"])
    finance_log.record(
        f"period.{request.action.lower()}" if state == RequestState.DONE else "period.refuse",
        now=now,
        user_id=request.author_id,
        subject=str(request.pk),
        detail={"boundary": request.boundary.isoformat(), "refusal": refusal},
    )
    logger.info("period_request_ended", request=request.pk, action=request.action, state=state, refusal=refusal)
