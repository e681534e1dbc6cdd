"""Pages of long lists by place, not by number: a page costs the same however far down the list it stands."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from django.db.models import QuerySet

BEFORE: Final = "before"
AFTER: Final = "after"
PLACES: Final = frozenset({BEFORE, AFTER})
PLACE_DIGITS_MAX: Final = 18


class Page(NamedTuple):
    """Some rows, newest first, and where the rows beside them are.

    Args:
        newer: The query of the page before this one; empty when this is the first.
        older: The query of the page after this one; empty when this is the last.
    """

    rows: list[Any]
    newer: str
    older: str

    @property
    def is_whole(self) -> bool:
        """Tell whether these rows are all there are."""
        return not self.newer and not self.older


def place(text: str) -> int | None:
    """Return the id that a page begins beside; None for anything that is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= PLACE_DIGITS_MAX else None


def page(rows: QuerySet[Any], asked: Mapping[str, str], size: int) -> Page:
    """Return one page of rows, newest first. One statement, without OFFSET and without counting.

    Args:
        rows: In any order; it is replaced by that of the primary key.
        asked: The request's query: `before` an id towards older rows, `after` one towards newer ones; the rest is
            kept in the links to other pages.
    """
    before, after = place(asked.get(BEFORE, "")), place(asked.get(AFTER, ""))
    if before is None and after is not None:
        found = list(rows.filter(pk__gt=after).order_by("pk")[: size + 1])
        has_newer, has_older = len(found) > size, True
        shown = found[:size][::-1]
    else:
        wanted = rows if before is None else rows.filter(pk__lt=before)
        found = list(wanted.order_by("-pk")[: size + 1])
        has_newer, has_older = before is not None, len(found) > size
        shown = found[:size]
    kept = {key: value for key, value in asked.items() if key not in PLACES}
    if not shown:
        first = f"?{urlencode(kept)}" if before is not None or after is not None else ""
        return Page([], first, "")
    newer = f"?{urlencode(kept | {AFTER: str(shown[0].pk)})}" if has_newer else ""
    older = f"?{urlencode(kept | {BEFORE: str(shown[-1].pk)})}" if has_older else ""
    return Page(shown, newer, older)
