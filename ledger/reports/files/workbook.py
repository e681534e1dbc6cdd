"""XLSX: one sheet a statement (more where it is longer than a sheet can be), written to disk row by row.

Note [Numbers in a spreadsheet]
    A spreadsheet keeps numbers as binary floats of 15 significant digits. An amount that fits is a real number, so that
    it can be added up; one that does not is text, to its last digit, and the sheet says so at its end. Nothing is ever
    rounded.
"""

import tempfile
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import IO, Any, Final

import xlsxwriter
from django.utils.translation import gettext

from exchange.kernel.errors import DomainError, gettext_noop
from exchange.kernel.money import plain
from ledger.reports import wording
from ledger.reports.document import Cell, ColumnKind, Document, Row, RowKind
from ledger.reports.files.cells import unwrapped

CONTENT_TYPE: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
ENDING: Final = "xlsx"
SHEET_ROWS_MAX: Final = 1_000_000
"""Excel takes 1,048,576."""
NUMBER_DIGITS_MAX: Final = 15
ROWS_MAX: Final = 3_000_000
CHUNK_BYTES: Final = 64 * 1024
_WIDTHS: Final = {ColumnKind.TEXT: 34, ColumnKind.AMOUNT: 24, ColumnKind.MOMENT: 28, ColumnKind.COUNT: 12}


class TooLongForAWorkbookError(DomainError):
    """A statement has more rows than an XLSX takes."""

    code = 4403
    name = "TOO_LONG_FOR_A_WORKBOOK"
    message = gettext_noop("An XLSX takes at most %(rows_max)s rows; choose a shorter period, or CSV.")


def written(document: Document, now: datetime) -> Iterator[bytes]:
    """Yield the file; it is whole on disk before its first byte is sent, since its parts are compressed last.

    Raises:
        TooLongForAWorkbookError: The statement has more than `ROWS_MAX` rows.
    """
    with tempfile.TemporaryFile() as file:
        _Writer(document, file, now).write()
        file.seek(0)
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def fits_a_number(amount: Decimal) -> bool:
    """Tell whether a spreadsheet can keep an amount as a number without losing a digit."""
    return len(plain(amount.copy_abs()).replace(".", "").strip("0")) <= NUMBER_DIGITS_MAX


class _Writer:
    """Writes one document."""

    def __init__(self, document: Document, file: IO[bytes], now: datetime) -> None:
        self.document = document
        self.book = xlsxwriter.Workbook(file, {"constant_memory": True, "in_memory": False})
        self.book.set_properties(
            {"title": str(document.title), "subject": "; ".join(map(str, document.about)), "created": now}
        )
        self.formats: dict[tuple[RowKind, str], Any] = {}
        self.has_text_amounts = False

    def write(self) -> None:
        """Write all rows, on as many sheets as it takes."""
        sheet, place = self._sheet(1), len(self.document.about) + 3
        number = 1
        for count, row in enumerate(self.document.rows):
            if count == ROWS_MAX:
                self.book.close()
                raise TooLongForAWorkbookError(rows_max=f"{ROWS_MAX:,}")
            if place >= SHEET_ROWS_MAX:
                number += 1
                sheet, place = self._sheet(number), len(self.document.about) + 3
            self._row(sheet, place, row)
            place += 1
        if self.has_text_amounts:
            words = gettext("Amounts of more than 15 digits are text: a spreadsheet would round them.")
            sheet.write_string(place + 1, 0, words, self._format(RowKind.NOTE, ""))
        self.book.close()

    def _sheet(self, number: int) -> Any:
        """Begin a sheet with title, period and column heads."""
        name = str(self.document.title)[:24]
        sheet = self.book.add_worksheet(name if number == 1 else f"{name} {number}")
        for place, column in enumerate(self.document.columns):
            sheet.set_column(place, place, _WIDTHS[column.kind])
        sheet.write_string(0, 0, str(self.document.title), self._format(RowKind.HEADING, ""))
        for place, about in enumerate(self.document.about, start=1):
            sheet.write_string(place, 0, str(about), self._format(RowKind.PLAIN, ""))
        heads = len(self.document.about) + 2
        for place, column in enumerate(self.document.columns):
            sheet.write_string(heads, place, str(column.title), self._format(RowKind.TOTAL, ""))
        sheet.freeze_panes(heads + 1, 1)
        sheet.repeat_rows(heads)
        sheet.set_landscape()
        sheet.fit_to_pages(1, 0)
        return sheet

    def _row(self, sheet: Any, place: int, row: Row) -> None:
        for column, cell in enumerate(row.cells):
            self._cell(sheet, place, column, row, cell)

    def _cell(self, sheet: Any, place: int, column: int, row: Row, cell: Cell) -> None:
        """Write one cell: Note [Numbers in a spreadsheet]."""
        value = unwrapped(cell)
        if value is None:
            return
        if isinstance(value, Decimal):
            if fits_a_number(value):
                decimals = max(row.decimals, len(plain(value).partition(".")[2]))
                sheet.write_number(place, column, value, self._format(row.kind, _pattern(decimals)))
            else:
                self.has_text_amounts = True
                sheet.write_string(place, column, plain(value), self._format(row.kind, "@"))
        elif isinstance(value, int):
            sheet.write_number(place, column, value, self._format(row.kind, "#,##0"))
        elif isinstance(value, datetime):
            sheet.write_string(place, column, wording.iso(value), self._format(row.kind, ""))
        else:
            sheet.write_string(place, column, str(value), self._format(row.kind, ""))

    def _format(self, kind: RowKind, pattern: str) -> Any:
        """Return the format of a kind of row and number; a workbook has one of each."""
        key = (kind, pattern)
        if key not in self.formats:
            look: dict[str, Any] = {"num_format": pattern} if pattern else {}
            if pattern == "@":
                look["align"] = "right"
            if kind in {RowKind.HEADING, RowKind.SUM, RowKind.TOTAL, RowKind.ALARM}:
                look["bold"] = True
            if kind in {RowKind.SUM, RowKind.TOTAL}:
                look["top"] = 1
            if kind == RowKind.TOTAL:
                look["bottom"] = 6
            if kind == RowKind.ALARM:
                look["font_color"] = "#bd1f3a"
            if kind == RowKind.PART:
                look["indent"] = 1
            self.formats[key] = self.book.add_format(look)
        return self.formats[key]


def _pattern(decimals: int) -> str:
    """Return the number format of an amount."""
    return "#,##0." + "0" * decimals if decimals > 0 else "#,##0"
