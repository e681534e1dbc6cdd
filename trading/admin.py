"""Orders, trades and the log in the admin: to read and to follow. Only the review of large orders decides anything."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.admin import ModelAdmin
from unfold.decorators import action

from exchange.kernel.clock import utc_now
from ledger.admin import EstimatedPaginator, ReadOnly
from trading.models import Order, OrderStatus, Trade
from trading.services import review


@admin.register(Order)
class OrderAdmin(ReadOnly, ModelAdmin):
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
        return bool(request.user.is_superuser or request.user.has_perm("trading.change_order"))

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
class TradeAdmin(ReadOnly, ModelAdmin):
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
    list_filter = ("symbol", "taker_side")
    search_fields = ("=id", "=buy_order_id", "=sell_order_id", "=buyer_id", "=seller_id")
    ordering = ("-id",)
    paginator = EstimatedPaginator
    show_full_result_count = False
    list_per_page = 50
