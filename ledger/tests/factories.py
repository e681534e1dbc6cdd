"""Drafts of events, short enough to read in a test."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.contrib.auth import get_user_model

from ledger import posting_rules
from ledger.access import Role
from ledger.entries import EntryDraft
from ledger.posting_rules import EventKind
from ledger.services import roles

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def event(kind: EventKind, key: str, owner_id: int | None, amount: object, asset: str = "USDT") -> EntryDraft:
    """Draft an event of one user (or of the platform alone) and one amount."""
    return posting_rules.draft(
        kind,
        key=key,
        effective_at=NOW,
        trace="trace-1",
        roles={} if owner_id is None else {"user": owner_id},
        assets={"asset": asset},
        amounts={"amount": Decimal(str(amount))},
        parts={"custody": "main"},
    )


def freeze(key: str, owner_id: int, amount: object, asset: str = "USDT") -> EntryDraft:
    """Draft an ORDER_FREEZE."""
    return event(EventKind.ORDER_FREEZE, key, owner_id, amount, asset)


def unfreeze(key: str, owner_id: int, amount: object, asset: str = "USDT") -> EntryDraft:
    """Draft an ORDER_UNFREEZE."""
    return event(EventKind.ORDER_UNFREEZE, key, owner_id, amount, asset)


def spot_fill(key: str, buyer_id: int, seller_id: int, **amounts: object) -> EntryDraft:
    """Draft a SPOT_FILL of BTC for USDT."""
    return posting_rules.draft(
        EventKind.SPOT_FILL,
        key=key,
        effective_at=NOW,
        trace="trace-1",
        roles={"buyer": buyer_id, "seller": seller_id},
        assets={"base": "BTC", "quote": "USDT"},
        amounts={name: Decimal(str(amount)) for name, amount in amounts.items()},
    )


def staff(role: Role, name: str = "") -> Any:
    """Return a member of staff in a role, made if there is none of that name."""
    user, made = get_user_model().objects.get_or_create(username=name or f"the-{role}", defaults={"is_staff": True})
    if made:
        roles.grant(user.pk, role)
    return user
