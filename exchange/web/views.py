"""The pages: market list, terminal, sign-up, sign-in, account. Live data comes to them by REST and WebSocket."""

import secrets
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib import auth
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import get_language, gettext, ngettext
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from exchange.api import throttling
from exchange.api.authentication import client_address
from exchange.api.envelope import refusal_message
from exchange.api.errors import TooManyRequestsError
from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError
from exchange.kernel.money import plain
from exchange.users import faucet, services
from exchange.users.api import MINUTE, sign_in_limits
from exchange.users.models import User
from exchange.web.forms import SignInForm, SignUpForm
from marketdata import selectors as instruments
from marketdata.feed import INTERVALS
from trading import selectors

SYMBOL_COOKIE = "symbol"
DEMO_NAME_BYTES = 4
DEMO_PASSWORD_BYTES = 24
YEAR_S = 365 * 24 * 3600


@require_safe
def markets(request: HttpRequest) -> HttpResponse:
    """Show every market; prices arrive live."""
    return render(request, "web/markets.html", {"page": "markets", "instruments": instruments.instruments()})


@require_safe
def latest_market(request: HttpRequest) -> HttpResponse:
    """Go to the market this browser looked at last, or to the first one."""
    known = [spec.symbol for spec in instruments.instruments()]
    kept = request.COOKIES.get(SYMBOL_COOKIE, "")
    if not known:
        return redirect("web:markets")
    return redirect("web:trade", symbol=kept if kept in known else known[0])


@require_safe
@ensure_csrf_cookie
def terminal(request: HttpRequest, symbol: str) -> HttpResponse:
    """Show the terminal of one market; the public part needs no account."""
    try:
        spec = instruments.instrument(symbol)
    except instruments.UnknownInstrumentError:
        return render(request, "404.html", status=404)
    context = {
        "page": "trade",
        "symbol": spec.symbol,
        "contract": spec.is_contract,
        "intervals": list(INTERVALS),
        "page_data": {"symbol": spec.symbol, "signed_in": request.user.is_authenticated},
    }
    response = render(request, "web/terminal.html", context)
    response.set_cookie(SYMBOL_COOKIE, spec.symbol, max_age=YEAR_S, samesite="Lax")
    return response


# --- Sign-up and sign-in ------------------------------------------------------------------------


@require_http_methods(["GET", "POST"])
def sign_up(request: HttpRequest) -> HttpResponse:
    """Make a user and sign them in."""
    form = SignUpForm(request.POST or None)
    if request.method != "POST" or not form.is_valid():
        return _form_page(request, "web/signup.html", form)
    try:
        _count_registration(request)
        user = services.register(**form.cleaned_data, language=get_language() or "", now=utc_now())
    except DomainError as error:
        return _refused(request, "web/signup.html", form, error)
    auth.login(request, user)
    return redirect(_next_page(request))


@require_http_methods(["GET", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign a user in; failures count against the same limits as the API's."""
    form = SignInForm(request.POST or None)
    if request.method != "POST" or not form.is_valid():
        return _form_page(request, "web/login.html", form)
    limits = sign_in_limits(_site(request), form.cleaned_data["username"])
    try:
        for limit, caller in limits:
            throttling.take(limit, caller)
        user = services.sign_in(request, **form.cleaned_data)
    except DomainError as error:
        return _refused(request, "web/login.html", form, error)
    for limit, caller in limits:
        throttling.give_back(limit, caller)
    auth.login(request, user)
    return redirect(_next_page(request))


@require_POST
def demo_account(request: HttpRequest) -> HttpResponse:
    """Make a user with demo funds and sign them in, with one click; only on a demo exchange."""
    if not settings.DEMO:
        raise Http404
    now = utc_now()
    try:
        _count_registration(request)
        user = _new_demo_user(now)
        faucet.give(user.pk, request_key="first", now=now)
    except DomainError as error:
        return _refused(request, "web/signup.html", SignUpForm(), error)
    auth.login(request, user)
    return redirect(_next_page(request))


def _new_demo_user(now: datetime) -> User:
    """Make a user whom nobody can sign in as again: the password is thrown away."""
    return services.register(
        username=f"demo-{secrets.token_hex(DEMO_NAME_BYTES)}",
        password=secrets.token_urlsafe(DEMO_PASSWORD_BYTES),
        language=get_language() or "",
        is_demo=True,
        now=now,
    )


def _site(request: HttpRequest) -> str:
    return throttling.site_of(client_address(request.META))


def _count_registration(request: HttpRequest) -> None:
    """Count a sign-up of this address against the limit that the API has.

    Raises:
        TooManyRequestsError: There were too many in the last minute.
    """
    limit = throttling.Limit("register", settings.REGISTRATIONS_PER_MINUTE_AND_IP, MINUTE)
    throttling.take(limit, _site(request))


def _refused(request: HttpRequest, template: str, form: SignUpForm | SignInForm, error: DomainError) -> HttpResponse:
    """Show a refusal beside the field it is about, in the reader's language."""
    fields = error.data.get("fields")
    if isinstance(fields, dict):
        for field, reasons in fields.items():
            form.add_error(field, reasons)
    elif isinstance(error, services.UsernameTakenError):
        form.add_error("username", refusal_message(error))
    elif form.is_bound:
        form.add_error(None, refusal_message(error))
    status = error.status if isinstance(error, TooManyRequestsError) else 200
    return _form_page(request, template, form, status=status, notice="" if form.is_bound else refusal_message(error))


def _form_page(
    request: HttpRequest, template: str, form: SignUpForm | SignInForm, *, status: int = 200, notice: str = ""
) -> HttpResponse:
    wanted = request.POST.get("next") or request.GET.get("next", "")
    context = {"form": form, "next": _own_page(request, wanted), "notice": notice}
    return render(request, template, context, status=status)


def _next_page(request: HttpRequest) -> str:
    """Return where the user wanted to go, else the account page."""
    return _own_page(request, request.POST.get("next", "")) or reverse("web:account")


def _own_page(request: HttpRequest, address: str) -> str:
    """Return an address if it is one of this site's, else nothing: no redirects to elsewhere."""
    safe = url_has_allowed_host_and_scheme(address, {request.get_host()}, require_https=request.is_secure())
    return address if safe else ""


# --- Account --------------------------------------------------------------------------------------


@require_safe
@login_required
def account(request: HttpRequest) -> HttpResponse:
    """Show the user's balances."""
    return render(request, "web/account.html", {"page": "account", "balances": _balances(request)})


@require_POST
@login_required
def demo_funds(request: HttpRequest) -> HttpResponse:
    """Give demo funds; htmx swaps the balances in place, without it the page is shown again."""
    refused, notice = False, ""
    try:
        helping = faucet.give(_user_id(request), request_key=None, now=utc_now())
    except DomainError as error:
        refused, notice = True, refusal_message(error)
    else:
        left = helping.left_today
        words = ngettext("Demo funds added. %(count)s more today.", "Demo funds added. %(count)s more today.", left)
        notice = words % {"count": left} if left else gettext("Demo funds added. Come back tomorrow for more.")
    context = {"page": "account", "balances": _balances(request), "notice": notice, "refused": refused}
    template = "web/partials/balances.html" if request.headers.get("HX-Request") else "web/account.html"
    return render(request, template, context)


def _user_id(request: HttpRequest) -> int:
    return int(request.user.pk)  # type: ignore[arg-type]  # login_required has refused others


def _shown(amount: Decimal) -> str:
    """Write an amount for reading: thousands apart, no trailing zeros."""
    return format(Decimal(plain(amount)), ",f")


def _balances(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the user's balances as text; a debt, where there is one, with the day by which it is due."""
    now = utc_now()
    return [
        {
            "asset": held.asset,
            "available": _shown(held.balance),
            "frozen": _shown(held.frozen),
            "margin": _shown(held.margin),
            "net": _shown(held.net),
            "debt": _shown(held.debt) if held.debt else "",
            "debt_due_at": held.debt_due_at,
        }
        for held in selectors.account(_user_id(request), now.date()).balances
    ]
