"""Account profiles: who a customer is in law, and what the customer may not do for now."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from django.contrib.auth import get_user_model
from django.db import transaction

from ledger.services import accounts, finance_log
from ledger.transfers import notices
from ledger.transfers.errors import (
    CustomerUnknownError,
    OwnTransferError,
    ProfileMovedOnError,
    ReasonRequiredError,
    WithdrawalsBlockedError,
)
from ledger.transfers.models import AccountProfile, HolderKind
from ledger.transfers.outside import OUTSIDE

audit = structlog.get_logger("exchange.audit")


@dataclass(frozen=True, slots=True)
class ProfileChange:
    """What a profile shall say.

    Args:
        country: ISO 3166 code of two letters, or "".
        reason: Why the account is frozen or blocked; needed when it is.
        tier: The risk tier; None leaves it as it is.
        version: The version that the editor saw; 0 for a profile that was not there yet.
    """

    legal_name: str
    country: str
    kind: HolderKind
    frozen: bool
    withdrawals_blocked: bool
    reason: str
    version: int
    tier: str | None = None


def customer(text: str) -> Any:
    """Return the customer of an id or a user name.

    Raises:
        CustomerUnknownError: There is none.
    """
    users = get_user_model().objects
    text = text.strip()
    found = users.filter(username=text.lower()).first()
    if found is None and text.isascii() and text.isdigit() and len(text) < 18:  # noqa: PLR2004 -- fits a bigint
        found = users.filter(pk=int(text)).first()
    if found is None:
        raise CustomerUnknownError(customer=text[:150])
    return found


def of(owner_id: int) -> AccountProfile:
    """Return a customer's profile, or an empty one that is not stored."""
    found = AccountProfile.objects.filter(pk=owner_id).first()
    return found or AccountProfile(owner_id=owner_id, version=0)


def check_may_withdraw(owner_id: int) -> None:
    """Refuse a customer whose account is frozen, or who may not withdraw.

    Raises:
        WithdrawalsBlockedError: Either is so; which, and why, is told by support.
    """
    profile = of(owner_id)
    if profile.frozen or profile.withdrawals_blocked:
        raise WithdrawalsBlockedError


@transaction.atomic
def change(owner_id: int, wanted: ProfileChange, *, by: int, now: datetime) -> AccountProfile:
    """Change a profile; the log keeps what it said before and what it says now.

    Raises:
        OwnTransferError: It is the editor's own.
        ReasonRequiredError: It freezes or blocks without saying why.
        ProfileMovedOnError: Somebody else changed it since the editor looked.
    """
    if owner_id == by:
        raise OwnTransferError
    if (wanted.frozen or wanted.withdrawals_blocked) and not wanted.reason.strip():
        raise ReasonRequiredError(field="reason")
    accounts.lock([owner_id])
    profile = of(owner_id)
    if profile.version != wanted.version:
        raise ProfileMovedOnError
    before = _said(profile)
    was_restricted = profile.frozen or profile.withdrawals_blocked
    profile.legal_name, profile.country, profile.kind = wanted.legal_name.strip(), wanted.country, wanted.kind
    profile.frozen, profile.withdrawals_blocked = wanted.frozen, wanted.withdrawals_blocked
    profile.reason = wanted.reason.strip()
    profile.version, profile.updated_by_id, profile.updated_at = profile.version + 1, by, now
    profile.save()
    if wanted.tier is not None and wanted.tier != before["tier"]:
        OUTSIDE.set_tier(owner_id, wanted.tier, now=now)
    after = _said(profile)
    changed = {name: [before[name], after[name]] for name in after if after[name] != before[name]}
    finance_log.record("customer.edit", now=now, user_id=by, subject=str(owner_id), detail=changed)
    audit.info("customer_edited", owner_id=owner_id, by=by, **changed)
    is_restricted = profile.frozen or profile.withdrawals_blocked
    if is_restricted and not was_restricted:
        notices.give([(owner_id, "ACCOUNT_FROZEN", {"reason": profile.reason})], now=now)
    elif was_restricted and not is_restricted:
        notices.give([(owner_id, "ACCOUNT_RELEASED", {})], now=now)
    return profile


def _said(profile: AccountProfile) -> dict[str, Any]:
    """Return what a profile says, for the log."""
    return {
        "legal_name": profile.legal_name,
        "country": profile.country,
        "kind": str(profile.kind),
        "frozen": profile.frozen,
        "withdrawals_blocked": profile.withdrawals_blocked,
        "reason": profile.reason,
        "tier": OUTSIDE.tier_of(profile.pk),
    }
