"""The books in the admin: to read, to search, to follow. Nothing of them can be edited here."""

from collections.abc import Iterable
from datetime import datetime
from functools import cached_property
from typing import Any, cast

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin

from exchange.kernel.money import plain
from ledger import access, selectors
from ledger.access import Right
from ledger.admin_keyset import KeysetList
from ledger.admin_log import LoggedVisits
from ledger.chart import Face
from ledger.controls import entry_views
from ledger.models import Account, Asset, DepositNotice, JournalEntry
from ledger.posting_rules import EventKind
from ledger.selectors import JournalLine
from ledger.transfers import admin as _transfers  # noqa: F401 -- registers custody accounts, routes, tiers, limits

COUNTED_MAX = 10_000
"""Filtered lists are counted up to here; whole tables beyond it are estimated."""
LINES_SHOWN = 100
BIGINT_DIGITS = 18


class ReadOnly:
    """For what the services write: nobody adds, changes or deletes it, by any URL."""

    actions = None

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: entries come from events."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: books are corrected by reversal."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: nothing leaves the books."""
        return False


class SeenByFinance(LoggedVisits):
    """What the books are made of and what made them: whoever may see the books may see it, and change nothing.

    Who saw which page of it is in the finance log.
    """

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let finance people look, beside those whom Django lets."""
        return access.may(request.user, Right.VIEW_BOOKS) or super().has_view_permission(request, obj)  # type: ignore[misc]

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Show it in their menu."""
        return access.may(request.user, Right.VIEW_BOOKS) or super().has_module_permission(request)  # type: ignore[misc]


class EstimatedPaginator(Paginator):
    """Pages over long tables without counting them row by row."""

    @cached_property
    def count(self) -> int:
        """Return the exact count while it is small, the planner's estimate of a whole large table else."""
        rows = cast("QuerySet", self.object_list)
        if not rows.query.where:
            estimate = selectors.estimated_rows(rows.model._meta.db_table)  # noqa: SLF001 -- Django's documented API
            if estimate > COUNTED_MAX:
                return estimate
        return rows.order_by()[:COUNTED_MAX].count()


def _shown(lines: Iterable[JournalLine]) -> list[dict[str, Any]]:
    """Turn lines into what the template prints: debit and credit in columns of their own."""
    return [
        line._asdict()
        | {
            "debit": plain(line.amount) if line.amount > 0 else "",
            "credit": plain(line.amount.copy_negate()) if line.amount < 0 else "",
            "balance": plain(line.balance_after),
        }
        for line in lines
    ]


def _moment(moment: datetime) -> str:
    """Write a moment as accountants compare it: UTC, sortable."""
    return f"{moment:%Y-%m-%d %H:%M:%S.%f}"


def _digits(text: str) -> int | None:
    """Return the number that was typed into a search box, if it is one that an id can be."""
    text = text.strip().removeprefix("#")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= BIGINT_DIGITS else None


class KindFilter(admin.SimpleListFilter):
    """By kind of event: the kinds come from the posting rules, not from a scan of the journal."""

    title = _("kind")
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return every kind that has a rule."""
        return [(kind.value, kind.value) for kind in EventKind]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        """Narrow to the chosen kind."""
        return queryset.filter(kind=self.value()) if self.value() else queryset


class LateFilter(admin.SimpleListFilter):
    """Entries recorded late, by an index of theirs. The rest is not offered: it may lie anywhere between late ones."""

    title = _("late")
    parameter_name = "late"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the one choice."""
        return [("1", _("late"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        """Narrow to late ones."""
        return queryset.filter(late=True) if self.value() == "1" else queryset


class FaceFilter(admin.SimpleListFilter):
    """By face: the faces come from the chart, not from a scan of the accounts."""

    title = _("face")
    parameter_name = "face"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return every face."""
        return [(face.value, face.value) for face in Face]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        """Narrow to the chosen face."""
        return queryset.filter(face=self.value()) if self.value() else queryset


@admin.register(Asset)
class AssetAdmin(LoggedVisits, ModelAdmin):
    """Assets. The database keeps code and decimals of one that has accounts."""

    list_display = ("code", "name", "kind", "decimals")
    list_filter = ("kind",)
    search_fields = ("code", "name")
    ordering = ("code",)

    def get_readonly_fields(self, request: HttpRequest, obj: Asset | None = None) -> tuple[str, ...]:
        """Fix the code of what exists, and the decimals of what is in use."""
        if obj is None:
            return ()
        return ("code", "decimals") if Account.objects.filter(asset=obj).exists() else ("code",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: accounts, instruments and orders speak of it by code."""
        return False


@admin.register(Account)
class AccountAdmin(KeysetList, SeenByFinance, ReadOnly, ModelAdmin):
    """Ledger accounts with their balances and newest lines."""

    list_display = ("id", "owner", "code", "asset", "sub", "amount")
    list_select_related = ("asset",)
    list_filter = ("code", FaceFilter, "asset")
    search_fields = ("id",)
    search_help_text = _("User id")
    ordering = ("-id",)
    fields = ("id", "owner", "code", "asset", "sub", "face", "amount", "newest_lines")
    readonly_fields = fields

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        """Find the accounts of a user by id, through the index."""
        if not search_term.strip():
            return queryset, False
        owner_id = _digits(search_term)
        return (queryset.none() if owner_id is None else queryset.filter(owner_id=owner_id)), False

    @admin.display(description=_("owner"))
    def owner(self, account: Account) -> str:
        """Name the owner."""
        return gettext("platform") if account.owner_id is None else str(account.owner_id)

    @admin.display(description=_("balance"))
    def amount(self, account: Account) -> str:
        """Write the balance without trailing zeros."""
        return plain(account.balance)

    @admin.display(description=_("newest lines"))
    def newest_lines(self, account: Account) -> SafeString:
        """Show where the balance comes from."""
        lines = _shown(selectors.account_lines(account.pk, limit=LINES_SHOWN))
        journal = {"title": "", "lines": lines, "by_entry": True}
        return render_to_string("ledger/journal_lines.html", {"journals": [journal]})


@admin.register(JournalEntry)
class JournalEntryAdmin(KeysetList, SeenByFinance, ReadOnly, ModelAdmin):
    """Entries, newest first, with their lines in both views. Corrected by reversal, never by edit."""

    noun = "journal_entry"
    list_display = ("id", "kind", "key", "happened", "recorded", "lateness", "trace")
    list_filter = (KindFilter, LateFilter)
    search_fields = ("key",)
    search_help_text = _("Entry number, key or trace id")
    ordering = ("-id",)
    fields = ("id", "kind", "key", "happened", "recorded", "lateness", "trace", "reverses", "chain", "lines")
    readonly_fields = fields
    change_form_outer_after_template = "ledger/controls/entry.html"

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the entry, and below it what was said of it and may be done to it."""
        entry_id = _digits(object_id)
        if entry_id is None:
            return super().change_view(request, object_id, form_url, extra_context)
        controls = entry_views.controls_of(request, entry_id)
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **controls})

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        """Find by number, key or trace id, each through its index."""
        term = search_term.strip()
        if not term:
            return queryset, False
        wanted = Q(key=term) | Q(trace=term)
        number = _digits(term)
        if number is not None:
            wanted |= Q(pk=number)
        return queryset.filter(wanted), False

    @admin.display(description=_("effective at"))
    def happened(self, entry: JournalEntry) -> str:
        """Write when it happened, to the microsecond."""
        return _moment(entry.effective_at)

    @admin.display(description=_("recorded at"))
    def recorded(self, entry: JournalEntry) -> str:
        """Write when it was recorded, to the microsecond."""
        return _moment(entry.recorded_at)

    @admin.display(description=_("late"))
    def lateness(self, entry: JournalEntry) -> str:
        """Point out what was recorded long after it happened; say nothing of the rest."""
        return gettext("late") if entry.late else ""

    @admin.display(description=_("hash"))
    def chain(self, entry: JournalEntry) -> str:
        """Show the entry's place in the hash chain."""
        return bytes(entry.hash).hex()

    @admin.display(description=_("lines"))
    def lines(self, entry: JournalEntry) -> SafeString:
        """Show the entry as the users' journals and as the platform's journal have it."""
        journals = [
            {"title": gettext("Users' journals"), "lines": _shown(selectors.entry_in_user_journals(entry.pk))},
            {"title": gettext("Platform's journal"), "lines": _shown(selectors.entry_in_platform_journal(entry.pk))},
        ]
        return render_to_string("ledger/journal_lines.html", {"journals": journals})


@admin.register(DepositNotice)
class DepositNoticeAdmin(SeenByFinance, ReadOnly, ModelAdmin):
    """Deposits, newest first; the finance pages have the decisions."""

    noun = "deposit_notice"
    list_display = ("id", "owner", "money", "state", "source", "key", "note", "created_at", "journal_entry")
    list_filter = ("state", "source", "amount_currency")
    list_select_related = ("owner",)
    search_fields = ("=key", "=owner__username")
    ordering = ("-id",)
    paginator = EstimatedPaginator
    show_full_result_count = False
    fields = ("id", "owner", "money", "state", "source", "key", "note", "created_at", "journal_entry")
    readonly_fields = fields

    @admin.display(description=_("amount"), ordering="amount")
    def money(self, notice: DepositNotice) -> str:
        """Write the amount with its asset."""
        return f"{plain(notice.amount.amount)} {notice.amount.currency.code}"

    @admin.display(description=_("journal entry"))
    def journal_entry(self, notice: DepositNotice) -> SafeString | str:
        """Lead to the entry; there is none before the credit."""
        if notice.entry_id is None:
            return ""
        url = reverse("admin:ledger_journalentry_change", args=[notice.entry_id])
        return format_html('<a href="{}">#{}</a>', url, notice.entry_id)
