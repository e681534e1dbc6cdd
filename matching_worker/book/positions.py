"""Net positions by trader and contract: an open-addressing table that the loops keep from fills and adjustments."""

from typing import Any

import numpy as np

from matching_worker.book.compiled import called, entry
from matching_worker.book.index import tag_of
from matching_worker.protocol import Rows

int64: Any = np.int64
"""Typed as Any: to the loops it is a plain integer."""

_INSTRUMENT_SHIFT = 40
_USED = np.uint32(1)


@called
def place_of(positions: Rows, trader_id: int, instrument_id: int) -> Any:
    """Return where a position is, or where it would go."""
    mask = len(positions) - 1
    place = int64(tag_of(trader_id ^ (instrument_id << _INSTRUMENT_SHIFT))) & mask
    while positions[place]["is_used"] and (
        positions[place]["trader_id"] != trader_id or positions[place]["instrument_id"] != instrument_id
    ):
        place = (place + 1) & mask
    return place


@called
def position_of(positions: Rows, trader_id: int, instrument_id: int) -> Any:
    """Return a net position in lots, negative when short."""
    place = place_of(positions, trader_id, instrument_id)
    return positions[place]["lots"] if positions[place]["is_used"] else 0


@called
def move_position(positions: Rows, state: Any, trader_id: int, instrument_id: int, lots: int) -> Any:
    """Add lots to a position, which begins here if it is new; there must be room. Returns the new position."""
    place = place_of(positions, trader_id, instrument_id)
    position = positions[place]
    if not position["is_used"]:
        position["is_used"] = _USED
        position["trader_id"] = trader_id
        position["instrument_id"] = np.uint32(instrument_id)
        position["lots"] = 0
        state["position_count"] += 1
    position["lots"] += lots
    return position["lots"]


@called
def reducible(positions: Rows, trader_id: int, instrument_id: int, is_sell: bool) -> Any:  # noqa: FBT001 - compiled
    """Return how many lots an order of this side can close."""
    lots = position_of(positions, trader_id, instrument_id)
    return max(0, lots) if is_sell else max(0, -lots)


@entry
def rebuild_positions(positions: Rows, larger: Rows) -> None:
    """Copy every entry into a larger, empty table.

    Args:
        positions: (old_size,) POSITION_DTYPE.
        larger: (new_size,) POSITION_DTYPE, zeroed; sizes are powers of two.
    """
    for place in range(len(positions)):
        if positions[place]["is_used"]:
            trader_id, instrument_id = positions[place]["trader_id"], int64(positions[place]["instrument_id"])
            target = place_of(larger, trader_id, instrument_id)
            larger[target] = positions[place]
