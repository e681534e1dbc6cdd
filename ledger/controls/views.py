"""Finance pages of periods, of entries that people propose, and of the finance log."""

from collections.abc import Callable
from typing import Any, Final, cast

from django.contrib import messages
from django.contrib.auth.models import AbstractUser
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from exchange.api.envelope import refusal_message
from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError
from exchange.kernel.money import plain
from ledger import access, keyset
from ledger.access import Right
from ledger.chart import CHART, AccountCode
from ledger.control_models import Period, PeriodAction, PeriodRequest, Proposal, ProposalState
from ledger.controls.forms import CloseForm, DecisionForm, EntryForm, Lines, LogFilter, ProposalFilter, ReopenForm
from ledger.models import FinanceLog
from ledger.services import manual_entries, periods, proposals
from ledger.services.manual_entries import ProposedLine

PAGE_ROWS: Final = 50
HISTORY_ROWS: Final = 100
MORE_LINES: Final = 4
Context = dict[str, Any]


def person(request: HttpRequest) -> AbstractUser:
    """Return who asks; the guard of the page let only people in who have signed in."""
    return cast("AbstractUser", request.user)


def told(form: Any) -> str:
    """Return what is wrong with a form, in one line."""
    return "; ".join(str(error) for errors in form.errors.values() for error in errors)


@require_safe
@access.page(Right.VIEW_BOOKS, action="periods.view")
def period_list(request: HttpRequest, context: Context) -> HttpResponse:
    """Show how far the books are closed, what was closed and reopened, and what was asked for."""
    closed_before = periods.closed_before()
    page = {
        "title": _("Periods"),
        "closed_before": closed_before,
        "periods": Period.objects.select_related("author").order_by("-pk")[:HISTORY_ROWS],
        "requests": PeriodRequest.objects.select_related("author").order_by("-pk")[:PAGE_ROWS],
        "may_close": access.may(request.user, Right.CLOSE_PERIODS),
        "close_form": CloseForm(auto_id="close_%s"),
        "reopen_form": ReopenForm(auto_id="reopen_%s", closed_before=closed_before),
    }
    return render(request, "ledger/controls/periods.html", {**context, **page})


@require_POST
@access.page(Right.CLOSE_PERIODS, action="periods.ask")
def period_ask(request: HttpRequest, _context: Context, what: str) -> HttpResponse:
    """Ask the back office to close or reopen."""
    if what == "close":
        form: Any = CloseForm(request.POST)
        action, boundary = PeriodAction.CLOSE, form.boundary
    elif what == "reopen":
        form = ReopenForm(request.POST, closed_before=periods.closed_before())
        action, boundary = PeriodAction.REOPEN, form.moment
    else:
        raise Http404
    if not form.is_valid():
        messages.error(request, told(form))
    else:
        try:
            periods.ask(person(request), action, boundary(), form.cleaned_data["reason"], now=utc_now())
        except DomainError as refusal:
            messages.error(request, refusal_message(refusal))
        else:
            messages.success(request, _("Asked for; the back office carries it out, and the result appears here."))
    return HttpResponseRedirect(reverse("finance:periods"))


@require_safe
@access.page(Right.VIEW_BOOKS, action="proposals.view")
def proposal_list(request: HttpRequest, context: Context) -> HttpResponse:
    """List proposed entries, newest first."""
    form = ProposalFilter(request.GET)
    rows = Proposal.objects.select_related("maker", "checker")
    if form.is_valid() and form.cleaned_data["state"]:
        rows = rows.filter(state=form.cleaned_data["state"])
    page = {
        "title": _("Proposed entries"),
        "form": form,
        "page": keyset.page(rows, request.GET.dict(), PAGE_ROWS),
        "may_make": access.may(request.user, Right.MAKE_ENTRIES),
    }
    return render(request, "ledger/controls/proposals.html", {**context, **page})


@require_http_methods(["GET", "HEAD", "POST"])
@access.page(Right.MAKE_ENTRIES, action="proposal.write")
def proposal_new(request: HttpRequest, context: Context) -> HttpResponse:
    """Let somebody write an entry, look whether it balances in every journal, and propose it."""
    posted = request.POST or None
    form = EntryForm(posted)
    lines = Lines(_with_more(request) if posted else None, prefix="lines")
    page: Context = {"title": _("New manual entry"), "form": form, "lines": lines}
    if posted and request.POST.get("action") != "more" and lines.is_valid():
        written = lines.lines()  # type: ignore[attr-defined]
        page["journals"] = _balances(written)
        if request.POST.get("action") == "send" and form.is_valid():
            try:
                made = manual_entries.propose(
                    person(request),
                    written,
                    form.cleaned_data["reason"],
                    effective_at=form.moment(),
                    now=utc_now(),
                )
            except DomainError as refusal:
                messages.error(request, refusal_message(refusal))
            else:
                messages.success(request, _("Proposed; another person decides."))
                return HttpResponseRedirect(reverse("finance:proposal", args=[made.pk]))
    return render(request, "ledger/controls/proposal_new.html", {**context, **page})


def _with_more(request: HttpRequest) -> Any:
    """Return what was posted, with some more empty lines if they were asked for."""
    posted = request.POST.copy()
    if posted.get("action") == "more":
        count = keyset.place(posted.get("lines-TOTAL_FORMS", "")) or 0
        posted["lines-TOTAL_FORMS"] = str(min(count + MORE_LINES, manual_entries.LINES_MAX))
    return posted


def _balances(lines: list[ProposedLine]) -> list[dict[str, Any]]:
    """Return what is left over in each journal, as the page shows it: the platform's first."""
    found = manual_entries.differences(lines)
    return [
        {
            "journal": gettext("Platform") if owner_id is None else gettext("User %(user)s") % {"user": owner_id},
            "asset": asset,
            "difference": plain(difference),
            "balances": not difference,
        }
        for (owner_id, asset), difference in sorted(found.items(), key=lambda item: (item[0][0] or 0, item[0][1]))
    ]


@require_safe
@access.page(Right.VIEW_BOOKS, action="proposal.view")
def proposal_shown(request: HttpRequest, context: Context, proposal_id: int) -> HttpResponse:
    """Show one proposed entry with its lines, and what may be done."""
    row = Proposal.objects.select_related("maker", "checker", "entry").filter(pk=proposal_id).first()
    if row is None:
        raise Http404
    lines = [ProposedLine(key.owner_id, key.code, key.asset, amount, key.sub) for key, amount in _lines(row)]
    waits = row.state == ProposalState.PROPOSED
    mine = row.maker_id == request.user.pk
    page = {
        "title": _("Proposed entry %(number)s") % {"number": row.pk},
        "row": row,
        "lines": [_shown(line) for line in lines],
        "journals": _balances(lines),
        "may_decide": waits and not mine and access.may(request.user, Right.APPROVE_ENTRIES),
        "may_withdraw": waits and mine and access.may(request.user, Right.MAKE_ENTRIES),
        "form": DecisionForm(),
    }
    return render(request, "ledger/controls/proposal.html", {**context, **page})


def _lines(row: Proposal) -> list[Any]:
    """Return the lines of the entry that a proposal would post."""
    return proposals.LINES[row.kind](row)


def _shown(line: ProposedLine) -> dict[str, Any]:
    """Return a line as its template shows it."""
    return {
        "line": line,
        "account": f"{line.code} {CHART[AccountCode(line.code)].name}",
        "debit": plain(line.amount) if line.amount > 0 else "",
        "credit": plain(line.amount.copy_negate()) if line.amount < 0 else "",
    }


@require_POST
@access.page(Right.APPROVE_ENTRIES, action="proposal.decide")
def proposal_decide(request: HttpRequest, _context: Context, proposal_id: int) -> HttpResponse:
    """Approve or reject as the second person."""
    form = DecisionForm(request.POST)
    decisions: dict[str, Callable[..., Proposal]] = {"approve": proposals.approve, "reject": proposals.reject}
    decide = decisions.get(request.POST.get("action", ""))
    if decide is None:
        raise Http404
    if not form.is_valid():
        messages.error(request, told(form))
        return HttpResponseRedirect(reverse("finance:proposal", args=[proposal_id]))
    remark = form.cleaned_data["remark"]
    return _done(request, proposal_id, lambda: decide(person(request), proposal_id, remark=remark, now=utc_now()))


@require_POST
@access.page(Right.MAKE_ENTRIES, action="proposal.take_back")
def proposal_withdraw(request: HttpRequest, _context: Context, proposal_id: int) -> HttpResponse:
    """Take one's own proposal back."""
    return _done(request, proposal_id, lambda: proposals.withdraw(person(request), proposal_id, now=utc_now()))


def _done(request: HttpRequest, proposal_id: int, act: Callable[[], Proposal]) -> HttpResponse:
    """Do something to a proposal, say how it went, and lead back to it."""
    try:
        act()
    except proposals.ProposalUnknownError as missing:
        raise Http404 from missing
    except DomainError as refusal:
        messages.error(request, refusal_message(refusal))
    else:
        messages.success(request, _("Written down."))
    return HttpResponseRedirect(reverse("finance:proposal", args=[proposal_id]))


@require_safe
@access.page(Right.VIEW_LOG, action="finance_log.view")
def log(request: HttpRequest, context: Context) -> HttpResponse:
    """List who saw or did what in the finance screens, newest first."""
    form = LogFilter(request.GET)
    rows = form.narrowed(FinanceLog.objects.select_related("user"))
    page = {"title": _("Finance log"), "form": form, "page": keyset.page(rows, request.GET.dict(), PAGE_ROWS)}
    return render(request, "ledger/controls/log.html", {**context, **page})
