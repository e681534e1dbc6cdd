"""Visits to the administration's lists and rows, in the finance log: who saw what, as on the finance pages."""

from typing import Any, Final

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.http import HttpRequest, HttpResponse

from exchange.kernel.clock import utc_now
from ledger.services import finance_log

READING: Final = ("GET", "HEAD")
SUBJECT_LENGTH_MAX: Final = 128
CHOSEN_MAX: Final = 100
"""Rows of an action that the log names; the count tells of all."""


class LoggedVisits:
    """For a `ModelAdmin` of the finance screens. Refused visits are not logged: nothing was seen.

    Args:
        noun: What the log calls its rows, as in `order.list`, `order.view`, `order.act`; the model's name unless given.
            It is permanent, since people search by it.
    """

    noun = ""

    def log_visit(self, request: HttpRequest, verb: str, *, subject: str = "", **detail: Any) -> None:
        """Write one row about a visit."""
        noun = self.noun or self.opts.model_name  # type: ignore[attr-defined]  # mixed into a ModelAdmin
        finance_log.record_request(
            request, f"{noun}.{verb}", subject=subject[:SUBJECT_LENGTH_MAX], detail=detail, now=utc_now()
        )

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show a page of the list, or do what was chosen for some of its rows; either is logged."""
        if self.has_view_permission(request):  # type: ignore[attr-defined]  # mixed into a ModelAdmin
            if request.method in READING:
                self.log_visit(request, "list")
            else:
                chosen = request.POST.getlist(ACTION_CHECKBOX_NAME)
                asked = request.POST.get("action", "")[:SUBJECT_LENGTH_MAX]
                rows = [row[:SUBJECT_LENGTH_MAX] for row in chosen[:CHOSEN_MAX]]
                self.log_visit(request, "act", asked=asked, rows=rows, count=len(chosen))
        return super().changelist_view(request, extra_context)  # type: ignore[misc,no-any-return]  # as above

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show a row; the visit is logged. What is changed there is logged by what changes it."""
        if request.method in READING and self.has_view_permission(request):  # type: ignore[attr-defined]  # as above
            self.log_visit(request, "view", subject=object_id)
        return super().change_view(request, object_id, form_url, extra_context)  # type: ignore[misc,no-any-return]
