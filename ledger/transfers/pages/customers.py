"""Finance pages of customers: looked up by name or id, shown with what they own and do, and their profile edited."""

from typing import Any

from django.contrib.auth import get_user_model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST, require_safe

from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError
from ledger import access, selectors
from ledger.access import Right
from ledger.chart import AccountCode
from ledger.models import Asset
from ledger.transfers import addresses, deposits, identity, limits, profiles, withdrawals
from ledger.transfers.models import HolderKind
from ledger.transfers.outside import OUTSIDE
from ledger.transfers.pages.common import Context, decide, newest, refuse_form, user_id
from ledger.transfers.pages.forms import ProfileForm
from ledger.transfers.profiles import ProfileChange

ROWS_SHOWN = 20


@require_safe
@access.page(Right.VIEW_CUSTOMERS, action="customers.view")
def listed(request: HttpRequest, context: Context) -> HttpResponse:
    """Show customers, newest first, or go to the one of a name or an id."""
    asked = request.GET.get("q", "").strip()
    if asked:
        try:
            found = profiles.customer(asked)
        except DomainError:
            found = None
        if found is not None:
            return HttpResponseRedirect(reverse("finance:customer", args=[found.pk]))
    rows, following = newest(get_user_model().objects.all(), request)
    page = {"tab": "customers", "title": _("Customers"), "rows": rows, "following": following, "asked": asked}
    return render(request, "ledger/transfers/customers.html", {**context, **page})


@require_safe
@access.page(Right.VIEW_CUSTOMERS, action="customer.view")
def shown(request: HttpRequest, context: Context, owner_id: int) -> HttpResponse:
    """Show one customer: profile, wallets, limits, addresses, what comes and goes."""
    user = get_user_model().objects.filter(pk=owner_id).first()
    if user is None:
        raise Http404
    profile, now = profiles.of(owner_id), utc_now()
    edits = access.may(request.user, Right.EDIT_CUSTOMERS)
    page = {
        "tab": "customers",
        "title": user.get_username(),
        "customer": user,
        "profile": profile,
        "tier": OUTSIDE.tier_of(owner_id),
        "terms": limits.tier(owner_id),
        "second_factor": identity.method(user) == identity.OTP,
        "wallets": [_wallet(asset, held) for asset, held in selectors.wallets(owner_id).items()],
        "limits": [
            (asset, allowed)
            for asset in Asset.objects.order_by("code").values_list("code", flat=True)
            if (allowed := limits.of(owner_id, asset, now=now)) is not None
        ],
        "addresses": addresses.book(owner_id),
        "now": now,
        "withdrawals": withdrawals.page(owner_id, limit=ROWS_SHOWN),
        "deposits": deposits.page(owner_id, limit=ROWS_SHOWN),
        "form": ProfileForm(initial=ProfileForm.saying(profile)) if edits and owner_id != request.user.pk else None,
    }
    return render(request, "ledger/transfers/customer.html", {**context, **page})


def _wallet(asset: str, held: dict[AccountCode, Any]) -> dict[str, Any]:
    return {
        "asset": asset,
        "available": held.get(AccountCode.AVAILABLE, 0),
        "orders": held.get(AccountCode.ORDER_HOLD, 0),
        "withdrawals": held.get(AccountCode.WITHDRAW_HOLD, 0),
        "margin": held.get(AccountCode.MARGIN, 0),
        "debt": held.get(AccountCode.DEBT, 0),
    }


@require_POST
@access.page(Right.EDIT_CUSTOMERS, action="customer.edit")
def edit(request: HttpRequest, _context: Context, owner_id: int) -> HttpResponse:
    """Change a customer's profile; nobody changes their own."""
    back = reverse("finance:customer", args=[owner_id])
    if not get_user_model().objects.filter(pk=owner_id).exists():
        raise Http404
    form = ProfileForm(request.POST)
    if not form.is_valid():
        return refuse_form(request, form, back=back)
    values, by = form.cleaned_data, user_id(request)
    wanted = ProfileChange(
        legal_name=values["legal_name"],
        country=values["country"],
        kind=HolderKind(values["kind"]),
        frozen=values["frozen"],
        withdrawals_blocked=values["withdrawals_blocked"],
        reason=values["reason"],
        tier=values["tier"],
        version=values["version"],
    )
    return decide(
        request,
        lambda: profiles.change(owner_id, wanted, by=by, now=utc_now()),
        done=gettext("The profile has been changed."),
        back=back,
    )
