"""What plain orders that only rest and are cancelled must cause, found with NumPy and without any book.

For books too large for the readable one. Every field of every event, and the running hash over all of it.
"""

import numpy as np

from matching_worker.book.hashing import COMMAND_CONSTANTS, EVENT_CONSTANTS, FOLD_PRIME, MASK
from matching_worker.protocol import EVENT_DTYPE, EventKind, Reason, Rows

WORD = np.uint64
COMMAND_WORDS = ("sequence", "timestamp_ns", "order_id", "trader_id", "price_ticks", "qty_lots")
EVENT_WORDS = (
    *("order_id", "trader_id", "maker_order_id", "maker_trader_id", "price_ticks", "qty_lots"),
    *("left_lots", "maker_left_lots", "level_lots", "trade_number"),
)
Numbers = np.ndarray


def running(values: Numbers, groups: Numbers) -> Numbers:
    """Return for each value the sum of those of its group up to and with it."""
    order = np.argsort(groups, kind="stable")
    sums = np.cumsum(values[order])
    first = np.r_[True, groups[order][1:] != groups[order][:-1]]
    before = np.maximum.accumulate(np.where(first, sums - values[order], 0))
    found = np.empty_like(sums)
    found[order] = sums - before
    return found


def levels_of(placed: Rows) -> Numbers:
    """Return the price level of each order as one number."""
    numbers: Numbers = placed["price_ticks"] * 2 + placed["side"] % 2
    return numbers


def rested(placed: Rows) -> Rows:
    """Return the events of orders that rest in books without any other."""
    events = _events(placed, placed, EventKind.RESTED, Reason.NONE)
    events["left_lots"] = placed["qty_lots"]
    events["level_lots"] = running(placed["qty_lots"], levels_of(placed))
    return events


def cancelled(cancels: Rows, placed: Rows) -> Rows:
    """Return the events of cancels of all or some of these orders, which are numbered from 1 and rest alone."""
    orders = placed[cancels["order_id"] - placed["order_id"][0]]
    events = _events(cancels, orders, EventKind.CANCELLED, Reason.USER)
    levels, numbers = np.unique(levels_of(placed), return_inverse=True)
    stood = np.bincount(numbers, placed["qty_lots"], minlength=len(levels)).astype(np.int64)
    own = numbers[cancels["order_id"] - placed["order_id"][0]]
    events["level_lots"] = stood[own] - running(orders["qty_lots"], own)
    return events


def _events(commands: Rows, orders: Rows, kind: EventKind, reason: Reason) -> Rows:
    """Return one event for each command, about an order."""
    events = np.zeros(len(commands), EVENT_DTYPE)
    for name in ("sequence", "timestamp_ns"):
        events[name] = commands[name]
    for name in ("order_id", "trader_id", "price_ticks", "qty_lots", "side", "instrument_id"):
        events[name] = orders[name]
    events["kind"], events["reason"] = kind, reason
    return events


def hashed(commands: Rows, events: Rows, state_hash: int = 0) -> int:
    """Fill in the running hash of events, one for each command; returns the last. Note [State hash]."""
    packed = (
        commands["instrument_id"].astype(WORD)
        | commands["kind"].astype(WORD) << WORD(32)
        | commands["side"].astype(WORD) << WORD(40)
        | commands["order_type"].astype(WORD) << WORD(48)
        | commands["time_in_force"].astype(WORD) << WORD(56)
    )
    words = [commands[name] for name in COMMAND_WORDS]
    of_commands = _sums([*words, packed], COMMAND_CONSTANTS)
    packed = (
        events["kind"].astype(WORD) << WORD(32)
        | events["side"].astype(WORD) << WORD(40)
        | events["reason"].astype(WORD) << WORD(48)
    )
    words = [events[name] for name in EVENT_WORDS]
    of_events = _sums([*words, packed], EVENT_CONSTANTS)
    hashes = []
    for command_sum, event_sum in zip(of_commands.tolist(), of_events.tolist(), strict=True):
        state_hash = ((state_hash ^ command_sum) * FOLD_PRIME) & MASK
        state_hash ^= state_hash >> 32
        state_hash = ((state_hash ^ event_sum) * FOLD_PRIME) & MASK
        state_hash ^= state_hash >> 32
        hashes.append(state_hash)
    events["state_hash"] = hashes
    return state_hash


def _sums(columns: list[Numbers], constants: tuple[int, ...]) -> Numbers:
    """Return the weighted sum of each row's words, modulo 2**64."""
    total = np.zeros(len(columns[0]), WORD)
    for column, constant in zip(columns, constants, strict=True):
        total += column.astype(WORD) * WORD(constant)
    return total
