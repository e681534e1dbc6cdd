"""Withdrawals and saved addresses as people fill them in; the services judge what is typed."""

import secrets
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from django import forms
from django.utils.translation import gettext_lazy as _

from exchange.kernel.money import MONEY_DECIMALS, MONEY_DIGITS
from exchange.users.serializers import PASSWORD_LENGTH_MAX
from ledger.transfers import identity
from ledger.transfers.models import WithdrawalAddress

REQUEST_KEY_BYTES: Final = 12


class ConfirmedForm(forms.Form):
    """A step that the person confirms once more: by a code of the device, or by the password."""

    confirmation = forms.CharField(max_length=PASSWORD_LENGTH_MAX, strip=False)

    def __init__(self, user: Any, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.method = identity.method(user)
        field = self.fields["confirmation"]
        if self.method == identity.OTP:
            field.label = _("Code of your device")
            field.widget = forms.TextInput({"autocomplete": "one-time-code", "inputmode": "numeric"})
        else:
            field.label = _("Your password")
            field.widget = forms.PasswordInput({"autocomplete": "current-password"})

    def confirm(self, user: Any) -> None:
        """Check the confirmation.

        Raises:
            ConfirmationWrongError, TooManyRequestsError: It is wrong, or was wrong too often.
        """
        identity.confirm(user, **{self.method: self.cleaned_data["confirmation"]})


class WithdrawForm(ConfirmedForm):
    """A withdrawal to a saved address."""

    request_key = forms.CharField(widget=forms.HiddenInput, max_length=64)
    address = forms.ChoiceField(label=_("To"))
    amount = forms.DecimalField(
        label=_("Amount"),
        max_digits=MONEY_DIGITS,
        decimal_places=MONEY_DECIMALS,
        min_value=Decimal(0),
        help_text=_("Leaves your wallet; the fee is taken from it."),
        widget=forms.TextInput({"inputmode": "decimal", "autocomplete": "off"}),
    )
    field_order = ("address", "amount", "confirmation", "request_key")

    def __init__(self, user: Any, book: Sequence[WithdrawalAddress], *args: Any, **options: Any) -> None:
        super().__init__(user, *args, **options)
        self.fields["request_key"].initial = secrets.token_urlsafe(REQUEST_KEY_BYTES)
        self.fields["address"].choices = [  # type: ignore[attr-defined]
            (str(row.pk), f"{row.asset_id} · {row.label} · {row.get_network_display()} {row.address}") for row in book
        ]


class AddressForm(ConfirmedForm):
    """A destination to be saved."""

    route = forms.ChoiceField(label=_("Asset and network"))
    address = forms.CharField(
        label=_("Address"), max_length=128, widget=forms.TextInput({"autocomplete": "off", "spellcheck": "false"})
    )
    memo = forms.CharField(
        label=_("Memo or tag"), max_length=64, required=False, help_text=_("Only where the receiver asks for one.")
    )
    label = forms.CharField(label=_("Label"), max_length=50, help_text=_("How you call it."))
    field_order = ("route", "address", "memo", "label", "confirmation")

    def __init__(self, user: Any, routes: Sequence[dict[str, Any]], *args: Any, **options: Any) -> None:
        super().__init__(user, *args, **options)
        self.fields["route"].choices = [  # type: ignore[attr-defined]
            (f"{route['asset']}:{route['network']}", f"{route['asset']} · {route['network_name']}")
            for route in routes
            if route["open"]
        ]
