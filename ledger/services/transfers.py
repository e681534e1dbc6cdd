"""Deposits that are credited at once: demo funds, and what a caller with that right knows to be there.

Deposits that are announced, confirmed and checked before they are credited are in `ledger.transfers.deposits`.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from django.db import transaction
from moneyed import Money

from exchange.kernel.clock import to_ns
from exchange.kernel.errors import DomainError, gettext_noop
from exchange.kernel.ids import trace_id
from exchange.kernel.money import to_quanta
from ledger import posting_rules
from ledger.currencies import currency
from ledger.models import Asset, DepositNotice
from ledger.posting_rules import EventKind
from ledger.services import accounts, debts, journal
from ledger.services.journal import PostedEntry
from ledger.transfers.models import DepositSource, DepositState

DEFAULT_CUSTODY = "main"


class UnknownAssetError(DomainError):
    """No such asset."""

    code = 4010
    name = "UNKNOWN_ASSET"
    message = gettext_noop("There is no asset %(asset)s.")


class DepositAmountError(DomainError):
    """A deposit must be above zero and fit the ledger."""

    code = 4011
    name = "DEPOSIT_AMOUNT"
    message = gettext_noop("A deposit of %(amount)s is not possible.")


DEPOSIT_MAX = Decimal(10) ** 18
"""Far above any real deposit, far below what NUMERIC(38, 18) can hold."""


class Deposit(NamedTuple):
    """A deposit to credit.

    Args:
        amount: Above zero, a whole multiple of the asset's quantum.
        key: Idempotency key, unique over all entries: the bank's or the chain's own reference.
        note: For people: where it came from.
        custody: The wallet or bank account in which it arrived.
    """

    owner_id: int
    asset: str
    amount: Decimal
    key: str
    note: str = ""
    custody: str = DEFAULT_CUSTODY

    @classmethod
    def of(cls, owner_id: int, money: Money, *, key: str, note: str = "") -> "Deposit":
        """Make the request from an amount of money."""
        return cls(owner_id, money.currency.code, money.amount, key, note)

    @property
    def money(self) -> Money:
        """The amount with its asset."""
        return Money(self.amount, currency(self.asset))


def _check(requests: Sequence[Deposit]) -> None:
    """Refuse the batch at its first deposit that cannot be credited."""
    decimals = dict(Asset.objects.filter(pk__in={request.asset for request in requests}).values_list("pk", "decimals"))
    for request in requests:
        if request.asset not in decimals:
            raise UnknownAssetError(asset=request.asset)
        if not (request.amount.is_finite() and 0 < request.amount < DEPOSIT_MAX):
            raise DepositAmountError(amount=str(request.amount))
        to_quanta(request.amount, decimals[request.asset])


@transaction.atomic
def deposit(requests: Sequence[Deposit], now: datetime) -> list[PostedEntry]:
    """Credit a batch of deposits, all or none. Repeating a key credits nothing more.

    A deposit of a debtor repays the debt first. Statements are constant whatever the batch: assets, gates, debts,
    account ids, the door, the notices; and the repayments, where a batch mixed repeats with what is new.

    Raises:
        UnknownAssetError: An asset does not exist.
        DepositAmountError: An amount is not above zero, or not a number.
        InexactAmountError: An amount has more decimals than its asset.
    """
    if not requests:
        return []
    _check(requests)
    owner_ids = {request.owner_id for request in requests}
    accounts.lock(owner_ids)
    owed = debts.owed(owner_ids)
    trace = trace_id(to_ns(now))
    drafts = [
        posting_rules.draft(
            EventKind.DEPOSIT,
            key=request.key,
            effective_at=now,
            trace=trace,
            roles={"user": request.owner_id},
            assets={"asset": request.asset},
            amounts={"amount": request.amount},
            parts={"custody": request.custody},
            debts=owed,
        )
        for request in requests
    ]
    entries = journal.post(drafts, now)
    if any(entry.repeated for entry in entries):  # a repeat repaid nothing, though its draft had counted on it
        debts.repay_from_available(owner_ids, cause=f"deposit:{entries[-1].id}", trace=trace, now=now)
    DepositNotice.objects.bulk_create(
        DepositNotice(
            owner_id=request.owner_id,
            amount=request.money,  # type: ignore[misc]  # a MoneyField is unknown to the stubs
            key=request.key,
            note=request.note,
            entry_id=entry.id,
            created_at=now,
            state=DepositState.CREDITED,
            source=DepositSource.DIRECT,
            occurred_at=now,
            trace=trace,
        )
        for request, entry in zip(requests, entries, strict=True)
        if not entry.repeated
    )
    return entries
