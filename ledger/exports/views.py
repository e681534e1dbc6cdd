"""The finance page from which a journal is downloaded for outside tools."""

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from exchange.api import throttling
from exchange.api.envelope import refusal_message
from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError, gettext_noop
from ledger import access
from ledger.access import Right
from ledger.exports import journal
from ledger.exports.download import attachment
from ledger.exports.formats import FORMATS, first_moment, last_moment
from ledger.exports.names import View
from ledger.services import finance_log

ENTRIES_MAX = 200_000
"""Beyond this the outside tools take minutes and gigabytes; the command has no limit."""
MOMENT_LENGTH_MAX = 40
DOWNLOADS = throttling.Limit("export", 10, 60)


class ExportTooLongError(DomainError):
    """The period has more entries than a download may have."""

    code = 4454
    name = "EXPORT_TOO_LONG"
    message = gettext_noop(
        "The period has %(entries)s entries, a download at most %(entries_max)s: choose a shorter one, or use"
        " manage.py export_journal."
    )


def _moment_field(label: Any) -> forms.CharField:
    widget = forms.TextInput(attrs={"placeholder": "2026-03-31", "size": 18})
    return forms.CharField(label=label, required=False, max_length=MOMENT_LENGTH_MAX, widget=widget)


class ExportForm(forms.Form):
    """What to download. Dates and moments are read by `formats.py`, as the command reads them."""

    format = forms.ChoiceField(
        label=_("Format"), choices=[("beancount", "Beancount"), ("hledger", "hledger")], initial="beancount"
    )
    view = forms.ChoiceField(
        label=_("Journal"),
        choices=[(View.PLATFORM.value, _("the platform's")), (View.USER.value, _("every user's own"))],
    )
    first = _moment_field(_("From"))
    last = _moment_field(_("To, included"))
    as_of = _moment_field(_("As known at"))


@require_safe
@access.page(Right.EXPORT_BOOKS, action="journal_export.view")
def page(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """Show the form."""
    return _page(request, context, ExportForm())


@require_safe
@access.page(Right.EXPORT_BOOKS, action="journal_export.download")
def download(request: HttpRequest, context: dict[str, Any]) -> HttpResponse | StreamingHttpResponse:
    """Send the file, or show why it cannot be sent."""
    form = ExportForm(request.GET)
    if not form.is_valid():
        return _page(request, context, form, status=400)
    now = utc_now()
    asked = form.cleaned_data
    try:
        throttling.take(DOWNLOADS, str(request.user.pk))
        scope = journal.scope(
            View(asked["view"]),
            first=first_moment(asked["first"]),
            last=last_moment(asked["last"]),
            as_of=last_moment(asked["as_of"]),
        )
        if scope.entries > ENTRIES_MAX:
            raise ExportTooLongError(entries=scope.entries, entries_max=ENTRIES_MAX)
    except DomainError as error:
        return _page(request, context, form, refusal=refusal_message(error), status=error.status)
    form_of_file = FORMATS[asked["format"]]
    sent = {"format": form_of_file.NAME, "view": scope.view, "known": scope.known.entry_id, "hash": scope.known.hash}
    finance_log.record_request(request, "journal_export.sent", now=now, subject=f"{scope.end.entry_id}", detail=sent)
    name = f"{scope.view}-journal-{scope.end.moment:%Y%m%d}-{scope.end.entry_id}.{form_of_file.SUFFIX}"
    return attachment(request, journal.pieces(scope, form_of_file, now), name, "text/plain; charset=utf-8")


def _page(
    request: HttpRequest, context: dict[str, Any], form: ExportForm, *, refusal: str = "", status: int = 200
) -> HttpResponse:
    shown = {**context, "title": _("Export the journal"), "form": form, "refusal": refusal}
    return render(request, "ledger/export_journal.html", shown, status=status)
