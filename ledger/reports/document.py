"""A statement laid out: title, columns and rows, for the page and for every kind of file; made by `printed*` only."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from django.utils.functional import Promise

Words = str | Promise


class ColumnKind(StrEnum):
    """What a column holds."""

    TEXT = "text"
    AMOUNT = "amount"
    MOMENT = "moment"
    COUNT = "count"


class RowKind(StrEnum):
    """How a row stands out: a sum is ruled above, a total below too."""

    HEADING = "heading"
    PLAIN = "plain"
    PART = "part"
    SUM = "sum"
    TOTAL = "total"
    NOTE = "note"
    ALARM = "alarm"


class Column(NamedTuple):
    """One column; `width` is its share of a sheet of paper."""

    title: Words
    kind: ColumnKind
    width: int
    meaning: Words = ""


class Figure(NamedTuple):
    """An amount that can be followed to its lines.

    Args:
        drill: The query of the page of lines; empty where there is nothing to follow.
    """

    amount: Decimal
    drill: Mapping[str, str] = {}


class Name(NamedTuple):
    """A name with what it means, and where it leads; files print code and title."""

    title: Words
    meaning: Words = ""
    code: str = ""
    url: str = ""


Cell = Words | Figure | Name | datetime | int | None


class Row(NamedTuple):
    """One row; a heading, note or alarm has one cell that spans all columns.

    Args:
        decimals: With how many decimals amounts are shown at least: those of their asset.
    """

    kind: RowKind
    cells: tuple[Cell, ...]
    decimals: int = 0


@dataclass(frozen=True, slots=True)
class Document:
    """A statement laid out.

    Args:
        name: The file's name, without ending.
        about: What is told of it in a line each: whose, which asset, which period, who printed it.
        rows: Read once; may be made while it is read.
        long: Whether the rows may be more than paper can take; files of a long one are written as it is read.
    """

    name: str
    title: Words
    about: list[Words]
    columns: list[Column]
    rows: Iterable[Row]
    long: bool = False
    holds: bool = field(default=True)
