"""Hand-made engine events, and a small truthful engine's stand-in that makes random but consistent ones."""

import random
from typing import Any

import numpy as np

from matching_worker.protocol import EVENT_DTYPE, EventKind, Rows, Side, TradingState

START_NS = 1_772_600_767_000_000_000  # 2026-03-04 05:06:07 UTC


def event(**fields: Any) -> Rows:
    """Return one event: timestamps from START_NS, no level touched unless said."""
    row = np.zeros(1, EVENT_DTYPE)
    row["instrument_id"], row["timestamp_ns"], row["level_lots"] = 1, START_NS, -1
    for name, value in fields.items():
        row[name] = value
    return row


def rested(sequence: int, side: Side, ticks: int, lots: int, level: int, **fields: Any) -> Rows:
    """Return the event of an order that now rests."""
    return event(
        sequence=sequence,
        kind=EventKind.RESTED,
        side=side,
        price_ticks=ticks,
        qty_lots=lots,
        level_lots=level,
        **fields,
    )


def fill(sequence: int, number: int, taker: Side, ticks: int, lots: int, level: int, **fields: Any) -> Rows:
    """Return the event of a match; `level` is what stands at the maker's price after it."""
    return event(
        sequence=sequence,
        kind=EventKind.FILL,
        side=taker,
        price_ticks=ticks,
        qty_lots=lots,
        level_lots=level,
        trade_number=number,
        trade_id=1000 + number,
        **fields,
    )


def state_changed(sequence: int, state: TradingState, **fields: Any) -> Rows:
    """Return the event of an instrument that now allows something else."""
    return event(sequence=sequence, kind=EventKind.STATE_CHANGED, qty_lots=state, **fields)


def auction_price(sequence: int, ticks: int, lots: int, surplus: int, **fields: Any) -> Rows:
    """Return the event of an auction that would now trade otherwise; all 0 when nothing crosses any more."""
    return event(
        sequence=sequence,
        kind=EventKind.AUCTION_PRICE,
        price_ticks=ticks,
        qty_lots=lots,
        left_lots=surplus,
        **fields,
    )


class Flow:
    """Random order flow around a price, aggregated by level; keeps the true book beside the events."""

    def __init__(self, seed: int, *, instrument_id: int = 1, middle: int = 6_000_000) -> None:
        self.random = random.Random(seed)
        self.instrument_id = instrument_id
        self.middle = middle
        self.sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.sequence = 0
        self.trade_number = 0
        self.last_ticks = 0

    def batch(self, commands: int) -> Rows:
        """Return the events of some commands."""
        return np.concatenate([self._command() for _ in range(commands)])

    def levels(self) -> tuple[Rows, Rows]:
        """Return both sides as `Engine.levels` does: price, lots, orders."""
        bids, asks = self.sides
        rows = [[(ticks, lots, 1) for ticks, lots in side.items()] for side in (bids, asks)]
        return (
            np.array(sorted(rows[0], reverse=True), np.int64).reshape(-1, 3),
            np.array(sorted(rows[1]), np.int64).reshape(-1, 3),
        )

    def _command(self) -> Rows:
        self.sequence += 1
        action = self.random.random()
        side = self.random.choice((0, 1))
        other = self.sides[1 - side]
        if action < 0.15 and other:
            return self._take(side)
        if action < 0.5 and self.sides[side]:
            return self._cancel(side)
        return self._rest(side)

    def _fields(self) -> dict[str, Any]:
        return {"instrument_id": self.instrument_id, "timestamp_ns": START_NS + self.sequence * 20_000_000}

    def _rest(self, side: int) -> Rows:
        away = int(self.random.expovariate(1 / 40)) + 1
        ticks = self.middle - away if side == 0 else self.middle + away
        lots = self.random.randint(1, 5000)
        level = self.sides[side][ticks] = self.sides[side].get(ticks, 0) + lots
        return rested(self.sequence, Side(side + 1), ticks, lots, level, **self._fields())

    def _cancel(self, side: int) -> Rows:
        ticks = self.random.choice(list(self.sides[side]))
        lots = self.random.randint(1, self.sides[side][ticks])
        level = self._shrink(side, ticks, lots)
        kind = self.random.choice((EventKind.CANCELLED, EventKind.REDUCED))
        return event(
            sequence=self.sequence,
            kind=kind,
            side=side + 1,
            price_ticks=ticks,
            qty_lots=lots,
            level_lots=level,
            **self._fields(),
        )

    def _take(self, side: int) -> Rows:
        maker, rows = 1 - side, []
        for _ in range(self.random.randint(1, 3)):
            if not self.sides[maker]:
                break
            ticks = min(self.sides[1]) if maker == 1 else max(self.sides[0])
            lots = self.random.randint(1, self.sides[maker][ticks])
            self.trade_number += 1
            self.last_ticks = ticks
            level = self._shrink(maker, ticks, lots)
            rows.append(fill(self.sequence, self.trade_number, Side(side + 1), ticks, lots, level, **self._fields()))
        return np.concatenate(rows)

    def _shrink(self, side: int, ticks: int, lots: int) -> int:
        self.sides[side][ticks] -= lots
        level = self.sides[side][ticks]
        if not level:
            del self.sides[side][ticks]
        return level
