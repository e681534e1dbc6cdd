"""PDF: a statement typeset on A4, page by page, fit to be put before a board.

Two passes: the rows are measured and cut into pages, then drawn, so that every page can say how many there are. One
font, Noto Sans TC, is embedded with the characters used; it has Latin and Chinese, and figures of one width. Bold is
the same font, drawn with a thin outline, since the wheel brings no second weight.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Final, NamedTuple

import pylopdf_fonts_zh_tw
from django.utils.translation import get_language, gettext
from fpdf import FPDF
from fpdf.enums import TextMode

from exchange.kernel.errors import DomainError, gettext_noop
from ledger.reports import wording
from ledger.reports.document import Cell, Column, ColumnKind, Document, Row, RowKind
from ledger.reports.files.cells import unwrapped

logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells of every table that it subsets

CONTENT_TYPE: Final = "application/pdf"
ENDING: Final = "pdf"
ROWS_MAX: Final = 20_000
PORTRAIT_COLUMNS_MAX: Final = 4
FONT: Final = "noto"
ELLIPSIS: Final = "\N{HORIZONTAL ELLIPSIS}"
MARGIN_MM: Final = 15
TITLE_POINTS, ABOUT_POINTS, FOOT_POINTS = 17, 9, 8
BODY_POINTS: Final = (9.5, 9, 8.5, 8, 7.5, 7, 6.5, 6)
"""Tried from the largest on, until all amounts fit beside their accounts."""
NAME_SHARE_MIN: Final = 0.3
"""So much of the width at least belongs to columns of text."""
LINE_SPACING: Final = 1.45
POINT_MM: Final = 25.4 / 72
AIR: Final = {RowKind.HEADING: 1.4, RowKind.SUM: 1.15, RowKind.TOTAL: 1.8}
"""Heights of rows that stand apart, in heights of a line."""
GAP_MM: Final = 4
INDENT_MM: Final = 4
BOLD: Final = frozenset({RowKind.HEADING, RowKind.SUM, RowKind.TOTAL, RowKind.ALARM})
INK, MUTED, ALARM = (20, 26, 36), (95, 105, 120), (189, 31, 58)


class TooLongForPaperError(DomainError):
    """A statement has more rows than a PDF takes."""

    code = 4402
    name = "TOO_LONG_FOR_PAPER"
    message = gettext_noop("A PDF takes at most %(rows_max)s rows; choose a shorter period, or CSV or XLSX.")


class _Laid(NamedTuple):
    """A row, measured: the lines of text of each cell, and its height in mm."""

    row: Row
    cells: list[list[str]]
    height: float


@dataclass
class _Layout:
    """How the rows stand on paper: font size, left edge and width of each column, and the rows of each page."""

    points: float
    edges: list[float]
    widths: list[float]
    pages: list[list[_Laid]] = field(default_factory=list)

    @property
    def line_mm(self) -> float:
        """Return the height of a line of text."""
        return self.points * POINT_MM * LINE_SPACING


def written(document: Document, now: datetime) -> Iterator[bytes]:
    """Yield the file, whole.

    Raises:
        TooLongForPaperError: The statement has more than `ROWS_MAX` rows.
    """
    rows = list(islice(document.rows, ROWS_MAX + 1))
    if len(rows) > ROWS_MAX:
        raise TooLongForPaperError(rows_max=f"{ROWS_MAX:,}")
    yield _Paper(document, rows, now).drawn()


class _Paper:
    """Measures and draws one document."""

    def __init__(self, document: Document, rows: list[Row], now: datetime) -> None:
        self.document, self.rows, self.now = document, rows, now
        is_wide = len(document.columns) > PORTRAIT_COLUMNS_MAX
        self.pdf = FPDF(orientation="landscape" if is_wide else "portrait", unit="mm", format="A4")
        self.pdf.set_auto_page_break(auto=False)
        self.pdf.add_font(FONT, fname=pylopdf_fonts_zh_tw.sans_path())
        self.pdf.set_title(str(document.title))
        self.pdf.set_subject("; ".join(map(str, document.about)))
        self.pdf.set_creator(gettext("Exchange"))
        self.pdf.set_lang("zh-Hant" if get_language() == "zh-hant" else "en")
        self.pdf.set_creation_date(now)
        self.width = self.pdf.w - 2 * MARGIN_MM
        self.bottom = self.pdf.h - MARGIN_MM - 6

    def drawn(self) -> bytes:
        """Return the file."""
        layout = self._laid_out()
        for number, rows in enumerate(layout.pages, start=1):
            self.pdf.add_page()
            top = self._title() if number == 1 else MARGIN_MM
            self._heads(layout, top)
            at = top + self._heads_height(layout)
            for laid in rows:
                self._row(layout, laid, at)
                at += laid.height
            self._foot(number, len(layout.pages))
        return bytes(self.pdf.output())

    # --- Measuring ------------------------------------------------------------------------------

    def _wide(self, text: str, points: float) -> float:
        """Return the width of a text in mm."""
        self.pdf.set_font(FONT, size=points)
        return self.pdf.get_string_width(text)

    def _laid_out(self) -> _Layout:
        """Choose the font size, then cut the rows into pages."""
        layout = self._columns()
        first_top = self._title_height() + MARGIN_MM
        room = self.bottom - first_top - self._heads_height(layout)
        page: list[_Laid] = []
        for laid in (self._measured(layout, row) for row in self.rows):
            keeps = laid.height + (3 * layout.line_mm if laid.row.kind == RowKind.HEADING else 0)
            if page and keeps > room:
                layout.pages.append(page)
                page, room = [], self.bottom - MARGIN_MM - self._heads_height(layout)
            page.append(laid)
            room -= laid.height
        layout.pages.append(page)
        return layout

    def _columns(self) -> _Layout:
        """Give amounts the width that they need and share the rest among the texts."""
        columns = self.document.columns
        longest = [
            self._longest(place) if column.kind != ColumnKind.TEXT else "" for place, column in enumerate(columns)
        ]
        texts = sum(column.width for column in columns if column.kind == ColumnKind.TEXT)
        for points in BODY_POINTS:
            needed = [self._wide(text, points) + GAP_MM if text else GAP_MM for text in longest]
            rest = self.width - sum(
                need for need, column in zip(needed, columns, strict=True) if column.kind != ColumnKind.TEXT
            )
            if rest >= NAME_SHARE_MIN * self.width or points == BODY_POINTS[-1]:
                break
        widths = [
            max(rest, 0) * column.width / texts if column.kind == ColumnKind.TEXT else need
            for need, column in zip(needed, columns, strict=True)
        ]
        edges = [MARGIN_MM + sum(widths[:place]) for place in range(len(widths))]
        return _Layout(points, edges, widths)

    def _longest(self, place: int) -> str:
        """Return the longest text of a column, its head's longest word included."""
        head = max(str(self.document.columns[place].title).split(), key=len, default="")
        shown = (shown_as(row, row.cells[place]) for row in self.rows if len(row.cells) > place)
        return max((head, *shown), key=len)

    def _measured(self, layout: _Layout, row: Row) -> _Laid:
        """Break a row's texts into lines."""
        if len(row.cells) == 1:
            cells = [self._broken(shown_as(row, row.cells[0]), self.width, layout.points)]
        else:
            indent = INDENT_MM if row.kind == RowKind.PART else 0
            cells = [
                self._broken(shown_as(row, cell), layout.widths[place] - (0 if place else indent), layout.points)
                for place, cell in enumerate(row.cells)
            ]
        lines = max(len(cell) for cell in cells)
        air = AIR.get(row.kind, 1.0)
        return _Laid(row, cells, lines * layout.line_mm * air)

    def _broken(self, text: str, width: float, points: float) -> list[str]:
        """Break a text at spaces, and where there are none (Chinese, long keys) anywhere."""
        self.pdf.set_font(FONT, size=points)
        measure = self.pdf.get_string_width
        if not text or measure(text) <= width - GAP_MM / 2:
            return [text]
        found: list[str] = []
        line = ""
        for word in _words(text):
            if measure(line + word) <= width - GAP_MM / 2:
                line += word
                continue
            if line.strip():
                found.append(line.rstrip())
            *whole, line = self._cut(word.lstrip(), width - GAP_MM / 2)
            found += whole
        return [*found, line.rstrip()]

    def _cut(self, word: str, width: float) -> list[str]:
        """Cut a word that is longer than a line into pieces that are not."""
        pieces = [""]
        for character in word:
            if pieces[-1] and self.pdf.get_string_width(pieces[-1] + character) > width:
                pieces.append("")
            pieces[-1] += character
        return pieces

    # --- Drawing --------------------------------------------------------------------------------

    def _text(
        self, x: float, y: float, text: str, points: float, color: tuple[int, int, int], *, bold: bool = False
    ) -> None:
        """Draw a text; `y` is its baseline."""
        if not text:
            return
        self.pdf.set_font(FONT, size=points)
        with self.pdf.local_context(
            text_color=color,
            draw_color=color,
            text_mode=TextMode.FILL_STROKE if bold else TextMode.FILL,
            line_width=points * 0.012 if bold else 0.2,
        ):
            self.pdf.text(x, y, text)

    def _rule(self, y: float, *, weight: float, color: tuple[int, int, int] = INK, start: float = 0) -> None:
        """Draw a line across the page, or from `start` on."""
        with self.pdf.local_context(draw_color=color, line_width=weight):
            self.pdf.line(MARGIN_MM + start, y, self.pdf.w - MARGIN_MM, y)

    def _about(self) -> list[str]:
        printed = gettext("Printed %(moment)s UTC") % {"moment": f"{self.now:%Y-%m-%d %H:%M}"}
        lines = [line for about in self.document.about for line in self._broken(str(about), self.width, ABOUT_POINTS)]
        return [*lines, printed]

    def _title_height(self) -> float:
        return 11 + len(self._about()) * ABOUT_POINTS * POINT_MM * LINE_SPACING + 4

    def _title(self) -> float:
        """Draw the head of the first page; return where the table begins."""
        self._text(MARGIN_MM, MARGIN_MM + 6, str(self.document.title), TITLE_POINTS, INK, bold=True)
        step = ABOUT_POINTS * POINT_MM * LINE_SPACING
        for place, about in enumerate(self._about(), start=1):
            self._text(MARGIN_MM, MARGIN_MM + 8 + place * step, about, ABOUT_POINTS, MUTED)
        return MARGIN_MM + self._title_height()

    def _head_lines(self, layout: _Layout) -> list[list[str]]:
        return [
            self._broken(str(column.title), width, layout.points)
            for column, width in zip(self.document.columns, layout.widths, strict=True)
        ]

    def _heads_height(self, layout: _Layout) -> float:
        return max(len(lines) for lines in self._head_lines(layout)) * layout.line_mm + 3

    def _heads(self, layout: _Layout, top: float) -> None:
        """Draw the heads of the columns, on every page."""
        height = self._heads_height(layout)
        for place, (column, lines) in enumerate(zip(self.document.columns, self._head_lines(layout), strict=True)):
            for number, line in enumerate(reversed(lines)):
                y = top + height - 3 - number * layout.line_mm
                self._cell_text(layout, place, column, line, y, MUTED, bold=False)
        self._rule(top + height - 1.6, weight=0.35)

    def _row(self, layout: _Layout, laid: _Laid, top: float) -> None:
        """Draw one row; a total is ruled above and below."""
        kind = laid.row.kind
        is_bold = kind in BOLD
        color = ALARM if kind == RowKind.ALARM else MUTED if kind in {RowKind.PART, RowKind.NOTE} else INK
        line_count = max(map(len, laid.cells))
        above = 0.15 if kind in {RowKind.SUM, RowKind.TOTAL} else AIR.get(kind, 1.0) - 1
        first = top + (above + 0.68) * layout.line_mm
        if len(laid.row.cells) == 1:
            for number, line in enumerate(laid.cells[0]):
                y = first + number * layout.line_mm
                self._text(MARGIN_MM, y, line, layout.points, color, bold=is_bold)
            return
        for place, (column, lines) in enumerate(zip(self.document.columns, laid.cells, strict=True)):
            indent = INDENT_MM if kind == RowKind.PART and place == 0 else 0
            for number, line in enumerate(lines):
                y = first + number * layout.line_mm
                self._cell_text(layout, place, column, line, y, color, bold=is_bold, indent=indent)
        edge = layout.widths[0] if self.document.columns[0].kind == ColumnKind.TEXT else 0
        if kind in {RowKind.SUM, RowKind.TOTAL}:
            self._rule(top + 0.1 * layout.line_mm, weight=0.2, start=edge)
        if kind == RowKind.TOTAL:
            below = top + (line_count + 0.2) * layout.line_mm
            self._rule(below, weight=0.2, start=edge)
            self._rule(below + 0.6, weight=0.2, start=edge)

    def _cell_text(
        self,
        layout: _Layout,
        place: int,
        column: Column,
        text: str,
        y: float,
        color: tuple[int, int, int],
        *,
        bold: bool,
        indent: float = 0,
    ) -> None:
        """Draw one cell's line: amounts and counts end at the right edge of their column."""
        x = layout.edges[place] + indent
        if column.kind in {ColumnKind.AMOUNT, ColumnKind.COUNT}:
            x = layout.edges[place] + layout.widths[place] - self._wide(text, layout.points)
        self._text(x, y, text, layout.points, color, bold=bold)

    def _foot(self, number: int, count: int) -> None:
        """Draw the foot of a page: the title, the period, and which page of how many."""
        y = self.pdf.h - MARGIN_MM + 2
        self._rule(y - 5, weight=0.15, color=MUTED)
        page = gettext("Page %(number)s of %(count)s") % {"number": number, "count": count}
        x = self.pdf.w - MARGIN_MM - self._wide(page, FOOT_POINTS)
        about = " · ".join([str(self.document.title), *map(str, self.document.about)])
        room = self.width - self._wide(page, FOOT_POINTS) - 4 * GAP_MM
        fits, *cut = self._broken(about, room, FOOT_POINTS)
        self._text(MARGIN_MM, y, f"{fits} {ELLIPSIS}" if cut else fits, FOOT_POINTS, MUTED)
        self._text(x, y, page, FOOT_POINTS, MUTED)


def shown_as(row: Row, cell: Cell) -> str:
    """Write a cell for people."""
    value = unwrapped(cell)
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return wording.amount(value, row.decimals)
    if isinstance(value, datetime):
        return wording.moment(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _words(text: str) -> list[str]:
    """Cut a text where a line may end: before each space, and around each wide character."""
    words: list[str] = []
    for character in text:
        is_wide = ord(character) >= 0x2E80  # noqa: PLR2004 -- from here on: CJK
        joins = words and not is_wide and character != " " and ord(words[-1][-1]) < 0x2E80  # noqa: PLR2004
        if joins:
            words[-1] += character
        else:
            words.append(character)
    return words
