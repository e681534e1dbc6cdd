"""What a run of the engine's events left at each price that it touched."""

from collections import defaultdict

import numpy as np

from matching_worker.protocol import EventKind, Rows, Side

BIDS, ASKS = 0, 1

# As plain integers: an array compared with a member of an enumeration asks that for attributes it has not.
_SELL, _FILL = int(Side.SELL), int(EventKind.FILL)

_TICKS_AND_SIDE_BITS = 42
"""Enough for `marketdata.units.TICKS_MAX`, and an instrument's id has room beside it in an integer of numpy."""


def last_levels_of_each(events: Rows) -> dict[int, list[tuple[int, int, int]]]:
    """Return side, price in ticks and lots that now stand there, for each price that events touched, by instrument id.

    Args:
        events: (event_count,) EVENT_DTYPE, in order; of several for one price the last counts.

    Returns:
        Instruments in order, and of each by price; each pair of price and side once; 0 lots where the level is gone.
    """
    events = events[events["level_lots"] >= 0]
    is_sell = (events["side"] == _SELL) != (events["kind"] == _FILL)  # a fill changes the maker's side
    keys = (events["instrument_id"].astype(np.int64) << _TICKS_AND_SIDE_BITS) + events["price_ticks"] * 2 + is_sell
    _, newest = np.unique(keys[::-1], return_index=True)
    rows = len(events) - 1 - newest
    found: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for key, total in zip(keys[rows].tolist(), events["level_lots"][rows].tolist(), strict=True):
        instrument_id, place = divmod(key, 1 << _TICKS_AND_SIDE_BITS)
        found[instrument_id].append((place & 1, place >> 1, total))
    return found
