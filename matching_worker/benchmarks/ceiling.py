"""A book that does as little as possible: what arrays under Numba can reach at most, for comparison.

One instrument, limit orders and cancels; prices in a window that is chosen beforehand; ids that are themselves
the row numbers. No events, no state hash, no checks, no growth: it only counts fills. Not for use.
"""

import time
from typing import Final, NamedTuple

import numba
import numpy as np

from exchange.kernel.errors import require
from matching_worker.protocol import CommandKind, Rows, Side

_CANCEL: Final = int(CommandKind.CANCEL)
_BUY: Final = int(Side.BUY)
_PLACE: Final = int(CommandKind.PLACE)

ORDER_DTYPE: Final = np.dtype(
    [("price", "<i8"), ("qty", "<i8"), ("next", "<i4"), ("previous", "<i4"), ("side", "<i4"), ("reserved", "<i4")]
)
COMMAND_DTYPE: Final = np.dtype([("kind", "<i4"), ("side", "<i4"), ("id", "<i8"), ("price", "<i8"), ("qty", "<i8")])


class Counted(NamedTuple):
    """What came of a flow."""

    fills: int
    traded_lots: int


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _unlink(orders: Rows, heads: Rows, tails: Rows, order_id: int) -> None:
    """Take an order out of its queue."""
    order = orders[order_id]
    after, before = order["next"], order["previous"]
    if before != 0:
        orders[before]["next"] = after
    else:
        heads[order["side"], order["price"]] = after
    if after != 0:
        orders[after]["previous"] = before
    else:
        tails[order["side"], order["price"]] = before
    order["qty"] = 0


@numba.njit(cache=True, nogil=True, error_model="numpy")
def run(  # noqa: C901, PLR0912 - one loop is the point of it
    commands: Rows, orders: Rows, heads: Rows, tails: Rows, best: Rows, counted: Rows
) -> None:
    """Apply commands.

    Args:
        commands: (command_count,) COMMAND_DTYPE, prices counted from the window's start.
        orders: (id_max + 1,) ORDER_DTYPE, by id.
        heads: (2, window) int32, the first order at each price, for bids and asks; 0 for none.
        tails: The same for the last order.
        best: (2,) int64, a price at or before the best bid and ask.
        counted: (2,) int64, fills and lots traded.
    """
    window = heads.shape[1]
    for position in range(len(commands)):
        command = commands[position]
        if command["kind"] == _CANCEL:
            if orders[command["id"]]["qty"] > 0:
                _unlink(orders, heads, tails, command["id"])
            continue
        side = 0 if command["side"] == _BUY else 1
        other = 1 - side
        step = 1 if side == 0 else -1
        price, left = command["price"], command["qty"]
        at = best[other]
        while left > 0 and 0 <= at < window and (price - at) * step >= 0:
            maker_id = heads[other, at]
            while maker_id != 0 and left > 0:
                maker = orders[maker_id]
                traded = min(left, maker["qty"])
                counted[0] += 1
                counted[1] += traded
                left -= traded
                maker["qty"] -= traded
                if maker["qty"] == 0:
                    maker_id = maker["next"]
                    heads[other, at] = maker_id
                    if maker_id != 0:
                        orders[maker_id]["previous"] = 0
                    else:
                        tails[other, at] = 0
            if left > 0:
                at += step
        best[other] = at
        if left > 0:
            order_id = command["id"]
            order = orders[order_id]
            order["price"], order["qty"], order["side"] = price, left, side
            order["next"], order["previous"] = 0, tails[side, price]
            if tails[side, price] != 0:
                orders[tails[side, price]]["next"] = order_id
            else:
                heads[side, price] = order_id
            tails[side, price] = order_id
            if (price - best[side]) * step > 0:
                best[side] = price


class Ceiling:
    """The minimal book, made for one flow."""

    def __init__(self, commands: Rows) -> None:
        places = commands["kind"] == _PLACE
        require(bool(np.all(places | (commands["kind"] == _CANCEL))), "the minimal book knows only limits and cancels")
        lowest = int(commands["price_ticks"][places].min())
        window = int(commands["price_ticks"][places].max()) - lowest + 1
        self.commands = np.zeros(len(commands), COMMAND_DTYPE)
        self.commands["kind"], self.commands["side"] = commands["kind"], commands["side"]
        self.commands["id"], self.commands["qty"] = commands["order_id"], commands["qty_lots"]
        self.commands["price"] = commands["price_ticks"] - lowest
        self._orders = np.zeros(int(commands["order_id"].max()) + 1, ORDER_DTYPE)
        self._heads = np.zeros((2, window), np.int32)
        self._tails = np.zeros((2, window), np.int32)
        self._best = np.array([-1, window], np.int64)
        self._counted = np.zeros(2, np.int64)

    def apply(self, first: int, last: int) -> None:
        """Apply the flow's commands from row `first` to before row `last`."""
        run(self.commands[first:last], self._orders, self._heads, self._tails, self._best, self._counted)

    def counted(self) -> Counted:
        """Return what came of them so far."""
        return Counted(*self._counted.tolist())


CALL: Final = 1_000


def measure(commands: Rows, preloaded: int) -> tuple[float, Counted]:
    """Run a flow in calls of 1,000.

    Returns:
        Commands a second after the preload, and what came of these.
    """
    book = Ceiling(commands)
    book.apply(0, preloaded)
    before = book.counted()
    started = time.perf_counter()
    for first in range(preloaded, len(commands), CALL):
        book.apply(first, min(first + CALL, len(commands)))
    seconds = time.perf_counter() - started
    after = book.counted()
    counted = Counted(after.fills - before.fills, after.traded_lots - before.traded_lots)
    return (len(commands) - preloaded) / seconds, counted
