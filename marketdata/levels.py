"""What a run of the engine's events left at each price that it touched."""

import numpy as np

from matching_worker.protocol import EventKind, Rows, Side

BIDS, ASKS = 0, 1


def last_levels(events: Rows) -> list[tuple[int, int, int]]:
    """Return side, price in ticks and lots that now stand there, for each price that events of one instrument touched.

    Args:
        events: (event_count,) EVENT_DTYPE, in order; of several for one price the last counts.

    Returns:
        By price, each pair of price and side once; 0 lots where the level is gone.
    """
    events = events[events["level_lots"] >= 0]
    if not len(events):
        return []
    is_sell = (events["side"] == Side.SELL) != (events["kind"] == EventKind.FILL)  # a fill changes the maker's side
    keys = events["price_ticks"] * 2 + is_sell
    _, newest = np.unique(keys[::-1], return_index=True)
    rows = len(events) - 1 - newest
    totals = events["level_lots"][rows].tolist()
    return [(key & 1, key >> 1, total) for key, total in zip(keys[rows].tolist(), totals, strict=True)]
