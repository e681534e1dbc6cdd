"""The finance page that tells a story, with links from each thing to its own."""

import json
from typing import Any, Final
from urllib.parse import quote

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from exchange.api.envelope import refusal_message
from ledger import access
from ledger.access import Right
from ledger.tracing import story
from ledger.tracing.labels import LABELS
from ledger.tracing.story import Fact, Kind, Story, Words

NOT_FOUND: Final = 404
TITLES: Final = {
    "deposits": _("Deposits"),
    "withdrawals": _("Withdrawals"),
    "steps": _("Steps"),
    "orders": _("Orders"),
    "commands": _("Commands"),
    "engine_events": _("Engine events"),
    "trades": _("Trades"),
    "order_parts": _("Parts of orders"),
    "position_steps": _("Steps of positions"),
    "suspended": _("Suspended entries"),
    "entries": _("Journal entries"),
    "comments": _("Comments"),
    "private_events": _("Private events"),
    "outbox": _("Domain events"),
    "breaks": _("Breaks"),
    "finance_log": _("Finance log"),
}
"""The sections of stories, in the reader's language."""
JOURNALS: Final = {"user_journal": _("Users' journals"), "platform_journal": _("Platform's journal")}


@require_safe
@access.page(Right.VIEW_BOOKS, action="trace.view")
def page(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """Ask for a name, and tell the story of what it names.

    What would take long is left out: the engine's events, and client order ids without their user; `manage.py trace`
    has them.
    """
    asked = request.GET.get("id", "").strip()
    told: dict[str, Any] = {"title": _("Whole story"), "asked": asked}
    status = 200
    if asked:
        try:
            told |= _told(story.tell(asked, thorough=False))
        except story.NothingFoundError as refusal:
            told["refusal"] = refusal_message(refusal)
            status = NOT_FOUND
    return render(request, "ledger/trace.html", {**context, **told}, status=status)


def _told(found: Story) -> dict[str, Any]:
    """Return a story as the template shows it."""
    return {
        "found": [(f"{kind} {one}", _url(kind, one)) for kind, one in story.kinds(found.found)],
        "sections": [
            {
                "name": section.name,
                "title": TITLES.get(section.name, section.title),
                "facts": [_fact(fact) for fact in section.facts],
                "more": section.more,
            }
            for section in found.sections
        ],
        "facts_max": story.FACTS_MAX,
    }


def _fact(fact: Fact) -> dict[str, Any]:
    """Return a fact with links to the stories of what it names."""
    entry_id = fact.about[1] if fact.about and fact.about[0] == Kind.ENTRY else ""
    return {
        "at": fact.at,
        "what": fact.what.told if isinstance(fact.what, Words) else fact.what,
        "url": _url(*fact.about) if fact.about else "",
        "admin_url": reverse("admin:ledger_journalentry_change", args=[entry_id]) if entry_id else "",
        "details": [
            {"name": LABELS.get(name, name), "value": _written(value), "url": _detail_url(name, value)}
            for name, value in fact.details.items()
            if value is not False and value not in (None, "", {}, [])
        ],
        "tables": [(JOURNALS.get(title, title), rows) for title, rows in fact.tables if rows],
    }


def _written(value: Any) -> str:
    """Write a detail: a list of texts as one text, anything nested as JSON."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "; ".join(value)
    return json.dumps(value, sort_keys=True, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


_LINKED: Final = {
    "order": Kind.ORDER,
    "buy_order": Kind.ORDER,
    "sell_order": Kind.ORDER,
    "order_id": Kind.ORDER,
    "maker_order_id": Kind.ORDER,
    "trade": Kind.TRADE,
    "entry": Kind.ENTRY,
    "hold_entry": Kind.ENTRY,
    "final_entry": Kind.ENTRY,
    "receipt_entry": Kind.ENTRY,
    "reverses": Kind.ENTRY,
    "trace": Kind.TRACE,
    "withdrawal": Kind.WITHDRAWAL,
    "deposit": Kind.DEPOSIT,
    "key": Kind.KEY,
}
"""Details whose values have stories of their own."""


def _detail_url(name: str, value: Any) -> str:
    return _url(_LINKED[name], str(value)) if name in _LINKED else ""


def _url(kind: Kind, one: str) -> str:
    return f"{reverse('finance:trace')}?id={quote(f'{kind}:{one}')}"
