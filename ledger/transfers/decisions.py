"""What staff decide about a withdrawal. The web writes decisions down, the back office carries them out.

Rights are checked at the edge (`ledger.access`); that maker and checker are two people, and that nobody decides on
money of their own, is checked here and once more by the table.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.db import transaction
from django.utils.translation import gettext

from exchange.kernel.errors import gettext_noop
from exchange.kernel.money import plain, to_quanta
from ledger.models import Asset
from ledger.services import accounts, back_office
from ledger.transfers import custody, stops, withdrawals
from ledger.transfers import steps as road
from ledger.transfers.errors import (
    OwnTransferError,
    PayoutError,
    ReasonRequiredError,
    SamePersonError,
    WithdrawalMovedOnError,
    WithdrawalNotFoundError,
)
from ledger.transfers.models import CustodyAccount, Withdrawal, WithdrawalState

REJECTABLE: Final = (
    WithdrawalState.REQUESTED,
    WithdrawalState.REVIEW,
    WithdrawalState.APPROVAL,
    WithdrawalState.APPROVED,
)
REASON_ASSET: Final = gettext_noop("the custody account keeps another asset, or is on another network.")
REASON_REFERENCE: Final = gettext_noop("the reference belongs to another payout.")
REASON_NO_REFERENCE: Final = gettext_noop("a txid or bank reference is needed.")
REASON_FEE: Final = gettext_noop("the network fee must be a number from zero on.")
REASON_TIME: Final = gettext_noop("it cannot have left before it was requested, or in the future.")
REFERENCE_LENGTH_MAX: Final = 100
FEE_MAX: Final = Decimal(10) ** 18


@dataclass(frozen=True, slots=True)
class Payout:
    """What was paid, where the exchange does not see it: by a bank, on a chain.

    Args:
        custody_id: The account it left from.
        reference: The txid or the bank's reference.
        network_fee: What the payment itself cost, in the asset of `gas_custody_id`, or of the custody account.
        gas_custody_id: Where that was taken from, if it is another account: gas is paid in another asset.
        paid_at: When it left.
    """

    custody_id: int
    reference: str
    paid_at: datetime
    network_fee: Decimal = Decimal(0)
    gas_custody_id: int | None = None


def find(withdrawal_id: int) -> Withdrawal:
    """Return any customer's withdrawal.

    Raises:
        WithdrawalNotFoundError: There is none.
    """
    found = Withdrawal.objects.filter(pk=withdrawal_id).first()
    if found is None:
        raise WithdrawalNotFoundError(withdrawal_id=withdrawal_id)
    return found


def _seen(withdrawal_id: int, version: int, by: int, *states: WithdrawalState) -> Withdrawal:
    """Return the withdrawal as the person saw it, under its owner's gate.

    Raises:
        OwnTransferError: It is the person's own.
        WithdrawalMovedOnError: It has changed since, or stands where this decision is none.
    """
    accounts.lock([find(withdrawal_id).owner_id])
    found = find(withdrawal_id)
    if found.owner_id == by:
        raise OwnTransferError
    if found.version != version or found.state not in states:
        raise WithdrawalMovedOnError(withdrawal_id=withdrawal_id, state=str(found.state))
    return found


def _check_may_go(withdrawal: Withdrawal) -> None:
    """Refuse to let it forward while withdrawals are stopped or the customer owes something."""
    stops.check(str(withdrawal.asset_id))
    withdrawals.check_debt(withdrawal.owner_id)


@transaction.atomic
def pass_review(withdrawal_id: int, *, version: int, by: int, now: datetime, note: str = "") -> Withdrawal:
    """Say that the withdrawal looks right; it then waits for a second person.

    Raises:
        WithdrawalsStoppedError, DebtBlocksWithdrawalError: It may not go forward now.
        OwnTransferError, WithdrawalMovedOnError: See `_seen`.
    """
    found = _seen(withdrawal_id, version, by, WithdrawalState.REVIEW)
    _check_may_go(found)
    return road.take(
        found,
        WithdrawalState.APPROVAL,
        by=by,
        now=now,
        detail={"note": note} if note else None,
        reviewed_by_id=by,
        reviewed_at=now,
        review_note=note.strip()[:300],
    )


@transaction.atomic
def approve(withdrawal_id: int, *, version: int, by: int, now: datetime) -> Withdrawal:
    """Approve as the second person; it may then be paid out.

    Raises:
        SamePersonError: The reviewer is the same person.
        WithdrawalsStoppedError, DebtBlocksWithdrawalError: It may not go forward now.
        OwnTransferError, WithdrawalMovedOnError: See `_seen`.
    """
    found = _seen(withdrawal_id, version, by, WithdrawalState.APPROVAL)
    if found.reviewed_by_id == by:
        raise SamePersonError
    _check_may_go(found)
    return road.take(found, WithdrawalState.APPROVED, by=by, now=now, approved_by_id=by, approved_at=now)


@transaction.atomic
def reject(withdrawal_id: int, *, version: int, by: int, reason: str, now: datetime) -> Withdrawal:
    """Reject a withdrawal that has not been paid out; the back office gives the funds back.

    Raises:
        ReasonRequiredError: The customer is told why, so there must be a reason.
        OwnTransferError, WithdrawalMovedOnError: See `_seen`.
    """
    reason = reason.strip()[:300]
    if not reason:
        raise ReasonRequiredError(field="reason")
    found = _seen(withdrawal_id, version, by, *REJECTABLE)
    road.take(found, WithdrawalState.REJECTING, by=by, now=now, detail={"reason": reason}, reason=reason)
    back_office.wake()
    return found


@transaction.atomic
def record_payout(withdrawal_id: int, payout: Payout, *, version: int, by: int, now: datetime) -> Withdrawal:
    """Write down that an approved withdrawal was paid; the back office settles it.

    Raises:
        PayoutError: Account, reference or fee do not fit.
        CustodyUnknownError: There is no such active custody account.
        WithdrawalsStoppedError, DebtBlocksWithdrawalError: It may not go forward now.
        OwnTransferError, WithdrawalMovedOnError: See `_seen`.
    """
    found = _seen(withdrawal_id, version, by, WithdrawalState.APPROVED)
    _check_may_go(found)
    if not found.requested_at <= payout.paid_at <= now:
        raise PayoutError(field="paid_at", reason=gettext(REASON_TIME))
    account, gas = _check_payout(found, payout)
    detail = {
        "custody": account.sub,
        "reference": payout.reference,
        "network_fee": plain(payout.network_fee),
        **({"gas_custody": str(gas)} if gas is not None else {}),
    }
    road.take(
        found,
        WithdrawalState.SETTLING,
        by=by,
        now=now,
        detail=detail,
        custody_id=account.pk,
        payout_reference=payout.reference,
        network_fee=payout.network_fee,
        gas_custody_id=None if gas is None else gas.pk,
        paid_by_id=by,
        paid_at=payout.paid_at,
        problem="",
    )
    back_office.wake()
    return found


def _check_payout(withdrawal: Withdrawal, payout: Payout) -> tuple[CustodyAccount, CustodyAccount | None]:
    """Refuse a payout that does not fit; return the account it left from, and the one that paid gas, if another."""
    account = custody.active(payout.custody_id)
    if (account.asset_id, account.network) != (withdrawal.asset_id, withdrawal.network):
        raise PayoutError(field="custody", reason=gettext(REASON_ASSET))
    gas = None
    if payout.gas_custody_id not in {None, account.pk}:
        gas = custody.active(payout.gas_custody_id or 0)
    if not (payout.network_fee.is_finite() and 0 <= payout.network_fee < FEE_MAX):
        raise PayoutError(field="network_fee", reason=gettext(REASON_FEE))
    paid_in = str((gas or account).asset_id)
    to_quanta(payout.network_fee, Asset.objects.values_list("decimals", flat=True).get(pk=paid_in))
    if not 0 < len(payout.reference) <= REFERENCE_LENGTH_MAX:
        raise PayoutError(field="reference", reason=gettext(REASON_NO_REFERENCE))
    others = Withdrawal.objects.filter(custody_id=account.pk, payout_reference=payout.reference)
    if others.exclude(pk=withdrawal.pk).exists():
        raise PayoutError(field="reference", reason=gettext(REASON_REFERENCE))
    return account, gas
