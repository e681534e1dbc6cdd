"""The check of what settlement could not post: every entry that the books refused is a break until it is posted."""

from typing import Final

from django.db.models import Q

from exchange.kernel.errors import gettext_noop
from ledger.reconciliation.checks import FINDINGS_MAX, Check, Finding, Progress, Scope, Seen, Severity
from trading.models import SuspendedEntry, SuspendedState

NAME: Final = "settlement.suspense"


def finding(row: SuspendedEntry) -> Finding:
    """Return the finding of a suspended entry."""
    return Finding(row.key, "refused", {"key": row.key, "kind": row.kind, "refusal": row.refusal})


def _open() -> Seen:
    rows = SuspendedEntry.objects.filter(Q(state=SuspendedState.OPEN)).order_by("id")[: FINDINGS_MAX + 1]
    found = [finding(row) for row in rows]
    return Seen(found, {}, len(found))


def _look(_scope: Scope) -> Seen:
    return _open()


def _full(_progress: Progress) -> Seen:
    return _open()


CHECK: Final = Check(
    name=NAME,
    compares=gettext_noop("What settlement had to post against what the books took."),
    causes={"refused": gettext_noop("The books refused the %(kind)s entry of %(key)s: %(refusal)s")},
    look=_look,
    full=_full,
    severity=Severity.STOP,
)
