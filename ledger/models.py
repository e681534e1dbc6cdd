"""The books: assets, accounts, entries, lines, and one gate row a trader.

Accounts, entries and lines are read here and written nowhere in Python: their tables, made in
`migrations/sql/`, take rows only through the door (`ledger.services.journal`).
"""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from exchange.kernel.money import MONEY_DECIMALS, MONEY_DIGITS
from ledger import control_models  # noqa: F401 -- periods and their requests are models of this app
from ledger.chart import CHART, AccountCode
from ledger.reconciliation.models import (
    Break,
    BreakEvent,
    CheckMark,
    CheckMemory,
    HashCheckpoint,
    ReconciliationRun,
)
from ledger.reserves import models as reserves_models  # noqa: F401 -- publications are models of this app
from ledger.transfers.models import (
    AccountProfile,
    CustodyAccount,
    CustodyStatement,
    DepositAddress,
    DepositNotice,
    Notice,
    StatementLine,
    StatementUpload,
    TransferEvent,
    TransferRoute,
    TransferTier,
    WebhookDelivery,
    Withdrawal,
    WithdrawalAddress,
    WithdrawalLimit,
    WithdrawalStop,
)

__all__ = [
    "Account",
    "AccountProfile",
    "Asset",
    "AssetKind",
    "Break",
    "BreakEvent",
    "CheckMark",
    "CheckMemory",
    "CustodyAccount",
    "CustodyStatement",
    "DepositAddress",
    "DepositNotice",
    "FinanceLog",
    "Gate",
    "HashCheckpoint",
    "JournalEntry",
    "Line",
    "Notice",
    "ReconciliationRun",
    "StatementLine",
    "StatementUpload",
    "TransferEvent",
    "TransferRoute",
    "TransferTier",
    "WebhookDelivery",
    "Withdrawal",
    "WithdrawalAddress",
    "WithdrawalLimit",
    "WithdrawalStop",
]


class AssetKind(models.TextChoices):
    """What sort of thing an asset is."""

    FIAT = "FIAT"
    CRYPTO = "CRYPTO"
    STOCK = "STOCK"


class Asset(models.Model):
    """Something that can be owned; amounts are whole multiples of 10^-decimals."""

    code = models.CharField(max_length=16, primary_key=True)
    name = models.CharField(max_length=64)
    decimals = models.PositiveSmallIntegerField()
    kind = models.CharField(max_length=8, choices=AssetKind.choices)

    def __str__(self) -> str:
        return self.code


class Gate(models.Model):
    """One row a trader: who holds its lock may judge and move that trader's funds (Note [Lock order])."""

    owner_id = models.BigIntegerField(primary_key=True)
    event_sequence = models.BigIntegerField(default=0)

    class Meta:
        verbose_name = _("gate")

    def __str__(self) -> str:
        return f"gate of {self.owner_id}"


class Account(models.Model):
    """A ledger account of a user, or of the platform where the owner is null. Read only."""

    CODES: ClassVar = [(code.value, f"{code.value} {CHART[code].name}") for code in AccountCode]

    owner_id = models.BigIntegerField(_("owner"), null=True)
    code = models.CharField(_("code"), max_length=4, choices=CODES)
    asset = models.ForeignKey(Asset, models.DO_NOTHING, verbose_name=_("asset"), db_column="asset", db_constraint=False)
    sub = models.CharField(_("part"), max_length=64)
    face = models.CharField(_("face"), max_length=8)
    bound = models.SmallIntegerField(_("bound"))
    balance = models.DecimalField(_("balance"), max_digits=MONEY_DIGITS, decimal_places=MONEY_DECIMALS)

    class Meta:
        managed = False
        db_table = "ledger_account"
        verbose_name = _("account")
        verbose_name_plural = _("accounts")

    def __str__(self) -> str:
        owner = "platform" if self.owner_id is None else f"user {self.owner_id}"
        part = f"/{self.sub}" if self.sub else ""
        return f"{CHART[AccountCode(self.code)].name}{part} {self.asset_id} ({owner})"


class JournalEntry(models.Model):
    """One economic event. Numbered without gaps, chained by hash, never changed."""

    id = models.BigIntegerField(primary_key=True)
    kind = models.CharField(_("kind"), max_length=32)
    key = models.CharField(_("key"), max_length=128, unique=True)
    effective_at = models.DateTimeField(_("effective at"))
    late = models.BooleanField(_("late"))
    recorded_at = models.DateTimeField(_("recorded at"))
    trace = models.CharField(_("trace"), max_length=64)
    reverses = models.OneToOneField(
        "self", models.DO_NOTHING, null=True, db_column="reverses", related_name="reversed_by", db_constraint=False
    )
    hash = models.BinaryField(_("hash"))

    class Meta:
        managed = False
        db_table = "ledger_entry"
        verbose_name = _("journal entry")
        verbose_name_plural = _("journal entries")

    def __str__(self) -> str:
        return f"#{self.pk} {self.kind}"


class Line(models.Model):
    """One debit (positive) or credit (negative) of an entry, with the account's balance after it."""

    pk = models.CompositePrimaryKey("entry_id", "n")
    entry = models.ForeignKey(JournalEntry, models.DO_NOTHING, related_name="lines", db_constraint=False)
    n = models.SmallIntegerField("#")
    account = models.ForeignKey(Account, models.DO_NOTHING, related_name="lines", db_constraint=False)
    amount = models.DecimalField(_("amount"), max_digits=MONEY_DIGITS, decimal_places=MONEY_DECIMALS)
    balance_after = models.DecimalField(_("balance after"), max_digits=MONEY_DIGITS, decimal_places=MONEY_DECIMALS)

    class Meta:
        managed = False
        db_table = "ledger_line"
        verbose_name = _("line")
        verbose_name_plural = _("lines")

    def __str__(self) -> str:
        return f"{self.entry_id}.{self.n}"


class FinanceLog(models.Model):
    """Who saw or did what in the finance screens; a trigger keeps every row as it was written.

    The finance rights are permissions of this model, since they belong to no single table: `access.Right`.
    """

    at = models.DateTimeField(_("at"))
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, verbose_name=_("user"), null=True, related_name="+"
    )
    action = models.CharField(_("action"), max_length=64)
    subject = models.CharField(_("subject"), max_length=128, blank=True)
    detail = models.JSONField(_("detail"), default=dict)
    address = models.CharField(_("address"), max_length=64, blank=True)
    trace = models.CharField(_("trace"), max_length=64)

    class Meta:
        verbose_name = _("finance log entry")
        verbose_name_plural = _("finance log")
        indexes = (
            models.Index(fields=["action", "id"], name="ledger_log_action"),
            models.Index(fields=["user", "id"], name="ledger_log_user"),
            models.Index(fields=["subject", "id"], name="ledger_log_subject"),
        )
        default_permissions = ("view",)
        permissions = (
            ("view_books", "See the books and the statements"),
            ("view_customers", "See customers' accounts"),
            ("export_books", "Export the books"),
            ("record_deposits", "Record deposits"),
            ("approve_deposits", "Approve deposits as the second person"),
            ("review_withdrawals", "Review withdrawals"),
            ("approve_withdrawals", "Approve withdrawals as the second person"),
            ("import_statements", "Import statements of banks and chains"),
            ("manage_custody", "Set up custody accounts, fees and limits"),
            ("edit_customers", "Edit customers' profiles"),
            ("make_entries", "Propose journal entries and reversals"),
            ("approve_entries", "Approve journal entries and reversals"),
            ("close_periods", "Close and reopen periods"),
            ("comment_entries", "Comment on entries and attach files"),
            ("work_on_breaks", "Work on breaks"),
            ("publish_reserves", "Publish proofs of reserves"),
            ("view_log", "See the finance log"),
        )

    def __str__(self) -> str:
        return f"{self.action} {self.subject}".strip()
