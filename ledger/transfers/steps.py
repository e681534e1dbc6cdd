"""The steps of deposits and withdrawals: compare-and-set on state and version, each leaving its traces.

Whoever takes a step holds the owner's gate. A step writes its event, its row of the finance log, its notice and a
line of the audit log in the same transaction: what is undone with it was not done.
"""

from collections import defaultdict
from datetime import datetime
from typing import Any, Final

import structlog
from django.db.models import F
from django.utils.translation import gettext

from exchange.kernel.errors import require
from exchange.kernel.money import EXACT, plain
from exchange.observability.tracing import current_trace
from ledger.services import finance_log
from ledger.transfers import notices
from ledger.transfers.errors import DepositMovedOnError, WithdrawalMovedOnError
from ledger.transfers.models import (
    DepositNotice,
    DepositState,
    TransferEvent,
    Withdrawal,
    WithdrawalState,
)

audit = structlog.get_logger("exchange.audit")

TOLD: Final = {
    WithdrawalState.REQUESTED: "WITHDRAWAL_REQUESTED",
    WithdrawalState.REVIEW: "WITHDRAWAL_REVIEW",
    WithdrawalState.APPROVED: "WITHDRAWAL_APPROVED",
    WithdrawalState.SETTLED: "WITHDRAWAL_SETTLED",
    WithdrawalState.REJECTED: "WITHDRAWAL_REJECTED",
    WithdrawalState.CANCELLED: "WITHDRAWAL_CANCELLED",
}
"""Steps that a customer is told. The others wait for one of these, and the withdrawal's own page shows them."""


def take(
    withdrawal: Withdrawal,
    to: WithdrawalState,
    *,
    by: int | None,
    now: datetime,
    detail: dict[str, Any] | None = None,
    **changes: Any,
) -> Withdrawal:
    """Move a withdrawal from where it was read to another state.

    Args:
        withdrawal: As it was read; brought up to date in place.
        by: The person; None is the exchange itself.
        detail: What a later reader needs besides.
        changes: Columns that change with the step.

    Raises:
        WithdrawalMovedOnError: Somebody else moved it since it was read.
    """
    before = withdrawal.state
    changed = Withdrawal.objects.filter(pk=withdrawal.pk, state=before, version=withdrawal.version).update(
        state=to, version=F("version") + 1, updated_at=now, **changes
    )
    if not changed:
        raise moved_on(withdrawal.pk)
    withdrawal.state, withdrawal.version, withdrawal.updated_at = to, withdrawal.version + 1, now
    for name, value in changes.items():
        setattr(withdrawal, name, value)
    record(withdrawal, before, by=by, now=now, detail=detail)
    return withdrawal


def moved_on(withdrawal_id: int) -> WithdrawalMovedOnError:
    """Return the refusal that says where a withdrawal stands by now."""
    state = WithdrawalState(Withdrawal.objects.values_list("state", flat=True).get(pk=withdrawal_id))
    return WithdrawalMovedOnError(withdrawal_id=withdrawal_id, state=state.value)


def record(
    withdrawal: Withdrawal, before: str, *, by: int | None, now: datetime, detail: dict[str, Any] | None = None
) -> None:
    """Leave the traces of a step that a withdrawal has taken."""
    words = {"amount": plain(withdrawal.amount), "asset": withdrawal.asset_id, **(detail or {})}
    TransferEvent.objects.create(
        withdrawal=withdrawal,
        version=withdrawal.version,
        from_state=before,
        to_state=withdrawal.state,
        at=now,
        by_id=by,
        detail=detail or {},
        trace=withdrawal.trace,
    )
    action = f"withdrawal.{withdrawal.state.lower()}"
    finance_log.record(action, now=now, user_id=by, subject=str(withdrawal.pk), detail=words)
    audit.info(action, withdrawal_id=withdrawal.pk, owner_id=withdrawal.owner_id, by=by, detail=words)
    kind = TOLD.get(WithdrawalState(withdrawal.state))
    went_back = (before, withdrawal.state) == (WithdrawalState.SETTLING, WithdrawalState.APPROVED)
    if kind is not None and before != withdrawal.state and not went_back:
        notices.give([(withdrawal.owner_id, kind, _told(withdrawal))], now=now)


def _told(withdrawal: Withdrawal) -> dict[str, str]:
    """Return what notices say of a withdrawal."""
    return {
        "id": str(withdrawal.pk),
        "amount": plain(withdrawal.amount),
        "arrives": plain(EXACT.subtract(withdrawal.amount, withdrawal.fee)),
        "asset": withdrawal.asset_id,
        "address": withdrawal.address,
        "reference": withdrawal.payout_reference,
        "reason": withdrawal.reason,
    }


def move(
    deposit: DepositNotice,
    to: DepositState,
    *,
    by: int | None,
    now: datetime,
    detail: dict[str, Any] | None = None,
    **changes: Any,
) -> DepositNotice:
    """Move a deposit from where it was read to another state, or change it where it stands.

    Raises:
        DepositMovedOnError: Somebody else changed it since it was read.
    """
    before = deposit.state
    changed = DepositNotice.objects.filter(pk=deposit.pk, state=before, version=deposit.version).update(
        state=to, version=F("version") + 1, **changes
    )
    if not changed:
        state = DepositNotice.objects.values_list("state", flat=True).get(pk=deposit.pk)
        raise DepositMovedOnError(deposit_id=deposit.pk, state=DepositState(state).value)
    deposit.state, deposit.version = to, deposit.version + 1
    for name, value in changes.items():
        setattr(deposit, name, value)
    record_deposits([(deposit, before)], by=by, now=now, detail=detail)
    return deposit


def record_deposits(
    steps: list[tuple[DepositNotice, str]], *, by: int | None, now: datetime, detail: dict[str, Any] | None = None
) -> None:
    """Leave the traces of a step that deposits have taken, each from a state; the owners' gates are held."""
    require(len(steps) <= STEPS_MAX, f"{len(steps)} steps at once")
    trace = current_trace()
    TransferEvent.objects.bulk_create(
        TransferEvent(
            deposit=deposit,
            version=deposit.version,
            from_state=before,
            to_state=deposit.state,
            at=now,
            by_id=by,
            detail=detail or {},
            trace=deposit.trace or trace,
        )
        for deposit, before in steps
    )
    told, logged = [], defaultdict(list)
    for deposit, before in steps:
        words = {"amount": plain(deposit.amount.amount), "asset": deposit.amount.currency.code, **(detail or {})}
        action = f"deposit.{deposit.state.lower()}"
        logged[action].append((str(deposit.pk), words))
        audit.info(action, deposit_id=deposit.pk, owner_id=deposit.owner_id, by=by, detail=words)
        kind = _TOLD_OF_DEPOSITS.get(DepositState(deposit.state))
        if kind is not None and before != deposit.state and deposit.owner_id is not None:
            told.append((deposit.owner_id, kind, words | {"reason": deposit.reason}))
    for action, rows in logged.items():
        finance_log.record_all(action, rows, now=now, user_id=by)
    notices.give(told, now=now)


STEPS_MAX: Final = 1_000
_TOLD_OF_DEPOSITS: Final = {
    DepositState.ANNOUNCED: "DEPOSIT_SEEN",
    DepositState.CREDITED: "DEPOSIT_CREDITED",
    DepositState.REFUSED: "DEPOSIT_REFUSED",
}


def reason_words(reason: str) -> str:
    """Return a reason in the reader's language, where it is one of the exchange's own."""
    return gettext(reason) if reason else ""
