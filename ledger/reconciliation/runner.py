"""Runs the checks: rounds of looks at what is new, and full passes; one process at a time does either.

What is compared is read in one snapshot a round (a part of a full pass), so that postings meanwhile raise no false
alarm. What was found is written afterwards in a transaction of its own, together with the marks: a process that dies in
between looks at the same again. A check that fails by itself is a break of its own, and holds up no other.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from celery import current_app
from django.db import DatabaseError, connection, transaction
from django.db.models import Q

from exchange.kernel.errors import DomainError, gettext_noop, require
from ledger import audit
from ledger.reconciliation import alerts, checks, sql
from ledger.reconciliation.checks import FAILED, ONLY_FULL, Check, Finding, Scope, Seen
from ledger.reconciliation.models import (
    Break,
    BreakState,
    CheckMark,
    ReconciliationRun,
    RunKind,
    RunState,
)
from ledger.services import breaks
from ledger.services.breaks import Looked

logger = structlog.get_logger(__name__)

AGAIN_MAX: Final = 50
"""Unresolved breaks of one check that a look covers, those seen longest ago first."""

ROUND_SECONDS_MAX: Final = 5.0
"""A round that is behind goes on looking for so long before it writes down what it has."""

LOCK_SPACE: Final = 9020
"""First half of the advisory lock; the second says whether a round or a full pass has it."""
_ROUND: Final = 1
_FULL: Final = 2

ROUND_WAIT_SECONDS: Final = 120.0
ROUND_LOOK_SECONDS: Final = 0.1

TASK: Final = "ledger.tasks.reconcile"

ITSELF: Final = "the check itself"
"""The subject of a break that says that the check failed."""

BUSY: Final = "another full pass was running"
STALE_AFTER: Final = timedelta(hours=6)
"""A full pass that has not ended by then never will: its process is gone."""

Shown = Callable[[str, int, int], None]
"""Called with a check's name, how much is done, and of how much."""


class RunRequestedError(DomainError):
    """A full pass is waiting or running."""

    code = 4084
    name = "RECONCILIATION_RUNNING"
    status = 409
    message = gettext_noop("A full reconciliation is waiting or running already.")


@dataclass
class Result:
    """What one check did in a run."""

    name: str
    findings: list[Finding] = field(default_factory=list)
    items: int = 0
    behind: int = 0
    seconds: float = 0.0
    failure: str = ""


def _silent(_name: str, _done: int, _total: int) -> None:
    """Show nothing."""


@contextmanager
def _alone(what: int) -> Iterator[bool]:
    """Hold the advisory lock of rounds or of full passes; yields False when another process has it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [LOCK_SPACE, what])
        got = cursor.fetchone()[0]
    try:
        yield got
    finally:
        # After an error inside a caller's transaction nothing can be run; the lock then ends with the session.
        if got:
            with suppress(DatabaseError), connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [LOCK_SPACE, what])


@contextmanager
def waiting_for_rounds() -> Iterator[None]:
    """Keep rounds from being made, after the one that may be going on has ended.

    Raises:
        InvariantViolationError: It does not end.
    """
    deadline = time.monotonic() + ROUND_WAIT_SECONDS
    while True:
        with _alone(_ROUND) as is_alone:
            if is_alone:
                yield
                return
        require(time.monotonic() < deadline, "a round of reconciliation does not end")
        time.sleep(ROUND_LOOK_SECONDS)


def chosen(names: Sequence[str]) -> list[Check]:
    """Return the checks of these names, or all of them when none is named; a name without a check has none."""
    return [check for check in checks.registered() if not names or check.name in names]


def start(kind: RunKind, *, now: datetime, only: str = "") -> ReconciliationRun:
    """Begin a run."""
    return ReconciliationRun.objects.create(kind=kind, state=RunState.RUNNING, started_at=now, only=only)


def finish(run: ReconciliationRun, *, now: datetime, state: RunState = RunState.DONE, detail: str = "") -> None:
    """End a run."""
    run.state, run.finished_at, run.detail = state, now, detail
    run.save(update_fields=["state", "finished_at", "detail", "rounds", "found"])


# --- looks --------------------------------------------------------------------------------------------------------
def look(
    run: ReconciliationRun,
    *,
    now: datetime,
    names: Sequence[str] = (),
    due_only: bool = True,
    memory: dict[str, dict[str, Any]] | None = None,
) -> list[Result] | None:
    """Make one round: each check that is due looks at what is new. Returns None while another process does so.

    Statements: a constant number, whatever is new; each look covers a bounded part of it. What is then still behind is
    looked at by the next round.

    Args:
        due_only: Leave out checks that looked less than `every` seconds ago.
        memory: What checks keep between the rounds of one process, by name.
    """
    memory = {} if memory is None else memory
    with _alone(_ROUND) as is_alone:
        if not is_alone:
            return None
        with audit.snapshot(), sql.planned_for_few():
            marks = CheckMark.objects.in_bulk([check.name for check in chosen(names)])
            due = [check for check in chosen(names) if check.look and _is_due(check, marks, now, due_only=due_only)]
            again = _again(due, marks)
            shared: dict[str, Any] = {}
            results, looks, saved = [], [], []
            for check in due:
                mark = marks.get(check.name) or CheckMark(name=check.name)
                places = again.get(check.name, [])
                scope = Scope(
                    mark.position,
                    [place for _, place in places if place is not None],
                    now,
                    memory=memory.setdefault(check.name, {}),
                    shared=shared,
                )
                result, seen = _guarded(check, lambda check=check, scope=scope: check.look(scope))  # type: ignore[misc]
                results.append(result)
                looks.append(Looked(check, result.findings, {subject for subject, _ in places}))
                saved.append((mark, result, seen))
        _save(run, looks, saved, now=now)
    return results


def _is_due(check: Check, marks: dict[str, CheckMark], now: datetime, *, due_only: bool) -> bool:
    mark = marks.get(check.name)
    if not due_only or mark is None or mark.looked_at is None or mark.behind:
        return True
    return now - mark.looked_at >= timedelta(seconds=check.every)


def _again(due: Sequence[Check], marks: dict[str, CheckMark]) -> dict[str, list[tuple[str, Any]]]:
    """Return the breaks to look at again, by check: subject and place. One statement.

    Those that a person has resolved since the last look are looked at once more.
    """
    found: dict[str, list[tuple[str, Any]]] = {}
    since = min((_looked_at(marks, check) for check in due), default=_EVER)
    rows = Break.objects.filter(
        ~Q(state=BreakState.RESOLVED) | Q(resolved_at__gt=since), check_name__in=[check.name for check in due]
    )
    columns = ("check_name", "subject", "place", "state", "resolved_at")
    for name, subject, place, state, resolved_at in rows.order_by("last_seen_at", "id").values_list(*columns):
        mark = marks.get(name)
        is_past = state == BreakState.RESOLVED and mark is not None and resolved_at <= (mark.looked_at or _EVER)
        listed = found.setdefault(name, [])
        if not is_past and place != ONLY_FULL and len(listed) < AGAIN_MAX:
            listed.append((subject, place))
    return found


_EVER: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def _looked_at(marks: dict[str, CheckMark], check: Check) -> datetime:
    mark = marks.get(check.name)
    return (mark.looked_at if mark else None) or _EVER


def _guarded(check: Check, compare: Callable[[], Seen]) -> tuple[Result, Seen | None]:
    """Run a check; whatever it raises becomes its finding."""
    started = time.perf_counter()
    result = Result(check.name)
    seen = None
    try:
        with transaction.atomic():
            seen = compare()
        result.findings, result.items, result.behind = list(seen.findings), seen.items, seen.behind
    except Exception as error:
        logger.exception("reconciliation_check_failed", check=check.name)
        result.failure = f"{type(error).__name__}: {error}"[:500]
        result.findings = [Finding(ITSELF, FAILED, {"error": result.failure})]
    result.seconds = time.perf_counter() - started
    return result, seen


@transaction.atomic
def _save(
    run: ReconciliationRun,
    looks: Sequence[Looked],
    saved: Sequence[tuple[CheckMark, Result, Seen | None]],
    *,
    now: datetime,
) -> None:
    """Write breaks, marks and what checks remember, and raise alerts, in one transaction.

    A check that failed keeps its mark, and covers none of its breaks but the one that says so.
    """
    failed = {result.name for _, result, seen in saved if seen is None}
    for item in looks:
        if item.check.name in failed:
            item.covered.clear()
    recorded = breaks.record(looks, run, now=now)
    rows = []
    for mark, result, seen in saved:
        mark.looked_at, mark.milliseconds = now, round(result.seconds * 1000)
        if seen is not None:
            mark.position, mark.behind, mark.items = seen.position, seen.behind, seen.items
        rows.append(mark)
    CheckMark.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=["position", "looked_at", "behind", "items", "milliseconds"],
    )
    for _, _, seen in saved:
        if seen is not None and seen.store is not None:
            seen.store(now)
    run.rounds += 1
    run.found += len(recorded.opened)
    run.finished_at = now
    run.save(update_fields=["rounds", "found", "finished_at"])
    alerts.raise_for(recorded.opened, now=now)


# --- full passes --------------------------------------------------------------------------------------------------
def request(*, by: int, now: datetime, only: str = "") -> ReconciliationRun:
    """Write down that a person wants a full pass, and call for it; the caller's transaction decides.

    Raises:
        RunRequestedError: One is waiting or running already.
    """
    waiting = ReconciliationRun.objects.filter(
        kind=RunKind.FULL, state__in=(RunState.REQUESTED, RunState.RUNNING), started_at__gt=now - STALE_AFTER
    )
    if waiting.exists():
        raise RunRequestedError
    run = ReconciliationRun.objects.create(
        kind=RunKind.FULL, state=RunState.REQUESTED, started_at=now, requested_by_id=by, only=only
    )
    transaction.on_commit(lambda: current_app.send_task(TASK, kwargs={"run_id": run.pk}), robust=True)
    return run


def requested(run_id: int, *, now: datetime) -> ReconciliationRun | None:
    """Take a requested run up; None if it was taken before."""
    taken = ReconciliationRun.objects.filter(pk=run_id, state=RunState.REQUESTED).update(
        state=RunState.RUNNING, started_at=now
    )
    return ReconciliationRun.objects.get(pk=run_id) if taken else None


def full_as_run(run: ReconciliationRun, *, clock: Callable[[], datetime]) -> None:
    """Make the full pass of a run, and say in the run how it ended."""
    try:
        results = full(run, clock=clock, names=[run.only] if run.only else ())
    except BaseException as error:
        finish(run, now=clock(), state=RunState.FAILED, detail=type(error).__name__)
        raise
    if results is None:
        finish(run, now=clock(), state=RunState.FAILED, detail=BUSY)
        return
    failures = "; ".join(f"{result.name}: {result.failure}" for result in results if result.failure)
    finish(run, now=clock(), detail=failures)
    logger.info("reconciled", run=run.pk, checks=len(results), items=sum(result.items for result in results))


def full(
    run: ReconciliationRun, *, clock: Callable[[], datetime], names: Sequence[str] = (), show: Shown = _silent
) -> list[Result] | None:
    """Make a full pass of every check, each in a snapshot of its own. Returns None while another process does so."""
    with _alone(_FULL) as is_alone:
        if not is_alone:
            return None
        results = []
        for check in chosen(names):
            show(check.name, 0, 0)
            with audit.snapshot():
                result, seen = _guarded(
                    check,
                    lambda check=check: check.full(  # type: ignore[misc]
                        lambda done, total, name=check.name: show(name, done, total)
                    ),
                )
            results.append(result)
            _save_full(run, check, result, seen, now=clock())
    return results


@transaction.atomic
def _save_full(run: ReconciliationRun, check: Check, result: Result, seen: Seen | None, *, now: datetime) -> None:
    """Write what a full pass of one check has found; every unresolved break of it was covered."""
    unresolved = Break.objects.filter(check_name=check.name).exclude(state=BreakState.RESOLVED)
    covered = set(unresolved.values_list("subject", flat=True)) if seen is not None else set()
    recorded = breaks.record([Looked(check, result.findings, covered)], run, now=now)
    mark, _ = CheckMark.objects.get_or_create(name=check.name)
    mark.full_at, mark.full_milliseconds = now, round(result.seconds * 1000)
    mark.save(update_fields=["full_at", "full_milliseconds"])
    if seen is not None:
        if seen.store is not None:
            seen.store(now)
        _begin_after(check, seen)
    run.found += len(recorded.opened)
    run.save(update_fields=["found"])
    alerts.raise_for(recorded.opened, now=now)


def _begin_after(check: Check, seen: Seen) -> None:
    """Let looks go on from where a full pass ended, unless they are there already.

    They are not after books that went back in time, and before the first look of a check.
    """
    if check.look is None or not seen.position:
        return
    mark = CheckMark.objects.select_for_update().get(name=check.name)
    if mark.looked_at is None or _is_shorter(seen.position, mark.position):
        mark.position = seen.position
        mark.save(update_fields=["position"])


def _is_shorter(full_position: dict[str, Any], mark: dict[str, Any]) -> bool:
    """Tell whether a mark lies beyond where a full pass has found the end."""
    return any(
        isinstance(value, int) and isinstance(mark.get(name), int) and mark[name] > value
        for name, value in full_position.items()
    )
