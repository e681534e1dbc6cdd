"""Leads from the key of a journal entry to the order or trade that made it, for the ledger's pages."""

from functools import partial
from typing import Final

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from ledger.reports import sources
from ledger.reports.sources import Source
from trading.models import ID_MAX

PAGES: Final[dict[str, tuple[str, Promise]]] = {
    "trade": ("admin:trading_trade_change", _("Trade")),
    "order": ("admin:trading_order_change", _("Order")),
}


def register() -> None:
    """Register both, once, when the process starts."""
    for prefix in PAGES:
        sources.register(prefix, partial(_page, prefix))


def _page(prefix: str, text: str) -> Source | None:
    """Return the page of an order or a trade by its id."""
    if not (text.isascii() and text.isdigit() and int(text) <= ID_MAX):
        return None
    name, title = PAGES[prefix]
    return Source(title, reverse(name, args=[int(text)]))
