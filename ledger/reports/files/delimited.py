"""CSV: streamed row by row, amounts to their last digit, moments in RFC 3339.

The file begins with a byte order mark, without which spreadsheets misread Chinese. A text that a spreadsheet would take
for a formula is led by an apostrophe. Source: OWASP, CSV Injection.
"""

import csv
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Final

from exchange.kernel.money import plain
from ledger.reports import wording
from ledger.reports.document import Cell, Document
from ledger.reports.files.cells import unwrapped

CONTENT_TYPE: Final = "text/csv; charset=utf-8"
ENDING: Final = "csv"
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
CHUNK_ROWS: Final = 500
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class _Lines:
    """A file that the csv module writes to, and that is emptied as it is sent."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def write(self, text: str) -> None:
        """Keep a line."""
        self.parts.append(text)

    def taken(self) -> bytes:
        """Return what was written since the last call."""
        found = "".join(self.parts).encode()
        self.parts.clear()
        return found


def written(document: Document) -> Iterator[bytes]:
    """Yield the file, some hundred rows at a time."""
    lines = _Lines()
    writer = csv.writer(lines)
    yield BYTE_ORDER_MARK
    writer.writerow([str(document.title)])
    writer.writerows([text(about)] for about in document.about)
    writer.writerow([])
    writer.writerow([str(column.title) for column in document.columns])
    for number, row in enumerate(document.rows, start=1):
        writer.writerow([text(cell) for cell in row.cells])
        if number % CHUNK_ROWS == 0:
            yield lines.taken()
    yield lines.taken()


def text(cell: Cell) -> str:
    """Write one cell."""
    value = unwrapped(cell)
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return wording.iso(value)
    words = str(value)
    return f"'{words}" if words.startswith(_FORMULA) else words
