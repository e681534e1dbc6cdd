"""Numbers of proofs of reserves as people read them."""

from decimal import Decimal

from django import template

from exchange.kernel.money import plain

register = template.Library()


@register.filter
def amount(value: Decimal) -> str:
    """Write an amount: thousands apart, no trailing zeros."""
    return format(Decimal(plain(value)), ",f")


@register.filter
def percent(ratio: Decimal) -> str:
    """Write a ratio of four decimals as a percentage."""
    return f"{ratio * 100:.2f} %"


@register.filter
def modulo(number: int, divisor: int) -> int:
    """Return the rest of a division: which of some colours comes next."""
    return number % divisor
