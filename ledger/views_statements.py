"""Finance pages that show statements, and their files. They only read; each visit and each file is logged."""

import itertools
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from exchange.api import throttling
from exchange.api.envelope import refusal_message
from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError
from ledger import access, statement_catalogue
from ledger.access import Right
from ledger.exports import download
from ledger.reports import balances, lines, moments, printed_customer, printed_lines, reading, titles
from ledger.reports.document import Document
from ledger.reports.files import write
from ledger.reports.lines import LAST_N, Place
from ledger.statement_catalogue import CATALOGUE, decimals
from ledger.statement_forms import StatementForm
from ledger.statement_layout import t_forms

FILES: Final = throttling.Limit("statement-files", 30, 60)
PAGE_LINES: Final = 100
PAGE_ACCOUNTS: Final = 100
PLACE_DIGITS_MAX: Final = 18
Context = dict[str, Any]


@require_safe
@access.page(Right.VIEW_BOOKS, action="statements.view")
def index(request: HttpRequest, context: Context) -> HttpResponse:
    """Show which statements there are."""
    found = [(_page_url(name), item) for name, item in CATALOGUE.items() if item.listed]
    return render(request, "ledger/statements/index.html", {**context, "title": titles.STATEMENTS, "found": found})


@require_safe
@access.page(Right.VIEW_BOOKS, action="balance_sheet.view")
def balance_sheet(request: HttpRequest, context: Context) -> HttpResponse:
    """Show the balance sheet as a T, as of any moment."""
    page, asked = _asked(request, context, "balance-sheet")
    page["life"] = moments.life()
    if asked is not None:
        with reading.patiently():
            sheet = statement_catalogue.sheet_of(asked)
        page |= {"sheet": sheet, "forms": t_forms(sheet, decimals()), "columns": sheet.cuts, "terms": titles.TERMS}
    return render(request, "ledger/statements/balance_sheet.html", page)


@require_safe
@access.page(Right.VIEW_BOOKS, action="trial_balance.view")
def trial_balance(request: HttpRequest, context: Context) -> HttpResponse:
    """Show the trial balance of a period."""
    return _document_page(request, context, "trial-balance")


@require_safe
@access.page(Right.VIEW_BOOKS, action="income_statement.view")
def income_statement(request: HttpRequest, context: Context) -> HttpResponse:
    """Show the income statement of a period, beside an earlier one."""
    return _document_page(request, context, "income-statement")


@require_safe
@access.page(Right.VIEW_BOOKS, action="cash_flow.view")
def cash_flow(request: HttpRequest, context: Context) -> HttpResponse:
    """Show what entered and left custody in a period."""
    return _document_page(request, context, "cash-flow")


@require_safe
@access.page(Right.VIEW_BOOKS, action="fee_report.view")
def fee_report(request: HttpRequest, context: Context) -> HttpResponse:
    """Show the fees of a period, and who paid most."""
    return _document_page(request, context, "fee-report", "fee-payers")


def _document_page(request: HttpRequest, context: Context, *names: str) -> HttpResponse:
    """Show one statement laid out as a table, and others below it that the same is asked of."""
    page, asked = _asked(request, context, names[0])
    if asked is not None:
        page["documents"] = _laid_out(page["form"], asked, names)
    return render(request, "ledger/statements/documents.html", page)


def _laid_out(form: StatementForm, asked: dict[str, Any], names: tuple[str, ...]) -> list[Document]:
    """Read statements; what is refused is told beside the form."""
    try:
        with reading.patiently():
            return [CATALOGUE[name].document(asked) for name in names]
    except DomainError as error:
        form.add_error(None, refusal_message(error))
        return []


# --- Lines and accounts behind a figure -----------------------------------------------------------


@require_safe
@access.page(Right.VIEW_BOOKS, action="general_ledger.view")
def general_ledger(request: HttpRequest, context: Context) -> HttpResponse:
    """Show the lines behind a figure page by page; without an account, the accounts to choose from."""
    page, asked = _asked(request, context, "general-ledger")
    if asked is None:
        return render(request, "ledger/statements/documents.html", page)
    selection = statement_catalogue.selection_of(asked)
    if not selection.codes and selection.account_id is None:
        page["documents"] = _laid_out(page["form"], asked | {"zeros": False}, ("trial-balance",))
        return render(request, "ledger/statements/documents.html", page)
    after = _place(request.GET.get("after", ""))
    with reading.patiently():
        period = moments.period(asked["from"], asked["to"])
        found = lines.page(selection, period, after=after, limit=PAGE_LINES)
    document = printed_lines.page_of_lines(selection, period, found, decimals(), is_first=after is None)
    page |= {
        "documents": [document],
        "is_empty": not found.lines,
        "next": _with(request, after=f"{found.next.entry_id}.{found.next.n}") if found.next else "",
        "first": _with(request, after=None) if after else "",
        "accounts": f"{reverse('finance:accounts')}?{request.GET.urlencode()}" if asked["account"] is None else "",
    }
    return render(request, "ledger/statements/documents.html", page)


@require_safe
@access.page(Right.VIEW_BOOKS, action="accounts.view")
def accounts(request: HttpRequest, context: Context) -> HttpResponse:
    """Show the ledger accounts behind a figure page by page, each leading to its lines."""
    page, asked = _asked(request, context, "general-ledger")
    page["title"] = titles.ACCOUNTS
    if asked is None:
        return render(request, "ledger/statements/documents.html", page)
    selection = statement_catalogue.selection_of(asked)
    after = _place(request.GET.get("after", "0"))
    with reading.patiently():
        period = moments.period(asked["from"], asked["to"])
        found = balances.accounts(selection, period, after_id=after.entry_id if after else 0, limit=PAGE_ACCOUNTS + 1)
    shown = found[:PAGE_ACCOUNTS]
    page |= {
        "documents": [printed_lines.page_of_accounts(selection, period, shown, decimals())],
        "is_empty": not shown,
        "next": _with(request, after=str(shown[-1].account_id)) if len(found) > PAGE_ACCOUNTS else "",
        "first": _with(request, after=None) if after and after.entry_id else "",
        "exports": [],
    }
    return render(request, "ledger/statements/documents.html", page)


def _place(text: str) -> Place | None:
    """Read where a page begins; anything that is no place is the first page."""
    entry, _, n = text.partition(".")
    parts = (entry, n or "0")
    if not all(part.isascii() and part.isdigit() and len(part) <= PLACE_DIGITS_MAX for part in parts):
        return None
    return Place(int(entry), min(int(parts[1]), LAST_N))


# --- One user -------------------------------------------------------------------------------------


@require_safe
@access.page(Right.VIEW_CUSTOMERS, action="account_statement.view")
def account_statement(request: HttpRequest, context: Context) -> HttpResponse:
    """Show one user's account statement page by page."""
    page, asked = _asked(request, context, "account-statement", is_bound="owner" in request.GET)
    if asked is None:
        return render(request, "ledger/statements/documents.html", page)
    after = _place(request.GET.get("after", ""))
    with reading.patiently():
        whose = statement_catalogue.customer_asked(asked)
        found = whose.page(after.entry_id if after else None, PAGE_LINES)
    page |= {
        "documents": [printed_customer.page(whose, found, decimals(), is_first=after is None)],
        "is_empty": not found.movements,
        "next": _with(request, after=str(found.next_entry_id)) if found.next_entry_id is not None else "",
        "first": _with(request, after=None) if after else "",
    }
    return render(request, "ledger/statements/documents.html", page)


# --- Files ----------------------------------------------------------------------------------------


@require_safe
@access.page(Right.EXPORT_BOOKS, action="statement.export")
def export(request: HttpRequest, context: Context, name: str, ending: str) -> HttpResponse | StreamingHttpResponse:
    """Send a statement as a file; what cannot be written as asked leads back to the page, which says why."""
    if name not in CATALOGUE or ending not in write.ENDINGS:
        raise Http404
    _, asked = _asked(request, context, name)
    back = HttpResponseRedirect(f"{_page_url(name)}?{request.GET.urlencode()}")
    if asked is None:
        return back
    try:
        throttling.take(FILES, str(request.user.pk))
        with reading.patiently():
            document = CATALOGUE[name].document(asked)
        chunks = write.chunks(document, ending, utc_now())
        first = next(chunks)
    except DomainError as error:
        messages.error(request, refusal_message(error))
        return back
    return download.send(
        request, itertools.chain([first], chunks), f"{document.name}.{ending}", write.CONTENT_TYPES[ending]
    )


# --- What all pages have --------------------------------------------------------------------------


def _page_url(name: str) -> str:
    """Return the address of a statement's page; of one that stands on another's page, that page's."""
    shown_on = {"fee-payers": "fee-report"}.get(name, name)
    return reverse(f"finance:{shown_on.replace('-', '_')}")


def _asked(
    request: HttpRequest, context: Context, name: str, *, is_bound: bool = True
) -> tuple[Context, dict[str, Any] | None]:
    """Read what is asked of a statement; return the page's context, and the values if they make sense.

    Raises:
        PermissionDenied: One user's figures are asked for by somebody who may not see customers.
    """
    statement = CATALOGUE[name]
    form = statement.form(request.GET if is_bound else None)
    asked = form.cleaned_data if is_bound and form.is_valid() else None
    if asked is not None and asked.get("owner") is not None and not access.may(request.user, Right.VIEW_CUSTOMERS):
        raise PermissionDenied
    query = request.GET.copy()
    query.pop("after", None)
    exports = [
        (ending.upper(), f"{reverse('finance:export', args=[name, ending])}?{query.urlencode()}")
        for ending in write.ENDINGS
        if asked is not None and access.may(request.user, Right.EXPORT_BOOKS)
    ]
    may_see_books = access.may(request.user, Right.VIEW_BOOKS)
    page = {
        **context,
        "title": statement.title,
        "meaning": statement.meaning,
        "form": form,
        "exports": exports,
        "tabs": [
            (_page_url(tab), item.title, tab == name)
            for tab, item in CATALOGUE.items()
            if item.listed and (may_see_books or tab == "account-statement")
        ],
    }
    return page, asked


def _with(request: HttpRequest, **changes: str | None) -> str:
    """Return the query of this page with some values changed or taken out."""
    query = {key: value for key, value in request.GET.items() if key not in changes}
    return "?" + urlencode(query | {key: value for key, value in changes.items() if value is not None})
