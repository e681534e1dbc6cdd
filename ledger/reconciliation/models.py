"""What reconciliation remembers: how far each check has come, its runs, and the breaks with their history."""

from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from exchange.kernel.money import MONEY_DECIMALS, MONEY_DIGITS


class RunKind(models.TextChoices):
    """Why a run happened."""

    CONTINUOUS = "CONTINUOUS", _("continuous")
    FULL = "FULL", _("in full")
    ON_DEMAND = "ON_DEMAND", _("on demand")
    SETTLEMENT = "SETTLEMENT", _("by settlement")


class RunState(models.TextChoices):
    """Where a run stands."""

    REQUESTED = "REQUESTED", _("requested")
    RUNNING = "RUNNING", _("running")
    DONE = "DONE", _("done")
    FAILED = "FAILED", _("failed")


class ReconciliationRun(models.Model):
    """A run of the checks. The continuous one is one row from start to stop of its process, with rounds counted.

    `only` names the one check that was asked for; blank is all of them.
    """

    kind = models.CharField(_("kind"), max_length=16, choices=RunKind.choices)
    only = models.CharField(_("check"), max_length=64, blank=True)
    state = models.CharField(_("state"), max_length=16, choices=RunState.choices)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, verbose_name=_("requested by"), null=True, related_name="+"
    )
    started_at = models.DateTimeField(_("started at"))
    finished_at = models.DateTimeField(_("finished at"), null=True)
    rounds = models.BigIntegerField(_("rounds"), default=0)
    found = models.BigIntegerField(_("found"), default=0)
    detail = models.TextField(_("detail"), blank=True)

    class Meta:
        verbose_name = _("reconciliation run")
        verbose_name_plural = _("reconciliation runs")
        default_permissions = ("view",)
        indexes = (models.Index(fields=["kind", "id"], name="ledger_run_kind"),)

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"


class CheckMark(models.Model):
    """How far one check has come, and what its last looks were like."""

    name = models.CharField(max_length=64, primary_key=True)
    position = models.JSONField(default=dict)
    looked_at = models.DateTimeField(null=True)
    behind = models.BigIntegerField(default=0)
    items = models.BigIntegerField(default=0)
    milliseconds = models.PositiveIntegerField(default=0)
    full_at = models.DateTimeField(null=True)
    full_milliseconds = models.BigIntegerField(default=0)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.name


class CheckMemory(models.Model):
    """What a check remembers of single things, as of its mark: what it compares with was folded by itself."""

    check_name = models.CharField(max_length=64)
    key = models.CharField(max_length=64)
    value = models.JSONField()

    class Meta:
        default_permissions = ()
        constraints = (models.UniqueConstraint(fields=["check_name", "key"], name="ledger_memory_once"),)

    def __str__(self) -> str:
        return f"{self.check_name}: {self.key}"


class HashCheckpoint(models.Model):
    """What a hash chain said at a number when it was checked: history that is rewritten later contradicts it."""

    stream = models.CharField(max_length=32)
    number = models.BigIntegerField()
    hash = models.BinaryField()
    made_at = models.DateTimeField()

    class Meta:
        default_permissions = ()
        constraints = (models.UniqueConstraint(fields=["stream", "number"], name="ledger_checkpoint_once"),)

    def __str__(self) -> str:
        return f"{self.stream} at {self.number}"


class BreakState(models.TextChoices):
    """Where the work on a break stands."""

    OPEN = "OPEN", _("open")
    ASSIGNED = "ASSIGNED", _("assigned")
    EXPLAINED = "EXPLAINED", _("explained")
    RESOLVED = "RESOLVED", _("resolved")


class Break(models.Model):
    """Two things that must agree and do not: one row for each check and subject, for ever.

    `cause` is a template of the check's, in English, over `figures`; `told` puts it into the reader's language.
    `place` is where the check looks again. A break resolves itself when its check passes, and opens again when the
    same comes back.
    """

    check_name = models.CharField(_("check"), max_length=64)
    subject = models.CharField(_("subject"), max_length=128)
    asset = models.CharField(_("asset"), max_length=16, blank=True)
    amount = models.DecimalField(_("amount"), max_digits=MONEY_DIGITS, decimal_places=MONEY_DECIMALS, null=True)
    cause = models.TextField(_("cause"))
    figures = models.JSONField(default=dict)
    place = models.JSONField(null=True)
    state = models.CharField(_("state"), max_length=16, choices=BreakState.choices, default=BreakState.OPEN)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, verbose_name=_("in charge"), null=True, related_name="+"
    )
    first_seen_at = models.DateTimeField(_("first seen"))
    last_seen_at = models.DateTimeField(_("last seen"))
    resolved_at = models.DateTimeField(_("resolved at"), null=True)
    changed_at = models.DateTimeField()
    run = models.ForeignKey(ReconciliationRun, models.PROTECT, verbose_name=_("run"), related_name="+")

    objects: ClassVar[models.Manager["Break"]] = models.Manager()

    class Meta:
        verbose_name = _("break")
        verbose_name_plural = _("breaks")
        default_permissions = ("view",)
        constraints = (
            models.UniqueConstraint(fields=["check_name", "subject"], name="ledger_break_once"),
            models.CheckConstraint(
                condition=models.Q(state="RESOLVED", resolved_at__isnull=False)
                | (~models.Q(state="RESOLVED") & models.Q(resolved_at__isnull=True)),
                name="ledger_break_resolved_at",
            ),
            models.CheckConstraint(
                condition=~models.Q(state="ASSIGNED") | models.Q(owner__isnull=False), name="ledger_break_assigned"
            ),
        )
        indexes = (
            models.Index(fields=["state", "id"], name="ledger_break_state"),
            models.Index(fields=["resolved_at"], name="ledger_break_resolved"),
            models.Index(
                fields=["check_name", "last_seen_at"],
                condition=~models.Q(state="RESOLVED"),
                name="ledger_break_unresolved",
            ),
        )

    def __str__(self) -> str:
        return f"{self.check_name}: {self.subject}"

    @property
    def told(self) -> str:
        """The cause with its figures, in the language of whoever reads."""
        return str(gettext(self.cause) % self.figures)


class BreakEventKind(models.TextChoices):
    """What happened to a break."""

    FOUND = "FOUND", _("found")
    CHANGED = "CHANGED", _("changed")
    PASSED = "PASSED", _("passes again")
    RETURNED = "RETURNED", _("came back")
    ASSIGNED = "ASSIGNED", _("assigned")
    EXPLAINED = "EXPLAINED", _("explained")
    RESOLVED = "RESOLVED", _("resolved")
    REOPENED = "REOPENED", _("reopened")
    COMMENT = "COMMENT", _("comment")


class BreakEvent(models.Model):
    """A break's history, only ever added to: what the checks saw and what people did and wrote."""

    of = models.ForeignKey(Break, models.PROTECT, related_name="events", db_column="break_id")
    at = models.DateTimeField(_("at"))
    kind = models.CharField(_("kind"), max_length=16, choices=BreakEventKind.choices)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, verbose_name=_("user"), null=True, related_name="+"
    )
    text = models.TextField(_("text"), blank=True)
    detail = models.JSONField(default=dict)

    class Meta:
        verbose_name = _("event of a break")
        verbose_name_plural = _("events of breaks")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.kind} {self.of_id}"

    @property
    def amount(self) -> Any:
        """The amount that the checks saw then, as text; None for what people did."""
        return self.detail.get("amount")
