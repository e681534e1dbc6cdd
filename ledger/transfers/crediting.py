"""What the back office does with deposits, in its own role: credits what is certain, and keeps what must wait.

Note [In suspense]
    Money that surely came in but cannot be credited yet (it names no customer, or waits for a second person) is in the
    custody account, and so must be in the books: it goes to suspense at once, and is credited from there. What is
    refused stays in suspense until somebody pays it back, by a manual entry of two people.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import structlog
from django.db import IntegrityError, OperationalError, transaction
from django.db.models import Q

from exchange.kernel.errors import DomainError
from ledger import posting_rules
from ledger.posting_rules import EventKind
from ledger.services import accounts, debts, journal, periods
from ledger.transfers import steps
from ledger.transfers.models import DepositNotice, DepositState
from ledger.waterfall import Debts

logger = structlog.get_logger(__name__)

BATCH_MAX: Final = 200
ROUNDS_MAX: Final = 50

_READY: Final = Q(state=DepositState.CONFIRMED, owner__isnull=False) & (
    Q(second_person=False) | Q(approved_by__isnull=False)
)
_WAITING: Final = Q(state=DepositState.CONFIRMED, receipt_entry__isnull=True) & (
    Q(owner__isnull=True) | Q(second_person=True, approved_by__isnull=True)
)
TO_POST: Final = _READY | _WAITING
"""The deposits that wait for the back office."""
SUSPENSE: Final = "deposits"
"""Part of account 1190 in which deposits wait."""


def credit(now: datetime) -> int:
    """Credit what is certain and belongs to somebody; count it."""
    return _in_batches(_READY, _credit, now)


def receive(now: datetime) -> int:
    """Take what is certain and cannot be credited yet into suspense; count it."""
    return _in_batches(_WAITING, _receive, now)


def _in_batches(wanted: Q, work: Callable[[Sequence[DepositNotice], datetime], None], now: datetime) -> int:
    """Work through deposits in batches; a batch that is refused is done one by one, so that one holds up no other."""
    done, after = 0, 0
    for _ in range(ROUNDS_MAX):
        ids = list(
            DepositNotice.objects.filter(wanted, pk__gt=after).order_by("pk").values_list("pk", flat=True)[:BATCH_MAX]
        )
        if not ids:
            break
        after = ids[-1]
        try:
            done += _attempt(ids, wanted, work, now)
        except (DomainError, IntegrityError, OperationalError):
            done += sum(_alone(deposit_id, wanted, work, now) for deposit_id in ids)
    return done


def _attempt(
    ids: Sequence[int], wanted: Q, work: Callable[[Sequence[DepositNotice], datetime], None], now: datetime
) -> int:
    """Do a batch in one transaction; what has changed since is left out."""
    with transaction.atomic():
        owners = DepositNotice.objects.filter(pk__in=ids, owner__isnull=False).values_list("owner_id", flat=True)
        accounts.lock(set(owners))
        found = list(
            DepositNotice.objects.select_related("custody")
            .filter(wanted, pk__in=ids)
            .order_by("pk")
            .select_for_update(of=("self",))
        )
        if found:
            work(found, now)
    return len(found)


def _alone(deposit_id: int, wanted: Q, work: Callable[[Sequence[DepositNotice], datetime], None], now: datetime) -> int:
    """Do one deposit; a refusal is written to the log and leaves it for later."""
    try:
        return _attempt([deposit_id], wanted, work, now)
    except (DomainError, IntegrityError, OperationalError) as error:
        logger.exception("deposit_stuck", deposit_id=deposit_id, error=str(error))
        return 0


def _credit(deposits: Sequence[DepositNotice], now: datetime) -> None:
    """Post the credits of a batch under its gates. Statements are constant, whatever the batch."""
    owed = debts.owed({int(deposit.owner_id or 0) for deposit in deposits})
    first_open = periods.closed_before()
    entries = journal.post([_credit_draft(deposit, owed, first_open, now) for deposit in deposits], now)
    for deposit, entry in zip(deposits, entries, strict=True):
        deposit.entry_id = entry.id
    _step(deposits, DepositState.CREDITED, ("entry_id",), now)


def _credit_draft(deposit: DepositNotice, owed: Debts, first_open: datetime, now: datetime) -> journal.EntryDraft:
    """Draft a credit: from the custody account, or from suspense where the money was taken in before."""
    from_suspense = deposit.receipt_entry_id is not None
    sub = deposit.custody.sub  # type: ignore[union-attr]  # ledger_deposit_custody
    return posting_rules.draft(
        EventKind.SUSPENSE_CREDIT if from_suspense else EventKind.DEPOSIT,
        key=f"{deposit.key}:credit" if from_suspense else deposit.key,
        effective_at=now if from_suspense else max(deposit.occurred_at or now, first_open),
        trace=deposit.trace,
        roles={"user": int(deposit.owner_id or 0)},
        assets={"asset": deposit.amount.currency.code},
        amounts={"amount": deposit.amount.amount},
        parts={"suspense": SUSPENSE} if from_suspense else {"custody": sub},
        debts=owed,
    )


def _receive(deposits: Sequence[DepositNotice], now: datetime) -> None:
    """Post the receipts of a batch: Note [In suspense]."""
    first_open = periods.closed_before()
    drafts = [
        posting_rules.draft(
            EventKind.SUSPENSE_RECEIPT,
            key=f"{deposit.key}:receipt",
            effective_at=max(deposit.occurred_at or now, first_open),
            trace=deposit.trace,
            roles={},
            assets={"asset": deposit.amount.currency.code},
            amounts={"amount": deposit.amount.amount},
            parts={"custody": deposit.custody.sub, "suspense": SUSPENSE},  # type: ignore[union-attr]  # ledger_deposit_custody
        )
        for deposit in deposits
    ]
    entries = journal.post(drafts, now)
    for deposit, entry in zip(deposits, entries, strict=True):
        deposit.receipt_entry_id = entry.id
    _step(deposits, DepositState.CONFIRMED, ("receipt_entry_id",), now)


def _step(deposits: Sequence[DepositNotice], to: DepositState, columns: tuple[str, ...], now: datetime) -> None:
    """Store the step of a batch whose rows are locked, with its traces."""
    before = [deposit.state for deposit in deposits]
    for deposit in deposits:
        deposit.state, deposit.version = to, deposit.version + 1
    names = [column.removesuffix("_id") for column in columns]
    DepositNotice.objects.bulk_update(deposits, ["state", "version", *names])
    steps.record_deposits(list(zip(deposits, before, strict=True)), by=None, now=now)
