"""The switch that stops withdrawals, of one asset or of all: people turn it, and so does a break in the books."""

from datetime import datetime

import structlog
from django.db import IntegrityError, transaction
from django.db.models import Q

from ledger.services import finance_log
from ledger.transfers.errors import ReasonRequiredError, WithdrawalsStoppedError
from ledger.transfers.models import WithdrawalStop

audit = structlog.get_logger("exchange.audit")

EVERY_ASSET = "*"


def active() -> list[WithdrawalStop]:
    """Return the stops that are not lifted, oldest first."""
    return list(WithdrawalStop.objects.filter(lifted_at__isnull=True).order_by("pk"))


def check(asset: str) -> None:
    """Refuse while withdrawals of an asset, or all, are stopped.

    Raises:
        WithdrawalsStoppedError: They are.
    """
    if WithdrawalStop.objects.filter(Q(asset_id=asset) | Q(asset_id=None), lifted_at__isnull=True).exists():
        raise WithdrawalsStoppedError(asset=asset)


def stop(asset: str | None, *, reason: str, by: int | None, now: datetime) -> WithdrawalStop:
    """Stop withdrawals of an asset; without one, all. Requests are refused, and those under way wait.

    Repeating it keeps the first stop and its reason.

    Args:
        by: The person; None is the exchange itself.

    Raises:
        ReasonRequiredError: No reason is given.
    """
    if not reason.strip():
        raise ReasonRequiredError
    standing = WithdrawalStop.objects.filter(asset_id=asset, lifted_at__isnull=True)
    found = standing.first()
    if found is not None:
        return found
    try:
        with transaction.atomic():
            made = WithdrawalStop.objects.create(
                asset_id=asset, reason=reason.strip()[:300], stopped_by_id=by, stopped_at=now
            )
            _log("withdrawals.stop", made, by, now)
    except IntegrityError:  # somebody else at the same moment
        return standing.get()
    return made


@transaction.atomic
def lift(stop_id: int, *, reason: str, by: int, now: datetime) -> bool:
    """Let withdrawals go on; tell whether this stop was still standing.

    Raises:
        ReasonRequiredError: No reason is given.
    """
    if not reason.strip():
        raise ReasonRequiredError
    lifted = WithdrawalStop.objects.filter(pk=stop_id, lifted_at__isnull=True).update(
        lifted_by_id=by, lifted_at=now, lift_reason=reason.strip()[:300]
    )
    if lifted:
        _log("withdrawals.resume", WithdrawalStop.objects.get(pk=stop_id), by, now)
    return bool(lifted)


def _log(action: str, stop_row: WithdrawalStop, by: int | None, now: datetime) -> None:
    asset = stop_row.asset_id or EVERY_ASSET
    detail = {"asset": asset, "reason": stop_row.lift_reason or stop_row.reason}
    finance_log.record(action, now=now, user_id=by, subject=str(stop_row.pk), detail=detail)
    audit.warning(action, by=by, **detail)
