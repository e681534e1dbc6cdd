"""Finance pages of custody accounts: what books and statements say of them, statement files, addresses in stock."""

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
from exchange.kernel.money import EXACT
from ledger import access
from ledger.access import Right
from ledger.transfers import custody, deposit_addresses, statement_csv, statements
from ledger.transfers.models import CustodyAccount, CustodyKind, CustodyStatement, StatementUpload
from ledger.transfers.pages.common import Context, decide, newest, refuse_form, user_id
from ledger.transfers.pages.forms import StatementForm, StockForm
from ledger.transfers.statements import Outcome

LINES_SHOWN = 500
BAD = {Outcome.REFUSED}
OPEN = {Outcome.OWNER, Outcome.UNMATCHED, Outcome.SECOND_PERSON, Outcome.CONFIRMATIONS}


@require_safe
@access.page(Right.VIEW_BOOKS, action="custody.view")
def listed(request: HttpRequest, context: Context) -> HttpResponse:
    """Show every custody account with the books' balance and the newest statement's."""
    page = {
        "tab": "custody",
        "title": _("Custody accounts"),
        "rows": custody.positions(),
        "routes": custody.routes(),
        "may_manage": access.may(request.user, Right.MANAGE_CUSTODY),
    }
    return render(request, "ledger/transfers/custody.html", {**context, **page})


@require_safe
@access.page(Right.VIEW_BOOKS, action="custody_account.view")
def shown(request: HttpRequest, context: Context, custody_id: int) -> HttpResponse:
    """Show one custody account with its statements; an accountant hands in new ones here."""
    account = _account(custody_id)
    rows, following = newest(account.statements.select_related("imported_by", "upload"), request)
    imports = access.may(request.user, Right.IMPORT_STATEMENTS)
    manages = access.may(request.user, Right.MANAGE_CUSTODY)
    page = {
        "tab": "custody",
        "title": str(account),
        "account": account,
        "rows": rows,
        "following": following,
        "columns": ",".join(statement_csv.columns(account.kind)),
        "form": StatementForm() if imports and account.active else None,
        "stock_form": StockForm() if manages and account.kind == CustodyKind.CHAIN else None,
        "stock": deposit_addresses.free(account),
        "waiting": StatementUpload.objects.filter(custody=account, statement__isnull=True).order_by("-pk")[:20],
    }
    return render(request, "ledger/transfers/custody_account.html", {**context, **page})


def _account(custody_id: int) -> CustodyAccount:
    found = CustodyAccount.objects.filter(pk=custody_id).first()
    if found is None:
        raise Http404
    return found


@require_POST
@access.page(Right.IMPORT_STATEMENTS, action="statement.upload")
def upload(request: HttpRequest, context: Context, custody_id: int) -> HttpResponse:
    """Take a statement file in, and go on to its preview; a file with errors is shown row by row instead."""
    account = _account(custody_id)
    back = reverse("finance:custody_account", args=[custody_id])
    form = StatementForm(request.POST, request.FILES)
    if not form.is_valid():
        return refuse_form(request, form, back=back)
    file = form.cleaned_data["file"]
    try:
        kept = statements.upload(
            custody_id, file_name=file.name, content=file.read(), by=user_id(request), now=utc_now()
        )
    except DomainError as refusal:
        page = {
            "tab": "custody",
            "title": _("Statement refused"),
            "account": account,
            "refusal": refusal_message(refusal),
            "errors": refusal.data.get("rows", []),
        }
        return render(request, "ledger/transfers/statement_refused.html", {**context, **page}, status=refusal.status)
    return HttpResponseRedirect(reverse("finance:statement_preview", args=[kept.pk]))


@require_safe
@access.page(Right.IMPORT_STATEMENTS, action="statement.preview")
def preview(request: HttpRequest, context: Context, upload_id: int) -> HttpResponse:
    """Show what each row of a file would do if it were imported now."""
    kept = StatementUpload.objects.select_related("custody").filter(pk=upload_id).first()
    if kept is None:
        raise Http404
    done = CustodyStatement.objects.filter(upload=kept).first()
    if done is not None:
        return HttpResponseRedirect(reverse("finance:custody_statement", args=[done.pk]))
    found = statements.preview(kept, now=utc_now())
    page = {
        "tab": "custody",
        "title": _("Preview of %(file)s") % {"file": kept.file_name},
        "upload": kept,
        "account": kept.custody,
        "found": found,
        "rows": [{"judged": row, "mark": _mark(row.outcome)} for row in found.rows[:LINES_SHOWN]],
        "hidden": max(0, len(found.rows) - LINES_SHOWN),
        "counts": [
            (gettext(statements.WORDS[outcome]), found.count(outcome), _mark(outcome))
            for outcome in Outcome
            if found.count(outcome)
        ],
    }
    return render(request, "ledger/transfers/statement_preview.html", {**context, **page})


def _mark(outcome: Outcome) -> str:
    """Return the class of an outcome: what goes wrong, what stays open, what is done."""
    return "bad" if outcome in BAD else "open" if outcome in OPEN else "good"


@require_POST
@access.page(Right.IMPORT_STATEMENTS, action="statement.import")
def import_(request: HttpRequest, _context: Context, upload_id: int) -> HttpResponse:
    """Import a file whose preview was seen."""
    if not StatementUpload.objects.filter(pk=upload_id).exists():
        raise Http404
    may_pay = access.may(request.user, Right.REVIEW_WITHDRAWALS)
    try:
        stored, _found = statements.import_upload(upload_id, by=user_id(request), may_pay=may_pay, now=utc_now())
    except DomainError as refusal:
        messages.error(request, refusal_message(refusal))
        return HttpResponseRedirect(reverse("finance:statement_preview", args=[upload_id]))
    messages.success(request, gettext("Imported. The back office posts what follows from it."))
    return HttpResponseRedirect(reverse("finance:custody_statement", args=[stored.pk]))


@require_safe
@access.page(Right.VIEW_BOOKS, action="statement.view")
def statement(request: HttpRequest, context: Context, statement_id: int) -> HttpResponse:
    """Show an imported statement with what became of its lines."""
    found = CustodyStatement.objects.select_related("custody", "upload", "imported_by").filter(pk=statement_id).first()
    if found is None:
        raise Http404
    lines = found.lines.select_related("deposit", "withdrawal").order_by("n")
    moved = EXACT.subtract(found.balance, lines[0].balance) if lines else None
    page = {
        "tab": "custody",
        "title": _("Statement of %(account)s") % {"account": found.custody},
        "statement": found,
        "lines": lines[:LINES_SHOWN],
        "hidden": max(0, lines.count() - LINES_SHOWN),
        "moved": moved,
    }
    return render(request, "ledger/transfers/statement.html", {**context, **page})


@require_POST
@access.page(Right.MANAGE_CUSTODY, action="custody.stock")
def stock(request: HttpRequest, _context: Context, custody_id: int) -> HttpResponse:
    """Put addresses into stock."""
    account, back = _account(custody_id), reverse("finance:custody_account", args=[custody_id])
    form = StockForm(request.POST)
    if not form.is_valid():
        return refuse_form(request, form, back=back)
    texts, by = form.cleaned_data["addresses"].split("\n"), user_id(request)
    return decide(
        request,
        lambda: deposit_addresses.stock(account, texts, by=by, now=utc_now()),
        done=gettext("The addresses are in stock."),
        back=back,
    )
