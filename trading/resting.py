"""Which events of a run move nothing in the books: new orders that only came to rest, whole. Pure.

Half of what traders send are such orders. Their rows, holds and positions stay as T1 has written them, so that T2 need
neither read them nor hold their traders' gates.
"""

import numpy as np

from matching_worker.protocol import CommandKind, EventKind, OrderFlag, Reason, Rows

# As plain integers: an array compared with a member of an enumeration asks that for attributes it has not.
_RESTED, _PLACE = int(EventKind.RESTED), int(CommandKind.PLACE)
_NO_REASON, _CLOSE_POSITION = int(Reason.NONE), int(OrderFlag.CLOSE_POSITION)


def moving(commands: Rows, events: Rows) -> Rows:
    """Return the events without those of new orders that came to rest with all that was ordered, and no more happened.

    What is left out has been held against the command, as the fold holds the rest against the books: the engine says
    that as much is open as T1 wrote. Anything else about such an order stays for the fold to judge.

    Args:
        commands: (n,) COMMAND_DTYPE, dense in sequence.
        events: (m,) EVENT_DTYPE, all events of exactly these commands.
    """
    rested = (events["kind"] == _RESTED) & (events["reason"] == _NO_REASON)
    if not rested.any():
        return events
    others = events[~rested]
    concerned = np.concatenate([others["order_id"], others["maker_order_id"]])
    command = commands[events["sequence"] - commands["sequence"][0]]
    is_whole = (
        (command["kind"] == _PLACE)
        & (command["order_id"] == events["order_id"])
        & (command["qty_lots"] == events["left_lots"])
        & (command["flags"] & _CLOSE_POSITION == 0)
    )
    kept: Rows = events[~(rested & is_whole & ~np.isin(events["order_id"], concerned))]
    return kept
