"""Where the platform keeps what it holds, on which ways assets come and go, and what banks and chains report."""

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from ledger.transfers.models import columns


class Network(models.TextChoices):
    """What an asset moves on; it decides how an address is written (`address_formats.py`)."""

    BITCOIN = "BITCOIN", _("Bitcoin")
    ETHEREUM = "ETHEREUM", _("Ethereum")
    TRON = "TRON", _("Tron")
    BANK = "BANK", _("Bank transfer")
    IBAN = "IBAN", _("Bank transfer (IBAN)")
    SECURITIES = "SECURITIES", _("Securities account")


class CustodyKind(models.TextChoices):
    """What sort of place a custody account is."""

    WALLET = "WALLET", _("Wallet")
    BANK = "BANK", _("Bank account")
    CHAIN = "CHAIN", _("Address on a chain")


class TransferRoute(models.Model):
    """A way on which an asset comes in and leaves, with its fee. Without one, an asset can do neither."""

    asset = columns.asset(_("asset"))
    network = models.CharField(_("network"), max_length=12, choices=Network.choices)
    withdraw_fee = columns.amount(_("withdrawal fee"))
    withdraw_min = columns.amount(_("smallest withdrawal"), help_text=_("With the fee in it, so above the fee."))
    deposits_open = models.BooleanField(_("deposits open"), default=True)
    withdrawals_open = models.BooleanField(_("withdrawals open"), default=True)

    class Meta:
        verbose_name = _("transfer route")
        verbose_name_plural = _("transfer routes")
        constraints = (
            models.UniqueConstraint(fields=["asset", "network"], name="ledger_route_once"),
            models.CheckConstraint(condition=Q(withdraw_fee__gte=0), name="ledger_route_fee"),
            models.CheckConstraint(condition=Q(withdraw_min__gt=F("withdraw_fee")), name="ledger_route_min"),
        )

    def __str__(self) -> str:
        return f"{self.asset_id} {self.network}"


class CustodyAccount(models.Model):
    """A wallet, bank account or address in which the platform keeps an asset: part `sub` of account 1110."""

    asset = columns.asset(_("asset"))
    sub = models.CharField(_("part"), max_length=64, help_text=_("Its part of account 1110; cannot be changed."))
    kind = models.CharField(_("kind"), max_length=8, choices=CustodyKind.choices)
    network = models.CharField(_("network"), max_length=12, choices=Network.choices)
    name = models.CharField(_("name"), max_length=100)
    address = models.CharField(_("address"), max_length=128, blank=True, help_text=_("Address, IBAN or account."))
    confirmations = models.PositiveSmallIntegerField(
        _("confirmations"), default=0, help_text=_("How many blocks must confirm a deposit; 0 for a bank.")
    )
    second_person_above = columns.amount(
        _("second person above"), default=0, help_text=_("Deposits above this amount wait for a second person.")
    )
    active = models.BooleanField(_("active"), default=True)
    created_at = models.DateTimeField(_("created at"))

    class Meta:
        verbose_name = _("custody account")
        verbose_name_plural = _("custody accounts")
        constraints = (
            models.UniqueConstraint(fields=["asset", "sub"], name="ledger_custody_once"),
            models.CheckConstraint(condition=Q(second_person_above__gte=0), name="ledger_custody_second_person"),
            models.CheckConstraint(condition=~Q(sub=""), name="ledger_custody_sub"),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.asset_id})"


class StatementUpload(models.Model):
    """A statement file as it was handed in, kept as evidence; importing it makes a `CustodyStatement`."""

    custody = models.ForeignKey(CustodyAccount, models.PROTECT, verbose_name=_("custody account"), related_name="+")
    file_name = models.CharField(_("file"), max_length=100)
    digest = models.CharField(max_length=64, help_text="sha256 of the content, hexadecimal")
    content = models.BinaryField()
    uploaded_by = columns.person(_("user"))
    uploaded_at = models.DateTimeField(_("uploaded at"))

    class Meta:
        verbose_name = _("statement file")
        verbose_name_plural = _("statement files")
        constraints = (models.UniqueConstraint(fields=["custody", "digest"], name="ledger_upload_once"),)

    def __str__(self) -> str:
        return self.file_name


class CustodyStatement(models.Model):
    """What a bank or a chain says a custody account held at a moment, and what moved. Never changed."""

    custody = models.ForeignKey(
        CustodyAccount, models.PROTECT, verbose_name=_("custody account"), related_name="statements"
    )
    upload = models.OneToOneField(
        StatementUpload, models.PROTECT, verbose_name=_("statement file"), related_name="statement"
    )
    as_of = models.DateTimeField(_("as of"))
    balance = columns.amount(_("balance"))
    imported_by = columns.person(_("user"))
    imported_at = models.DateTimeField(_("imported at"))

    class Meta:
        verbose_name = _("custody statement")
        verbose_name_plural = _("custody statements")
        indexes = (models.Index(fields=["custody", "as_of", "id"], name="ledger_statement_as_of"),)

    def __str__(self) -> str:
        return f"{self.custody_id} {self.as_of:%Y-%m-%d %H:%M}"


class StatementLine(models.Model):
    """One movement that a statement reports; its reference names it for ever. Never changed."""

    statement = models.ForeignKey(CustodyStatement, models.PROTECT, related_name="lines")
    custody = models.ForeignKey(CustodyAccount, models.PROTECT, related_name="+")
    n = models.PositiveIntegerField("#")
    reference = models.CharField(_("reference"), max_length=100)
    occurred_at = models.DateTimeField(_("happened at"))
    amount = columns.amount(_("amount"), help_text=_("In positive, out negative, without the fee."))
    fee = columns.amount(_("fee"), default=0)
    balance = columns.amount(_("balance after"))
    address = models.CharField(_("address"), max_length=128, blank=True)
    text = models.CharField(_("text"), max_length=300, blank=True)
    confirmations = models.PositiveIntegerField(_("confirmations"), null=True)

    class Meta:
        verbose_name = _("statement line")
        verbose_name_plural = _("statement lines")
        constraints = (
            models.UniqueConstraint(fields=["custody", "reference"], name="ledger_statement_line_once"),
            models.CheckConstraint(condition=~Q(amount=0) | Q(fee__gt=0), name="ledger_statement_line_moves"),
            models.CheckConstraint(condition=Q(fee__gte=0), name="ledger_statement_line_fee"),
        )

    def __str__(self) -> str:
        return self.reference
