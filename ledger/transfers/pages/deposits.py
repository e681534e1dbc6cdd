"""Finance pages of deposits: the queue with what each waits for, a new one by hand, and the decisions on one."""

from typing import Any, Final

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from exchange.api.envelope import refusal_message
from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError
from ledger import access
from ledger.access import Right
from ledger.transfers import deposits, profiles
from ledger.transfers.models import DepositNotice, DepositSource, DepositState, TransferEvent
from ledger.transfers.pages.common import Context, decide, newest, refuse_form, require_any, user_id
from ledger.transfers.pages.forms import DepositForm, OwnerForm, ReasonForm, VersionForm

WAITS: Final = {
    "CONFIRMATIONS": _("confirmations"),
    "OWNER": _("an owner"),
    "SECOND_PERSON": _("a second person"),
    "POSTING": _("the back office"),
}
"""What an open deposit waits for, in words."""


@require_safe
@access.page(Right.VIEW_CUSTOMERS, action="deposits.view")
def listed(request: HttpRequest, context: Context) -> HttpResponse:
    """Show the queue: open deposits, or all of a state. Demo funds, credited at once, are in the admin's list."""
    wanted = request.GET.get("state", "")
    rows = DepositNotice.objects.select_related("owner", "custody", "made_by").exclude(source=DepositSource.DIRECT)
    if wanted in DepositState.values:
        rows = rows.filter(state=wanted)
    else:
        wanted, rows = "", rows.filter(state__in=deposits.OPEN)
    found, following = newest(rows, request)
    page = {
        "tab": "deposits",
        "title": _("Deposits"),
        "rows": [{"deposit": row, "waits": WAITS.get(deposits.waits_for(row), "")} for row in found],
        "following": following,
        "wanted": wanted,
        "filters": [("", _("open")), *DepositState.choices],
        "may_record": access.may(request.user, Right.RECORD_DEPOSITS),
    }
    return render(request, "ledger/transfers/deposits.html", {**context, **page})


@require_safe
@access.page(Right.VIEW_CUSTOMERS, action="deposit.view")
def shown(request: HttpRequest, context: Context, deposit_id: int) -> HttpResponse:
    """Show one deposit: what was told, by whom, and the decisions that this person may take now."""
    rows = DepositNotice.objects.select_related("owner", "custody", "made_by", "approved_by", "line")
    found = rows.filter(pk=deposit_id).first()
    if found is None:
        raise Http404
    page = {
        "tab": "deposits",
        "title": _("Deposit %(number)s") % {"number": found.pk},
        "deposit": found,
        "waits": WAITS.get(deposits.waits_for(found), ""),
        "steps": TransferEvent.objects.select_related("by").filter(deposit=found).order_by("version"),
        "deliveries": found.deliveries.order_by("-pk")[:20],
        **_forms(request, found),
    }
    return render(request, "ledger/transfers/deposit.html", {**context, **page})


def _forms(request: HttpRequest, found: DepositNotice) -> Context:
    """Return the forms of the decisions that are open to this person."""
    user, seen = request.user, {"version": found.version}
    records = access.may(user, Right.RECORD_DEPOSITS)
    approves = access.may(user, Right.APPROVE_DEPOSITS)
    if found.state not in deposits.OPEN or found.owner_id == user.pk:
        return {}
    forms: Context = {}
    waits = deposits.waits_for(found)
    if records and found.owner_id is None:
        forms["owner_form"] = OwnerForm(initial=seen)
    if approves and found.owner_id is not None and found.second_person and found.approved_by_id is None:
        forms["approve_form" if found.made_by_id != user.pk else "same_person"] = VersionForm(initial=seen)
    if (records or approves) and waits != "POSTING":
        forms["refuse_form"] = ReasonForm(initial=seen)
    return forms


@require_http_methods(["GET", "POST"])
@access.page(Right.RECORD_DEPOSITS, action="deposit.record")
def new(request: HttpRequest, context: Context) -> HttpResponse:
    """Write down a deposit that was seen; above the account's limit a second person confirms it."""
    form = DepositForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            made = _record(form.cleaned_data, by=user_id(request))
        except DomainError as refusal:
            field = str(refusal.data.get("field", ""))
            form.add_error(field if field in form.fields else None, refusal_message(refusal))
        else:
            return HttpResponseRedirect(_page(made.pk))
    page = {"tab": "deposits", "title": _("Record a deposit"), "form": form}
    return render(request, "ledger/transfers/deposit_new.html", {**context, **page})


def _record(values: dict[str, Any], *, by: int) -> DepositNotice:
    """Record what the form says."""
    now = utc_now()
    return deposits.record_by_hand(
        values["custody"].pk,
        owner_id=profiles.customer(values["customer"]).pk,
        amount=values["amount"],
        reference=values["reference"].strip(),
        occurred_at=values["occurred_at"] or now,
        note=values["note"],
        by=by,
        now=now,
    )


def _page(deposit_id: int) -> str:
    return reverse("finance:deposit", args=[deposit_id])


@require_POST
@access.page(Right.RECORD_DEPOSITS, action="deposit.decide")
def assign(request: HttpRequest, _context: Context, deposit_id: int) -> HttpResponse:
    """Say whose a deposit is that named nobody."""
    form = OwnerForm(request.POST)
    if not form.is_valid():
        return refuse_form(request, form, back=_page(deposit_id))
    values, by = form.cleaned_data, user_id(request)
    return decide(
        request,
        lambda: deposits.assign_owner(
            deposit_id,
            profiles.customer(values["customer"]).pk,
            version=values["version"],
            by=by,
            now=utc_now(),
        ),
        done=gettext("The deposit has an owner now."),
        back=_page(deposit_id),
    )


@require_POST
@access.page(Right.APPROVE_DEPOSITS, action="deposit.decide")
def approve(request: HttpRequest, _context: Context, deposit_id: int) -> HttpResponse:
    """Approve as the second person."""
    form = VersionForm(request.POST)
    if not form.is_valid():
        return refuse_form(request, form, back=_page(deposit_id))
    version, by = form.cleaned_data["version"], user_id(request)
    return decide(
        request,
        lambda: deposits.approve(deposit_id, version=version, by=by, now=utc_now()),
        done=gettext("Approved. The back office credits it."),
        back=_page(deposit_id),
    )


@require_POST
@access.page(Right.VIEW_CUSTOMERS, action="deposit.decide")
def refuse(request: HttpRequest, _context: Context, deposit_id: int) -> HttpResponse:
    """Refuse a deposit."""
    require_any(request, Right.RECORD_DEPOSITS, Right.APPROVE_DEPOSITS)
    form = ReasonForm(request.POST)
    if not form.is_valid():
        return refuse_form(request, form, back=_page(deposit_id))
    values, by = form.cleaned_data, user_id(request)
    return decide(
        request,
        lambda: deposits.refuse(deposit_id, version=values["version"], by=by, reason=values["reason"], now=utc_now()),
        done=gettext("Refused."),
        back=_page(deposit_id),
    )
