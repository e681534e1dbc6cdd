"""Users in the admin; their money is in the ledger, and cannot be edited here or there."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from exchange.users.models import FaucetGrant, User
from ledger.services import accounts

admin.site.unregister(Group)


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):
    """People, with what they may do. Deleting would orphan their books, so nobody can."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("id", "username", "email", "is_active", "is_staff", "is_demo", "date_joined")
    list_filter = ("is_active", "is_staff", "is_superuser", "is_demo")
    search_fields = ("username", "email")
    ordering = ("-id",)
    fieldsets = (*(DjangoUserAdmin.fieldsets or ()), (_("Exchange"), {"fields": ("language", "is_demo")}))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: switch a user off instead."""
        return False

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:  # noqa: FBT001 -- Django's
        """Store the user, and open the ledger gate of a new one: without it they could not trade."""
        super().save_model(request, obj, form, change)
        if not change:
            accounts.open_gates([obj.pk])


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):
    """Groups of staff."""


@admin.register(FaucetGrant)
class FaucetGrantAdmin(ModelAdmin):
    """Helpings of demo funds, newest first; read-only."""

    list_display = ("id", "user", "granted_date", "number", "created_at")
    search_fields = ("user__username",)
    ordering = ("-id",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: the faucet gives."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: what was given was given."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: what was given was given."""
        return False
