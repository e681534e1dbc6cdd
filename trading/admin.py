"""Orders and trades in the admin, to read and follow; the review of large orders; what operators do to markets."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import action

from exchange.kernel.clock import utc_now
from ledger.admin import EstimatedPaginator, ReadOnly, SeenByFinance
from marketdata.admin import InstrumentAdmin
from marketdata.models import Instrument, InstrumentKind, InstrumentStatus
from trading import selectors
from trading.margin_models import MarginRequest, PositionRow
from trading.models import OPEN_STATUSES, Order, OrderStatus, SuspendedEntry, Trade
from trading.services import cancel_all, review, trading_state
from trading.sweep_models import HoldSweep

CANCELLABLE = (*OPEN_STATUSES, OrderStatus.PENDING_REVIEW)


def _may_decide_on_orders(request: HttpRequest) -> bool:
    """Tell whether this person may decide on traders' orders."""
    return bool(request.user.is_superuser or request.user.has_perm("trading.change_order"))


@admin.register(Order)
class OrderAdmin(SeenByFinance, ReadOnly, ModelAdmin):
    """Orders, newest first. Those above the review limit are let through or refused here."""

    list_display = (
        "id",
        "created_at",
        "user_id",
        "symbol",
        "side",
        "type",
        "price",
        "quantity",
        "quote_quantity",
        "filled_quantity",
        "status",
        "reason",
    )
    list_filter = ("status", "side", "type", "symbol")
    search_fields = ("=id", "=user_id", "=client_order_id", "=trace")
    ordering = ("-id",)
    paginator = EstimatedPaginator
    show_full_result_count = False
    list_per_page = 50
    actions = ("approve", "refuse")  # type: ignore[assignment]  # the two decisions that are not edits

    def has_review_permission(self, request: HttpRequest) -> bool:
        """Tell whether this person may decide on orders that wait for review."""
        return _may_decide_on_orders(request)

    @action(description=_("Let orders that wait for review onto the book"), permissions=["review"])
    def approve(self, request: HttpRequest, queryset: QuerySet[Order]) -> None:
        """Approve the selected orders that wait."""
        done = review.approve(self._waiting(queryset), now=utc_now())
        self._report(request, len(done))

    @action(description=_("Refuse orders that wait for review"), permissions=["review"])
    def refuse(self, request: HttpRequest, queryset: QuerySet[Order]) -> None:
        """Refuse the selected orders that wait."""
        done = review.refuse(self._waiting(queryset), now=utc_now())
        self._report(request, len(done))

    @staticmethod
    def _waiting(queryset: QuerySet[Order]) -> list[int]:
        """Return the ids of the selected orders that wait."""
        return list(queryset.filter(status=OrderStatus.PENDING_REVIEW).values_list("id", flat=True))

    def _report(self, request: HttpRequest, count: int) -> None:
        """Say how many orders were decided on."""
        text = ngettext("%(count)d order decided.", "%(count)d orders decided.", count) % {"count": count}
        self.message_user(request, text, messages.SUCCESS if count else messages.WARNING)


@admin.register(Trade)
class TradeAdmin(SeenByFinance, ReadOnly, ModelAdmin):
    """Trades, newest first."""

    list_display = (
        "id",
        "executed_at",
        "symbol",
        "price",
        "quantity",
        "taker_side",
        "buyer_id",
        "seller_id",
        "buy_order_id",
        "sell_order_id",
        "buyer_fee",
        "seller_fee",
    )
    fields = ("id", "executed_at", "symbol", "number", "price", "quantity", "notional", "taker_side", "buyer", "seller",
              "buyer_fee", "seller_fee", "entry", "command")  # fmt: skip
    readonly_fields = fields
    list_filter = ("symbol", "taker_side")
    search_fields = ("=id", "=buy_order_id", "=sell_order_id", "=buyer_id", "=seller_id")
    ordering = ("-id",)
    paginator = EstimatedPaginator
    show_full_result_count = False
    list_per_page = 50

    @admin.display(description=_("buyer"))
    def buyer(self, trade: Trade) -> SafeString:
        """Name the buyer and lead to the order."""
        return _with_order(trade.buyer_id, trade.buy_order_id)

    @admin.display(description=_("seller"))
    def seller(self, trade: Trade) -> SafeString:
        """Name the seller and lead to the order."""
        return _with_order(trade.seller_id, trade.sell_order_id)

    @admin.display(description=_("journal entry"))
    def entry(self, trade: Trade) -> SafeString:
        """Lead to the entry that the trade posted."""
        url = reverse("admin:ledger_journalentry_changelist")
        return format_html('<a href="{}?q=trade:{}">trade:{}</a>', url, trade.pk, trade.pk)

    @admin.display(description=_("command"))
    def command(self, trade: Trade) -> SafeString:
        """Show the command of the log that made the trade, as the engine read it."""
        found = selectors.command(trade.shard, trade.sequence)
        rows = format_html_join("\n", "<dt>{}</dt><dd>{}</dd>", found.items())
        return format_html("<p>{}:{}</p><dl>{}</dl>", trade.shard, trade.sequence, rows)


@admin.register(SuspendedEntry)
class SuspendedEntryAdmin(SeenByFinance, ReadOnly, ModelAdmin):
    """What the books refused at settlement, newest first; `manage.py repost_suspended` is the way back."""

    list_display = ("id", "created_at", "key", "kind", "state", "refusal", "posted_at")
    fields = (
        *("key", "kind", "state", "refusal", "created_at", "posted_at", "effective_at", "trade_id", "instrument_id"),
        *("lines", "held", "shard", "sequence", "trace", "story"),
    )
    readonly_fields = fields
    list_filter = ("state", "kind")
    search_fields = ("=key", "=trace", "=trade_id")
    ordering = ("-id",)
    paginator = EstimatedPaginator
    show_full_result_count = False
    list_per_page = 50

    @admin.display(description=_("trace"))
    def story(self, row: SuspendedEntry) -> SafeString:
        """Lead to the whole story."""
        return format_html('<a href="{}?id=key:{}">{}</a>', reverse("finance:trace"), row.key, row.key)


@admin.register(PositionRow)
class PositionAdmin(SeenByFinance, ReadOnly, ModelAdmin):
    """Positions in contracts, to read: settlement and their traders move them."""

    list_display = (
        "user_id",
        "symbol",
        "quantity",
        "open_cost",
        "margin",
        "margin_missing",
        "reserved",
        "realised_pnl",
        "leverage",
        "is_locked",
        "version",
        "updated_at",
    )
    list_filter = ("symbol", "is_locked")
    search_fields = ("=user_id",)
    ordering = ("symbol", "user_id")
    paginator = EstimatedPaginator
    show_full_result_count = False
    list_per_page = 50


@admin.register(MarginRequest)
class MarginRequestAdmin(SeenByFinance, ReadOnly, ModelAdmin):
    """What traders asked of their margin, newest first, to read: the back office carries it out by itself."""

    list_display = ("id", "requested_at", "user_id", "symbol", "direction", "amount", "state", "reason", "ended_at")
    list_filter = ("state", "direction", "symbol")
    search_fields = ("=id", "=user_id", "=trace")
    ordering = ("-id",)
    paginator = EstimatedPaginator
    show_full_result_count = False
    list_per_page = 50


@admin.register(HoldSweep)
class HoldSweepAdmin(SeenByFinance, ReadOnly, ModelAdmin):
    """Orders that may have left a hold behind, newest first, to read: the sweeper looks at them by itself."""

    list_display = ("order_id", "updated_at", "user_id", "symbol", "state", "cause", "hold_voided", "hold_asset",
                    "quantity_voided", "command_sequence", "why")  # fmt: skip
    list_filter = ("state", "cause", "symbol")
    search_fields = ("=order_id", "=user_id", "=trace")
    ordering = ("-order_id",)
    paginator = EstimatedPaginator
    show_full_result_count = False
    list_per_page = 50


def _with_order(user_id: int, order_id: int) -> SafeString:
    """Name a user, and lead to an order of theirs."""
    url = reverse("admin:trading_order_change", args=[order_id])
    return format_html('{} · <a href="{}">{} {}</a>', user_id, url, gettext("order"), order_id)


admin.site.unregister(Instrument)


@admin.register(Instrument)
class MarketAdmin(InstrumentAdmin):
    """Markets, with what concerns their orders: the engine hears of a new state, and all orders can be ended."""

    actions = ("cancel_all_orders",)

    def save_model(self, request: HttpRequest, obj: Instrument, form: Any, change: bool) -> None:  # noqa: FBT001
        """Save all but the state; that changes as operators change it, so that the engine hears of it."""
        wanted = InstrumentStatus(obj.status)
        begins = InstrumentStatus.CLOSED if obj.kind == InstrumentKind.PERPETUAL else InstrumentStatus.TRADING
        obj.status = form.initial["status"] if change else begins  # a contract is told to the engine by its opening
        super().save_model(request, obj, form, change)
        trading_state.change(obj.symbol, wanted, now=utc_now())
        obj.status = wanted

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Tell whether this person may end traders' orders."""
        return _may_decide_on_orders(request)

    @action(description=_("Cancel all open orders"), permissions=["cancel"])
    def cancel_all_orders(self, request: HttpRequest, queryset: QuerySet[Instrument]) -> TemplateResponse | None:
        """Ask once more, then cancel every open order on the selected markets, and log who did."""
        chosen = list(queryset.order_by("symbol"))
        if request.POST.get("post") != "yes":
            counts = [
                (item.symbol, Order.objects.filter(symbol=item.symbol, status__in=CANCELLABLE).count())
                for item in chosen
            ]
            context = {
                **self.admin_site.each_context(request),
                "title": _("Cancel all open orders"),
                "opts": self.model._meta,  # noqa: SLF001 -- Django's documented API
                "markets": counts,
                "chosen": chosen,
                "checkbox_name": ACTION_CHECKBOX_NAME,
            }
            return TemplateResponse(request, "trading/cancel_all_confirmation.html", context)
        for item in chosen:
            count = cancel_all.by_operator(item.symbol, now=utc_now())
            text = ngettext(
                "%(symbol)s: %(count)d order asked to be cancelled.",
                "%(symbol)s: %(count)d orders asked to be cancelled.",
                count,
            ) % {"symbol": item.symbol, "count": count}
            self.log_change(request, item, text)
            self.message_user(request, text, messages.SUCCESS if count else messages.WARNING)
        return None
