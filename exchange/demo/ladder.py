"""What a demo maker wants to have in the book, and how to get there. Pure; prices in ticks, sizes in lots.

Note [Two combs]
    The makers quote on combs of prices that never meet: each has every second tooth. Neither can
    trade with itself, and while the fair price wanders only the teeth at the edges change, so that a
    few orders a second keep the whole book moving.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from exchange.kernel.money import EXACT, plain

BUY, SELL = "buy", "sell"
TOOTH_DIVISOR = 5_000
"""Half a tooth is about a 5,000th of the price: 0.02 %."""
WALK_TEETH = 2
PULL_DIVISOR = 200
ROOM_PERCENT = 80
"""The fair price keeps to this part of the band around the reference price."""


@dataclass(frozen=True)
class Market:
    """An instrument as GET /instruments describes it, in ticks and lots."""

    symbol: str
    tick_size: Decimal
    lot_size: Decimal
    minor_unit_decimals: int | None
    reference_ticks: int
    band_ticks: int
    lots: int
    """A usual order of a maker."""

    @classmethod
    def of(cls, data: dict[str, Any], *, lots: int) -> "Market":
        """Read one item of GET /instruments."""
        tick_size, reference = Decimal(data["tick_size"]), Decimal(data["reference_price"])
        reference_ticks = int(reference / tick_size)
        return cls(
            symbol=data["symbol"],
            tick_size=tick_size,
            lot_size=Decimal(data["lot_size"]),
            minor_unit_decimals=data["minor_unit_decimals"],
            reference_ticks=reference_ticks,
            band_ticks=int(reference_ticks * Decimal(data["band_rate"])),
            lots=lots,
        )

    @property
    def half_tooth(self) -> int:
        """Return the distance between the two makers' prices, at least one tick."""
        return max(1, self.reference_ticks // TOOTH_DIVISOR)

    def ticks(self, wire: int | str) -> int:
        """Read a price as the API writes it."""
        price = Decimal(wire)
        if isinstance(wire, int):
            price = EXACT.scaleb(price, -(self.minor_unit_decimals or 0))
        return int(price / self.tick_size)

    def price(self, ticks: int) -> str:
        """Write a price in major units, which the API takes on every market."""
        return plain(ticks * self.tick_size)

    def quantity(self, lots: int) -> str | int:
        """Write a quantity: an integer where the market is quoted in minor units."""
        amount = lots * self.lot_size
        return plain(amount) if self.minor_unit_decimals is None else int(amount)


@dataclass(frozen=True)
class Quote:
    """One order that a maker wants in the book."""

    side: str
    ticks: int
    lots: int


def wander(market: Market, fair_ticks: int, chance: random.Random) -> int:
    """Move the fair price a random step, gently back toward the reference, always inside the band."""
    step = WALK_TEETH * market.half_tooth
    pull = (market.reference_ticks - fair_ticks) // PULL_DIVISOR
    room = market.band_ticks * ROOM_PERCENT // 100
    moved = fair_ticks + chance.randint(-step, step) + pull
    return max(market.reference_ticks - room, min(market.reference_ticks + room, moved))


def ladder(market: Market, maker: int, fair_ticks: int, levels: int, chance: random.Random) -> list[Quote]:
    """Return the quotes of a maker (0 or 1) around the fair price: Note [Two combs]."""
    tooth = 2 * market.half_tooth
    offset = maker * market.half_tooth
    below = (fair_ticks - 1 - offset) // tooth * tooth + offset
    wanted = []
    for level in range(levels):
        for side, ticks in ((BUY, below - level * tooth), (SELL, below + (level + 1) * tooth)):
            lots = chance.randint(market.lots // 4 + 1, market.lots) * (level + 2) // 2
            if ticks > 0:
                wanted.append(Quote(side, ticks, lots))
    return wanted


def changes(
    market: Market, open_orders: Sequence[dict[str, Any]], wanted: Sequence[Quote]
) -> tuple[list[int], list[Quote]]:
    """Compare the open orders (as GET /orders lists them) with what is wanted.

    Returns:
        Ids of orders to cancel, and quotes to place: those with no open order at their price.
    """
    places = {(quote.side, quote.ticks) for quote in wanted}
    kept: set[tuple[str, int]] = set()
    stale = []
    for order in open_orders:
        place = (order["side"], market.ticks(order["price"]))
        if place in places and place not in kept:
            kept.add(place)
        else:
            stale.append(order["order_id"])
    return stale, [quote for quote in wanted if (quote.side, quote.ticks) not in kept]
