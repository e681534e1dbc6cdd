"""Tiers and traders' limits in the admin."""

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin, TabularInline

from risk.models import ReviewLimit, RiskTier, TraderProfile


class ReviewLimitInline(TabularInline):
    """The notional above which an order of this tier waits for review, by quote asset."""

    model = ReviewLimit
    extra = 0


@admin.register(RiskTier)
class RiskTierAdmin(ModelAdmin):
    """Groups of traders with the same limits."""

    list_display = ("name", "daily_order_limit", "cancel_rate_warning")
    inlines = (ReviewLimitInline,)


@admin.register(TraderProfile)
class TraderProfileAdmin(ModelAdmin):
    """A trader's tier; the counters are the services' business."""

    list_display = ("user_id", "tier", "counted_on", "orders_placed", "orders_cancelled")
    list_filter = ("tier",)
    search_fields = ("=user_id",)
    readonly_fields = ("user_id", "counted_on", "orders_placed", "orders_cancelled")
    ordering = ("user_id",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: a profile comes with the first order."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: TraderProfile | None = None) -> bool:
        """Refuse: a trader always has limits."""
        return False
