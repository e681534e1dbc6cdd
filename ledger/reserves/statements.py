"""What is published, as plain values: read from the signed text itself, so that no page can say otherwise."""

import json
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple, cast

from exchange.kernel.errors import DomainError, gettext_noop
from exchange.kernel.money import from_quanta
from ledger.reserves.models import Publication, PublicationState

RATIO_DECIMALS: Final = 4
NUMBER_SHOWN_MAX: Final = 24


class PublicationUnknownError(DomainError):
    """No such publication."""

    code = 4473
    name = "RESERVES_UNKNOWN"
    status = 404
    message = gettext_noop("There is no proof of reserves %(publication)s.")


class CustodyAccount(NamedTuple):
    """A custody account and what is in it."""

    account: str
    amount: Decimal


class AssetFigures(NamedTuple):
    """What a statement says of an asset.

    Args:
        root_hash: The tree's, hexadecimal.
        liabilities: What users are owed.
        ratio: Custody by liabilities, rounded down; None where nothing is owed.
    """

    asset: str
    root_hash: str
    depth: int
    liabilities: Decimal
    custody_total: Decimal
    custody: list[CustodyAccount]
    insurance: Decimal
    ratio: Decimal | None


class Published(NamedTuple):
    """A publication as everyone may see it."""

    id: int
    published_at: datetime
    entry_id: int
    entry_hash: str
    statement: str
    signature: str
    public_key: str
    assets: list[AssetFigures]

    @property
    def lowest_ratio(self) -> Decimal | None:
        """Return the ratio of the asset that is covered least; None where nothing is owed."""
        return min((figures.ratio for figures in self.assets if figures.ratio is not None), default=None)


_COLUMNS: Final = ("id", "published_at", "entry_id", "statement", "signature", "public_key")


def _published(row: Publication) -> Published:
    said = json.loads(row.statement)
    return Published(
        id=row.pk,
        published_at=cast("datetime", row.published_at),
        entry_id=said["books"]["entry"],
        entry_hash=said["books"]["hash"],
        statement=row.statement,
        signature=bytes(row.signature or b"").hex(),
        public_key=bytes(row.public_key or b"").hex(),
        assets=[_figures(asset) for asset in said["assets"]],
    )


def _figures(said: dict[str, Any]) -> AssetFigures:
    decimals = said["decimals"]
    owed, custody = (from_quanta(int(said[name]), decimals) for name in ("total", "custody_total"))
    return AssetFigures(
        asset=said["asset"],
        root_hash=said["root"],
        depth=said["depth"],
        liabilities=owed,
        custody_total=custody,
        custody=[
            CustodyAccount(held["account"], from_quanta(int(held["amount"]), decimals)) for held in said["custody"]
        ],
        insurance=from_quanta(int(said["insurance"]), decimals),
        ratio=_ratio(int(said["custody_total"]), int(said["total"])),
    )


def _ratio(custody: int, owed: int) -> Decimal | None:
    """Return how much of what is owed is in custody, rounded down: 0.99999 is not all of it."""
    return from_quanta(custody * 10**RATIO_DECIMALS // owed, RATIO_DECIMALS) if owed else None


def newest(limit: int, *, before: int | None = None) -> list[Published]:
    """Return publications, newest first.

    Args:
        before: Only those with a smaller number.
    """
    rows = Publication.objects.filter(state=PublicationState.PUBLISHED).only(*_COLUMNS)
    if before is not None:
        rows = rows.filter(pk__lt=before)
    return [_published(row) for row in rows.order_by("-id")[:limit]]


def published(publication_id: int) -> Published:
    """Return one publication.

    Raises:
        PublicationUnknownError: There is none of that number.
    """
    return _published(row(publication_id))


def row(publication_id: int) -> Publication:
    """Return the row of one publication.

    Raises:
        PublicationUnknownError: There is none of that number.
    """
    found = Publication.objects.filter(pk=publication_id, state=PublicationState.PUBLISHED).first()
    if found is None:
        raise PublicationUnknownError(publication=str(publication_id)[:NUMBER_SHOWN_MAX])
    return found
