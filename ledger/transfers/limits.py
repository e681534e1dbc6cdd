"""How much a customer may withdraw: what the tier allows, what has left already, and what is therefore left.

Days and months are the last 24 hours and the last 30 days: a limit that turned at midnight would allow two days'
worth within a minute.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from django.db.models import Q, Sum

from exchange.kernel.money import EXACT, plain
from ledger.transfers.errors import NoWithdrawalLimitError, TooManyWithdrawalsError, WithdrawalLimitError
from ledger.transfers.models import TransferTier, Withdrawal, WithdrawalLimit
from ledger.transfers.models.withdrawals import GIVEN_BACK
from ledger.transfers.outside import OUTSIDE, STANDARD_TIER

DAY: Final = timedelta(hours=24)
MONTH: Final = timedelta(days=30)
_SECONDS_AN_HOUR: Final = 3600


class Allowance(NamedTuple):
    """A limit, and what of it has been used."""

    per_day: Decimal
    per_month: Decimal
    used_day: Decimal
    used_month: Decimal

    @property
    def left(self) -> Decimal:
        """What may still leave now, by whichever limit is nearer."""
        return min(self.left_day, self.left_month)

    @property
    def left_day(self) -> Decimal:
        """What the limit of 24 hours leaves."""
        return max(Decimal(0), EXACT.subtract(self.per_day, self.used_day))

    @property
    def left_month(self) -> Decimal:
        """What the limit of 30 days leaves."""
        return max(Decimal(0), EXACT.subtract(self.per_month, self.used_month))


def tier(owner_id: int) -> TransferTier:
    """Return what a customer's tier means for withdrawals."""
    name = OUTSIDE.tier_of(owner_id)
    return TransferTier.objects.filter(pk=name).first() or TransferTier(name=name)


def of(owner_id: int, asset: str, *, now: datetime) -> Allowance | None:
    """Return a customer's limit for an asset: the customer's own, else the tier's, else the standard tier's.

    None means that nobody has set one, and that nothing may leave.
    """
    tier_name = OUTSIDE.tier_of(owner_id)
    rows = WithdrawalLimit.objects.filter(Q(owner_id=owner_id) | Q(tier__in=[tier_name, STANDARD_TIER]), asset_id=asset)
    found = min(rows, key=lambda row: (row.owner_id is None, row.tier != tier_name), default=None)
    if found is None:
        return None
    return Allowance(
        found.per_day, found.per_month, _used(owner_id, asset, now - DAY), _used(owner_id, asset, now - MONTH)
    )


def _used(owner_id: int, asset: str, since: datetime) -> Decimal:
    """Return what left, or is about to leave, since a moment."""
    rows = Withdrawal.objects.filter(owner_id=owner_id, asset_id=asset, requested_at__gt=since)
    total: Decimal | None = rows.exclude(state__in=GIVEN_BACK).aggregate(total=Sum("amount"))["total"]
    return total or Decimal(0)


def check(owner_id: int, asset: str, amount: Decimal, *, now: datetime) -> None:
    """Refuse a withdrawal that its limits do not cover. The gate is held, so that two cannot use the same rest.

    Raises:
        NoWithdrawalLimitError: Nobody has opened withdrawals of this asset for the customer.
        WithdrawalLimitError: More would leave than a day or a month allows.
        TooManyWithdrawalsError: The tier allows no more requests for now.
    """
    allowed = of(owner_id, asset, now=now)
    if allowed is None:
        raise NoWithdrawalLimitError(asset=asset)
    for limit, left, span in (
        (allowed.per_day, allowed.left_day, DAY),
        (allowed.per_month, allowed.left_month, MONTH),
    ):
        if amount > left:
            hours = int(span.total_seconds()) // _SECONDS_AN_HOUR
            raise WithdrawalLimitError(limit=plain(limit), left=plain(left), asset=asset, hours=hours)
    requests_max = tier(owner_id).requests_per_day
    if Withdrawal.objects.filter(owner_id=owner_id, requested_at__gt=now - DAY).count() >= requests_max:
        raise TooManyWithdrawalsError(limit=requests_max)
