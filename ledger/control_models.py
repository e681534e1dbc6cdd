"""What people do to the books: closing periods, proposing entries, commenting on them, attaching files to them.

And when the back office last looked for such work.

Imported by `models.py`, so that Django finds it.
"""

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from exchange.kernel.money import MONEY_DECIMALS, MONEY_DIGITS


class PeriodAction(models.TextChoices):
    """What was done to a period."""

    CLOSE = "CLOSE", _("closed")
    REOPEN = "REOPEN", _("reopened")


class Period(models.Model):
    """A period that was closed or reopened: all that is effective from its start on, before its end. Read only."""

    action = models.CharField(_("action"), max_length=6, choices=PeriodAction)
    starts_at = models.DateTimeField(_("from"))
    ends_at = models.DateTimeField(_("to"))
    reason = models.CharField(_("reason"), max_length=500)
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.DO_NOTHING, verbose_name=_("author"), related_name="+", db_constraint=False
    )
    recorded_at = models.DateTimeField(_("recorded at"))
    entry_id = models.BigIntegerField(_("last entry"))
    hash = models.BinaryField(_("hash"))

    class Meta:
        managed = False
        db_table = "ledger_period"
        verbose_name = _("period")
        verbose_name_plural = _("periods")

    def __str__(self) -> str:
        return f"{self.action} {self.starts_at:%Y-%m-%d} - {self.ends_at:%Y-%m-%d}"


class RequestState(models.TextChoices):
    """What became of a request to close or reopen a period."""

    ASKED = "ASKED", _("asked")
    DONE = "DONE", _("done")
    REFUSED = "REFUSED", _("refused")


class PeriodRequest(models.Model):
    """A wish to close or reopen: asked by staff, carried out by the back office."""

    action = models.CharField(_("action"), max_length=6, choices=PeriodAction)
    boundary = models.DateTimeField(_("boundary"))
    reason = models.CharField(_("reason"), max_length=500)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, verbose_name=_("author"), related_name="+")
    asked_at = models.DateTimeField(_("asked at"))
    state = models.CharField(_("state"), max_length=8, choices=RequestState, default=RequestState.ASKED)
    ended_at = models.DateTimeField(_("ended at"), null=True)
    refusal = models.TextField(_("refusal"), blank=True)
    period = models.OneToOneField(
        Period, models.DO_NOTHING, verbose_name=_("period"), null=True, related_name="request", db_constraint=False
    )

    class Meta:
        verbose_name = _("period request")
        verbose_name_plural = _("period requests")
        constraints = (
            models.UniqueConstraint(
                models.Value(1), condition=models.Q(state="ASKED"), name="ledger_periodrequest_one_waits"
            ),
        )

    def __str__(self) -> str:
        return f"{self.action} {self.boundary:%Y-%m-%d %H:%M}"


class ProposalKind(models.TextChoices):
    """Which entry is proposed: the kind that it will post."""

    MANUAL = "MANUAL", _("manual entry")
    CORRECTION = "CORRECTION", _("correction")
    REVERSAL = "REVERSAL", _("reversal")


class ProposalState(models.TextChoices):
    """Where a proposal stands."""

    PROPOSED = "PROPOSED", _("proposed")
    APPROVED = "APPROVED", _("approved")
    POSTED = "POSTED", _("posted")
    REFUSED = "REFUSED", _("refused by the books")
    REJECTED = "REJECTED", _("rejected")
    WITHDRAWN = "WITHDRAWN", _("withdrawn")


WAITING = (ProposalState.PROPOSED, ProposalState.APPROVED)
CHECKED = (ProposalState.APPROVED, ProposalState.POSTED, ProposalState.REFUSED, ProposalState.REJECTED)


class Proposal(models.Model):
    """An entry that one person proposes and another approves; the back office posts it.

    Triggers (`migrations/sql/0008_proposals.sql`) keep what was proposed as it was, allow no state but the next,
    and let no entry of these kinds in that is not exactly an approved proposal.
    """

    kind = models.CharField(_("kind"), max_length=32, choices=ProposalKind)
    reason = models.CharField(_("reason"), max_length=500)
    effective_at = models.DateTimeField(_("effective at"), null=True)
    reverses = models.ForeignKey(
        "ledger.JournalEntry",
        models.DO_NOTHING,
        verbose_name=_("reverses"),
        null=True,
        related_name="reversal_proposals",
        db_constraint=False,
    )
    maker = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, verbose_name=_("maker"), related_name="+")
    made_at = models.DateTimeField(_("made at"))
    state = models.CharField(_("state"), max_length=9, choices=ProposalState, default=ProposalState.PROPOSED)
    checker = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, verbose_name=_("checker"), null=True, related_name="+"
    )
    checked_at = models.DateTimeField(_("checked at"), null=True)
    remark = models.CharField(_("remark"), max_length=500, blank=True)
    refusal = models.TextField(_("refusal"), blank=True)
    entry = models.OneToOneField(
        "ledger.JournalEntry",
        models.DO_NOTHING,
        verbose_name=_("journal entry"),
        null=True,
        related_name="proposal",
        db_constraint=False,
    )

    class Meta:
        verbose_name = _("proposed entry")
        verbose_name_plural = _("proposed entries")
        constraints = (
            models.CheckConstraint(condition=~models.Q(checker=models.F("maker")), name="ledger_proposal_two_people"),
            models.CheckConstraint(
                condition=models.Q(state__in=CHECKED, checker__isnull=False, checked_at__isnull=False)
                | models.Q(~models.Q(state__in=CHECKED), checker__isnull=True, checked_at__isnull=True),
                name="ledger_proposal_checked",
            ),
            models.CheckConstraint(
                condition=models.Q(kind="REVERSAL", reverses__isnull=False, effective_at__isnull=True)
                | models.Q(kind="MANUAL", reverses__isnull=True, effective_at__isnull=True)
                | models.Q(kind="CORRECTION", reverses__isnull=True, effective_at__isnull=False),
                name="ledger_proposal_kind",
            ),
            models.CheckConstraint(
                condition=models.Q(state="POSTED", entry__isnull=False)
                | models.Q(~models.Q(state="POSTED"), entry__isnull=True),
                name="ledger_proposal_entry",
            ),
            models.UniqueConstraint(
                fields=["reverses"],
                condition=models.Q(state__in=(*WAITING, "POSTED")),
                name="ledger_proposal_reverses_once",
            ),
        )
        indexes = (models.Index(fields=["state", "id"], name="ledger_proposal_state"),)

    def __str__(self) -> str:
        return f"#{self.pk} {self.kind}"


class ProposalLine(models.Model):
    """One line of a proposed manual entry or correction; debit positive, in the user's view where it has one."""

    proposal = models.ForeignKey(Proposal, models.PROTECT, verbose_name=_("proposed entry"), related_name="lines")
    n = models.PositiveSmallIntegerField("#")
    owner_id = models.BigIntegerField(_("owner"), null=True)
    code = models.CharField(_("code"), max_length=4)
    asset = models.ForeignKey("ledger.Asset", models.PROTECT, verbose_name=_("asset"), db_column="asset")
    sub = models.CharField(_("part"), max_length=64, blank=True)
    amount = models.DecimalField(_("amount"), max_digits=MONEY_DIGITS, decimal_places=MONEY_DECIMALS)

    class Meta:
        verbose_name = _("proposed line")
        verbose_name_plural = _("proposed lines")
        constraints = (
            models.UniqueConstraint(fields=["proposal", "n"], name="ledger_proposalline_n"),
            models.CheckConstraint(condition=~models.Q(amount=0), name="ledger_proposalline_amount"),
        )

    def __str__(self) -> str:
        return f"{self.proposal_id}.{self.n}"


class EntryComment(models.Model):
    """What somebody said about an entry; a trigger keeps it."""

    entry = models.ForeignKey(
        "ledger.JournalEntry",
        models.DO_NOTHING,
        verbose_name=_("journal entry"),
        related_name="comments",
        db_constraint=False,
    )
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, verbose_name=_("author"), related_name="+")
    text = models.CharField(_("text"), max_length=2000)
    made_at = models.DateTimeField(_("made at"))

    class Meta:
        verbose_name = _("comment")
        verbose_name_plural = _("comments")
        indexes = (models.Index(fields=["entry", "id"], name="ledger_comment_entry"),)

    def __str__(self) -> str:
        return self.text[:40]


class EntryAttachment(models.Model):
    """A file that belongs to an entry: a statement, a mail, an invoice; stored by its hash, kept by a trigger."""

    entry = models.ForeignKey(
        "ledger.JournalEntry",
        models.DO_NOTHING,
        verbose_name=_("journal entry"),
        related_name="attachments",
        db_constraint=False,
    )
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, verbose_name=_("author"), related_name="+")
    name = models.CharField(_("file name"), max_length=120)
    content_type = models.CharField(_("content type"), max_length=100)
    size_bytes = models.PositiveIntegerField(_("size in bytes"))
    sha256 = models.CharField("SHA-256", max_length=64)
    made_at = models.DateTimeField(_("made at"))

    class Meta:
        verbose_name = _("attachment")
        verbose_name_plural = _("attachments")
        constraints = (models.UniqueConstraint(fields=["entry", "sha256"], name="ledger_attachment_once"),)

    def __str__(self) -> str:
        return self.name


class BackOfficeRound(models.Model):
    """When the back office last finished a round of `ledger.tasks.carry_out`: one row, none before the first."""

    finished_at = models.DateTimeField(_("finished at"))

    class Meta:
        default_permissions = ()
        verbose_name = _("round of the back office")
        verbose_name_plural = _("rounds of the back office")

    def __str__(self) -> str:
        return f"{self.finished_at:%Y-%m-%d %H:%M:%S}"
