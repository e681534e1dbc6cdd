"""The menu of the administration: groups of pages and lists, each shown only to those who may open it."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from django.apps import apps
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from ledger import access
from ledger.access import Right

Text = str | Promise


class Page(NamedTuple):
    """A finance page, open to those with a right.

    Args:
        name: Its name among `ledger.urls`.
        icon: A name of Material Symbols, which the admin's theme brings along.
    """

    title: Text
    icon: str
    name: str
    right: Right

    def may(self, request: HttpRequest) -> bool:
        """Tell whether this person may open it."""
        return access.may(request.user, self.right)

    def url(self) -> str:
        """Return where it is."""
        return reverse(f"finance:{self.name}")


class Listing(NamedTuple):
    """A model's list in the admin, open to those whom its admin lets look."""

    title: Text
    icon: str
    model: str

    def may(self, request: HttpRequest) -> bool:
        """Tell whether this person may open it."""
        return bool(admin.site.get_model_admin(apps.get_model(self.model)).has_view_permission(request))

    def url(self) -> str:
        """Return where it is."""
        return reverse(f"admin:{self.model.lower().replace('.', '_')}_changelist")


MENU: Final[tuple[tuple[Text, tuple[Page | Listing, ...]], ...]] = (
    (
        _("Books"),
        (
            Page(_("Statements"), "account_balance", "statements", Right.VIEW_BOOKS),
            Page(_("Balance sheet"), "balance", "balance_sheet", Right.VIEW_BOOKS),
            Page(_("General ledger"), "menu_book", "general_ledger", Right.VIEW_BOOKS),
            Listing(_("Journal"), "receipt_long", "ledger.JournalEntry"),
            Listing(_("Accounts"), "account_tree", "ledger.Account"),
            Page(_("Periods"), "event_available", "periods", Right.VIEW_BOOKS),
            Listing(_("Assets"), "toll", "ledger.Asset"),
        ),
    ),
    (
        _("Money"),
        (
            Page(_("Deposits"), "south_west", "deposits", Right.VIEW_CUSTOMERS),
            Page(_("Record a deposit"), "add", "deposit_new", Right.RECORD_DEPOSITS),
            Page(_("Withdrawals"), "north_east", "withdrawals", Right.VIEW_CUSTOMERS),
            Page(_("Custody and statements"), "warehouse", "custody", Right.VIEW_BOOKS),
            Listing(_("All deposits"), "inbox", "ledger.DepositNotice"),
            Listing(_("Custody accounts"), "lock", "ledger.CustodyAccount"),
            Listing(_("Transfer routes"), "route", "ledger.TransferRoute"),
            Listing(_("Transfer tiers"), "stairs", "ledger.TransferTier"),
            Listing(_("Withdrawal limits"), "speed", "ledger.WithdrawalLimit"),
        ),
    ),
    (
        _("Control"),
        (
            Page(_("Reconciliation"), "rule", "reconciliation", Right.VIEW_BOOKS),
            Page(_("Breaks"), "report", "breaks", Right.VIEW_BOOKS),
            Page(_("Whole story"), "travel_explore", "trace", Right.VIEW_BOOKS),
            Page(_("Proposed entries"), "edit_note", "proposals", Right.VIEW_BOOKS),
            Page(_("Proof of reserves"), "verified", "reserves", Right.VIEW_BOOKS),
            Page(_("Finance log"), "history", "log", Right.VIEW_LOG),
            Page(_("Export the journal"), "download", "export_journal", Right.EXPORT_BOOKS),
        ),
    ),
    (
        _("Trading"),
        (
            Listing(_("Orders"), "list_alt", "trading.Order"),
            Listing(_("Trades"), "swap_horiz", "trading.Trade"),
            Listing(_("Positions"), "trending_up", "trading.PositionRow"),
            Listing(_("Margin requests"), "savings", "trading.MarginRequest"),
            Listing(_("Suspended entries"), "pause_circle", "trading.SuspendedEntry"),
            Listing(_("Swept holds"), "cleaning_services", "trading.HoldSweep"),
            Listing(_("Instruments"), "candlestick_chart", "marketdata.Instrument"),
            Listing(_("Candles"), "waterfall_chart", "marketdata.CandleRow"),
            Listing(_("Risk tiers"), "speed", "risk.RiskTier"),
            Listing(_("Traders' limits"), "shield_person", "risk.TraderProfile"),
        ),
    ),
    (
        _("People"),
        (
            Page(_("Customers"), "contact_page", "customers", Right.VIEW_CUSTOMERS),
            Listing(_("Users"), "person", "users.User"),
            Listing(_("Groups"), "group", "auth.Group"),
            Listing(_("Second factors"), "phonelink_lock", "otp_totp.TOTPDevice"),
            Listing(_("Faucet grants"), "water_drop", "users.FaucetGrant"),
        ),
    ),
)


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the menu as django-unfold reads it (`UNFOLD["SIDEBAR"]["navigation"]`), for one person.

    A group of which a person may open nothing is left out.
    """
    groups = [(title, list(_shown(items, request))) for title, items in MENU]
    return [{"title": title, "separator": True, "items": items} for title, items in groups if items]


def _shown(items: tuple[Page | Listing, ...], request: HttpRequest) -> Iterator[dict[str, Any]]:
    """Yield what this person may open."""
    for item in items:
        if item.may(request):
            url = item.url()
            at = request.path == url or request.path.startswith(f"{url.rstrip('/')}/")
            yield {"title": item.title, "icon": item.icon, "link": url, "active": at}
