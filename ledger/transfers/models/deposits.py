"""Deposits from their announcement to their credit, where customers send them, and what providers told us."""

from typing import Any, ClassVar

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _
from djmoney.models.fields import MoneyField

from exchange.kernel.money import MONEY_DECIMALS, MONEY_DIGITS
from ledger import currencies
from ledger.transfers.models import columns
from ledger.transfers.models.custody import CustodyAccount, StatementLine


class DepositState(models.TextChoices):
    """Where a deposit stands. `TRANSFERS.md` draws what may follow what."""

    ANNOUNCED = "ANNOUNCED", _("announced")
    CONFIRMED = "CONFIRMED", _("confirmed")
    CREDITED = "CREDITED", _("credited")
    REFUSED = "REFUSED", _("refused")


class DepositSource(models.TextChoices):
    """Who said that the money is there."""

    DIRECT = "DIRECT", _("credited at once")
    MANUAL = "MANUAL", _("recorded by hand")
    STATEMENT = "STATEMENT", _("from a statement")
    WEBHOOK = "WEBHOOK", _("told by a provider")


class DepositAddress(models.Model):
    """Where one customer sends an asset: an address of the customer's own, or a code that goes into the memo.

    Rows without an owner are addresses in stock: a custody provider hands them out in bulk.
    """

    custody = models.ForeignKey(
        CustodyAccount, models.PROTECT, verbose_name=_("custody account"), related_name="deposit_addresses"
    )
    owner = columns.person(_("owner"), null=True)
    address = models.CharField(_("address"), max_length=128, blank=True)
    memo = models.CharField(_("memo"), max_length=32, blank=True)
    assigned_at = models.DateTimeField(_("assigned at"), null=True)

    class Meta:
        verbose_name = _("deposit address")
        verbose_name_plural = _("deposit addresses")
        constraints = (
            models.UniqueConstraint(fields=["custody", "address", "memo"], name="ledger_deposit_address_once"),
            models.UniqueConstraint(fields=["custody", "owner"], name="ledger_deposit_address_of_owner"),
            models.UniqueConstraint(fields=["memo"], name="ledger_deposit_memo_once", condition=~Q(memo="")),
            models.CheckConstraint(
                condition=Q(owner__isnull=True, assigned_at__isnull=True)
                | Q(owner__isnull=False, assigned_at__isnull=False),
                name="ledger_deposit_address_assigned",
            ),
        )

    def __str__(self) -> str:
        return self.memo or self.address


class DepositNotice(models.Model):
    """A deposit: who sent how much where, who says so, and by which entry it was credited.

    One row for each custody account and reference, whoever announced it first: a notice typed by an accountant and
    the line of a statement that reports the same transfer are the same deposit.
    """

    owner = columns.person(_("owner"), null=True)
    amount = MoneyField(  # type: ignore[no-untyped-call]
        _("amount"),
        max_digits=MONEY_DIGITS,
        decimal_places=MONEY_DECIMALS,
        default_currency=None,
        currency_choices=None,
    )
    key = models.CharField(_("key"), max_length=128, unique=True)
    note = models.CharField(_("note"), max_length=200, blank=True)
    entry = models.OneToOneField(
        "ledger.JournalEntry",
        models.DO_NOTHING,
        verbose_name=_("journal entry"),
        related_name="deposit",
        null=True,
        db_constraint=False,
    )
    created_at = models.DateTimeField(_("created at"))

    state = models.CharField(_("state"), max_length=12, choices=DepositState.choices, default=DepositState.ANNOUNCED)
    version = models.PositiveIntegerField(default=1)
    source = models.CharField(_("source"), max_length=12, choices=DepositSource.choices, default=DepositSource.DIRECT)
    custody = models.ForeignKey(
        CustodyAccount, models.PROTECT, verbose_name=_("custody account"), related_name="deposits", null=True
    )
    reference = models.CharField(_("reference"), max_length=100, blank=True)
    occurred_at = models.DateTimeField(_("happened at"), null=True)
    address = models.CharField(_("address"), max_length=128, blank=True)
    memo = models.CharField(_("memo"), max_length=300, blank=True)
    confirmations = models.PositiveIntegerField(_("confirmations"), default=0)
    second_person = models.BooleanField(_("second person"), default=False)
    made_by = columns.person(_("recorded by"), null=True)
    approved_by = columns.person(_("approved by"), null=True)
    receipt_entry = columns.entry(_("receipt in suspense"))
    line = models.OneToOneField(
        StatementLine, models.PROTECT, verbose_name=_("statement line"), related_name="deposit", null=True
    )
    reason = models.CharField(_("reason"), max_length=300, blank=True)
    problem = models.CharField(_("problem"), max_length=300, blank=True)
    trace = models.CharField(_("trace"), max_length=64, blank=True)

    objects: ClassVar[models.Manager["DepositNotice"]] = models.Manager()

    class Meta:
        verbose_name = _("deposit")
        verbose_name_plural = _("deposits")
        constraints = (
            models.UniqueConstraint(
                fields=["custody", "reference"], name="ledger_deposit_once", condition=Q(custody__isnull=False)
            ),
            models.CheckConstraint(
                condition=Q(approved_by__isnull=True) | Q(made_by__isnull=True) | ~Q(approved_by=F("made_by")),
                name="ledger_deposit_two_persons",
            ),
            models.CheckConstraint(
                condition=~Q(state=DepositState.CREDITED)
                | Q(owner__isnull=False, entry__isnull=False) & (Q(second_person=False) | Q(approved_by__isnull=False)),
                name="ledger_deposit_credited",
            ),
            models.CheckConstraint(
                condition=Q(source=DepositSource.DIRECT) | Q(custody__isnull=False) & ~Q(reference=""),
                name="ledger_deposit_custody",
            ),
        )
        indexes = (
            models.Index(fields=["owner", "id"], name="ledger_deposit_owner"),
            models.Index(
                fields=["state", "id"],
                name="ledger_deposit_open",
                condition=Q(state__in=[DepositState.ANNOUNCED, DepositState.CONFIRMED]),
            ),
        )

    def __str__(self) -> str:
        return self.key

    @classmethod
    def from_db(cls, *args: Any, **kwargs: Any) -> "DepositNotice":
        """Make the row's asset known to moneyed, which refuses currencies it has not heard of."""
        notice = super().from_db(*args, **kwargs)
        if "amount_currency" in notice.__dict__:
            currencies.currency(notice.__dict__["amount_currency"])
        return notice


class WebhookDelivery(models.Model):
    """One signed call of a provider, as it came: the raw body, and what became of it. Never changed."""

    provider = models.CharField(_("provider"), max_length=32)
    digest = models.CharField(max_length=64, unique=True, help_text="sha256 of timestamp and body, hexadecimal")
    sent_at = models.DateTimeField(_("sent at"))
    received_at = models.DateTimeField(_("received at"))
    address = models.CharField(_("address"), max_length=64)
    body = models.BinaryField()
    deposit = models.ForeignKey(
        DepositNotice, models.PROTECT, verbose_name=_("deposit"), related_name="deliveries", null=True
    )
    outcome = models.CharField(_("outcome"), max_length=64)

    class Meta:
        verbose_name = _("webhook delivery")
        verbose_name_plural = _("webhook deliveries")

    def __str__(self) -> str:
        return f"{self.provider} {self.pk}"
