"""Two demo market makers, trading with each other and with visitors through the public API only.

A contract's prices follow the market that it is on, and its mark price is the middle of that market's book.

They are programs with accounts of their own, `demo-maker-1` and `demo-maker-2`, whose orders carry a
`client_order_id` that begins with `demo-`. The prices are a random walk: they mean nothing.
"""

import contextlib
import random
import secrets
import time
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from exchange.demo import catalogue
from exchange.demo.client import ApiClient, RefusedError, UnavailableError
from exchange.demo.ladder import BUY, SELL, Market, Quote, changes, ladder, wander

LEVELS = 8
ROUND_SECONDS = 2.0
PAUSE_SECONDS_MAX = 30.0
BATCH_MAX = 40
CANCELS_PER_ROUND_MAX = 20
OPEN_ORDERS_MAX = 100
TAKE_CHANCE_PERCENT = 60
REPORT_SECONDS = 60.0
USUAL_LOTS = {"2330.TW": 1000, "BTCUSDT": 1000, "BTC-PERP": 100, "AAPL": 40}
USUAL_LOTS_ELSEWHERE = 10
UNDERLYING = {item.symbol: item.underlying for item in catalogue.INSTRUMENTS if item.underlying}
LEVERAGE = 5
"""Of the makers in contracts: with so little of it no bracket bounds how much they may hold."""

Marks = list[tuple[str, Decimal]]
"""Symbol and mark price."""


class Maker:
    """One maker: keeps its half of each ladder in the book and now and then takes from the other's."""

    def __init__(self, number: int, client: ApiClient, chance: random.Random) -> None:
        self._number, self._client, self._chance = number, client, chance
        self._run = secrets.token_hex(4)
        self._counter = 0
        self.placed = self.refused = 0

    def set_leverage(self, symbols: Iterable[str]) -> None:
        """Take little leverage in contracts; where orders are open from an earlier run it is set already."""
        for symbol in symbols:
            with contextlib.suppress(RefusedError):
                self._client.put(f"/positions/{symbol}/leverage", {"leverage": LEVERAGE})

    def play(self, markets: Iterable[tuple[Market, int]]) -> None:
        """Do one round: cancel what is off the ladder, place what is missing, perhaps take something.

        Each market comes with its fair price in ticks.
        """
        listed = self._client.get("/orders", status="open", limit=OPEN_ORDERS_MAX)["items"]
        wanted_orders = []
        for market, fair_ticks in markets:
            mine = [order for order in listed if order["symbol"] == market.symbol]
            quotes = ladder(market, self._number, fair_ticks, LEVELS, self._chance)
            stale, missing = changes(market, mine, quotes)
            for order_id in stale[:CANCELS_PER_ROUND_MAX]:
                self._cancel(order_id)
            wanted_orders += [self._order(market, quote, "gtc") for quote in missing]
            wanted_orders += self._perhaps_take(market, {order["price"] for order in mine})
        for begin in range(0, len(wanted_orders), BATCH_MAX):
            answer = self._client.post("/orders/batch", {"orders": wanted_orders[begin : begin + BATCH_MAX]})
            for result in answer["results"]:
                self.placed += result["code"] == 0
                self.refused += result["code"] != 0

    def _cancel(self, order_id: int) -> None:
        """Cancel an order that may have been filled meanwhile."""
        try:
            self._client.delete(f"/orders/{order_id}")
        except RefusedError:
            self.refused += 1

    def _perhaps_take(self, market: Market, own_prices: set[Any]) -> list[dict[str, Any]]:
        """Return an order against the other maker's best quote, or none."""
        if self._chance.randrange(100) >= TAKE_CHANCE_PERCENT:
            return []
        side = self._chance.choice((BUY, SELL))
        depth = self._client.get(f"/depth/{market.symbol}", limit=1)
        levels = depth["asks" if side == BUY else "bids"]
        if not levels or levels[0][0] in own_prices:
            return []
        lots = self._chance.randint(1, max(1, market.lots // 5))
        return [self._order(market, Quote(side, market.ticks(levels[0][0]), lots), "ioc")]

    def _order(self, market: Market, quote: Quote, time_in_force: str) -> dict[str, Any]:
        """Return a new order, labelled as the demo's."""
        self._counter += 1
        return {
            "symbol": market.symbol,
            "side": quote.side,
            "type": "limit",
            "price": market.price(quote.ticks),
            "quantity": market.quantity(quote.lots),
            "time_in_force": time_in_force,
            "client_order_id": f"demo-{self._number + 1}-{self._run}-{self._counter}",
        }


class Fair:
    """The wandering prices, shared by both makers."""

    def __init__(self, client: ApiClient, chance: random.Random) -> None:
        self._client, self._chance = client, chance
        self._prices: dict[str, int] = {}

    def step(self) -> list[tuple[Market, int]]:
        """Move every price a step; each begins at the last trade. Markets come and go with the API's list."""
        markets: list[Market] = []
        for data in self._client.get("/instruments"):
            if not data["is_demo"] or data["status"] != "TRADING":
                continue
            market = Market.of(data, lots=USUAL_LOTS.get(data["symbol"], USUAL_LOTS_ELSEWHERE))
            if market.symbol not in self._prices:
                trades = self._client.get(f"/trades/{market.symbol}", limit=1)
                self._prices[market.symbol] = market.ticks(trades[0]["price"]) if trades else market.reference_ticks
            self._prices[market.symbol] = wander(market, self._prices[market.symbol], self._chance)
            markets.append(market)
        known = {market.symbol: market for market in markets}
        for market in markets:
            underlying = known.get(UNDERLYING.get(market.symbol, ""))
            if underlying is not None:
                price = self._prices[underlying.symbol] * underlying.tick_size
                self._prices[market.symbol] = int(price / market.tick_size)
        return [(market, self._prices[market.symbol]) for market in markets]

    def marks(self, markets: Iterable[tuple[Market, int]]) -> Marks:
        """Return what contracts are worth: the middle of the book of what they are on, down to a tick.

        One whose underlying market has no two sides keeps the mark it has.
        """
        found = []
        for market, _ in markets:
            if market.symbol not in UNDERLYING:
                continue
            depth = self._client.get(f"/depth/{UNDERLYING[market.symbol]}", limit=1)
            if depth["bids"] and depth["asks"]:
                twice = Decimal(depth["bids"][0][0]) + Decimal(depth["asks"][0][0])
                found.append((market.symbol, int(twice / 2 / market.tick_size) * market.tick_size))
        return found


def run(
    clients: tuple[ApiClient, ApiClient],
    *,
    say: Callable[[str], None],
    mark: Callable[[Marks], None],
    sleep: Callable[[float], None] = time.sleep,
    rounds: int | None = None,
) -> None:
    """Trade until stopped, the makers in turn; wait, ever longer, while the exchange does not answer.

    Args:
        clients: One signed-in user each.
        say: Called with a line for the log.
        mark: Called every round with the mark prices of contracts.
        sleep: Waits.
        rounds: How many rounds to play; None for ever.
    """
    chance = random.Random()  # noqa: S311 -- a price walk needs no secrets
    makers = [Maker(number, client, chance) for number, client in enumerate(clients)]
    fair = Fair(clients[0], chance)
    failures, turn, report_at = 0, 0, time.monotonic() + REPORT_SECONDS
    while rounds is None or turn < rounds:
        began = time.monotonic()
        pause = ROUND_SECONDS / len(makers)
        try:
            markets = fair.step()
            maker = makers[turn % len(makers)]
            if turn < len(makers):
                maker.set_leverage(market.symbol for market, _ in markets if market.symbol in UNDERLYING)
            mark(fair.marks(markets))
            maker.play(markets)
            if failures:
                say("the exchange answers again")
            failures = 0
        except (UnavailableError, RefusedError) as error:
            failures += 1
            wait_asked = error.retry_after if isinstance(error, UnavailableError) else 0.0
            pause = max(wait_asked, min(2.0 ** min(failures, 5), PAUSE_SECONDS_MAX))
            say(f"waiting {pause:g} s: {error}")
        turn += 1
        if began >= report_at:
            report_at = began + REPORT_SECONDS
            say(", ".join(f"{maker.placed} orders placed, {maker.refused} refused" for maker in makers))
        sleep(max(0.0, pause - (time.monotonic() - began)))


def logins() -> tuple[str, str]:
    """Return the makers' user names."""
    first, second = (user.username for user in catalogue.USERS if user.is_maker)
    return first, second
