"""Sign-up and sign-in as people fill them in; the rules are those of the API's serializers."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from exchange.users.serializers import PASSWORD_LENGTH_MAX, RegisterRequest


class SignUpForm(forms.Form):
    """A new user's name and password."""

    username = forms.CharField(
        label=_("User name"),
        max_length=30,
        widget=forms.TextInput({"autocomplete": "username", "autofocus": True, "autocapitalize": "none"}),
        help_text=_("3 to 30 letters, digits, dots, dashes or underscores."),
    )
    password = forms.CharField(
        label=_("Password"),
        strip=False,
        max_length=PASSWORD_LENGTH_MAX,
        widget=forms.PasswordInput({"autocomplete": "new-password"}),
        help_text=_("At least 8 characters, not a common password, not only digits."),
    )

    def clean(self) -> dict[str, Any]:
        """Check the fields by the rules of `POST /api/v1/auth/register`."""
        values = super().clean() or {}
        rules = RegisterRequest(data=values)
        if not self.errors and not rules.is_valid():
            for field, reasons in rules.errors.items():
                self.add_error(field if field in self.fields else None, [str(reason) for reason in reasons])
        return values


class SignInForm(forms.Form):
    """A user's name and password."""

    username = forms.CharField(
        label=_("User name"),
        max_length=150,
        widget=forms.TextInput({"autocomplete": "username", "autofocus": True, "autocapitalize": "none"}),
    )
    password = forms.CharField(
        label=_("Password"),
        strip=False,
        max_length=PASSWORD_LENGTH_MAX,
        widget=forms.PasswordInput({"autocomplete": "current-password"}),
    )
