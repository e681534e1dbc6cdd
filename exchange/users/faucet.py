"""Demo funds: a helping of every asset, as a ledger deposit, a few times a day. Only with settings.DEMO."""

import secrets
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import structlog
from django.conf import settings
from django.db import transaction

from exchange.kernel.errors import DomainError, gettext_noop
from exchange.users.models import FaucetGrant
from ledger.models import Asset
from ledger.services import accounts, transfers

audit = structlog.get_logger("exchange.audit")

HELPINGS_PER_DAY = 5
HELPING_BY_ASSET = {
    "TWD": Decimal(1_000_000),
    "USD": Decimal(100_000),
    "USDT": Decimal(100_000),
    "BTC": Decimal(1),
    "2330": Decimal(1_000),
    "AAPL": Decimal(100),
}
HELPING_BY_KIND = {"FIAT": Decimal(100_000), "CRYPTO": Decimal(10), "STOCK": Decimal(100)}


class FaucetClosedError(DomainError):
    """This exchange gives no demo funds."""

    code = 2009
    name = "FAUCET_CLOSED"
    status = 404
    message = gettext_noop("This exchange gives no demo funds.")


class FaucetEmptyError(DomainError):
    """The user has had the day's demo funds."""

    code = 2010
    name = "FAUCET_EMPTY"
    status = 429
    message = gettext_noop("Demo funds are given %(per_day)s times a day; come back tomorrow.")


@dataclass(frozen=True)
class Helping:
    """What a user was given, and how many helpings the day still has."""

    request_key: str
    amounts: dict[str, Decimal]
    left_today: int
    repeated: bool


def amounts() -> dict[str, Decimal]:
    """Return one helping: an amount for each asset of the exchange."""
    return {
        asset.code: HELPING_BY_ASSET.get(asset.code, HELPING_BY_KIND[asset.kind])
        for asset in Asset.objects.order_by("code")
    }


@transaction.atomic
def give(owner_id: int, *, request_key: str | None, now: datetime) -> Helping:
    """Deposit one helping of demo funds.

    Args:
        owner_id: The user, whose gate is locked before anything is counted.
        request_key: The client's own key; a repeat with it gives nothing a second time.
        now: Its date, in UTC, is the day whose helpings are counted.

    Raises:
        FaucetClosedError: The exchange is not in demo mode.
        FaucetEmptyError: The day's helpings are used up.
    """
    if not settings.DEMO:
        raise FaucetClosedError
    accounts.lock([owner_id])
    key = request_key or secrets.token_hex(16)
    helping = amounts()
    today = FaucetGrant.objects.filter(user_id=owner_id, granted_date=now.date()).count()
    if FaucetGrant.objects.filter(user_id=owner_id, request_key=key).exists():
        return Helping(key, helping, HELPINGS_PER_DAY - today, repeated=True)
    if today >= HELPINGS_PER_DAY:
        raise FaucetEmptyError(per_day=HELPINGS_PER_DAY)
    FaucetGrant.objects.create(
        user_id=owner_id, request_key=key, granted_date=now.date(), number=today + 1, created_at=now
    )
    transfers.deposit(
        [
            transfers.Deposit(
                owner_id=owner_id,
                asset=asset,
                amount=amount,
                key=f"faucet:{owner_id}:{key}:{asset}",
                note="demo funds",
            )
            for asset, amount in helping.items()
        ],
        now=now,
    )
    audit.info("demo_funds_given", user_id=owner_id, number=today + 1)
    return Helping(key, helping, HELPINGS_PER_DAY - today - 1, repeated=False)
