"""A user's own account statement: the page, and its files."""

import itertools
from datetime import datetime, timedelta
from typing import Any, Final

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from exchange.api import throttling
from exchange.api.envelope import refusal_message
from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError
from ledger.exports import download
from ledger.reports import moments, printed_customer
from ledger.reports.files import write
from ledger.statement_catalogue import decimals
from ledger.statement_forms import OwnStatementForm

SHOWN_FIRST: Final = timedelta(days=30)
PAGE_ENTRIES: Final = 100
ID_DIGITS_MAX: Final = 18
FILES: Final = throttling.Limit("own-statement-files", 10, 60)


def _asked(request: HttpRequest, now: datetime) -> tuple[OwnStatementForm, dict[str, Any] | None]:
    """Read what is asked for; without a period the last thirty days."""
    query = request.GET.copy()
    if "from" not in query:
        query["from"] = f"{now - SHOWN_FIRST:%Y-%m-%d}"
    form = OwnStatementForm(query)
    return form, form.cleaned_data if form.is_valid() else None


def _whose(request: HttpRequest, asked: dict[str, Any]) -> printed_customer.Asked:
    """Return the signed-in user's statement, whatever the address says."""
    owner_id = int(request.user.pk)  # type: ignore[arg-type]  # login_required has refused others
    period = moments.period(asked["from"], asked["to"])
    return printed_customer.Asked(owner_id, request.user.get_username(), period, asked["asset"], asked["holds"])


@require_safe
@login_required
def page(request: HttpRequest) -> HttpResponse:
    """Show one page of the user's own statement."""
    form, asked = _asked(request, utc_now())
    context: dict[str, Any] = {"page": "account", "form": form, "endings": write.ENDINGS}
    if asked is None:
        return render(request, "web/statement.html", context)
    text = request.GET.get("after", "")
    after = int(text) if text.isascii() and text.isdigit() and len(text) <= ID_DIGITS_MAX else None
    whose = _whose(request, asked)
    found = whose.page(after, PAGE_ENTRIES)
    query = request.GET.copy()
    query.pop("after", None)
    context |= {
        "document": printed_customer.page(whose, found, decimals(), is_first=after is None),
        "query": query.urlencode(),
        "next": found.next_entry_id,
        "is_first": after is None,
    }
    return render(request, "web/statement.html", context)


@require_safe
@login_required
def file(request: HttpRequest, ending: str) -> HttpResponse | StreamingHttpResponse:
    """Send the user's own statement as a file; what cannot be sent leads back to the page, which says why."""
    if ending not in write.ENDINGS:
        raise Http404
    now = utc_now()
    _, asked = _asked(request, now)
    back = HttpResponseRedirect(f"{reverse('web:statement')}?{request.GET.urlencode()}")
    if asked is None:
        return back
    try:
        throttling.take(FILES, str(request.user.pk))
        document = printed_customer.whole(_whose(request, asked), decimals())
        chunks = write.chunks(document, ending, now)
        first = next(chunks)
    except DomainError as error:
        messages.error(request, refusal_message(error))
        return back
    name = f"{document.name}-{now:%Y%m%d}.{ending}"
    return download.send(request, itertools.chain([first], chunks), name, write.CONTENT_TYPES[ending])
