"""When the back office last worked, and what waits for it: read by health, status and metrics."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ledger.control_models import BackOfficeRound, PeriodRequest, Proposal, ProposalState, RequestState
from ledger.reserves.models import Publication, PublicationState
from ledger.services.back_office import ROUND_SECONDS
from ledger.transfers import crediting
from ledger.transfers.models import DepositNotice, Withdrawal, WithdrawalState

LATE_SECONDS: Final = 4 * ROUND_SECONDS
"""Who has finished no round for so long does not work: Celery's worker or its beat is gone, or cannot do it."""

WITHDRAWALS: Final = (
    WithdrawalState.REQUESTED,
    WithdrawalState.SETTLING,
    WithdrawalState.REJECTING,
    WithdrawalState.CANCELLING,
)
"""The states in which a withdrawal waits for the back office, and not for people."""

WAITING: dict[str, Callable[[], int]] = {
    "periods": lambda: PeriodRequest.objects.filter(state=RequestState.ASKED).count(),
    "proposals": lambda: Proposal.objects.filter(state=ProposalState.APPROVED).count(),
    "withdrawals": lambda: Withdrawal.objects.filter(state__in=WITHDRAWALS).count(),
    "deposits": lambda: DepositNotice.objects.filter(crediting.TO_POST).count(),
    "reserves": lambda: Publication.objects.filter(state=PublicationState.REQUESTED).count(),
}
"""What is decided and not done yet, counted by name; upper apps add theirs."""


@dataclass(frozen=True)
class Standing:
    """How the back office stands.

    Args:
        finished_at: The end of its last round; None before the first.
        waiting: What it has to do, by name; what there is none of is left out.
    """

    finished_at: datetime | None
    waiting: dict[str, int]

    def seconds_ago(self, now: datetime) -> int | None:
        """Return how long ago the last round ended; None before the first."""
        return None if self.finished_at is None else max(0, int((now - self.finished_at).total_seconds()))

    def is_late(self, now: datetime) -> bool:
        """Tell whether a round is overdue; the first one never is."""
        ago = self.seconds_ago(now)
        return ago is not None and ago > LATE_SECONDS


def note(now: datetime) -> None:
    """Note the end of a round."""
    BackOfficeRound.objects.update_or_create(pk=1, defaults={"finished_at": now})


def standing() -> Standing:
    """Return when the last round ended, and what waits for the next."""
    finished_at = BackOfficeRound.objects.order_by("pk").values_list("finished_at", flat=True).first()
    counted = {name: count() for name, count in WAITING.items()}
    return Standing(finished_at, {name: count for name, count in counted.items() if count})
