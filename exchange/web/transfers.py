"""The pages of a customer's money in and out: deposit, withdraw, saved addresses, notices."""

from typing import Any, Final

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from exchange.api import throttling
from exchange.api.envelope import refusal_message
from exchange.api.errors import TooManyRequestsError
from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError
from exchange.web.transfer_forms import AddressForm, WithdrawForm
from ledger.transfers import addresses, deposit_addresses, deposits, notices, terms, withdrawals
from ledger.transfers.api.withdrawals import WRITES
from ledger.transfers.models import WithdrawalState
from ledger.transfers.serializers import (
    address_shape,
    deposit_address_shape,
    deposit_shape,
    withdrawal_shape,
)
from ledger.transfers.withdrawals import WithdrawalRequest

ROWS: Final = 50
FIELDS: Final = {
    "otp": "confirmation",
    "password": "confirmation",
    "method": "confirmation",
    "available": "amount",
    "minimum": "amount",
    "limit": "amount",
    "decimals": "amount",
    "usable_from": "address",
    "address_id": "address",
}
"""Beside which field of a form a refusal stands, by what its data speaks of."""


def _owner(request: HttpRequest) -> int:
    return int(str(request.user.pk))


def _refuse(form: forms.Form, refusal: DomainError) -> int:
    """Put a refusal beside the field that it is about; return the page's status."""
    named = str(refusal.data.get("field", ""))
    spoken = [FIELDS.get(name, name) for name in (named, *refusal.data)]
    form.add_error(next((name for name in spoken if name in form.fields), None), refusal_message(refusal))
    return refusal.status if isinstance(refusal, TooManyRequestsError) else 200


# --- Withdraw ---------------------------------------------------------------------------------------


@require_http_methods(["GET", "POST"])
@login_required
def withdraw(request: HttpRequest) -> HttpResponse:
    """Request a withdrawal, and see what became of earlier ones."""
    owner_id, now = _owner(request), utc_now()
    book = addresses.book(owner_id)
    usable = [row for row in book if row.usable_from <= now]
    form = WithdrawForm(request.user, usable, request.POST or None)
    status = 200
    if request.method == "POST" and form.is_valid():
        values = form.cleaned_data
        wanted = WithdrawalRequest(int(values["address"]), values["amount"], values["request_key"])
        try:
            throttling.take(WRITES, str(owner_id))
            form.confirm(request.user)
            withdrawals.request(owner_id, wanted, now=now)
        except DomainError as refusal:
            status = _refuse(form, refusal)
        else:
            messages.success(request, gettext("Your withdrawal has been requested. Its funds are held."))
            return redirect("web:withdraw")
    context = {
        "page": "account",
        "part": "withdraw",
        "form": form,
        "usable": usable,
        "waiting": len(book) - len(usable),
        "routes": terms.withdrawal_routes(owner_id, now=now),
        "rows": [_row(row) for row in withdrawals.page(owner_id, limit=ROWS)],
    }
    return render(request, "web/withdraw.html", context, status=status)


def _row(withdrawal: Any) -> dict[str, Any]:
    """Return a withdrawal as the page shows it."""
    return {**withdrawal_shape(withdrawal), "state_name": WithdrawalState(withdrawal.state).label}


@require_POST
@login_required
def cancel(request: HttpRequest, withdrawal_id: int) -> HttpResponse:
    """Take a request back while nobody has approved it."""
    try:
        throttling.take(WRITES, str(_owner(request)))
        withdrawals.cancel(_owner(request), withdrawal_id, now=utc_now())
    except DomainError as refusal:
        messages.error(request, refusal_message(refusal))
    else:
        messages.success(request, gettext("It is being cancelled; the funds come back shortly."))
    return redirect("web:withdraw")


# --- Addresses --------------------------------------------------------------------------------------


@require_http_methods(["GET", "POST"])
@login_required
def address_book(request: HttpRequest) -> HttpResponse:
    """Show saved addresses, and save another."""
    owner_id, now = _owner(request), utc_now()
    form = AddressForm(request.user, terms.withdrawal_routes(owner_id, now=now), request.POST or None)
    status = 200
    if request.method == "POST" and form.is_valid():
        values = form.cleaned_data
        asset, _colon, network = values["route"].partition(":")
        typed = {name: values[name] for name in ("address", "memo", "label")}
        try:
            throttling.take(WRITES, str(owner_id))
            form.confirm(request.user)
            addresses.add(owner_id, asset=asset, network=network, **typed, now=now)
        except DomainError as refusal:
            status = _refuse(form, refusal)
        else:
            messages.success(request, gettext("The address has been saved. It can be used once its delay is over."))
            return redirect("web:addresses")
    rows = [{**address_shape(row), "network_name": row.get_network_display()} for row in addresses.book(owner_id)]
    context = {"page": "account", "part": "addresses", "form": form, "rows": rows, "now": now}
    return render(request, "web/addresses.html", context, status=status)


@require_POST
@login_required
def remove_address(request: HttpRequest, address_id: int) -> HttpResponse:
    """Take an address out of the book."""
    try:
        throttling.take(WRITES, str(_owner(request)))
        addresses.remove(_owner(request), address_id, now=utc_now())
    except DomainError as refusal:
        messages.error(request, refusal_message(refusal))
    else:
        messages.success(request, gettext("The address has been removed."))
    return redirect("web:addresses")


# --- Deposit ----------------------------------------------------------------------------------------


@require_http_methods(["GET", "POST"])
@login_required
def deposit(request: HttpRequest) -> HttpResponse:
    """Show where to send an asset, and what has come in."""
    owner_id = _owner(request)
    routes = terms.deposit_routes()
    where, refused = None, ""
    if request.method == "POST":
        asset, _colon, network = request.POST.get("route", "").partition(":")
        try:
            throttling.take(WRITES, str(owner_id))
            found = deposit_addresses.assign(owner_id, asset=asset, network=network, now=utc_now())
        except DomainError as refusal:
            refused = refusal_message(refusal)
        else:
            where = {**deposit_address_shape(found), "network_name": found.custody.get_network_display()}
    context = {
        "page": "account",
        "part": "deposit",
        "routes": routes,
        "chosen": request.POST.get("route", ""),
        "where": where,
        "refused": refused,
        "rows": [
            {**deposit_shape(row), "state_name": row.get_state_display()} for row in deposits.page(owner_id, limit=ROWS)
        ],
    }
    return render(request, "web/deposit.html", context)


# --- Notices ----------------------------------------------------------------------------------------


@require_safe
@login_required
def notice_list(request: HttpRequest) -> HttpResponse:
    """Show what the customer was told, newest first."""
    rows = notices.page(_owner(request), before_id=None, limit=ROWS)
    shown = [dict(zip(("title", "text"), notices.title_and_text(row), strict=True)) | {"notice": row} for row in rows]
    return render(request, "web/notices.html", {"page": "account", "part": "notices", "rows": shown})


@require_POST
@login_required
def notices_read(request: HttpRequest) -> HttpResponse:
    """Mark everything up to the newest notice shown as read."""
    text = request.POST.get("up_to_id", "")
    if text.isascii() and text.isdigit() and len(text) < 18:  # noqa: PLR2004 -- fits a bigint
        notices.mark_read(_owner(request), up_to_id=int(text), now=utc_now())
    return redirect("web:notices")
