"""What the pages of this package share: keyset pages, moments typed by people, and the road back after a decision."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from exchange.api.envelope import refusal_message
from exchange.kernel.errors import DomainError
from ledger import access
from ledger.access import Right

Context = dict[str, Any]
PAGE_ROWS: Final = 50
ID_DIGITS_MAX: Final = 18


def user_id(request: HttpRequest) -> int:
    """Return who is signed in; `access.page` has refused everybody else."""
    return int(str(request.user.pk))


def number(text: str) -> int | None:
    """Return the number that a query or a form carries, if it is one that an id can be."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= ID_DIGITS_MAX else None


def newest(rows: "QuerySet[Any]", request: HttpRequest) -> tuple[list[Any], str]:
    """Return a keyset page of rows, newest first, and the query of the next one, or ""."""
    before = number(request.GET.get("before", ""))
    if before is not None:
        rows = rows.filter(pk__lt=before)
    found: list[Model] = list(rows.order_by("-pk")[: PAGE_ROWS + 1])
    if len(found) <= PAGE_ROWS:
        return found, ""
    kept = {name: value for name, value in request.GET.items() if name != "before"}
    return found[:PAGE_ROWS], urlencode({**kept, "before": str(found[PAGE_ROWS - 1].pk)})


def require_any(request: HttpRequest, *rights: Right) -> None:
    """Refuse who has none of these rights, in a page that several of them open.

    Raises:
        PermissionDenied: The person has none.
    """
    if not any(access.may(request.user, right) for right in rights):
        raise PermissionDenied


def decide(request: HttpRequest, decision: Callable[[], object], *, done: str, back: str) -> HttpResponse:
    """Carry a decision out, say what became of it, and go back to its page."""
    try:
        decision()
    except DomainError as refusal:
        messages.error(request, refusal_message(refusal))
    else:
        messages.success(request, done)
    return HttpResponseRedirect(back)


def refuse_form(request: HttpRequest, form: forms.Form, *, back: str) -> HttpResponse:
    """Say what is wrong with a small form, and go back to its page."""
    for field, reasons in form.errors.items():
        label = form.fields[field].label if field in form.fields else ""
        messages.error(request, " ".join(str(part) for part in (label, *reasons) if part))
    return HttpResponseRedirect(back)


class MomentField(forms.DateTimeField):
    """A moment as people type it, in UTC; nothing means now."""

    widget = forms.DateTimeInput({"placeholder": "2026-03-01 12:30"})

    def clean(self, value: Any) -> datetime | None:
        """Return the moment, in UTC whatever the language of the page."""
        moment: datetime | None = super().clean(value)
        return None if moment is None else moment.replace(tzinfo=UTC)
