"""Reads breaks, marks and runs, for pages, commands, health and metrics. Writes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import Count, QuerySet

from exchange.kernel.money import plain
from ledger.reconciliation import checks
from ledger.reconciliation.checks import Check
from ledger.reconciliation.models import Break, BreakState, CheckMark, ReconciliationRun, RunKind

LISTED_MAX: Final = 1_000


@dataclass(frozen=True)
class CheckReport:
    """A check with how far it has come and what it has found.

    Args:
        behind: Items that no look has compared yet.
        seconds_ago: Since its last look; None before the first, and for checks of full passes only.
    """

    check: Check
    mark: CheckMark | None
    breaks: int
    behind: int
    seconds_ago: int | None

    @property
    def is_late(self) -> bool:
        """Whether its last look is longer ago than it promises to notice anything."""
        return self.check.look is not None and (
            self.seconds_ago is None or self.seconds_ago > self.check.notices_within
        )


@dataclass(frozen=True)
class Summary:
    """Reconciliation in a few numbers.

    Args:
        last_look_at: When the continuous run last finished a round.
        behind: The most that any check is behind.
    """

    last_look_at: datetime | None
    last_full_at: datetime | None
    behind: int
    breaks: int


def unresolved(names: Sequence[str] = ()) -> list[Break]:
    """Return the breaks that are not resolved, oldest first, of these checks or of all."""
    rows = Break.objects.exclude(state=BreakState.RESOLVED).select_related("owner")
    if names:
        rows = rows.filter(check_name__in=names)
    return list(rows.order_by("id")[:LISTED_MAX])


def unresolved_count() -> int:
    """Return how many breaks are not resolved."""
    return Break.objects.exclude(state=BreakState.RESOLVED).count()


def counts() -> dict[str, int]:
    """Return how many unresolved breaks each check has; 0 for those that agree. One statement."""
    found = dict.fromkeys((check.name for check in checks.registered()), 0)
    rows = Break.objects.exclude(state=BreakState.RESOLVED).values("check_name").annotate(number=Count("id"))
    return found | {row["check_name"]: row["number"] for row in rows.order_by("check_name")}


def reports(*, now: datetime) -> list[CheckReport]:
    """Return every check with its mark and breaks. Two statements."""
    marks, breaks = CheckMark.objects.in_bulk(), counts()
    found = []
    for check in checks.registered():
        mark = marks.get(check.name)
        looked_at = mark.looked_at if mark else None
        ago = None if looked_at is None else max(0, int((now - looked_at).total_seconds()))
        found.append(CheckReport(check, mark, breaks[check.name], mark.behind if mark else 0, ago))
    return found


def summary() -> Summary:
    """Return reconciliation in a few numbers. Four statements."""
    continuous = ReconciliationRun.objects.filter(kind=RunKind.CONTINUOUS).order_by("-id").first()
    complete = ReconciliationRun.objects.filter(kind=RunKind.FULL, only="", state="DONE").order_by("-id").first()
    behind = CheckMark.objects.order_by("-behind").values_list("behind", flat=True).first()
    return Summary(
        continuous.finished_at if continuous else None,
        complete.finished_at if complete else None,
        behind or 0,
        unresolved_count(),
    )


def breaks(*, state: str = "", check: str = "", owner_id: int | None = None, asset: str = "") -> QuerySet[Break]:
    """Return breaks for the page, newest first.

    Args:
        state: One state, `unresolved`, or blank for all.
    """
    rows = Break.objects.select_related("owner")
    if state == UNRESOLVED:
        rows = rows.exclude(state=BreakState.RESOLVED)
    elif state:
        rows = rows.filter(state=state)
    if check:
        rows = rows.filter(check_name=check)
    if owner_id is not None:
        rows = rows.filter(owner_id=owner_id)
    if asset:
        rows = rows.filter(asset=asset)
    return rows.order_by("-id")


UNRESOLVED: Final = "unresolved"


def as_json(row: Break) -> dict[str, Any]:
    """Return a break as commands print it."""
    return {
        "id": row.pk,
        "check": row.check_name,
        "subject": row.subject,
        "asset": row.asset,
        "amount": None if row.amount is None else plain(row.amount),
        "cause": row.cause % row.figures,
        "state": str(row.state),
        "owner": row.owner.get_username() if row.owner else None,
        "first_seen_at": row.first_seen_at.isoformat(),
        "last_seen_at": row.last_seen_at.isoformat(),
    }
