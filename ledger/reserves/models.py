"""Publications of what the exchange owes and holds, and the trees behind them. Triggers keep what was published."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from ledger.reserves.tree import HASH_BYTES


class PublicationState(models.TextChoices):
    """Where a publication stands."""

    REQUESTED = "REQUESTED", _("requested")
    PUBLISHED = "PUBLISHED", _("published")
    REFUSED = "REFUSED", _("refused")


class Publication(models.Model):
    """A signed statement of what the exchange owes its users and holds in custody, at one entry of the books.

    Args:
        secret: Salts and cuts come from it; who has it and a user's id can name that user's leaves.
        statement: The JSON text as it was signed; everything that is public about the publication is in it.
    """

    state = models.CharField(_("state"), max_length=9, choices=PublicationState, default=PublicationState.REQUESTED)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, verbose_name=_("requested by"), related_name="+"
    )
    requested_at = models.DateTimeField(_("requested at"))
    published_at = models.DateTimeField(_("published at"), null=True)
    entry_id = models.BigIntegerField(_("journal entry"), null=True)
    secret = models.BinaryField(null=True, editable=False)
    statement = models.TextField(blank=True)
    signature = models.BinaryField(null=True)
    public_key = models.BinaryField(null=True)
    refusal = models.TextField(_("refusal"), blank=True)

    objects: ClassVar[models.Manager["Publication"]] = models.Manager()

    class Meta:
        db_table = "ledger_publication"
        verbose_name = _("proof of reserves")
        verbose_name_plural = _("proofs of reserves")
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(
                models.Value(1), condition=models.Q(state="REQUESTED"), name="ledger_publication_one_waits"
            ),
            models.CheckConstraint(
                condition=models.Q(
                    state="PUBLISHED",
                    published_at__isnull=False,
                    entry_id__isnull=False,
                    secret__isnull=False,
                    signature__isnull=False,
                    public_key__isnull=False,
                )
                | models.Q(~models.Q(state="PUBLISHED"), statement="", signature__isnull=True),
                name="ledger_publication_signed",
            ),
        )

    def __str__(self) -> str:
        return f"#{self.pk}"


class TreeChunk(models.Model):
    """Neighbouring leaves of one asset's tree, so many that a path needs one chunk and the nodes above all chunks.

    Args:
        part: The half of the tree, which is the part of each user whose leaves are in it.
    """

    publication = models.ForeignKey(Publication, models.PROTECT, related_name="chunks")
    asset = models.ForeignKey("ledger.Asset", models.PROTECT, related_name="+")
    part = models.PositiveSmallIntegerField()
    number = models.PositiveIntegerField()
    first = models.BinaryField(max_length=HASH_BYTES, help_text="The hash of its first leaf; leaves are in order.")
    top = models.BinaryField(help_text="The node above its leaves.")
    leaves = models.BinaryField(help_text="Its leaves, one after another.")

    class Meta:
        db_table = "ledger_publication_chunk"
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(fields=["publication", "asset", "number"], name="ledger_publication_chunk_once"),
        )
        indexes = (models.Index(fields=["publication", "asset", "part", "first"], name="ledger_chunk_first"),)

    def __str__(self) -> str:
        return f"{self.publication_id}/{self.asset_id}/{self.number}"
