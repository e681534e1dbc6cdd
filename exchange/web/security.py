"""The page of a person's second factor: set up, confirm with a first code, remove."""

from typing import Any, Final

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from exchange.api.envelope import refusal_message
from exchange.api.errors import TooManyRequestsError
from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError
from exchange.users import second_factor
from exchange.web.transfer_forms import ConfirmedForm

CODE_LENGTH_MAX: Final = 16


class CodeForm(forms.Form):
    """The first code of a device that is being set up."""

    code = forms.CharField(
        label=_("Code that the device shows"),
        max_length=CODE_LENGTH_MAX,
        widget=forms.TextInput({"autocomplete": "one-time-code", "inputmode": "numeric", "autofocus": True}),
    )


def _shown(request: HttpRequest, form: forms.Form, refusal: DomainError | None = None, **more: Any) -> HttpResponse:
    """Show the page; a refusal stands beside the form's field where it is about that, else above the form."""
    status = 200
    if refusal is not None:
        named = "confirmation" if "confirmation" in form.fields else "code"
        form.add_error(named if "field" in refusal.data else None, refusal_message(refusal))
        status = refusal.status if isinstance(refusal, TooManyRequestsError) else 200
    context = {
        "page": "account",
        "part": "security",
        "form": form,
        "has_device": second_factor.has_device(request.user),
        "since": second_factor.since(request.user),
    }
    return render(request, "web/security.html", context | more, status=status)


@require_safe
@login_required
@never_cache
def page(request: HttpRequest) -> HttpResponse:
    """Tell whether there is a device, and offer to set one up or to remove it."""
    return _shown(request, ConfirmedForm(request.user))


@require_POST
@login_required
@never_cache
def start(request: HttpRequest) -> HttpResponse:
    """Show a new secret: in this answer only, never on a page that can be opened again."""
    form = ConfirmedForm(request.user, request.POST)
    if not form.is_valid():
        return _shown(request, form)
    try:
        made = second_factor.start(request.user, password=form.cleaned_data["confirmation"])
    except DomainError as refusal:
        return _shown(request, form, refusal)
    # The drawing is numbers alone: nothing that a person typed is in it.
    return _shown(request, CodeForm(), is_code_asked=True, secret=made.secret, qr=SafeString(made.qr))


@require_POST
@login_required
@never_cache
def finish(request: HttpRequest) -> HttpResponse:
    """Take the device into use once it shows the right code."""
    form = CodeForm(request.POST)
    if not form.is_valid():
        return _shown(request, form, is_code_asked=True)
    try:
        second_factor.finish(request.user, code=form.cleaned_data["code"], now=utc_now())
    except DomainError as refusal:
        return _shown(request, form, refusal, is_code_asked=True)
    messages.success(request, gettext("Your device is set up. Its codes confirm withdrawals from now on."))
    return redirect("web:security")


@require_POST
@login_required
@never_cache
def remove(request: HttpRequest) -> HttpResponse:
    """Take the device out of use."""
    form = ConfirmedForm(request.user, request.POST)
    if not form.is_valid():
        return _shown(request, form)
    try:
        second_factor.remove(request.user, code=form.cleaned_data["confirmation"], now=utc_now())
    except DomainError as refusal:
        return _shown(request, form, refusal)
    messages.success(request, gettext("Your device has been removed."))
    return redirect("web:security")
