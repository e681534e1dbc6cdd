"""Finance pages of reconciliation: what is checked and how far it has come, the breaks, one break and its history."""

from collections.abc import Callable
from typing import Any, Final, cast
from urllib.parse import urlencode

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST, require_safe

from exchange.api.envelope import refusal_message
from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError
from exchange.kernel.money import plain
from ledger import access
from ledger.access import Right
from ledger.reconciliation import checks, reading, runner
from ledger.reconciliation.forms import BreakAction, BreakFilter
from ledger.reconciliation.models import Break, BreakState, ReconciliationRun
from ledger.services import breaks

PAGE_BREAKS: Final = 50
RUNS_SHOWN: Final = 10
HISTORY_MAX: Final = 500
ID_DIGITS_MAX: Final = 18
Context = dict[str, Any]


@require_safe
@access.page(Right.VIEW_BOOKS, action="reconciliation.view")
def overview(request: HttpRequest, context: Context) -> HttpResponse:
    """Show every check with what it compares, how soon it notices, how far it has come and what it has found."""
    runs = ReconciliationRun.objects.select_related("requested_by").order_by("-id")[:RUNS_SHOWN]
    reports = [
        {
            "report": report,
            "name": report.check.name,
            "compares": gettext(report.check.compares),
            "within": _duration(report.check.notices_within),
            "does": _SEVERITIES[report.check.reaction],
        }
        for report in reading.reports(now=utc_now())
    ]
    page = {"title": _("Reconciliation"), "reports": reports, "runs": runs, "may_work": _may_work(request)}
    return render(request, "ledger/reconciliation/overview.html", {**context, **page})


_SEVERITIES: Final = {
    checks.Severity.WATCH: _("is shown"),
    checks.Severity.ALERT: _("raises an alert"),
    checks.Severity.STOP: _("raises an alert and stops withdrawals"),
}


def _duration(seconds: int) -> str:
    """Write a promise: seconds, or hours where they are many."""
    hours = seconds // 3600
    if hours:
        return gettext("%(count)s h") % {"count": hours}
    return gettext("%(count)s s") % {"count": seconds}


def _person(request: HttpRequest) -> int:
    """Return who asks; the guard of the page let only people in who have signed in."""
    return cast("int", request.user.pk)


def _may_work(request: HttpRequest) -> bool:
    return access.may(request.user, Right.WORK_ON_BREAKS)


@require_POST
@access.page(Right.WORK_ON_BREAKS, action="reconciliation.request")
def run(request: HttpRequest, _context: Context) -> HttpResponse:
    """Ask for a full pass of all checks, or of one."""
    only = request.POST.get("check", "")
    if only and checks.named(only) is None:
        raise Http404
    try:
        runner.request(by=_person(request), now=utc_now(), only=only)
    except DomainError as refusal:
        messages.error(request, refusal_message(refusal))
    else:
        messages.success(request, _("The full reconciliation was requested; its result appears here."))
    return HttpResponseRedirect(reverse("finance:reconciliation"))


@require_safe
@access.page(Right.VIEW_BOOKS, action="breaks.view")
def listed(request: HttpRequest, context: Context) -> HttpResponse:
    """List breaks, newest first, page by page."""
    form = BreakFilter(request.GET or {"state": reading.UNRESOLVED})
    rows = reading.breaks(**form.wanted())
    before = request.GET.get("before", "")
    if before.isascii() and before.isdigit() and len(before) <= ID_DIGITS_MAX:
        rows = rows.filter(pk__lt=int(before))
    shown = list(rows[: PAGE_BREAKS + 1])
    page = {
        "title": _("Breaks"),
        "form": form,
        "breaks": [_row(row) for row in shown[:PAGE_BREAKS]],
        "next": _next_page(request, shown) if len(shown) > PAGE_BREAKS else "",
    }
    return render(request, "ledger/reconciliation/breaks.html", {**context, **page})


def _row(row: Break) -> dict[str, Any]:
    """Return a break as its templates show it."""
    amount = "" if row.amount is None else f"{plain(row.amount)} {row.asset}".strip()
    return {"row": row, "amount": amount, "is_open": row.state != BreakState.RESOLVED}


def _next_page(request: HttpRequest, shown: list[Break]) -> str:
    asked = {key: value for key, value in request.GET.items() if key != "before"}
    return "?" + urlencode(asked | {"before": str(shown[PAGE_BREAKS - 1].pk)})


@require_safe
@access.page(Right.VIEW_BOOKS, action="break.view")
def shown(request: HttpRequest, context: Context, break_id: int) -> HttpResponse:
    """Show one break with its history, and what may be done."""
    row = Break.objects.select_related("owner", "run").filter(pk=break_id).first()
    if row is None:
        raise Http404
    check = checks.named(row.check_name)
    page = {
        "title": _("Break %(number)s") % {"number": row.pk},
        "found": _row(row),
        "compares": gettext(check.compares) if check else "",
        "history": row.events.select_related("by").order_by("-id")[:HISTORY_MAX],
        "may_work": _may_work(request),
        "form": BreakAction(initial={"owner": str(row.owner_id or request.user.pk)}),
    }
    return render(request, "ledger/reconciliation/break.html", {**context, **page})


@require_POST
@access.page(Right.WORK_ON_BREAKS, action="break.work")
def work(request: HttpRequest, _context: Context, break_id: int) -> HttpResponse:
    """Assign, explain, resolve, reopen or comment a break."""
    form = BreakAction(request.POST)
    if not form.is_valid():
        messages.error(request, "; ".join(error for errors in form.errors.values() for error in map(str, errors)))
        return HttpResponseRedirect(reverse("finance:break", args=[break_id]))
    asked = form.cleaned_data
    text, by, now = asked["text"], _person(request), utc_now()
    acts: dict[str, Callable[[], Break]] = {
        "assign": lambda: breaks.assign(break_id, int(asked["owner"] or by), by=by, now=now, text=text),
        "explain": lambda: breaks.explain(break_id, text, by=by, now=now),
        "resolve": lambda: breaks.resolve(break_id, text, by=by, now=now),
        "reopen": lambda: breaks.reopen(break_id, text, by=by, now=now),
        "comment": lambda: breaks.comment(break_id, text, by=by, now=now),
    }
    try:
        acts[asked["action"]]()
    except breaks.BreakNotFoundError as missing:
        raise Http404 from missing
    except DomainError as refusal:
        messages.error(request, refusal_message(refusal))
    else:
        messages.success(request, _("Written down."))
    return HttpResponseRedirect(reverse("finance:break", args=[break_id]))
