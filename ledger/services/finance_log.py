"""Writes the finance log: who saw or did what in the finance screens. Rows are only ever added."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.http import HttpRequest

from exchange.api.authentication import client_address
from exchange.observability.tracing import current_trace
from ledger.models import FinanceLog

QUERY_LENGTH_MAX = 500


def record(
    action: str,
    *,
    now: datetime,
    user_id: int | None = None,
    subject: str = "",
    detail: dict[str, Any] | None = None,
    address: str = "",
) -> None:
    """Write one row, in the caller's transaction: what is undone with it was not done.

    Args:
        action: `noun.verb`, such as `period.close`; permanent, since people search by it.
        user_id: Who; None is the exchange itself.
        subject: What it was done to: an entry's number, a withdrawal's, a user's.
        detail: What else a later reader needs, JSON; amounts as decimal strings, no secrets.
        address: From where.
    """
    FinanceLog.objects.create(
        at=now,
        user_id=user_id,
        action=action,
        subject=subject,
        detail=detail or {},
        address=address,
        trace=current_trace(),
    )


def record_all(action: str, rows: Sequence[tuple[str, dict[str, Any]]], *, now: datetime, user_id: int | None) -> None:
    """Write one row for each subject and its detail, in one statement, in the caller's transaction."""
    trace = current_trace()
    FinanceLog.objects.bulk_create(
        FinanceLog(at=now, user_id=user_id, action=action, subject=subject, detail=detail, trace=trace)
        for subject, detail in rows
    )


def record_request(
    request: HttpRequest, action: str, *, now: datetime, subject: str = "", detail: dict[str, Any] | None = None
) -> None:
    """Write one row about a signed-in person's request, with what the page was asked for."""
    asked = {"method": request.method, "query": request.META.get("QUERY_STRING", "")[:QUERY_LENGTH_MAX]}
    record(
        action,
        now=now,
        user_id=request.user.pk,
        subject=subject,
        detail={key: value for key, value in asked.items() if value} | (detail or {}),
        address=client_address(request.META),
    )
