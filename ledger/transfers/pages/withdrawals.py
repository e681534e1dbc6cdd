"""Finance pages of withdrawals: the queue, one with its checks and steps, decisions, and the switch that stops them."""

from decimal import Decimal
from typing import Final

from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST, require_safe

from exchange.kernel.clock import utc_now
from exchange.kernel.money import EXACT
from ledger import access
from ledger.access import Right
from ledger.transfers import checks, decisions, identity, profiles, stops
from ledger.transfers.models import TransferEvent, Withdrawal, WithdrawalState
from ledger.transfers.models.withdrawals import ENDED
from ledger.transfers.outside import OUTSIDE
from ledger.transfers.pages.common import Context, decide, newest, refuse_form, require_any, user_id
from ledger.transfers.pages.forms import LiftForm, PayoutForm, ReasonForm, ReviewForm, StopForm, VersionForm

OPEN_STATES: Final = [state for state in WithdrawalState if state not in ENDED]
CLOSED: Final = "ended"
PERSONS: Final = ("owner", "reviewed_by", "approved_by", "paid_by")


@require_safe
@access.page(Right.VIEW_CUSTOMERS, action="withdrawals.view")
def listed(request: HttpRequest, context: Context) -> HttpResponse:
    """Show the queue: what is under way, by state, or what has ended."""
    wanted = request.GET.get("state", "")
    rows = Withdrawal.objects.select_related("owner", "reviewed_by")
    if wanted == CLOSED:
        rows = rows.filter(state__in=ENDED)
    elif wanted in WithdrawalState.values:
        rows = rows.filter(state=wanted)
    else:
        wanted, rows = "", rows.filter(state__in=OPEN_STATES)
    found, following = newest(rows, request)
    counts = dict(
        Withdrawal.objects.filter(state__in=OPEN_STATES)
        .values_list("state")
        .annotate(count=Count("pk"))
        .order_by("state")
    )
    page = {
        "tab": "withdrawals",
        "title": _("Withdrawals"),
        "rows": found,
        "following": following,
        "wanted": wanted,
        "filters": [
            ("", _("under way"), sum(counts.values())),
            *((state.value, state.label, counts[state.value]) for state in OPEN_STATES if state.value in counts),
            (CLOSED, _("ended"), ""),
        ],
        "stops": stops.active(),
        "stop_form": StopForm(),
        "lift_form": LiftForm(),
        "may_stop": _may_stop(request),
        "may_lift": access.may(request.user, Right.APPROVE_WITHDRAWALS),
    }
    return render(request, "ledger/transfers/withdrawals.html", {**context, **page})


def _may_stop(request: HttpRequest) -> bool:
    rights = (Right.REVIEW_WITHDRAWALS, Right.APPROVE_WITHDRAWALS)
    return any(access.may(request.user, right) for right in rights)


@require_safe
@access.page(Right.VIEW_CUSTOMERS, action="withdrawal.view")
def shown(request: HttpRequest, context: Context, withdrawal_id: int) -> HttpResponse:
    """Show one withdrawal: terms, checks in words, steps, and the decisions that this person may take now."""
    found = (
        Withdrawal.objects.select_related(*PERSONS, "custody", "gas_custody", "line").filter(pk=withdrawal_id).first()
    )
    if found is None:
        raise Http404
    page = {
        "tab": "withdrawals",
        "title": _("Withdrawal %(number)s") % {"number": found.pk},
        "withdrawal": found,
        "arrives": EXACT.subtract(found.amount, found.fee),
        "checks": [{"ok": check["ok"], "words": checks.words(check)} for check in found.checks],
        "steps": TransferEvent.objects.select_related("by").filter(withdrawal=found).order_by("version"),
        "reason": gettext(found.reason) if found.reason else "",
        "problem": gettext(found.problem) if found.problem else "",
        "profile": profiles.of(found.owner_id),
        "tier": OUTSIDE.tier_of(found.owner_id),
        "confirmed_by": identity.method(found.owner),
        "stopped": [stop for stop in stops.active() if stop.asset_id in {None, found.asset_id}],
        **_forms(request, found),
    }
    return render(request, "ledger/transfers/withdrawal.html", {**context, **page})


def _forms(request: HttpRequest, found: Withdrawal) -> Context:
    """Return the forms of the decisions that are open to this person, by what they do."""
    user, seen = request.user, {"version": found.version}
    reviews = access.may(user, Right.REVIEW_WITHDRAWALS)
    approves = access.may(user, Right.APPROVE_WITHDRAWALS)
    if found.owner_id == user.pk:
        return {"own": reviews or approves}
    open_forms: Context = {}
    if reviews and found.state == WithdrawalState.REVIEW:
        open_forms["pass_form"] = ReviewForm(initial=seen)
    if approves and found.state == WithdrawalState.APPROVAL:
        if found.reviewed_by_id == user.pk:
            open_forms["same_person"] = True
        else:
            open_forms["approve_form"] = VersionForm(initial=seen)
    if reviews and found.state == WithdrawalState.APPROVED:
        open_forms["payout_form"] = PayoutForm(initial={**seen, "network_fee": 0})
    if (reviews or approves) and found.state in decisions.REJECTABLE:
        open_forms["reject_form"] = ReasonForm(initial=seen)
    return open_forms


def _page(withdrawal_id: int) -> str:
    return reverse("finance:withdrawal", args=[withdrawal_id])


@require_POST
@access.page(Right.REVIEW_WITHDRAWALS, action="withdrawal.decide")
def pass_review(request: HttpRequest, _context: Context, withdrawal_id: int) -> HttpResponse:
    """Say that it looks right."""
    form = ReviewForm(request.POST)
    if not form.is_valid():
        return refuse_form(request, form, back=_page(withdrawal_id))
    values, by = form.cleaned_data, user_id(request)
    return decide(
        request,
        lambda: decisions.pass_review(
            withdrawal_id, version=values["version"], by=by, note=values["note"], now=utc_now()
        ),
        done=gettext("Reviewed. A second person must approve it."),
        back=_page(withdrawal_id),
    )


@require_POST
@access.page(Right.APPROVE_WITHDRAWALS, action="withdrawal.decide")
def approve(request: HttpRequest, _context: Context, withdrawal_id: int) -> HttpResponse:
    """Approve as the second person."""
    form = VersionForm(request.POST)
    if not form.is_valid():
        return refuse_form(request, form, back=_page(withdrawal_id))
    version, by = form.cleaned_data["version"], user_id(request)
    return decide(
        request,
        lambda: decisions.approve(withdrawal_id, version=version, by=by, now=utc_now()),
        done=gettext("Approved. It can be paid out now."),
        back=_page(withdrawal_id),
    )


@require_POST
@access.page(Right.VIEW_CUSTOMERS, action="withdrawal.decide")
def reject(request: HttpRequest, _context: Context, withdrawal_id: int) -> HttpResponse:
    """Reject, as reviewer or as second person."""
    require_any(request, Right.REVIEW_WITHDRAWALS, Right.APPROVE_WITHDRAWALS)
    form = ReasonForm(request.POST)
    if not form.is_valid():
        return refuse_form(request, form, back=_page(withdrawal_id))
    values, by = form.cleaned_data, user_id(request)
    return decide(
        request,
        lambda: decisions.reject(
            withdrawal_id, version=values["version"], by=by, reason=values["reason"], now=utc_now()
        ),
        done=gettext("Rejected. The back office gives the funds back."),
        back=_page(withdrawal_id),
    )


@require_POST
@access.page(Right.REVIEW_WITHDRAWALS, action="withdrawal.decide")
def payout(request: HttpRequest, _context: Context, withdrawal_id: int) -> HttpResponse:
    """Record what was paid."""
    form = PayoutForm(request.POST)
    if not form.is_valid():
        return refuse_form(request, form, back=_page(withdrawal_id))
    values, by, now = form.cleaned_data, user_id(request), utc_now()
    gas = values["gas_custody"]
    paid = decisions.Payout(
        custody_id=values["custody"].pk,
        reference=values["reference"].strip(),
        network_fee=values["network_fee"] or Decimal(0),
        gas_custody_id=None if gas is None else gas.pk,
        paid_at=values["paid_at"] or now,
    )
    return decide(
        request,
        lambda: decisions.record_payout(withdrawal_id, paid, version=values["version"], by=by, now=now),
        done=gettext("Recorded. The back office settles it."),
        back=_page(withdrawal_id),
    )


@require_POST
@access.page(Right.VIEW_CUSTOMERS, action="withdrawals.decide")
def stop(request: HttpRequest, _context: Context) -> HttpResponse:
    """Stop withdrawals of an asset, or all."""
    require_any(request, Right.REVIEW_WITHDRAWALS, Right.APPROVE_WITHDRAWALS)
    form, back = StopForm(request.POST), reverse("finance:withdrawals")
    if not form.is_valid():
        return refuse_form(request, form, back=back)
    asset, by = form.cleaned_data["asset"], user_id(request)
    return decide(
        request,
        lambda: stops.stop(
            None if asset is None else asset.pk, reason=form.cleaned_data["reason"], by=by, now=utc_now()
        ),
        done=gettext("Withdrawals are stopped."),
        back=back,
    )


@require_POST
@access.page(Right.APPROVE_WITHDRAWALS, action="withdrawals.decide")
def lift(request: HttpRequest, _context: Context, stop_id: int) -> HttpResponse:
    """Let withdrawals go on."""
    form, back = LiftForm(request.POST), reverse("finance:withdrawals")
    if not form.is_valid():
        return refuse_form(request, form, back=back)
    by = user_id(request)
    return decide(
        request,
        lambda: stops.lift(stop_id, reason=form.cleaned_data["reason"], by=by, now=utc_now()),
        done=gettext("Withdrawals go on."),
        back=back,
    )
