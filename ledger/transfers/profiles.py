"""Account profiles: who a customer is in law, and what the customer may not do for now."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from django.contrib.auth import get_user_model
from django.db import transaction

from exchange.kernel.errors import gettext_noop
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

REASON_LENGTH_MAX = 300


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


def freeze(owner_ids: Sequence[int], *, reason: str, now: datetime) -> None:
    """Freeze accounts without a person's decision, in the caller's transaction, which holds their gates.

    What a person has frozen already stays as it is, with its reason. Releasing is a person's decision (`change`).
    """
    known = AccountProfile.objects.in_bulk(owner_ids)
    fresh = [owner_id for owner_id in owner_ids if owner_id not in known or not known[owner_id].frozen]
    rows = [known.get(owner_id) or AccountProfile(owner_id=owner_id, version=0) for owner_id in fresh]
    for row in rows:
        row.frozen, row.reason, row.version = True, reason[:REASON_LENGTH_MAX], row.version + 1
        row.updated_by, row.updated_at = None, now
    AccountProfile.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["owner"],
        update_fields=["frozen", "reason", "version", "updated_by", "updated_at"],
    )
    for owner_id in fresh:
        finance_log.record("customer.freeze", now=now, subject=str(owner_id), detail={"reason": reason})
        audit.warning("customer_frozen", owner_id=owner_id, reason=reason)
    told = gettext_noop("Something has to be cleared up first.")
    notices.give([(owner_id, "ACCOUNT_FROZEN", {"reason": told}) for owner_id in fresh], now=now)


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
