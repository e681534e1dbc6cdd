"""Entries that people make: one proposes, another approves, the back office posts. The only module that decides them.

`manual_entries.py` and `reversal.py` propose. The database lets no entry of these kinds in that is not exactly an
approved proposal of two people (`migrations/sql/0008_proposals.sql`), so a mistake here posts nothing.
"""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Final

import structlog
from django.contrib.auth.models import AbstractUser
from django.db import transaction

from exchange.kernel.clock import to_ns
from exchange.kernel.errors import DomainError, gettext_noop
from exchange.kernel.ids import trace_id
from ledger.access import Right, check
from ledger.control_models import Proposal, ProposalKind, ProposalState
from ledger.entries import AccountKey, EntryDraft
from ledger.services import accounts, back_office, debts, finance_log, journal, manual_entries, reversal

logger = structlog.get_logger(__name__)


class ProposalUnknownError(DomainError):
    """There is no such proposal."""

    code = 4040
    name = "PROPOSAL_UNKNOWN"
    status = 404
    message = gettext_noop("There is no proposed entry %(proposal)s.")


class ProposalStateError(DomainError):
    """Somebody decided it before."""

    code = 4041
    name = "PROPOSAL_DECIDED"
    status = 409
    message = gettext_noop("This proposed entry has already been decided.")


class SamePersonError(DomainError):
    """The maker may not approve."""

    code = 4042
    name = "PROPOSAL_SAME_PERSON"
    status = 403
    message = gettext_noop("Another person than the one who proposed it must decide this.")


class NotMakerError(DomainError):
    """Only who proposed it may withdraw it."""

    code = 4043
    name = "NOT_THE_MAKER"
    status = 403
    message = gettext_noop("Only the person who proposed it may withdraw it.")


LINES: Final[dict[str, Callable[[Proposal], list[tuple[AccountKey, Decimal]]]]] = {
    ProposalKind.MANUAL: manual_entries.lines,
    ProposalKind.CORRECTION: manual_entries.lines,
    ProposalKind.REVERSAL: reversal.lines,
}


def approve(checker: AbstractUser, proposal_id: int, *, remark: str = "", now: datetime) -> Proposal:
    """Let a proposed entry be posted.

    Raises:
        NotAllowedError: The checker lacks the right to approve entries.
        SamePersonError: The checker proposed it.
        ProposalUnknownError: There is no such proposal.
        ProposalStateError: It is decided.
    """
    return _decide(checker, proposal_id, ProposalState.APPROVED, remark, now)


def reject(checker: AbstractUser, proposal_id: int, *, remark: str = "", now: datetime) -> Proposal:
    """Turn a proposed entry down; raises as `approve` does."""
    return _decide(checker, proposal_id, ProposalState.REJECTED, remark, now)


@transaction.atomic
def _decide(checker: AbstractUser, proposal_id: int, state: ProposalState, remark: str, now: datetime) -> Proposal:
    """Write a second person's decision down, and wake who posts it."""
    check(checker, Right.APPROVE_ENTRIES)
    proposal = _open_proposal(proposal_id)
    if proposal.maker_id == checker.pk:
        raise SamePersonError
    proposal.state, proposal.remark = state, remark.strip()
    proposal.checker_id, proposal.checked_at = checker.pk, now
    proposal.save(update_fields=["state", "remark", "checker", "checked_at"])
    finance_log.record(
        "proposal.approve" if state == ProposalState.APPROVED else "proposal.reject",
        now=now,
        user_id=checker.pk,
        subject=str(proposal.pk),
        detail={"kind": proposal.kind, "remark": proposal.remark},
    )
    back_office.wake()
    return proposal


@transaction.atomic
def withdraw(maker: AbstractUser, proposal_id: int, *, now: datetime) -> Proposal:
    """Take one's own proposal back.

    Raises:
        NotMakerError: Another person proposed it.
        ProposalUnknownError: There is no such proposal.
        ProposalStateError: It is decided.
    """
    check(maker, Right.MAKE_ENTRIES)
    proposal = _open_proposal(proposal_id)
    if proposal.maker_id != maker.pk:
        raise NotMakerError
    proposal.state = ProposalState.WITHDRAWN
    proposal.save(update_fields=["state"])
    finance_log.record("proposal.withdraw", now=now, user_id=maker.pk, subject=str(proposal.pk))
    return proposal


def _open_proposal(proposal_id: int) -> Proposal:
    """Return a proposal that waits for its decision, locked."""
    proposal = Proposal.objects.select_for_update(of=("self",)).filter(pk=proposal_id).first()
    if proposal is None:
        raise ProposalUnknownError(proposal=proposal_id)
    if proposal.state != ProposalState.PROPOSED:
        raise ProposalStateError
    return proposal


def carry_out(now: datetime) -> int:
    """Post what was approved, oldest first, each in a transaction of its own. The back office's role may.

    What the books refuse, such as a wallet that does not cover it any more, stays refused with the reason.

    Returns:
        How many were posted or refused.
    """
    done = 0
    approved = Proposal.objects.filter(state=ProposalState.APPROVED)
    for proposal_id in approved.order_by("id").values_list("id", flat=True):
        with transaction.atomic():
            proposal = approved.select_for_update(skip_locked=True, of=("self",)).filter(pk=proposal_id).first()
            if proposal is not None:
                _carry_out(proposal, now)
                done += 1
    return done


def _carry_out(proposal: Proposal, now: datetime) -> None:
    """Post one proposal, or note why the books refuse it; its row is locked."""
    try:
        with transaction.atomic():
            proposal.entry_id = _post(proposal, now)
    except DomainError as refusal:
        proposal.state, proposal.refusal = ProposalState.REFUSED, str(refusal)
    else:
        proposal.state = ProposalState.POSTED
    proposal.save(update_fields=["state", "entry", "refusal"])
    finance_log.record(
        "proposal.post" if proposal.state == ProposalState.POSTED else "proposal.refuse",
        now=now,
        subject=str(proposal.pk),
        detail={"kind": proposal.kind, "entry": proposal.entry_id, "refusal": proposal.refusal},
    )
    logger.info("proposal_carried_out", proposal=proposal.pk, state=proposal.state, entry=proposal.entry_id)


def _post(proposal: Proposal, now: datetime) -> int:
    """Post the entry, and let what it puts into available repay debts; return its number."""
    lines = LINES[proposal.kind](proposal)
    owners = {key.owner_id for key, _ in lines if key.owner_id is not None}
    accounts.lock(owners)
    trace = trace_id(to_ns(now))
    key = f"proposal:{proposal.pk}"
    effective_at = proposal.effective_at or now
    draft = EntryDraft(proposal.kind, key, effective_at, trace, lines, reverses=proposal.reverses_id)
    [entry] = journal.post([draft], now)
    debts.repay_from_available(owners, cause=key, trace=trace, now=now)
    return entry.id
