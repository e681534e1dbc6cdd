"""Withdrawals from request to settlement, saved destinations, the switch that stops them, and every step taken."""

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from ledger.transfers.models import columns
from ledger.transfers.models.custody import CustodyAccount, Network, StatementLine
from ledger.transfers.models.deposits import DepositNotice


class WithdrawalState(models.TextChoices):
    """Where a withdrawal stands. `TRANSFERS.md` draws what may follow what; a trigger keeps to it.

    SETTLING, REJECTING and CANCELLING are decided and wait for the back office, which alone may post.
    """

    REQUESTED = "REQUESTED", _("requested")
    REVIEW = "REVIEW", _("in review")
    APPROVAL = "APPROVAL", _("waiting for approval")
    APPROVED = "APPROVED", _("approved")
    SETTLING = "SETTLING", _("being settled")
    SETTLED = "SETTLED", _("settled")
    REJECTING = "REJECTING", _("being rejected")
    REJECTED = "REJECTED", _("rejected")
    CANCELLING = "CANCELLING", _("being cancelled")
    CANCELLED = "CANCELLED", _("cancelled")


CANCELLABLE = (WithdrawalState.REQUESTED, WithdrawalState.REVIEW, WithdrawalState.APPROVAL)
"""States in which the customer may still take a request back: nobody has approved it."""

ENDED = (WithdrawalState.SETTLED, WithdrawalState.REJECTED, WithdrawalState.CANCELLED)
GIVEN_BACK = (
    WithdrawalState.REJECTING,
    WithdrawalState.REJECTED,
    WithdrawalState.CANCELLING,
    WithdrawalState.CANCELLED,
)
"""States that count against no limit: the funds return."""


class WithdrawalAddress(models.Model):
    """A customer's saved destination. It can be used from `usable_from` until it is removed."""

    owner = columns.person(_("owner"))
    asset = columns.asset(_("asset"))
    network = models.CharField(_("network"), max_length=12, choices=Network.choices)
    address = models.CharField(_("address"), max_length=128)
    memo = models.CharField(_("memo"), max_length=64, blank=True)
    label = models.CharField(_("label"), max_length=50)
    created_at = models.DateTimeField(_("created at"))
    usable_from = models.DateTimeField(_("usable from"))
    removed_at = models.DateTimeField(_("removed at"), null=True)

    class Meta:
        verbose_name = _("withdrawal address")
        verbose_name_plural = _("withdrawal addresses")
        constraints = (
            models.UniqueConstraint(
                fields=["owner", "asset", "network", "address", "memo"],
                name="ledger_address_once",
                condition=Q(removed_at__isnull=True),
            ),
        )
        indexes = (models.Index(fields=["network", "address"], name="ledger_address_text"),)

    def __str__(self) -> str:
        return self.label


class Withdrawal(models.Model):
    """Money that a customer wants out. `amount` leaves the wallet; `amount - fee` arrives at the destination.

    Terms are copied when it is requested and never change; a trigger keeps them, the order of states, and that each
    posted step names its own entry. `version` counts changes: who decides says which version was seen.
    """

    id = models.BigIntegerField(primary_key=True)
    owner = columns.person(_("owner"))
    asset = columns.asset(_("asset"))
    amount = columns.amount(_("amount"))
    fee = columns.amount(_("fee"))
    saved_address = models.ForeignKey(
        WithdrawalAddress, models.PROTECT, verbose_name=_("saved address"), related_name="withdrawals"
    )
    network = models.CharField(_("network"), max_length=12, choices=Network.choices)
    address = models.CharField(_("address"), max_length=128)
    memo = models.CharField(_("memo"), max_length=64, blank=True)
    client_withdrawal_id = models.CharField(_("client's id"), max_length=64, null=True)  # noqa: DJ001 -- NULL: none
    log_heads = models.JSONField(default=dict)
    trace = models.CharField(_("trace"), max_length=64)
    requested_at = models.DateTimeField(_("requested at"))

    state = models.CharField(_("state"), max_length=12, choices=WithdrawalState.choices)
    version = models.PositiveIntegerField(default=1)
    updated_at = models.DateTimeField(_("changed at"))
    checks = models.JSONField(_("checks"), default=list)
    reviewed_by = columns.person(_("reviewed by"), null=True)
    reviewed_at = models.DateTimeField(_("reviewed at"), null=True)
    review_note = models.CharField(_("note"), max_length=300, blank=True)
    approved_by = columns.person(_("approved by"), null=True)
    approved_at = models.DateTimeField(_("approved at"), null=True)
    custody = models.ForeignKey(
        CustodyAccount, models.PROTECT, verbose_name=_("custody account"), related_name="withdrawals", null=True
    )
    payout_reference = models.CharField(_("txid or bank reference"), max_length=100, blank=True)
    network_fee = columns.amount(_("network fee"), default=0)
    gas_custody = models.ForeignKey(
        CustodyAccount, models.PROTECT, verbose_name=_("network fee from"), related_name="+", null=True
    )
    paid_by = columns.person(_("payout recorded by"), null=True)
    paid_at = models.DateTimeField(_("paid at"), null=True)
    line = models.OneToOneField(
        StatementLine, models.PROTECT, verbose_name=_("statement line"), related_name="withdrawal", null=True
    )
    ended_at = models.DateTimeField(_("ended at"), null=True)
    reason = models.CharField(_("reason"), max_length=300, blank=True)
    problem = models.CharField(_("problem"), max_length=300, blank=True)
    hold_entry = columns.entry(_("hold"))
    final_entry = columns.entry(_("settlement or release"))

    class Meta:
        verbose_name = _("withdrawal")
        verbose_name_plural = _("withdrawals")
        constraints = (
            models.CheckConstraint(condition=Q(fee__gte=0, amount__gt=F("fee")), name="ledger_withdrawal_amount"),
            models.CheckConstraint(condition=Q(network_fee__gte=0), name="ledger_withdrawal_network_fee"),
            models.UniqueConstraint(fields=["owner", "client_withdrawal_id"], name="ledger_withdrawal_client_id"),
            models.UniqueConstraint(
                fields=["custody", "payout_reference"],
                name="ledger_withdrawal_payout_once",
                condition=~Q(payout_reference=""),
            ),
            models.CheckConstraint(
                condition=Q(approved_by__isnull=True) | Q(reviewed_by__isnull=False) & ~Q(approved_by=F("reviewed_by")),
                name="ledger_withdrawal_two_persons",
            ),
            models.CheckConstraint(
                condition=(Q(reviewed_by__isnull=True) | ~Q(reviewed_by=F("owner")))
                & (Q(approved_by__isnull=True) | ~Q(approved_by=F("owner")))
                & (Q(paid_by__isnull=True) | ~Q(paid_by=F("owner"))),
                name="ledger_withdrawal_not_own",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["APPROVED", "SETTLING", "SETTLED"]) | Q(approved_by__isnull=False),
                name="ledger_withdrawal_approved",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["SETTLING", "SETTLED"])
                | Q(custody__isnull=False, paid_by__isnull=False) & ~Q(payout_reference=""),
                name="ledger_withdrawal_paid",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["REJECTING", "REJECTED"]) | ~Q(reason=""),
                name="ledger_withdrawal_reason",
            ),
        )
        indexes = (
            models.Index(fields=["owner", "id"], name="ledger_withdrawal_owner"),
            models.Index(
                fields=["state", "id"],
                name="ledger_withdrawal_open",
                condition=~Q(state__in=["SETTLED", "REJECTED", "CANCELLED"]),
            ),
            models.Index(fields=["network", "address"], name="ledger_withdrawal_to"),
        )

    def __str__(self) -> str:
        return f"W{self.pk}"


class WithdrawalStop(models.Model):
    """The switch: while a row is not lifted, no withdrawal of its asset (of any, without one) goes forward."""

    asset = columns.asset(_("asset"), null=True)
    reason = models.CharField(_("reason"), max_length=300)
    stopped_by = columns.person(_("stopped by"), null=True)
    stopped_at = models.DateTimeField(_("stopped at"))
    lifted_by = columns.person(_("lifted by"), null=True)
    lifted_at = models.DateTimeField(_("lifted at"), null=True)
    lift_reason = models.CharField(_("reason of lifting"), max_length=300, blank=True)

    class Meta:
        verbose_name = _("stop of withdrawals")
        verbose_name_plural = _("stops of withdrawals")
        constraints = (
            models.UniqueConstraint(
                fields=["asset"],
                name="ledger_stop_once",
                condition=Q(lifted_at__isnull=True),
                nulls_distinct=False,
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="ledger_stop_reason"),
        )

    def __str__(self) -> str:
        return f"{self.asset_id or '*'}: {self.reason}"


class TransferEvent(models.Model):
    """One step of a deposit or a withdrawal: from which state to which, when, by whom. Never changed."""

    deposit = models.ForeignKey(DepositNotice, models.PROTECT, related_name="events", null=True)
    withdrawal = models.ForeignKey(Withdrawal, models.PROTECT, related_name="events", null=True)
    version = models.PositiveIntegerField()
    from_state = models.CharField(_("from"), max_length=12, blank=True)
    to_state = models.CharField(_("to"), max_length=12)
    at = models.DateTimeField(_("at"))
    by = columns.person(_("by"), null=True)
    detail = models.JSONField(_("detail"), default=dict)
    trace = models.CharField(_("trace"), max_length=64)

    class Meta:
        verbose_name = _("step of a transfer")
        verbose_name_plural = _("steps of transfers")
        constraints = (
            models.CheckConstraint(
                condition=Q(deposit__isnull=True, withdrawal__isnull=False)
                | Q(deposit__isnull=False, withdrawal__isnull=True),
                name="ledger_transfer_event_of_one",
            ),
            models.UniqueConstraint(fields=["deposit", "version"], name="ledger_transfer_event_deposit"),
            models.UniqueConstraint(fields=["withdrawal", "version"], name="ledger_transfer_event_withdrawal"),
        )

    def __str__(self) -> str:
        return f"{self.from_state} -> {self.to_state}"
