"""What a reader asks of a statement, as its address has it: whose, which asset, as of when, or from when to when."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django import forms
from django.contrib.auth import get_user_model
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext_lazy as _

from ledger.chart import CHART
from ledger.models import Asset
from ledger.reports import moments, scopes, titles
from ledger.reports.fees import Step
from ledger.reports.scopes import Scope

DATE_LENGTH: Final = len("2026-03-31")
ID_DIGITS_MAX: Final = 18
SECOND, MILLISECOND, INSTANT = timedelta(seconds=1), timedelta(milliseconds=1), timedelta(microseconds=1)
MILLISECOND_DIGITS: Final = 3
NO_PART: Final = "-"
YEAR_MIN, YEAR_MAX = 2000, 9000
STEP_TITLES: Final = {Step.DAY: _("Day"), Step.WEEK: _("Week"), Step.MONTH: _("Month")}


class MomentInput(forms.DateTimeInput):
    """A moment in UTC, to the second."""

    input_type = "datetime-local"

    def __init__(self) -> None:
        super().__init__(attrs={"step": "1"})

    def format_value(self, value: Any) -> str | None:
        """Write a moment as the browser's field takes it; what cannot be read is shown empty, beside its error."""
        text = str(value or "").strip()
        read = _read(text)
        return None if read is None else f"{read:%Y-%m-%dT%H:%M:%S}"


def _read(text: str) -> datetime | None:
    """Read a date or a moment; without a zone it is in UTC. None when it is neither."""
    try:
        if len(text) == DATE_LENGTH:
            day = parse_date(text)
            return None if day is None else datetime(day.year, day.month, day.day, tzinfo=UTC)
        moment = parse_datetime(text.replace(" ", "T"))
    except ValueError:
        return None
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class _MomentField(forms.Field):
    """A moment that may be left out."""

    widget = MomentInput
    default_error_messages = {"invalid": _("Enter a date, or a date and time, in UTC.")}

    def to_python(self, value: Any) -> datetime | None:
        """Read the field.

        Raises:
            ValidationError: It is no moment between the years 2000 and 9000.
        """
        text = str(value or "").strip()
        if not text:
            return None
        moment = _read(text)
        if moment is None or not YEAR_MIN <= moment.year <= YEAR_MAX:
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid")
        return self.meant(moment, text)

    def meant(self, moment: datetime, text: str) -> datetime:
        """Return the moment that is meant by what was typed."""
        raise NotImplementedError


class EndField(_MomentField):
    """Up to and with: a day stands for the whole of it, so does a second."""

    def meant(self, moment: datetime, text: str) -> datetime:
        """Return the last microsecond of what was typed."""
        if len(text) == DATE_LENGTH:
            return moment + timedelta(days=1) - INSTANT
        fraction = text.partition(".")[2].rstrip("Z")
        if not fraction:
            return moment + SECOND - INSTANT
        return moment + MILLISECOND - INSTANT if len(fraction) == MILLISECOND_DIGITS else moment


class StartField(_MomentField):
    """From and with; the books are cut just before."""

    def meant(self, moment: datetime, text: str) -> datetime:
        """Return the last microsecond before what was typed."""
        return moments.just_before(moment)


class OwnerField(forms.CharField):
    """A user, by number or by name."""

    default_error_messages = {"unknown": _("There is no such user.")}

    def to_python(self, value: Any) -> Any:
        """Return the user's id, or None.

        Raises:
            ValidationError: There is no such user.
        """
        text = str(value or "").strip()
        if not text:
            return None
        users = get_user_model().objects
        is_number = text.isascii() and text.isdigit() and len(text) <= ID_DIGITS_MAX
        found = users.filter(pk=int(text)) if is_number else users.filter(username=text)
        owner_id = found.values_list("pk", flat=True).first()
        if owner_id is None:
            raise forms.ValidationError(self.error_messages["unknown"], code="unknown")
        return owner_id


class StatementForm(forms.Form):
    """What every statement can be asked for. Fields that are empty ask for everything."""

    asset = forms.ChoiceField(label=_("Asset"), required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        codes = Asset.objects.order_by("code").values_list("code", flat=True)
        self.fields["asset"].choices = [("", _("All assets")), *((code, code) for code in codes)]  # type: ignore[attr-defined]

    def clean_asset(self) -> str | None:
        """Return the asset's code, or None for all."""
        return self.cleaned_data["asset"] or None


class _ScopeForm(StatementForm):
    """Whose statement: the platform's unless asked."""

    scope = forms.ChoiceField(
        label=_("Whose"), required=False, choices=[(scope.value, term.title) for scope, term in titles.SCOPES.items()]
    )
    owner = OwnerField(
        label=_("User (number or name)"), required=False, widget=forms.TextInput({"size": 12, "autocomplete": "off"})
    )
    zeros = forms.BooleanField(label=_("Accounts at zero too"), required=False)

    def clean_scope(self) -> Scope:
        """Return the scope."""
        return Scope(self.cleaned_data["scope"] or Scope.PLATFORM)

    def clean(self) -> dict[str, Any]:
        """One user's statement is in the users' scope."""
        asked = super().clean() or {}
        if asked.get("owner") is not None:
            asked["scope"] = Scope.USERS
        return asked


class BalanceSheetForm(_ScopeForm):
    """As of when, and what to compare it with."""

    at = EndField(label=_("As of, UTC"), required=False)
    compare = EndField(label=_("Compared with"), required=False)
    field_order = ("scope", "owner", "asset", "at", "compare", "zeros")


class _PeriodForm(StatementForm):
    """From when to when; empty is the whole life of the books."""

    to = EndField(label=_("To, UTC"), required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields = {"from": StartField(label=_("From, UTC"), required=False), **self.fields}
        self.order_fields(["scope", "owner", "code", "sub", "account", "asset", "from", "to"])

    def clean(self) -> dict[str, Any]:
        """Refuse a period that ends before it begins."""
        asked = super().clean() or {}
        start, end = asked.get("from"), asked.get("to")
        if start is not None and end is not None and end < start:
            self.add_error("to", str(_("The period ends before it begins.")))
        return asked


class CashFlowForm(_PeriodForm):
    """The custody cash flow of a period."""


class TrialBalanceForm(_PeriodForm, _ScopeForm):
    """The trial balance of a period."""


class IncomeForm(TrialBalanceForm):
    """The income statement of a period, beside another."""

    compare = forms.ChoiceField(
        label=_("Compared with"),
        required=False,
        choices=[
            ("", _("Nothing")),
            ("previous", _("The same length of time before")),
            ("year", _("The same time a year before")),
        ],
    )


class FeesForm(_PeriodForm):
    """The fees of a period, by day, week or month; without a period the last thirty days of the books."""

    step = forms.ChoiceField(
        label=_("By"), required=False, choices=[(step.value, title) for step, title in STEP_TITLES.items()]
    )

    def clean_step(self) -> Step:
        """Return the step."""
        return Step(self.cleaned_data["step"] or Step.DAY)


class OwnStatementForm(_PeriodForm):
    """A user's own account statement."""

    holds = forms.BooleanField(label=_("Holds of orders and withdrawals too"), required=False)


class CustomerForm(OwnStatementForm):
    """One user's account statement, for staff."""

    owner = OwnerField(label=_("User (number or name)"), widget=forms.TextInput({"size": 12, "autocomplete": "off"}))


class LinesForm(TrialBalanceForm):
    """The lines behind a figure, or all lines."""

    code = forms.ChoiceField(label=_("Account"), required=False)
    sub = forms.CharField(
        label=_("Part (wallet, contract)"), required=False, max_length=64, widget=forms.TextInput({"size": 10})
    )
    account = forms.IntegerField(
        label=_("Ledger account number"),
        required=False,
        min_value=1,
        max_value=2**62,
        widget=forms.NumberInput({"class": "short"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        del self.fields["zeros"]
        titled = [(row.code.value, f"{row.code.value} {_title(row.code.value)}") for row in CHART.values()]
        self.fields["code"].choices = [("", _("All accounts")), *sorted(titled)]  # type: ignore[attr-defined]

    def clean_sub(self) -> str | None:
        """Return the part: None for any, "" for what has none."""
        text = self.cleaned_data["sub"]
        return "" if text == NO_PART else text or None


def _title(code: str) -> str:
    """Return an account's title as its own side calls it."""
    is_of_users = scopes.root(Scope.PLATFORM, code) is None
    return str(titles.account(Scope.USERS if is_of_users else Scope.PLATFORM, code).title)
