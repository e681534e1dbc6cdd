"""Draws what traders ask for: half new orders that rest, a third cancels, the rest orders that take."""

import random
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from trading.benchmarks.road.market import LOT, PRICE, TICK, Market
from trading.models import Order
from trading.services.requests import CancelOrder, PlaceOrder, Submission

ADDS, CANCELS = 1 / 2, 1 / 3
"""Shares of what is asked; the rest takes: half of that by market orders, half by limits that reach into the book."""

LOTS_MAX: Final = 20
DISTANCE_TICKS: Final = 8
"""The average distance from the middle at which an order rests, exponentially distributed."""
DISTANCE_TICKS_MAX: Final = 200
REACH_TICKS: Final = 50
WANDER_TICKS_MAX: Final = 100
"""The middle of each market wanders a tick at a time, and never further than this from where it began."""
WANDER_SHARE: Final = 1 / 200
BOOK_MIN: Final = 1_000
"""As long as fewer orders than this are known to rest, cancels are drawn as new orders instead."""

Resting = tuple[int, int, int]
"""Ticks from the middle when it was placed, owner, order."""


class Flow:
    """Requests at random, the same for the same seed and answers.

    Args:
        places_only: No cancels: for roads that have no batches of them.
    """

    def __init__(self, market: Market, seed: str, *, places_only: bool = False) -> None:
        self._chance = random.Random(seed)
        self._market = market
        self._places = {owner: number for number, owner in enumerate(market.owners)}
        self._groups = [market.owners[n :: len(market.spots)] or market.owners[:1] for n in range(len(market.spots))]
        self._middles = dict.fromkeys((*market.spots, *market.contracts), int(PRICE / TICK))
        self._places_only = places_only
        self._resting: list[Resting] = []

    def make(self, count: int) -> list[Submission]:
        """Return so many requests."""
        return [self._one() for _ in range(count)]

    def learn(self, submissions: Sequence[Submission], results: Sequence[Order | Exception]) -> None:
        """Remember which orders were taken into the book, to cancel some of them later."""
        for asked, result in zip(submissions, results, strict=True):
            request = asked.request
            if not isinstance(result, Order) or not isinstance(request, PlaceOrder) or request.price is None:
                continue
            if request.time_in_force == "gtc":
                far = abs(int(request.price / TICK) - self._middles[request.symbol])
                self._resting.append((far, asked.owner_id, result.id))

    def place(self, owner_id: int | None = None) -> Submission:
        """Return a new order, of an owner if one is named: three quarters rest, the others take."""
        takes = self._chance.random() > ADDS / (1 - CANCELS)
        return self._take(owner_id) if takes else self._add(owner_id)

    def _one(self) -> Submission:
        """Return one request."""
        drawn = self._chance.random()
        if drawn < ADDS:
            return self._add()
        if drawn < ADDS + CANCELS:
            if self._places_only or len(self._resting) < BOOK_MIN:
                return self._add()
            return self._cancel()
        return self._take()

    def _cancel(self) -> Submission:
        """Take an order off: of two at random the one further away, which has more likely not traded."""
        book, chance = self._resting, self._chance
        one, other = chance.randrange(len(book)), chance.randrange(len(book))
        chosen = one if book[one][0] >= book[other][0] else other
        book[chosen], book[-1] = book[-1], book[chosen]
        _, owner, order = book.pop()
        return Submission(owner, CancelOrder(order))

    def _where(self, owner_id: int | None) -> tuple[int, str, int]:
        """Return who trades, where, and the middle there, which may just have moved."""
        chance, market = self._chance, self._market
        number = chance.randrange(len(self._middles))
        if number < len(market.spots):
            if owner_id is not None:
                number = self._places[owner_id] % len(market.spots)
            symbol = market.spots[number]
            owner = owner_id if owner_id is not None else chance.choice(self._groups[number])
        else:
            symbol = market.contracts[number - len(market.spots)]
            owner = owner_id if owner_id is not None else chance.choice(market.owners)
        if chance.random() < WANDER_SHARE:
            moved = self._middles[symbol] + chance.choice((-1, 1))
            if abs(moved - int(PRICE / TICK)) <= WANDER_TICKS_MAX:
                self._middles[symbol] = moved
        return owner, symbol, self._middles[symbol]

    def _add(self, owner_id: int | None = None) -> Submission:
        """Return an order that waits on its own side of the middle."""
        owner, symbol, middle = self._where(owner_id)
        far = 1 + min(DISTANCE_TICKS_MAX, int(self._chance.expovariate(1 / DISTANCE_TICKS)))
        is_buy = self._chance.random() < 1 / 2
        return Submission(
            owner,
            PlaceOrder(
                symbol,
                "buy" if is_buy else "sell",
                "limit",
                LOT * self._chance.randint(1, LOTS_MAX),
                TICK * (middle - far if is_buy else middle + far),
            ),
        )

    def _take(self, owner_id: int | None = None) -> Submission:
        """Return an order that trades with what waits."""
        owner, symbol, middle = self._where(owner_id)
        side = self._chance.choice(("buy", "sell"))
        quantity: Decimal = LOT * self._chance.randint(1, LOTS_MAX)
        if self._chance.random() < 1 / 2:
            return Submission(owner, PlaceOrder(symbol, side, "market", quantity, None, "ioc"))
        price = TICK * (middle + REACH_TICKS if side == "buy" else middle - REACH_TICKS)
        return Submission(owner, PlaceOrder(symbol, side, "limit", quantity, price, "ioc"))
