"""What people do to the books besides posting: closing periods. Imported by `models.py`, so that Django finds it."""

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


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
