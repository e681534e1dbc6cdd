"""How the finance pages of deposits and withdrawals write amounts, people and states."""

from decimal import Decimal
from typing import Any

from django import template
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from exchange.kernel.money import plain

register = template.Library()

NOBODY = "\N{EN DASH}"


@register.filter
def exact(amount: Any) -> str:
    """Write an amount without trailing zeros, thousands apart."""
    return format(Decimal(plain(Decimal(amount))), ",f")


@register.filter
def listed(value: Any) -> str:
    """Write what a step's detail says: lists with commas."""
    return ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)


@register.simple_tag
def person(user: Any) -> str | SafeString:
    """Name a person, with the way to the customer's page; a dash for nobody, which is the exchange itself."""
    if user is None:
        return NOBODY
    return format_html('<a href="{}">{}</a>', reverse("finance:customer", args=[user.pk]), user.get_username())


@register.simple_tag
def journal_entry(entry_id: int | None) -> str | SafeString:
    """Name an entry, with the way to it."""
    if entry_id is None:
        return NOBODY
    return format_html('<a href="{}">#{}</a>', reverse("admin:ledger_journalentry_change", args=[entry_id]), entry_id)
