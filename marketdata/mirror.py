"""The publisher's own copy of the books, kept from the engine's events. Pure: numbers in, numbers out.

Prices are ticks, quantities lots. What a batch of events changed comes out as a `Step` per instrument.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from heapq import nlargest, nsmallest
from itertools import groupby
from operator import mul
from typing import Any, Final, NamedTuple

from marketdata.feed import DEPTH_LEVELS_MAX, INTERVALS, SIDES, Auction, Bar, merged, trade_text
from marketdata.levels import BIDS, last_levels_of_each
from marketdata.units import InstrumentSpec
from matching_worker.protocol import CommandKind, EventKind, Rows, Side, TradingState

NS_PER_MS: Final = 1_000_000
NS_PER_MINUTE: Final = 60_000_000_000
MINUTE_S: Final = 60
DAY_S: Final = 86_400


# As plain integers: an array compared with a member of an enumeration asks that for attributes it has not.
_FILL: Final = int(EventKind.FILL)
_STATE_CHANGED: Final = int(EventKind.STATE_CHANGED)
_AUCTION_PRICE: Final = int(EventKind.AUCTION_PRICE)
_BUY: Final = int(Side.BUY)

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


Fill = tuple[int, int, int, int, int, int]
"""Trade number, price in ticks, lots, time in nanoseconds, trade id, the taker's side."""
_FILL_COLUMNS: Final = ("trade_number", "price_ticks", "qty_lots", "timestamp_ns", "trade_id", "side")
State = tuple[int, int, int, int]
"""Kind, lots, price in ticks and lots left of an event that tells a state, or what an auction would do."""
_STATE_COLUMNS: Final = ("kind", "qty_lots", "price_ticks", "left_lots")


class Happened(NamedTuple):
    """What one batch of events did to one instrument, still in the engine's numbers.

    Attributes:
        sequence: Of the last event; `timestamp_ns` its time.
        levels: `levels.last_levels_of_each`.
        fills: In order.
        states: In order.
    """

    sequence: int
    timestamp_ns: int
    levels: Sequence[tuple[int, int, int]]
    fills: Sequence[Fill]
    states: Sequence[State]


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
        self._ended: Bar | None = None
        """All bars of the day but the last as one; None until it is asked for again."""
        self.bars: dict[str, Bar] = {}

    def load(self, bids: Rows, asks: Rows) -> None:
        """Take over the engine's levels: rows of price, lots and anything more."""
        for side, levels in zip(self.sides, (bids, asks), strict=True):
            side.clear()
            side.update((int(row[0]), int(row[1])) for row in levels)

    def remember(self, minutes: Iterable[Bar]) -> None:
        """Take over the candles of the last 24 hours, oldest first, so that live ones go on from there."""
        self.day.clear()
        self._ended = None
        self.bars.clear()
        for bar in minutes:
            self._add_minute(bar)

    def apply(self, happened: Happened, told: "Told | None" = None) -> Step:
        """Take in what events did, and what commands among them told."""
        mark_ticks, last_ticks, trade_number = told or Told()
        previous, auction = self.sequence, self.auction
        self.trade_number = max(self.trade_number, trade_number)
        has_new_last = last_ticks not in {0, self.last_ticks}
        self.last_ticks = last_ticks or self.last_ticks
        self.timestamp_ms = happened.timestamp_ns // NS_PER_MS
        changes = self._apply_levels(happened.levels)
        known = self.trade_number
        fills = [fill for fill in happened.fills if fill[0] > known]
        trades = self._apply_fills(fills) if fills else []
        if changes:
            self.sequence = happened.sequence
        self._apply_states(happened.states)
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
            self._ended = None
        if len(self.day) <= 1:
            return self.day[0] if self.day else None
        ended = self._ended = self._ended or merged(list(self.day)[:-1])
        return ended and _joined(ended, self.day[-1], ended.start_s)

    def _apply_levels(self, levels: Iterable[tuple[int, int, int]]) -> list[Change]:
        """Set what stands at each price that events touched."""
        changes = []
        for side, ticks, total in levels:
            standing = self.sides[side]
            change = total - standing.get(ticks, 0)
            if not change:
                continue
            if total:
                standing[ticks] = total
            else:
                del standing[ticks]
            changes.append(Change(side, ticks, change, total))
        return changes

    def _apply_states(self, states: Iterable[State]) -> None:
        """Take the last state, and what was told of an auction in it: a new state begins without a price."""
        for kind, lots, ticks, surplus in states:
            if kind == _STATE_CHANGED:
                self.auction = Auction(TradingState(lots))
            else:
                self.auction = Auction(self.auction.state, ticks, lots, surplus)

    def _apply_fills(self, fills: Sequence[Fill]) -> list[tuple[int, str]]:
        """Fold trades into the candles and write their messages."""
        for bar in _minutes(fills):
            self._add_minute(bar)
        self.trade_number, self.last_ticks, *_ = fills[-1]
        return [
            (
                number,
                trade_text(
                    self.spec,
                    ticks=ticks,
                    lots=lots,
                    timestamp_ms=timestamp_ns // NS_PER_MS,
                    trade_id=trade_id,
                    side=SIDES[side - _BUY],
                    sequence=number,
                ),
            )
            for number, ticks, lots, timestamp_ns, trade_id, side in fills
        ]

    def _add_minute(self, bar: Bar) -> None:
        """Add (part of) a minute to the day and to the open candle of every interval."""
        if self.day and self.day[-1].start_s == bar.start_s:
            self.day[-1] = _joined(self.day[-1], bar, bar.start_s)
        else:
            self.day.append(bar)
            self._ended = None
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
            self.books[instrument_id].apply(happened, told.get(instrument_id))
            for instrument_id, happened in _happened(fresh)
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


def _happened(events: Rows) -> Iterator[tuple[int, Happened]]:
    """Return what events did to each instrument, by instrument id.

    Whole columns are cut out once for all instruments: each has so few of a batch's events that arrays of its own cost
    more than Python's loops over the events.
    """
    kinds = events["kind"]
    levels = last_levels_of_each(events)
    fills = _of_each(events[kinds == _FILL], _FILL_COLUMNS)
    states = _of_each(events[(kinds == _STATE_CHANGED) | (kinds == _AUCTION_PRICE)], _STATE_COLUMNS)
    moments = zip(events["sequence"].tolist(), events["timestamp_ns"].tolist(), strict=True)
    last = dict(zip(events["instrument_id"].tolist(), moments, strict=True))
    for instrument_id, (sequence, timestamp_ns) in sorted(last.items()):
        yield (
            instrument_id,
            Happened(
                sequence,
                timestamp_ns,
                levels.get(instrument_id, ()),
                fills.get(instrument_id, ()),
                states.get(instrument_id, ()),
            ),
        )


def _of_each(events: Rows, columns: Sequence[str]) -> dict[int, list[Any]]:
    """Return columns of events as tuples, by instrument id, in order."""
    found: dict[int, list[Any]] = {}
    if not len(events):
        return found
    rows = zip(*(events[name].tolist() for name in columns), strict=True)
    for instrument_id, row in zip(events["instrument_id"].tolist(), rows, strict=True):
        found.setdefault(instrument_id, []).append(row)
    return found


def _minutes(fills: Sequence[Fill]) -> Iterator[Bar]:
    """Fold fills, in order, into one bar a minute."""
    for minute, those in groupby(fills, lambda fill: fill[3] // NS_PER_MINUTE):
        _, ticks, lots, *_ = zip(*those, strict=True)
        yield Bar(
            minute * MINUTE_S,
            ticks[0],
            max(ticks),
            min(ticks),
            ticks[-1],
            sum(lots),
            sum(map(mul, ticks, lots)),
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
