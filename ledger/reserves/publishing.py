"""Publishes proofs of reserves: staff ask, the back office builds and signs, and what is published stays.

The web's role writes the request down; triggers (`migrations/sql/`) let only the back office publish. The private
key is in the back office's environment alone.
"""

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Final

import structlog
from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import IntegrityError, transaction

from exchange.kernel.errors import DomainError, gettext_noop
from ledger.access import Right, check
from ledger.reserves import building, signing
from ledger.reserves.building import Built
from ledger.reserves.models import Publication, PublicationState, TreeChunk
from ledger.reserves.tree import HASH_BYTES
from ledger.services import back_office, finance_log

SECRET_BYTES: Final = 32
CHUNKS_PER_INSERT: Final = 100

logger = structlog.get_logger(__name__)


class NotPublishingError(DomainError):
    """This exchange publishes no proofs of reserves."""

    code = 4475
    name = "RESERVES_OFF"
    status = 409
    message = gettext_noop("This exchange publishes no proofs of reserves.")


class PublicationWaitsError(DomainError):
    """One is being made."""

    code = 4472
    name = "RESERVES_BEING_PUBLISHED"
    status = 409
    message = gettext_noop("A proof of reserves is being made already.")


def request(author: AbstractUser, *, now: datetime) -> Publication:
    """Ask for a publication of the books as they are when it is built.

    Raises:
        NotAllowedError: The author lacks the right to publish.
        NotPublishingError: `settings.RESERVES_PUBLISHING` is off.
        PublicationWaitsError: Another one is being made.
    """
    check(author, Right.PUBLISH_RESERVES)
    if not settings.RESERVES_PUBLISHING:
        raise NotPublishingError
    with transaction.atomic():
        try:
            with transaction.atomic():
                publication = Publication.objects.create(requested_by_id=author.pk, requested_at=now)
        except IntegrityError:  # ledger_publication_one_waits
            raise PublicationWaitsError from None
        finance_log.record("reserves.request", now=now, user_id=author.pk, subject=str(publication.pk))
        back_office.wake()
    return publication


def carry_out(now: datetime) -> int:
    """Build, sign and publish what was asked for. The back office's role may; a crash leaves the request as it was.

    Returns:
        How many were published or refused.
    """
    done = 0
    for publication_id in (
        Publication.objects.filter(state=PublicationState.REQUESTED).order_by("id").values_list("id", flat=True)
    ):
        done += publish(publication_id, now=now) is not None
    return done


@transaction.atomic
def publish(
    publication_id: int, *, now: datetime, advance: Callable[[str], None] = lambda _asset: None
) -> Publication | None:
    """Build, sign and publish one request, or refuse it with the reason; None when another process is at it.

    Args:
        advance: Told each asset whose tree is done.
    """
    waiting = Publication.objects.select_for_update(skip_locked=True, of=("self",))
    publication = waiting.filter(pk=publication_id, state=PublicationState.REQUESTED).first()
    if publication is None:
        return None
    secret = secrets.token_bytes(SECRET_BYTES)
    try:
        built = building.build(publication.pk, secret, now, advance)
        signature, public_key = signing.sign(built.statement)
    except DomainError as refusal:
        publication.state, publication.refusal = PublicationState.REFUSED, str(refusal)
        publication.save(update_fields=["state", "refusal"])
        logger.warning("reserves_refused", publication=publication.pk, reason=publication.refusal)
        return publication
    _store(publication, built)
    publication.state, publication.published_at = PublicationState.PUBLISHED, now
    publication.entry_id, publication.statement = built.entry_id, built.statement
    publication.secret, publication.signature, publication.public_key = secret, signature, public_key
    publication.save()
    finance_log.record(
        "reserves.publish",
        now=now,
        subject=str(publication.pk),
        detail={"entry": built.entry_id, "key": public_key.hex()},
    )
    return publication


def _store(publication: Publication, built: Built) -> None:
    TreeChunk.objects.bulk_create(
        (
            TreeChunk(
                publication=publication,
                asset_id=chunk.asset,
                part=chunk.part,
                number=chunk.number,
                first=chunk.leaves[0][:HASH_BYTES],
                top=chunk.top,
                leaves=b"".join(chunk.leaves),
            )
            for chunk in built.chunks
        ),
        batch_size=CHUNKS_PER_INSERT,
    )
