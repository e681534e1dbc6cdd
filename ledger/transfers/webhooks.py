"""What custody providers tell by webhook: signed, fresh, each call once, kept as it came, one deposit a reference.

Note [Signature]
    `X-Signature` is the hexadecimal HMAC-SHA256, under the secret shared with the provider, of the timestamp, a dot
    and the raw body; `X-Timestamp` is seconds since 1970. The timestamp is signed too, so that a recorded call cannot
    be sent again later; within the tolerance its digest is known, and it is answered without effect.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Q

from exchange.kernel.errors import DomainError
from ledger.services import back_office
from ledger.transfers import deposit_addresses, deposits
from ledger.transfers.deposits import Announcement
from ledger.transfers.errors import (
    CustodyUnknownError,
    WebhookSignatureError,
    WebhookStaleError,
    WebhookUnknownError,
)
from ledger.transfers.models import CustodyAccount, DepositNotice, DepositSource, WebhookDelivery

audit = structlog.get_logger("exchange.audit")

TOLERANCE: Final = timedelta(minutes=5)
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}")
ACCEPTED: Final = "accepted"


@dataclass(frozen=True, slots=True)
class Call:
    """A webhook call whose signature is right.

    Args:
        digest: Names the call: sha256 over what was signed.
    """

    provider: str
    digest: str
    sent_at: datetime
    body: bytes
    address: str


@dataclass(frozen=True, slots=True)
class Told:
    """What a provider says of a deposit.

    Args:
        reference: Names the transfer for ever: a txid with the output's number, such as `ab12...:0`.
        confirmations: How many blocks confirm it by now.
    """

    reference: str
    asset: str
    network: str
    amount: Decimal
    address: str
    memo: str
    confirmations: int
    occurred_at: datetime


def verify(provider: str, *, timestamp: str, signature: str, body: bytes, address: str, now: datetime) -> Call:
    """Check who calls and when it was sent: Note [Signature].

    Raises:
        WebhookUnknownError: No secret is set for this provider.
        WebhookSignatureError: Signature or timestamp is missing, malformed or wrong.
        WebhookStaleError: It was sent too long ago, or in the future.
    """
    secret = settings.DEPOSIT_WEBHOOK_SECRETS.get(provider, "")
    if not secret:
        raise WebhookUnknownError
    if not _TIMESTAMP.fullmatch(timestamp) or not signature.isascii():
        raise WebhookSignatureError
    signed = timestamp.encode() + b"." + body
    wanted = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(wanted, signature.lower()):
        audit.warning("webhook_signature_wrong", provider=provider, address=address)
        raise WebhookSignatureError
    sent_at = datetime.fromtimestamp(int(timestamp), tz=UTC)
    if abs(now - sent_at) > TOLERANCE:
        raise WebhookStaleError(seconds=int(TOLERANCE.total_seconds()))
    return Call(provider, hashlib.sha256(signed).hexdigest(), sent_at, body, address)


def repeated(call: Call) -> WebhookDelivery | None:
    """Return the delivery of the very same call, if it came before."""
    return WebhookDelivery.objects.select_related("deposit").filter(digest=call.digest).first()


def take_in(call: Call, told: Told, *, now: datetime) -> DepositNotice:
    """Take in what a provider says: announce a deposit, or confirm one that is known. The call is kept with it.

    Raises:
        CustodyUnknownError: No active custody account has this address, or is the only one that receives the asset.
        DepositAmountError, InexactAmountError: The amount cannot be.
        DepositKnownError: The reference is known with another amount or owner.
    """
    with transaction.atomic():
        account = _account(told)
        deposits.check_amount(account, told.amount)
        [owner_id] = deposit_addresses.owners(account, [(told.address, told.memo)])
        announcement = Announcement(
            reference=told.reference,
            amount=told.amount,
            owner_id=owner_id,
            occurred_at=told.occurred_at,
            address=told.address,
            text=told.memo,
            note=call.provider,
            confirmations=told.confirmations,
        )
        [deposit] = deposits.announce(account, [announcement], source=DepositSource.WEBHOOK, by=None, now=now)
        _keep(call, deposit=deposit, outcome=ACCEPTED, now=now)
        back_office.wake()
    return deposit


def keep_refused(call: Call, error: DomainError | None, *, now: datetime) -> None:
    """Keep a call that was refused, with the reason; the same call may come again."""
    name = error.name if error is not None else DomainError.name
    audit.warning("webhook_refused", provider=call.provider, refusal=name)
    _keep(call, deposit=None, outcome=name, now=now)


def _keep(call: Call, *, deposit: DepositNotice | None, outcome: str, now: datetime) -> None:
    """Store a call as it came. A race of the same call is settled by its digest: the second one is undone."""
    WebhookDelivery.objects.create(
        provider=call.provider,
        digest=call.digest,
        sent_at=call.sent_at,
        received_at=now,
        address=call.address,
        body=call.body,
        deposit=deposit,
        outcome=outcome,
    )


def _account(told: Told) -> CustodyAccount:
    """Return the custody account in which a transfer came in: the one with the address, else the only one there is."""
    accounts = CustodyAccount.objects.filter(asset_id=told.asset, network=told.network, active=True)
    receiving = accounts.exclude(address="")
    by_address = accounts.filter(Q(address=told.address) | Q(deposit_addresses__address=told.address)).distinct()
    found = list(by_address[:2]) if told.address else []
    found = found or list(receiving[:2])
    if len(found) != 1:
        raise CustodyUnknownError
    return found[0]
