"""The check of holds that the sweeper could not put right: each is a break until it can be explained."""

from typing import Final

from exchange.kernel.errors import gettext_noop
from exchange.observability import metrics
from ledger.reconciliation.checks import FINDINGS_MAX, Check, Finding, Progress, Scope, Seen
from trading import selectors
from trading.sweep_models import HoldSweep
from trading.sweeping import SweepState

NAME: Final = "holds.left_behind"


def _broken() -> Seen:
    rows = HoldSweep.objects.filter(state=SweepState.BROKEN).order_by("order_id")[: FINDINGS_MAX + 1]
    found = [
        Finding(f"order {row.order_id}", "broken", {"order": row.order_id, "cause": row.cause, "why": row.why})
        for row in rows
    ]
    return Seen(found, {}, len(found))


def _look(_scope: Scope) -> Seen:
    return _broken()


def _full(_progress: Progress) -> Seen:
    return _broken()


CHECK: Final = Check(
    name=NAME,
    compares=gettext_noop("What orders hold and reserve against what became of them, by the sweeper of holds."),
    causes={
        "broken": gettext_noop("Order %(order)s may have left a hold behind (%(cause)s), and nothing was paid: %(why)s")
    },
    look=_look,
    full=_full,
)


def measure() -> None:
    """Set the gauge of swept holds. One statement."""
    counted = selectors.swept_holds().by_state
    for state in SweepState:
        metrics.HOLD_SWEEPS.labels(str(state)).set(counted.get(str(state), 0))
