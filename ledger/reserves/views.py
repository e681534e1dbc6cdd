"""The public pages of proofs of reserves, a user's own proof as a file, and the page from which staff publish."""

from pathlib import Path
from typing import Any, Final

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST, require_safe

from exchange.api import throttling
from exchange.api.authentication import client_address
from exchange.api.envelope import refusal_message
from exchange.api.errors import TooManyRequestsError
from exchange.api.wire import dumps
from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError
from ledger import access
from ledger.access import Person, Right
from ledger.reserves import drawing, proofs, publishing, statements, verify
from ledger.reserves.api import PROOFS
from ledger.reserves.models import Publication
from ledger.reserves.statements import AssetFigures, Published

HISTORY_SHOWN: Final = 30
REQUESTS_SHOWN: Final = 50
VISITS: Final = throttling.Limit("reserves-page", 120, 60)


@require_safe
def latest(request: HttpRequest) -> HttpResponse:
    """Show the newest publication."""
    return _page(request, None)


@require_safe
def detail(request: HttpRequest, publication_id: int) -> HttpResponse:
    """Show one publication."""
    return _page(request, publication_id)


def _page(request: HttpRequest, publication_id: int | None) -> HttpResponse:
    try:
        throttling.take(VISITS, throttling.site_of(client_address(request.META)))
        history = statements.newest(HISTORY_SHOWN)
        shown = statements.published(publication_id) if publication_id is not None else next(iter(history), None)
    except DomainError as error:
        return _refused(request, error)
    context = {
        "page": "reserves",
        "publication": shown,
        "assets": [_asset(figures) for figures in shown.assets] if shown else [],
        "history": history,
        "plot": drawing.ratios(history),
        "page_data": {"publication": shown.id if shown else None, "signed_in": request.user.is_authenticated},
    }
    return render(request, "web/reserves.html", context)


def _asset(figures: AssetFigures) -> dict[str, Any]:
    """Return an asset's figures with its bars."""
    return {**figures._asdict(), "bars": drawing.bars(figures), "covered": figures.ratio is None or figures.ratio >= 1}


def _refused(request: HttpRequest, error: DomainError) -> HttpResponse:
    """Show a refusal where a page was asked for."""
    if isinstance(error, TooManyRequestsError):
        return HttpResponse(refusal_message(error), status=error.status, content_type="text/plain; charset=utf-8")
    return render(request, "404.html", status=error.status)


@require_safe
@login_required
def own_proof(request: HttpRequest, publication_id: int) -> HttpResponse:
    """Send the signed-in user's proof as a file."""
    try:
        throttling.take(PROOFS, str(request.user.pk))
        proof = proofs.proof(publication_id, int(request.user.pk))  # type: ignore[arg-type]  # login_required
    except DomainError as error:
        return _refused(request, error)
    return _file(dumps(proof), f"reserves-proof-{publication_id}.json", "application/json")


@require_safe
def statement(request: HttpRequest, publication_id: int) -> HttpResponse:
    """Send the signed text, byte for byte."""
    try:
        throttling.take(VISITS, throttling.site_of(client_address(request.META)))
        published: Published = statements.published(publication_id)
    except DomainError as error:
        return _refused(request, error)
    return _file(published.statement.encode(), f"reserves-statement-{publication_id}.json", "application/json")


@require_safe
def verifier(_request: HttpRequest) -> HttpResponse:
    """Send the verifier: one Python file that needs nothing of ours."""
    return _file(Path(verify.__file__).read_bytes(), "verify.py", "text/x-python; charset=utf-8")


def _file(content: bytes, name: str, content_type: str) -> HttpResponse:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return HttpResponse(content, content_type=content_type, headers=headers)


# --- Staff ---------------------------------------------------------------------------------------------------


@require_safe
@access.page(Right.VIEW_BOOKS, action="reserves.view")
def requests(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """Show what was asked for, and to who may, the button that asks."""
    return _requests(request, context)


@require_POST
@access.page(Right.PUBLISH_RESERVES, action="reserves.ask")
def publish(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """Ask for a publication; the back office makes it."""
    author: Person = request.user
    try:
        publishing.request(author, now=utc_now())  # type: ignore[arg-type]
    except DomainError as error:
        return _requests(request, context, refusal=refusal_message(error), status=error.status)
    return redirect("finance:reserves")


def _requests(request: HttpRequest, context: dict[str, Any], *, refusal: str = "", status: int = 200) -> HttpResponse:
    rows = Publication.objects.select_related("requested_by").defer("secret", "statement").order_by("-id")
    shown = {
        **context,
        "title": _("Proofs of reserves"),
        "rows": rows[:REQUESTS_SHOWN],
        "may_publish": access.may(request.user, Right.PUBLISH_RESERVES),
        "refusal": refusal,
    }
    return render(request, "ledger/reserves.html", shown, status=status)
