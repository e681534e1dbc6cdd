"""The forms of the finance pages, checked before a service sees them."""

from decimal import Decimal
from typing import Any, Final

from django import forms
from django.utils.translation import gettext_lazy as _

from exchange.kernel.money import MONEY_DECIMALS, MONEY_DIGITS
from ledger.models import Asset
from ledger.transfers import statement_csv
from ledger.transfers.models import AccountProfile, CustodyAccount, HolderKind
from ledger.transfers.outside import OUTSIDE
from ledger.transfers.pages.common import MomentField

TEXT_MAX: Final = 300
REFERENCE_MAX: Final = 100
STOCK_LENGTH_MAX: Final = 500_000


def amount(label: Any, *, required: bool = True, initial: Decimal | None = None) -> forms.DecimalField:
    """Return a field for an amount; its asset's decimals are the service's to check."""
    return forms.DecimalField(
        label=label,
        required=required,
        initial=initial,
        max_digits=MONEY_DIGITS,
        decimal_places=MONEY_DECIMALS,
        widget=forms.TextInput({"inputmode": "decimal", "autocomplete": "off"}),
    )


class CustodyChoice(forms.ModelChoiceField):  # type: ignore[type-arg]  # generic in the stubs only
    """One of the active custody accounts."""

    def __init__(self, **options: Any) -> None:
        rows = CustodyAccount.objects.filter(active=True).order_by("asset_id", "sub")
        super().__init__(queryset=rows, **options)

    def label_from_instance(self, obj: Any) -> str:
        """Name asset and account, as one looks for them."""
        return f"{obj.asset_id} · {obj.name} ({obj.sub})"


class DepositForm(forms.Form):
    """A deposit that an accountant has seen."""

    customer = forms.CharField(label=_("Customer"), max_length=150, help_text=_("User name or id."))
    custody = CustodyChoice(label=_("Custody account"))
    amount = amount(_("Amount"))
    reference = forms.CharField(
        label=_("Reference"), max_length=REFERENCE_MAX, help_text=_("As bank or chain name the transfer.")
    )
    occurred_at = MomentField(label=_("Came in at"), required=False, help_text=_("UTC; empty: now."))
    note = forms.CharField(label=_("Note"), max_length=200, required=False)


class VersionForm(forms.Form):
    """A decision on what the person saw."""

    version = forms.IntegerField(min_value=0, widget=forms.HiddenInput)


class ReviewForm(VersionForm):
    """A review that found nothing against it."""

    note = forms.CharField(label=_("Note"), max_length=TEXT_MAX, required=False)


class ReasonForm(VersionForm):
    """A decision against it."""

    reason = forms.CharField(label=_("Reason"), max_length=TEXT_MAX, help_text=_("The customer is told."))


class OwnerForm(VersionForm):
    """Whose a deposit is."""

    customer = forms.CharField(label=_("Customer"), max_length=150, help_text=_("User name or id."))


class PayoutForm(VersionForm):
    """What was paid, outside of the exchange."""

    custody = CustodyChoice(label=_("Paid from"))
    reference = forms.CharField(label=_("Txid or bank reference"), max_length=REFERENCE_MAX)
    network_fee = amount(_("Network fee"), required=False, initial=Decimal(0))
    gas_custody = CustodyChoice(label=_("Network fee from"), required=False, empty_label=_("the same account"))
    paid_at = MomentField(label=_("Paid at"), required=False, help_text=_("UTC; empty: now."))


class StopForm(forms.Form):
    """Stops withdrawals."""

    asset = forms.ModelChoiceField(
        label=_("Asset"), queryset=Asset.objects.order_by("code"), required=False, empty_label=_("all assets")
    )
    reason = forms.CharField(label=_("Reason"), max_length=TEXT_MAX)


class LiftForm(forms.Form):
    """Lets withdrawals go on."""

    reason = forms.CharField(label=_("Reason"), max_length=TEXT_MAX)


class StatementForm(forms.Form):
    """A statement file, as bank or chain gave it out."""

    file = forms.FileField(label=_("CSV file"), max_length=100)

    def clean_file(self) -> Any:
        """Refuse what is larger than any statement."""
        file = self.cleaned_data["file"]
        if file.size > statement_csv.BYTES_MAX:
            raise forms.ValidationError(
                _("The file is larger than %(bytes)s bytes."), params={"bytes": statement_csv.BYTES_MAX}
            )
        return file


class StockForm(forms.Form):
    """Addresses that a custody provider has handed out."""

    addresses = forms.CharField(
        label=_("Addresses"),
        max_length=STOCK_LENGTH_MAX,
        widget=forms.Textarea({"rows": 4}),
        help_text=_("One a line; each is given to one customer."),
    )


class ProfileForm(forms.Form):
    """What a profile shall say."""

    version = forms.IntegerField(min_value=0, widget=forms.HiddenInput)
    legal_name = forms.CharField(label=_("Legal name"), max_length=150, required=False)
    country = forms.RegexField(
        r"^[A-Z]{2}$", label=_("Country"), required=False, help_text=_("ISO 3166 code: TW, JP, US ...")
    )
    kind = forms.ChoiceField(label=_("Kind"), choices=HolderKind.choices)
    tier = forms.ChoiceField(label=_("Risk tier"))
    frozen = forms.BooleanField(label=_("Frozen"), required=False, help_text=_("No new orders and no withdrawals."))
    withdrawals_blocked = forms.BooleanField(label=_("Withdrawals blocked"), required=False)
    reason = forms.CharField(label=_("Reason"), max_length=TEXT_MAX, required=False)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["tier"].choices = [(name, name) for name in OUTSIDE.tier_names()]  # type: ignore[attr-defined]

    @staticmethod
    def saying(profile: AccountProfile) -> dict[str, Any]:
        """Return what a profile says now, as the form's beginning."""
        return {
            "version": profile.version,
            "legal_name": profile.legal_name,
            "country": profile.country,
            "kind": profile.kind,
            "tier": OUTSIDE.tier_of(profile.pk),
            "frozen": profile.frozen,
            "withdrawals_blocked": profile.withdrawals_blocked,
            "reason": profile.reason,
        }
