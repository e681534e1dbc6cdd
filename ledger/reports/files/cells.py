"""What a cell of a statement says in a file."""

from datetime import datetime
from decimal import Decimal

from ledger.reports.document import Cell, Figure, Name


def unwrapped(cell: Cell) -> str | Decimal | datetime | int | None:
    """Return what a cell holds without its links: an amount instead of a figure, text instead of a name."""
    if isinstance(cell, Figure):
        return cell.amount
    if isinstance(cell, Name):
        return f"{cell.code} {cell.title}" if cell.code else str(cell.title)
    return cell if cell is None or isinstance(cell, datetime | int) else str(cell)
