"""What the approver sets up in the admin: custody accounts, routes, tiers, limits. Visits and changes are logged.

Deposits, withdrawals and statements are not here: they have finance pages, which know who may decide what.
"""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from exchange.kernel.clock import utc_now
from ledger import access
from ledger.access import Right
from ledger.admin_log import LoggedVisits
from ledger.services import finance_log
from ledger.transfers.models import CustodyAccount, TransferRoute, TransferTier, WithdrawalLimit


class SetUp(LoggedVisits):
    """For what decides how money moves: seen by whoever sees the books, changed by who may manage custody."""

    def _manages(self, request: HttpRequest) -> bool:
        return access.may(request.user, Right.MANAGE_CUSTODY)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Show it to whoever sees the books."""
        return access.may(request.user, Right.VIEW_BOOKS)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Show it to whoever sees the books."""
        return access.may(request.user, Right.VIEW_BOOKS)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Only who manages custody adds."""
        return self._manages(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only who manages custody changes."""
        return self._manages(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only who manages custody deletes, and only what says how much may leave."""
        return self._manages(request)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001 -- Django's
        """Store it, and write down what has changed."""
        if isinstance(obj, CustodyAccount) and not change:
            obj.created_at = utc_now()
        super().save_model(request, obj, form, change)  # type: ignore[misc]  # mixed into a ModelAdmin
        detail = {name: str(form.cleaned_data[name]) for name in form.changed_data}
        self._log(request, obj, "change" if change else "add", detail)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete it, and write down what it said."""
        detail = {field.name: str(getattr(obj, field.attname)) for field in obj._meta.fields}  # noqa: SLF001 -- Django's
        self._log(request, obj, "delete", detail)
        super().delete_model(request, obj)  # type: ignore[misc]  # mixed into a ModelAdmin

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        """Delete several, one by one, so that each is in the log."""
        for obj in queryset:
            self.delete_model(request, obj)

    @staticmethod
    def _log(request: HttpRequest, obj: Any, verb: str, detail: dict[str, Any]) -> None:
        action = f"{obj._meta.model_name}.{verb}"  # noqa: SLF001 -- Django's documented API
        finance_log.record_request(request, action, subject=str(obj.pk), detail=detail, now=utc_now())


@admin.register(CustodyAccount)
class CustodyAccountAdmin(SetUp, ModelAdmin):
    """Custody accounts; what names one never changes, and none is ever deleted."""

    list_display = ("asset", "sub", "name", "kind", "network", "confirmations", "second_person_above", "active")
    list_filter = ("asset", "kind", "active")
    search_fields = ("name", "sub", "address")
    ordering = ("asset_id", "sub")
    fields = (
        "asset",
        "sub",
        "kind",
        "network",
        "name",
        "address",
        "confirmations",
        "second_person_above",
        "active",
    )

    def get_readonly_fields(self, request: HttpRequest, obj: CustodyAccount | None = None) -> tuple[str, ...]:
        """Fix what statements, deposits and payouts refer to."""
        return () if obj is None else ("asset", "sub", "kind", "network")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: close it instead."""
        return False


@admin.register(TransferRoute)
class TransferRouteAdmin(SetUp, ModelAdmin):
    """Routes with their fees; close one instead of deleting it."""

    list_display = ("asset", "network", "withdraw_fee", "withdraw_min", "deposits_open", "withdrawals_open")
    ordering = ("asset_id", "network")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: close it instead."""
        return False


@admin.register(TransferTier)
class TransferTierAdmin(SetUp, ModelAdmin):
    """What a tier means for withdrawals."""

    list_display = ("name", "address_delay_hours", "requests_per_day")
    ordering = ("name",)


@admin.register(WithdrawalLimit)
class WithdrawalLimitAdmin(SetUp, ModelAdmin):
    """Limits of tiers and of single customers."""

    list_display = ("tier", "owner", "asset", "per_day", "per_month")
    list_filter = ("tier", "asset")
    search_fields = ("owner__username",)
    raw_id_fields = ("owner",)
    ordering = ("tier", "owner_id", "asset_id")
