"""How cells of statements and terms of accounting look on a page."""

import itertools
from datetime import datetime
from urllib.parse import urlencode

from django import template
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from ledger.reports import wording
from ledger.reports.document import Cell, Figure, Name, Words
from ledger.reports.moments import Cut

register = template.Library()
_NUMBERS = itertools.count(1)
"""Ids of explanations, unique in this process and therefore on every page, however it is put together."""


@register.simple_tag
def term(title: Words, meaning: Words = "", code: str = "") -> SafeString:
    """Show a name that explains itself when a reader points at it or reaches it by keyboard."""
    shown = format_html('<span class="code">{}</span> {}', code, title) if code else format_html("{}", title)
    if not meaning:
        return shown
    number = next(_NUMBERS)
    return format_html(
        '<span class="term" tabindex="0" aria-describedby="term-{}">{}'
        '<span class="meaning" role="tooltip" id="term-{}">{}</span></span>',
        number,
        shown,
        number,
        meaning,
    )


@register.simple_tag
def cell(value: Cell, decimals: int = 0) -> SafeString | str:
    """Show one cell: an amount with the way to its lines, a name with its meaning, a moment, text."""
    if isinstance(value, Figure):
        return _figure(value, decimals)
    if isinstance(value, Name):
        return _name(value)
    if isinstance(value, datetime):
        return format_html('<time datetime="{}">{}</time>', wording.iso(value), wording.moment(value))
    if isinstance(value, int):
        return f"{value:,}"
    return "" if value is None else format_html("{}", value)


def _name(name: Name) -> SafeString:
    """Show a name as a link, or with its explanation."""
    if name.url:
        return format_html('<a href="{}" title="{}">{}</a>', name.url, name.meaning, name.title)
    return term(name.title, name.meaning, name.code)


def _figure(figure: Figure, decimals: int) -> SafeString | str:
    """Show an amount; one that can be followed is a link."""
    text = wording.amount(figure.amount, decimals)
    if not figure.drill:
        return text
    return format_html('<a href="{}?{}">{}</a>', reverse("finance:general_ledger"), urlencode(figure.drill), text)


@register.filter
def column_of(cut: Cut) -> str:
    """Write a cut as the head of a column."""
    return wording.column(cut)


@register.filter
def as_of(cut: Cut) -> str:
    """Say which moment a cut is of, and its last entry."""
    return wording.as_of(cut)


@register.filter
def epoch(moment: datetime | None) -> int:
    """Return whole seconds since 1970, for the slider."""
    return 0 if moment is None else int(moment.timestamp())


@register.filter
def is_number(value: Cell) -> bool:
    """Tell whether a cell holds an amount or a count, which stand at the right of their column."""
    return isinstance(value, Figure | int)
