"""Instruments and candles in the admin."""

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin

from exchange.kernel.clock import utc_now
from ledger.admin import ReadOnly
from marketdata.models import CandleRow, Instrument

DAYS_SHOWN = 7
FIXED = (
    "symbol",
    "kind",
    "base",
    "quote",
    "tick_size",
    "lot_size",
    "minor_unit_decimals",
    "maker_fee_rate",
    "taker_fee_rate",
    "shard",
    "is_demo",
)
"""What resting orders, trades and books rest upon: decided once, when the instrument is made."""


@admin.register(Instrument)
class InstrumentAdmin(ModelAdmin):
    """Markets. Halting one, or moving its limits, takes effect within a second; its steps and fees stay."""

    list_display = (
        "symbol",
        "name",
        "status",
        "tick_size",
        "lot_size",
        "min_notional",
        "maker_fee_rate",
        "taker_fee_rate",
        "band_rate",
        "is_demo",
    )
    list_filter = ("status", "kind", "is_demo")
    search_fields = ("symbol", "name")
    ordering = ("symbol",)
    fieldsets = (
        (_("What is traded"), {"fields": ("symbol", "name", "kind", "base", "quote", "status", "is_demo")}),
        (_("Steps"), {"fields": ("tick_size", "lot_size", "minor_unit_decimals", "min_notional", "shard")}),
        (_("Prices"), {"fields": ("reference_price", "band_rate", "market_slippage_rate")}),
        (_("Fees"), {"fields": ("maker_fee_rate", "taker_fee_rate")}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Fix what orders and books rest upon, once the instrument is there."""
        return FIXED if obj is not None else ("is_demo",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: trades and entries refer to it; halt it instead."""
        return False


@admin.register(CandleRow)
class CandleAdmin(ReadOnly, ModelAdmin):
    """Candles of the last days, to read: settlement makes them from trades."""

    list_display = ("timestamp", "symbol", "open", "high", "low", "close", "volume", "turnover", "trade_count")
    list_filter = ("symbol",)
    ordering = ("-timestamp", "symbol")
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[CandleRow]:
        """Look no further back than anyone reads by hand."""
        since = utc_now() - timedelta(days=DAYS_SHOWN)
        return super().get_queryset(request).filter(timestamp__gte=since)
