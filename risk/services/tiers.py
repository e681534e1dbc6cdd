"""Which tier a trader is in: read and set one by one, for those who look after customers. Orders read it in batches."""

from collections.abc import Sequence
from datetime import datetime

from exchange.kernel.errors import DomainError, gettext_noop
from risk.models import DEFAULT_TIER, RiskTier, TraderProfile


class UnknownTierError(DomainError):
    """There is no such tier."""

    code = 6020
    name = "UNKNOWN_TIER"
    message = gettext_noop("There is no tier %(tier)s.")


def of(owner_id: int) -> str:
    """Return a trader's tier; who never placed an order is in the standard one."""
    found = TraderProfile.objects.filter(pk=owner_id).values_list("tier_id", flat=True).first()
    return found or DEFAULT_TIER


def names() -> Sequence[str]:
    """Return the tiers there are, the standard one first."""
    found = set(RiskTier.objects.values_list("name", flat=True)) - {DEFAULT_TIER}
    return [DEFAULT_TIER, *sorted(found)]


def assign(owner_id: int, tier: str, *, now: datetime) -> None:
    """Move a trader to a tier; the day's counters stay. The gate is held.

    Raises:
        UnknownTierError: There is no such tier.
    """
    if tier not in names():
        raise UnknownTierError(tier=tier[:32])
    TraderProfile.objects.update_or_create(
        pk=owner_id, defaults={"tier_id": tier}, create_defaults={"tier_id": tier, "counted_on": now.date()}
    )
