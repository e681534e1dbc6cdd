"""The publisher's own copy of the books, kept from the engine's events. Pure: numbers in, numbers out.

Prices are ticks, quantities lots. What a batch of events changed comes out as a `Step` per instrument.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from heapq import nlargest, nsmallest
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from marketdata.feed import DEPTH_LEVELS_MAX, INTERVALS, SIDES, Auction, Bar, merged, trade_text
from marketdata.levels import BIDS, last_levels
from marketdata.units import InstrumentSpec
from matching_worker.protocol import CommandKind, EventKind, Rows, Side, TradingState

NS_PER_MS: Final = 1_000_000
NS_PER_MINUTE: Final = 60_000_000_000
MINUTE_S: Final = 60
DAY_S: Final = 86_400


TOLD: Final = {
    int(CommandKind.MARK_PRICE): "mark_ticks",
    int(CommandKind.LAST_PRICE): "last_ticks",
    int(CommandKind.TRADE_NUMBER): "trade_number",
}
"""Commands that tell what no event tells, and the field of `Told` that they tell."""


class Change(NamedTuple):
    """What happened to one price of a book."""

    side: int
    ticks: int
    change: int
    total: int


class Step(NamedTuple):
    """What one batch of events did to one instrument."""

    book: "Book"
    changes: list[Change]
    previous: int
    """Sequence of the delta before this one."""
    sequence: int
    timestamp_ms: int
    trades: list[tuple[int, str]]
    """(trade number, finished message), in order."""
    has_new_auction: bool
    """Whether the state of the instrument, or what its auction would do, has changed."""
    has_new_mark: bool
    """Whether a command told another mark price, or a last price that is no trade of this book."""


class Told(NamedTuple):
    """What commands told of one instrument, and events do not; 0 where they told nothing."""

    mark_ticks: int = 0
    last_ticks: int = 0
    trade_number: int = 0


class Book:
    """One instrument: what stands on both sides, what it allows, the day's candles, where its streams are."""

    def __init__(self, spec: InstrumentSpec, *, sequence: int) -> None:
        self.spec = spec
        self.sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.sequence = sequence
        self.timestamp_ms = 0
        self.trade_number = 0
        self.last_ticks = 0
        self.mark_ticks = 0
        self.auction = Auction()
        self.day: deque[Bar] = deque()
        self.bars: dict[str, Bar] = {}

    def load(self, bids: Rows, asks: Rows) -> None:
        """Take over the engine's levels: rows of price, lots and anything more."""
        for side, levels in zip(self.sides, (bids, asks), strict=True):
            side.clear()
            side.update((int(row[0]), int(row[1])) for row in levels)

    def remember(self, minutes: Iterable[Bar]) -> None:
        """Take over the candles of the last 24 hours, oldest first, so that live ones go on from there."""
        self.day.clear()
        self.bars.clear()
        for bar in minutes:
            self._add_minute(bar)

    def apply(self, events: Rows, told: "Told | None" = None) -> Step:
        """Take in this instrument's events, in order.

        Args:
            events: (event_count,) EVENT_DTYPE, at least one, all of this instrument.
            told: What commands among them told.
        """
        mark_ticks, last_ticks, trade_number = told or Told()
        previous, last = self.sequence, events[-1]
        self.trade_number = max(self.trade_number, trade_number)
        has_new_last = last_ticks not in {0, self.last_ticks}
        self.last_ticks = last_ticks or self.last_ticks
        self.timestamp_ms = int(last["timestamp_ns"]) // NS_PER_MS
        changes = self._apply_levels(events)
        kinds, auction = events["kind"], self.auction
        fills = events[(kinds == EventKind.FILL) & (events["trade_number"] > self.trade_number)]
        trades = self._apply_fills(fills) if len(fills) else []
        if changes:
            self.sequence = int(last["sequence"])
        self._apply_states(events[(kinds == EventKind.STATE_CHANGED) | (kinds == EventKind.AUCTION_PRICE)])
        has_new_mark = mark_ticks not in {0, self.mark_ticks} or has_new_last
        self.mark_ticks = mark_ticks or self.mark_ticks
        has_new_auction = self.auction != auction
        return Step(self, changes, previous, self.sequence, self.timestamp_ms, trades, has_new_auction, has_new_mark)

    def best(self, side: int) -> int:
        """Return the best price of a side in ticks, 0 where it is empty."""
        levels = self.sides[side]
        if not levels:
            return 0
        return max(levels) if side == BIDS else min(levels)

    def top(self, count: int = DEPTH_LEVELS_MAX) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return the best levels of both sides as (ticks, lots)."""
        bids, asks = self.sides
        return nlargest(count, bids.items()), nsmallest(count, asks.items())

    def last_day(self) -> Bar | None:
        """Return the 24 hours before the last event as one bar."""
        start = self.timestamp_ms // 1000 - DAY_S
        while self.day and self.day[0].start_s < start:
            self.day.popleft()
        return merged(self.day)

    def _apply_levels(self, events: Rows) -> list[Change]:
        """Set what stands at each price that events touched."""
        changes = []
        for side, ticks, total in last_levels(events):
            change = total - self.sides[side].get(ticks, 0)
            if not change:
                continue
            if total:
                self.sides[side][ticks] = total
            else:
                del self.sides[side][ticks]
            changes.append(Change(side, ticks, change, total))
        return changes

    def _apply_states(self, events: Rows) -> None:
        """Take the last state, and what was told of an auction in it: a new state begins without a price."""
        changed = np.flatnonzero(events["kind"] == EventKind.STATE_CHANGED)
        if len(changed):
            self.auction = Auction(TradingState(int(events["qty_lots"][changed[-1]])))
            events = events[changed[-1] + 1 :]
        if len(events):
            ticks, lots, surplus = (int(events[name][-1]) for name in ("price_ticks", "qty_lots", "left_lots"))
            self.auction = Auction(self.auction.state, ticks, lots, surplus)

    def _apply_fills(self, fills: Rows) -> list[tuple[int, str]]:
        """Fold trades into the candles and write their messages."""
        for bar in _minutes(fills):
            self._add_minute(bar)
        self.trade_number = int(fills["trade_number"][-1])
        self.last_ticks = int(fills["price_ticks"][-1])
        columns = ("trade_number", "price_ticks", "qty_lots", "timestamp_ns", "trade_id", "side")
        return [
            (
                number,
                trade_text(
                    self.spec,
                    ticks=ticks,
                    lots=lots,
                    timestamp_ms=timestamp_ns // NS_PER_MS,
                    trade_id=trade_id,
                    side=SIDES[side - Side.BUY],
                    sequence=number,
                ),
            )
            for number, ticks, lots, timestamp_ns, trade_id, side in zip(
                *(fills[column].tolist() for column in columns), strict=True
            )
        ]

    def _add_minute(self, bar: Bar) -> None:
        """Add (part of) a minute to the day and to the open candle of every interval."""
        if self.day and self.day[-1].start_s == bar.start_s:
            self.day[-1] = _joined(self.day[-1], bar, bar.start_s)
        else:
            self.day.append(bar)
        for interval, seconds in INTERVALS.items():
            start = bar.start_s - bar.start_s % seconds
            current = self.bars.get(interval)
            self.bars[interval] = (
                _joined(current, bar, start)
                if current is not None and current.start_s == start
                else bar._replace(start_s=start)
            )


class Mirror:
    """All books of a shard. Knows the last command it has seen, and drops what repeats."""

    def __init__(self) -> None:
        self.books: dict[int, Book] = {}
        self.sequence = 0

    def apply(self, events: Rows, marks: Rows | None = None) -> list[Step]:
        """Take in events of any instruments, in order; the books must exist.

        Args:
            events: (event_count,) EVENT_DTYPE; whole commands.
            marks: (mark_count,) COMMAND_DTYPE, the commands among those whose kinds are in TOLD; an event does not
                tell what it is about.

        Returns:
            One step per instrument touched.
        """
        fresh = events[events["sequence"] > self.sequence]
        if not len(fresh):
            return []
        told: dict[int, Told] = {} if marks is None else _told(marks[marks["sequence"] > self.sequence])
        self.sequence = int(fresh["sequence"][-1])
        return [
            self.books[instrument_id].apply(rows, told.get(instrument_id))
            for instrument_id, rows in _by_instrument(fresh)
            if instrument_id in self.books
        ]


def _told(commands: Rows) -> dict[int, Told]:
    """Return what commands told, the last of each kind, by instrument."""
    found: dict[int, Told] = {}
    names = ("instrument_id", "kind", "price_ticks", "qty_lots")
    for instrument_id, kind, ticks, lots in zip(*(commands[name].tolist() for name in names), strict=True):
        field = TOLD[kind]
        value = lots if field == "trade_number" else ticks
        found[instrument_id] = found.get(instrument_id, Told())._replace(**{field: value})
    return found


def _by_instrument(events: Rows) -> Iterator[tuple[int, Rows]]:
    """Split events by instrument, keeping their order."""
    for instrument_id in np.unique(events["instrument_id"]).tolist():
        yield instrument_id, events[events["instrument_id"] == instrument_id]


def _minutes(fills: Rows) -> Iterator[Bar]:
    """Fold fills, in order, into one bar a minute."""
    minute = fills["timestamp_ns"] // NS_PER_MINUTE
    starts = [0, *(np.flatnonzero(np.diff(minute)) + 1).tolist(), len(fills)]
    for first, end in pairwise(starts):
        ticks, lots = fills["price_ticks"][first:end].tolist(), fills["qty_lots"][first:end].tolist()
        yield Bar(
            int(minute[first]) * MINUTE_S,
            ticks[0],
            max(ticks),
            min(ticks),
            ticks[-1],
            sum(lots),
            sum(price * quantity for price, quantity in zip(ticks, lots, strict=True)),
            len(ticks),
        )


def _joined(bar: Bar, later: Bar, start_s: int) -> Bar:
    """Join two bars of one interval."""
    return Bar(
        start_s,
        bar.open,
        max(bar.high, later.high),
        min(bar.low, later.low),
        later.close,
        bar.volume + later.volume,
        bar.turnover + later.turnover,
        bar.trade_count + later.trade_count,
    )
