"""What people write on the pages of controls, as forms. What is allowed is decided by the services."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Final

from django import forms
from django.contrib.auth import get_user_model
from django.utils.translation import gettext_lazy as _

from exchange.kernel.money import MONEY_DECIMALS, MONEY_DIGITS
from ledger.chart import CHART
from ledger.control_models import Period, PeriodAction, ProposalState
from ledger.models import Asset, FinanceLog
from ledger.services import comments, manual_entries
from ledger.services.manual_entries import ProposedLine

REASON_LENGTH_MAX: Final = 500
LINES_AT_FIRST: Final = 4
REOPENINGS_SHOWN: Final = 50
CODES: Final = [("", "-"), *((code.value, f"{code.value} {row.name}") for code, row in CHART.items())]


def reason_field() -> forms.CharField:
    """Return a field for words that say why."""
    return forms.CharField(label=_("Reason"), max_length=REASON_LENGTH_MAX, widget=forms.Textarea({"rows": 2}))


class CloseForm(forms.Form):
    """Close everything before a day begins, in UTC."""

    first_open = forms.DateField(label=_("First open day (UTC)"), widget=forms.DateInput({"type": "date"}))
    reason = reason_field()

    def boundary(self) -> datetime:
        """Return the first open moment."""
        day: date = self.cleaned_data["first_open"]
        return datetime.combine(day, time(), UTC)


class ReopenForm(forms.Form):
    """Reopen everything from where an earlier close began."""

    boundary = forms.ChoiceField(label=_("Reopen from"))
    reason = reason_field()

    def __init__(self, *args: Any, closed_before: datetime, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        closes = Period.objects.filter(action=PeriodAction.CLOSE, starts_at__lt=closed_before)
        starts = closes.order_by("-starts_at").values_list("starts_at", flat=True).distinct()[:REOPENINGS_SHOWN]
        self.fields["boundary"].choices = [  # type: ignore[attr-defined]
            (start.isoformat(), f"{start:%Y-%m-%d %H:%M}") for start in starts
        ]

    def moment(self) -> datetime:
        """Return the moment from which on the books shall be open."""
        return datetime.fromisoformat(self.cleaned_data["boundary"])


class EntryForm(forms.Form):
    """A manual entry but its lines."""

    reason = reason_field()
    effective_at = forms.DateTimeField(
        label=_("Effective at (UTC)"),
        required=False,
        widget=forms.DateTimeInput({"type": "datetime-local", "step": "1"}),
        help_text=_("Only for a correction of the past; empty for an entry of today."),
    )

    def moment(self) -> datetime | None:
        """Return when a correction shall count."""
        at: datetime | None = self.cleaned_data["effective_at"]
        return at


class LineForm(forms.Form):
    """One line of a manual entry: a debit or a credit; a row that is left empty is no line."""

    owner = forms.IntegerField(label=_("User id"), required=False, min_value=1, max_value=2**63 - 1)
    code = forms.ChoiceField(label=_("Account"), required=False, choices=CODES)
    asset = forms.ChoiceField(label=_("Asset"), required=False)
    sub = forms.CharField(label=_("Part"), required=False, max_length=64)
    debit = forms.DecimalField(
        label=_("Debit"), required=False, min_value=0, max_digits=MONEY_DIGITS, decimal_places=MONEY_DECIMALS
    )
    credit = forms.DecimalField(
        label=_("Credit"), required=False, min_value=0, max_digits=MONEY_DIGITS, decimal_places=MONEY_DECIMALS
    )

    def __init__(self, *args: Any, assets: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["asset"].choices = assets  # type: ignore[attr-defined]
        for name in ("debit", "credit"):
            self.fields[name].widget = forms.TextInput({"inputmode": "decimal", "class": "amount"})
        for field in self.fields.values():
            field.widget.attrs["aria-label"] = field.label

    def clean(self) -> dict[str, Any]:
        """Refuse half a line.

        Raises:
            ValidationError: A line has no account, no asset, or not exactly one amount.
        """
        asked = super().clean() or {}
        if self.has_changed() and not self.errors:
            if not asked["code"] or not asked["asset"]:
                raise forms.ValidationError(_("A line needs an account and an asset."))
            if bool(asked["debit"]) == bool(asked["credit"]):
                raise forms.ValidationError(_("A line has either a debit or a credit."))
        return asked

    def line(self) -> ProposedLine:
        """Return the line as the services have it: debit positive."""
        asked = self.cleaned_data
        amount: Decimal = asked["debit"] or asked["credit"].copy_negate()
        return ProposedLine(asked["owner"], asked["code"], asked["asset"], amount, asked["sub"])


class LinesFormSet(forms.BaseFormSet):  # type: ignore[type-arg]  # Django's class takes no type at run time
    """All lines of a manual entry."""

    def get_form_kwargs(self, index: int | None) -> dict[str, Any]:
        """Read the assets once for all lines."""
        if not hasattr(self, "_assets"):
            codes = Asset.objects.order_by("code").values_list("code", flat=True)
            self._assets = [("", "-"), *((code, code) for code in codes)]
        return super().get_form_kwargs(index) | {"assets": self._assets}

    def lines(self) -> list[ProposedLine]:
        """Return the lines that were written."""
        return [form.line() for form in self.forms if form.has_changed()]


Lines = forms.formset_factory(
    LineForm,
    formset=LinesFormSet,
    extra=LINES_AT_FIRST,
    max_num=manual_entries.LINES_MAX,
    absolute_max=manual_entries.LINES_MAX,
)


class DecisionForm(forms.Form):
    """What the second person says beside the decision."""

    remark = forms.CharField(
        label=_("Remark"), required=False, max_length=REASON_LENGTH_MAX, widget=forms.Textarea({"rows": 2})
    )


class ReasonForm(forms.Form):
    """Why an entry shall be reversed."""

    reason = reason_field()


class CommentForm(forms.Form):
    """Something to say about an entry."""

    text = forms.CharField(label=_("Comment"), max_length=comments.LENGTH_MAX, widget=forms.Textarea({"rows": 2}))


class FileForm(forms.Form):
    """A file to attach to an entry."""

    file = forms.FileField(label=_("File"), max_length=255)


class ProposalFilter(forms.Form):
    """Which proposals to list."""

    state = forms.ChoiceField(label=_("State"), required=False, choices=[("", _("all")), *ProposalState.choices])


class LogFilter(forms.Form):
    """Which rows of the finance log to list: each by its whole word, since that is what the indexes find."""

    user = forms.CharField(label=_("User"), required=False, max_length=150)
    action = forms.CharField(label=_("Action"), required=False, max_length=64)
    subject = forms.CharField(label=_("Subject"), required=False, max_length=128)

    def narrowed(self, rows: Any) -> Any:
        """Narrow the log to what was asked for; a user who is unknown has done nothing."""
        if not self.is_valid():
            return rows.none()
        asked = self.cleaned_data
        if asked["user"]:
            who = get_user_model().objects.filter(username=asked["user"]).values_list("pk", flat=True).first()
            rows = FinanceLog.objects.none() if who is None else rows.filter(user_id=who)
        if asked["action"]:
            rows = rows.filter(action=asked["action"])
        return rows.filter(subject=asked["subject"]) if asked["subject"] else rows
