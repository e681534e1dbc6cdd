"""Custody accounts and the ways between them and the world: set up by staff, read by everybody else here."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from django.db import connection

from ledger.chart import AccountCode
from ledger.transfers.errors import CustodyUnknownError, RouteClosedError
from ledger.transfers.models import CustodyAccount, CustodyStatement, Network, TransferRoute

_PARTS = """
SELECT a.asset, a.sub, a.balance, c.id FROM ledger_account a
LEFT JOIN ledger_custodyaccount c ON c.asset_id = a.asset AND c.sub = a.sub
WHERE a.owner_id IS NULL AND a.code = %s
UNION ALL
SELECT c.asset_id, c.sub, 0, c.id FROM ledger_custodyaccount c
WHERE NOT EXISTS (
    SELECT FROM ledger_account a WHERE a.owner_id IS NULL AND a.code = %s AND a.asset = c.asset_id AND a.sub = c.sub)
ORDER BY 1, 2
"""


class CustodyPosition(NamedTuple):
    """A part of account 1110 with what the books say it holds.

    Args:
        account: Its description; None where nobody has described it yet.
        statement: The newest statement of it.
    """

    asset: str
    sub: str
    balance: Decimal
    account: CustodyAccount | None
    statement: CustodyStatement | None


def active(custody_id: int) -> CustodyAccount:
    """Return an active custody account.

    Raises:
        CustodyUnknownError: There is none, or it is closed.
    """
    found = CustodyAccount.objects.filter(pk=custody_id, active=True).first()
    if found is None:
        raise CustodyUnknownError
    return found


def positions() -> list[CustodyPosition]:
    """Return every part of account 1110 and every described account, by asset and part. Statements: 3."""
    with connection.cursor() as cursor:
        cursor.execute(_PARTS, [AccountCode.CUSTODY.value, AccountCode.CUSTODY.value])
        rows = cursor.fetchall()
    described = CustodyAccount.objects.in_bulk([row[3] for row in rows if row[3] is not None])
    newest = {
        statement.custody_id: statement
        for statement in CustodyStatement.objects.filter(custody__in=described)
        .order_by("custody_id", "-as_of", "-pk")
        .distinct("custody_id")
    }
    return [
        CustodyPosition(asset, sub, balance, described.get(custody_id), newest.get(custody_id))
        for asset, sub, balance, custody_id in rows
    ]


def accounts_of(asset: str, network: str | None = None) -> Sequence[CustodyAccount]:
    """Return the active custody accounts of an asset, of one network or of all."""
    rows = CustodyAccount.objects.filter(asset_id=asset, active=True)
    if network is not None:
        rows = rows.filter(network=network)
    return list(rows.order_by("sub"))


def routes() -> list[TransferRoute]:
    """Return every route, by asset and network."""
    return list(TransferRoute.objects.order_by("asset_id", "network"))


def route(asset: str, network: str) -> TransferRoute:
    """Return the route of an asset on a network.

    Raises:
        RouteClosedError: There is none.
    """
    found = TransferRoute.objects.filter(asset_id=asset, network=network).first()
    if found is None:
        raise RouteClosedError(asset=asset, network=network)
    return found


def open_account(
    asset: str,
    sub: str,
    *,
    kind: str,
    network: Network,
    name: str,
    now: datetime,
    address: str = "",
    confirmations: int = 0,
    second_person_above: Decimal = Decimal(0),
) -> CustodyAccount:
    """Describe a custody account, or return it as it was described before."""
    account, _ = CustodyAccount.objects.get_or_create(
        asset_id=asset,
        sub=sub,
        defaults={
            "kind": kind,
            "network": network,
            "name": name,
            "address": address,
            "confirmations": confirmations,
            "second_person_above": second_person_above,
            "created_at": now,
        },
    )
    return account
