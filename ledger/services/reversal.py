"""Reversals: the negated entry, dated today, once, never of a reversal; proposed here, decided in `proposals.py`."""

from datetime import datetime
from decimal import Decimal
from typing import Final

from django.contrib.auth.models import AbstractUser
from django.db import IntegrityError, transaction

from exchange.kernel.errors import DomainError, gettext_noop
from ledger.access import Right, check
from ledger.control_models import WAITING, Proposal, ProposalKind
from ledger.entries import AccountKey
from ledger.models import JournalEntry, Line
from ledger.posting_rules import EventKind
from ledger.services import finance_log
from ledger.services.journal import AlreadyReversedError, EntryUnknownError
from ledger.services.periods import REASON_LENGTH_MIN, ReasonMissingError

MIRRORED: Final = frozenset(
    {
        EventKind.ORDER_FREEZE,
        EventKind.ORDER_UNFREEZE,
        EventKind.WITHDRAWAL_HOLD,
        EventKind.WITHDRAWAL_SETTLE,
        EventKind.WITHDRAWAL_REJECT,
        EventKind.SPOT_FILL,
        EventKind.OPEN_FILL,
        EventKind.CLOSE_FILL,
        EventKind.FLIP_CLOSE,
        EventKind.FLIP_OPEN,
        EventKind.CLOSE_TO_OPEN,
        EventKind.OPEN_TO_CLOSE,
        EventKind.MARGIN_ADD,
        EventKind.MARGIN_REMOVE,
        EventKind.FUNDING_PAID,
        EventKind.FUNDING_RECEIVED,
        EventKind.FUNDING_ROUNDING,
        EventKind.LIQUIDATION_TAKE_OVER,
        EventKind.ENGINE_CLOSE,
        EventKind.ADL_CLOSE,
        EventKind.DEBT_CHARGE,
    }
)
"""Kinds that other tables mirror: holds, withdrawals, positions with their margin and open cost; and those of a funding
run, which clears only as a whole. Reversing the entry alone would part them; they are undone by their own workflow, and
an amount in dispute is settled by a manual entry."""


class NotReversibleError(DomainError):
    """The entry is a reversal, or its event is undone elsewhere."""

    code = 4044
    name = "NOT_REVERSIBLE"
    message = gettext_noop("An entry of kind %(kind)s is not reversed: it is undone where it was made.")


def propose(maker: AbstractUser, entry_id: int, reason: str, *, now: datetime) -> Proposal:
    """Propose to reverse an entry; a second person decides.

    Raises:
        NotAllowedError: The maker lacks the right to make entries.
        ReasonMissingError: No reason is given.
        EntryUnknownError: There is no such entry.
        NotReversibleError: It is a reversal, or other tables mirror it.
        AlreadyReversedError: It is reversed, or another reversal of it waits.
    """
    check(maker, Right.MAKE_ENTRIES)
    if len(reason.strip()) < REASON_LENGTH_MIN:
        raise ReasonMissingError
    entry = JournalEntry.objects.filter(pk=entry_id).first()
    if entry is None:
        raise EntryUnknownError(entry=entry_id)
    if entry.reverses_id is not None or entry.kind in MIRRORED:
        raise NotReversibleError(kind=entry.kind)
    if JournalEntry.objects.filter(reverses_id=entry_id).exists() or _waits(entry_id):
        raise AlreadyReversedError
    try:
        with transaction.atomic():
            proposal = Proposal.objects.create(
                kind=ProposalKind.REVERSAL, reason=reason.strip(), reverses_id=entry_id, maker_id=maker.pk, made_at=now
            )
            finance_log.record(
                "proposal.make",
                now=now,
                user_id=maker.pk,
                subject=str(proposal.pk),
                detail={"kind": proposal.kind, "reverses": entry_id, "reason": proposal.reason},
            )
    except IntegrityError:  # ledger_proposal_reverses_once: another was proposed meanwhile
        raise AlreadyReversedError from None
    return proposal


def _waits(entry_id: int) -> bool:
    """Tell whether another reversal of the entry waits."""
    return Proposal.objects.filter(reverses_id=entry_id, state__in=WAITING).exists()


def lines(proposal: Proposal) -> list[tuple[AccountKey, Decimal]]:
    """Return the lines of the entry to be reversed, negated."""
    found = Line.objects.filter(entry_id=proposal.reverses_id).select_related("account").order_by("n")
    return [
        (
            AccountKey(line.account.owner_id, line.account.code, line.account.asset_id, line.account.sub),
            line.amount.copy_negate(),
        )
        for line in found
    ]
