"""Who holds an account, what that person may move, and what that person is told."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from ledger.transfers.models import columns


class HolderKind(models.TextChoices):
    """Who holds an account."""

    PERSON = "PERSON", _("person")
    COMPANY = "COMPANY", _("company")


class AccountProfile(models.Model):
    """Who a customer is in law, and what the customer may not do for now.

    The risk tier stands elsewhere, where orders are judged by it: `outside.tier_of` asks for it.
    """

    owner = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.PROTECT, primary_key=True, verbose_name=_("owner"), related_name="+"
    )
    legal_name = models.CharField(_("legal name"), max_length=150, blank=True)
    country = models.CharField(_("country"), max_length=2, blank=True, help_text=_("ISO 3166 code: TW, JP, US ..."))
    kind = models.CharField(_("kind"), max_length=8, choices=HolderKind.choices, default=HolderKind.PERSON)
    frozen = models.BooleanField(_("frozen"), default=False, help_text=_("No new orders and no withdrawals."))
    withdrawals_blocked = models.BooleanField(_("withdrawals blocked"), default=False)
    reason = models.CharField(_("reason"), max_length=300, blank=True)
    version = models.PositiveIntegerField(default=1)
    updated_by = columns.person(_("changed by"), null=True)
    updated_at = models.DateTimeField(_("changed at"))

    class Meta:
        verbose_name = _("account profile")
        verbose_name_plural = _("account profiles")
        constraints = (
            models.CheckConstraint(
                condition=Q(frozen=False, withdrawals_blocked=False) | ~Q(reason=""), name="ledger_profile_reason"
            ),
        )

    def __str__(self) -> str:
        return self.legal_name or str(self.pk)


class TransferTier(models.Model):
    """What a risk tier, by its name, means for withdrawals. A tier without a row has these defaults."""

    name = models.CharField(_("tier"), max_length=32, primary_key=True)
    address_delay_hours = models.PositiveSmallIntegerField(
        _("delay of new addresses, in hours"), default=24, help_text=_("Before a new address can be used.")
    )
    requests_per_day = models.PositiveSmallIntegerField(_("withdrawals a day"), default=10)

    class Meta:
        verbose_name = _("tier for transfers")
        verbose_name_plural = _("tiers for transfers")

    def __str__(self) -> str:
        return self.name


class WithdrawalLimit(models.Model):
    """How much of an asset may leave in 24 hours and in 30 days: for a tier, or for one customer instead of it."""

    tier = models.CharField(_("tier"), max_length=32, blank=True)
    owner = columns.person(_("owner"), null=True, blank=True)
    asset = columns.asset(_("asset"))
    per_day = columns.amount(_("in 24 hours"))
    per_month = columns.amount(_("in 30 days"))

    class Meta:
        verbose_name = _("withdrawal limit")
        verbose_name_plural = _("withdrawal limits")
        constraints = (
            models.UniqueConstraint(fields=["tier", "asset"], name="ledger_limit_of_tier", condition=~Q(tier="")),
            models.UniqueConstraint(
                fields=["owner", "asset"], name="ledger_limit_of_owner", condition=Q(owner__isnull=False)
            ),
            models.CheckConstraint(
                condition=Q(tier="", owner__isnull=False) | ~Q(tier="") & Q(owner__isnull=True),
                name="ledger_limit_scope",
            ),
            models.CheckConstraint(condition=Q(per_day__gte=0, per_month__gte=0), name="ledger_limit_not_negative"),
        )

    def __str__(self) -> str:
        return f"{self.tier or self.owner_id} {self.asset_id}"


class Notice(models.Model):
    """Something a customer is told, in the app and perhaps by mail; its words are made when it is read."""

    owner = columns.person(_("owner"))
    kind = models.CharField(_("kind"), max_length=32)
    data = models.JSONField(_("detail"), default=dict)
    created_at = models.DateTimeField(_("created at"))
    read_at = models.DateTimeField(_("read at"), null=True)
    mailed_at = models.DateTimeField(_("mailed at"), null=True)

    class Meta:
        verbose_name = _("notice")
        verbose_name_plural = _("notices")
        indexes = (
            models.Index(fields=["owner", "id"], name="ledger_notice_owner"),
            models.Index(fields=["owner"], name="ledger_notice_unread", condition=Q(read_at__isnull=True)),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"
