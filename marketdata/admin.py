"""Instruments and candles in the admin."""

from datetime import timedelta
from itertools import pairwise
from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.forms import BaseInlineFormSet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin, TabularInline

from exchange.kernel.clock import utc_now
from ledger.admin import ReadOnly
from marketdata import shards
from marketdata.models import CandleRow, Instrument, InstrumentKind, LeverageBracket

DAYS_SHOWN = 7
FIXED = (
    "symbol",
    "kind",
    "base",
    "quote",
    "tick_size",
    "lot_size",
    "contract_size",
    "minor_unit_decimals",
    "maker_fee_rate",
    "taker_fee_rate",
    "shard",
    "is_demo",
)
"""What resting orders, trades and books rest upon: decided once, when the instrument is made."""


class BracketFormSet(BaseInlineFormSet):
    """The brackets of one contract, which must fit together."""

    def clean(self) -> None:
        """Say in words what margin could not be reckoned by.

        Raises:
            ValidationError: A spot market has brackets, a contract has none from 0 on, or larger positions are asked
                for less than smaller ones.
        """
        super().clean()
        rows = sorted(
            (
                form.cleaned_data["notional_floor"],
                -form.cleaned_data["leverage_max"],
                form.cleaned_data["maintenance_rate"],
            )
            for form in self.forms
            if form.is_valid() and form.cleaned_data and not form.cleaned_data.get("DELETE")
        )
        if self.instance.kind != InstrumentKind.PERPETUAL:
            if rows:
                raise ValidationError(_("Only contracts have leverage brackets."))
            return
        if not rows or rows[0][0] != 0:
            raise ValidationError(_("A contract needs a leverage bracket that begins at 0."))
        if any(above[1] < below[1] or above[2] < below[2] for below, above in pairwise(rows)):
            raise ValidationError(_("A bracket of larger positions must not ask for less than the one below it."))


class BracketInline(TabularInline):
    """What a contract asks of positions by their size; it takes effect within a second."""

    model = LeverageBracket
    formset = BracketFormSet
    fields = ("notional_floor", "leverage_max", "maintenance_rate", "maintenance_amount")
    ordering = ("notional_floor",)
    extra = 0


@admin.register(Instrument)
class InstrumentAdmin(ModelAdmin):
    """Markets. Halting one, or moving its limits, takes effect within a second; its steps and fees stay."""

    list_display = (
        "symbol",
        "name",
        "kind",
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
    inlines = (BracketInline,)
    search_fields = ("symbol", "name")
    ordering = ("symbol",)
    fieldsets = (
        (_("What is traded"), {"fields": ("symbol", "name", "kind", "base", "quote", "status", "is_demo")}),
        (
            _("Steps"),
            {"fields": ("tick_size", "lot_size", "contract_size", "minor_unit_decimals", "min_notional", "shard")},
        ),
        (_("Prices"), {"fields": ("reference_price", "band_rate", "market_slippage_rate")}),
        (_("Fees"), {"fields": ("maker_fee_rate", "taker_fee_rate")}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Fix what orders and books rest upon, once the instrument is there."""
        return FIXED if obj is not None else ("is_demo",)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Propose the shard that has the fewest instruments."""
        return {"shard": shards.for_new(""), **super().get_changeform_initial_data(request)}

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
