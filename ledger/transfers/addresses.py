"""Customers' address books: saved, waited for, used, removed. A withdrawal goes to a saved address only."""

from datetime import datetime, timedelta
from typing import Final

import structlog
from django.db import transaction

from exchange.api.wire import wire_time
from ledger.services import accounts
from ledger.transfers import address_formats, custody, limits, notices
from ledger.transfers.errors import (
    AddressKnownError,
    AddressNotFoundError,
    AddressNotUsableYetError,
    RouteClosedError,
    TooManyAddressesError,
)
from ledger.transfers.models import WithdrawalAddress

audit = structlog.get_logger("exchange.audit")

ADDRESSES_MAX: Final = 100


def book(owner_id: int, *, asset: str | None = None) -> list[WithdrawalAddress]:
    """Return a customer's saved addresses, by label."""
    rows = WithdrawalAddress.objects.filter(owner_id=owner_id, removed_at__isnull=True)
    if asset is not None:
        rows = rows.filter(asset_id=asset)
    return list(rows.order_by("label", "pk"))


@transaction.atomic
def add(
    owner_id: int, *, asset: str, network: str, address: str, label: str, now: datetime, memo: str = ""
) -> WithdrawalAddress:
    """Save an address; it can be used once the tier's delay is over, time for the owner to hear of it.

    Raises:
        RouteClosedError: The asset does not leave on this network.
        AddressInvalidError: The text is no address of the network.
        AddressKnownError: It is saved already.
        TooManyAddressesError: The book is full.
    """
    if not custody.route(asset, network).withdrawals_open:
        raise RouteClosedError(asset=asset, network=network)
    spelt, tag = address_formats.normalised(network, address), address_formats.memo(memo)
    accounts.lock([owner_id])
    saved = book(owner_id)
    if len(saved) >= ADDRESSES_MAX:
        raise TooManyAddressesError(limit=ADDRESSES_MAX)
    if any((row.asset_id, row.network, row.address, row.memo) == (asset, network, spelt, tag) for row in saved):
        raise AddressKnownError
    made = WithdrawalAddress.objects.create(
        owner_id=owner_id,
        asset_id=asset,
        network=network,
        address=spelt,
        memo=tag,
        label=label.strip(),
        created_at=now,
        usable_from=now + timedelta(hours=limits.tier(owner_id).address_delay_hours),
    )
    audit.info("address_added", owner_id=owner_id, address_id=made.pk, asset=asset, network=network)
    told = {"label": made.label, "address": spelt, "usable_from": wire_time(made.usable_from)}
    notices.give([(owner_id, "ADDRESS_ADDED", told)], now=now)
    return made


@transaction.atomic
def remove(owner_id: int, address_id: int, *, now: datetime) -> None:
    """Take an address out of the book; withdrawals under way go on. Saved again, it waits again.

    Raises:
        AddressNotFoundError: There is none, or it is another customer's.
    """
    accounts.lock([owner_id])
    found = _saved(owner_id, address_id)
    found.removed_at = now
    found.save(update_fields=["removed_at"])
    audit.info("address_removed", owner_id=owner_id, address_id=address_id)
    notices.give([(owner_id, "ADDRESS_REMOVED", {"label": found.label, "address": found.address})], now=now)


def usable(owner_id: int, address_id: int, *, now: datetime) -> WithdrawalAddress:
    """Return a saved address whose delay is over.

    Raises:
        AddressNotFoundError: There is none, or it is another customer's.
        AddressNotUsableYetError: It is too new.
    """
    found = _saved(owner_id, address_id)
    if now < found.usable_from:
        raise AddressNotUsableYetError(usable_from=wire_time(found.usable_from))
    return found


def _saved(owner_id: int, address_id: int) -> WithdrawalAddress:
    found = WithdrawalAddress.objects.filter(pk=address_id, owner_id=owner_id, removed_at__isnull=True).first()
    if found is None:
        raise AddressNotFoundError(address_id=address_id)
    return found
