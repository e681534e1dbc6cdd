"""Rows of scenes: copied as a transaction would load them, and compared with what it would store."""

from typing import Any

from trading.models import Order
from trading.order_parts import Part, PartKind


def copy_row(row: Order) -> Order:
    """Return a row of its own; ten times faster than `copy.copy`."""
    made: Order = object.__new__(Order)
    made.__dict__ = dict(row.__dict__)
    return made


def copy_parts(parts: dict[PartKind, Part]) -> dict[PartKind, Part]:
    """Return parts as they would be loaded."""
    return {
        kind: Part(one.kind, one.lots, one.left, one.funds, one.going, one.stolen, one.state, one.version, one.version)
        for kind, one in parts.items()
    }


def stored(row: Order) -> tuple[Any, ...]:
    """Return what settlement may change of an order's row."""
    return (
        row.status,
        row.reason,
        row.hold_remaining,
        row.amend_hold,
        row.filled_quantity,
        row.worst_price,
        row.quantity,
    )
