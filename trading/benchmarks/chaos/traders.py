"""The load: traders who repeat each request until it is answered, and note what the exchange acknowledged."""

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from exchange.demo.client import ApiClient, RefusedError, UnavailableError

PREFIX = "chaos-"
BATCH = 5
OPEN_MAX = 40
"""Orders of one trader that it remembers as open; beyond that it cancels."""
PAUSE_SECONDS = 0.2
LOOKS_BETWEEN = 10
"""Requests between two looks at a market's price."""
UNANSWERED_SECONDS_MAX = 120.0
ORDER_PERCENT, BATCH_PERCENT = 70, 10
OFFSETS_PER_MILLE = 3
QUANTITY_LOTS_MAX = 5


class Market(NamedTuple):
    """What orders on a market must fit."""

    symbol: str
    tick: Decimal
    lot: Decimal
    usual: Decimal


MARKETS = (
    Market("BTCUSDT", Decimal("0.01"), Decimal("0.0001"), Decimal(65_000)),
    Market("BTC-PERP", Decimal("0.1"), Decimal("0.001"), Decimal(65_000)),
)


class Login(NamedTuple):
    """A trader of the run's."""

    owner_id: int
    username: str
    password: str


class Noted(NamedTuple):
    """An order that was acknowledged."""

    owner_id: int
    client_order_id: str
    order_id: int


@dataclass
class Asked:
    """What traders were told, in all; each trader has one of its own until the end. Refusals by code."""

    acknowledged: list[Noted] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)
    refused: Counter[int] = field(default_factory=Counter)
    repeated: Counter[str] = field(default_factory=Counter)
    unanswered: int = 0

    def add(self, other: "Asked") -> None:
        """Take another's in."""
        self.acknowledged += other.acknowledged
        self.cancelled += other.cancelled
        self.refused += other.refused
        self.repeated += other.repeated
        self.unanswered += other.unanswered


class Trader:
    """One trader, with a connection of its own."""

    def __init__(self, url: str, login: Login, rng: random.Random, stopping: threading.Event) -> None:
        self.asked = Asked()
        self._login, self._rng, self._stopping = login, rng, stopping
        self._client = ApiClient(url, login.username, login.password)
        self._open: list[int] = []
        self._prices: dict[str, Decimal] = {}
        self._counter = 0

    def trade(self, rate: float) -> None:
        """Send requests at random moments until told to stop; the last one is answered too."""
        with self._client:
            while not self._stopping.wait(self._rng.expovariate(rate)):
                self._act()

    def place(self, market: Market, time_in_force: str) -> int | None:
        """Place an order far from the market; return its id once it is acknowledged, None when it is not."""
        price = self._price(market) * (1 - Decimal(OFFSETS_PER_MILLE * 10) / 1_000)
        placed = self._place([self._order(market, "buy", price, time_in_force)])
        return placed[0] if placed else None

    def _act(self) -> None:
        """Do one thing."""
        chosen = self._rng.randrange(100)
        market = self._rng.choice(MARKETS)
        if chosen >= ORDER_PERCENT + BATCH_PERCENT or len(self._open) >= OPEN_MAX:
            if self._open:
                self._cancel(self._open.pop(self._rng.randrange(len(self._open))))
            return
        count = 1 if chosen < ORDER_PERCENT else BATCH
        self._open += self._place([self._any_order(market) for _ in range(count)])

    def _any_order(self, market: Market) -> dict[str, Any]:
        """Return an order near the market's price: some rest, some trade."""
        offset = Decimal(self._rng.randint(-OFFSETS_PER_MILLE, OFFSETS_PER_MILLE)) / 1_000
        return self._order(market, self._rng.choice(("buy", "sell")), self._price(market) * (1 + offset), "gtc")

    def _order(self, market: Market, side: str, price: Decimal, time_in_force: str) -> dict[str, Any]:
        """Return an order with an id of the client's own, by which a repeat is recognised."""
        self._counter += 1
        return {
            "symbol": market.symbol,
            "side": side,
            "type": "limit",
            "price": str(price // market.tick * market.tick),
            "quantity": str(market.lot * self._rng.randint(1, QUANTITY_LOTS_MAX)),
            "time_in_force": time_in_force,
            "client_order_id": f"{PREFIX}{self._login.owner_id}-{self._counter}",
        }

    def _price(self, market: Market) -> Decimal:
        """Return about what the market pays; looked at now and then."""
        if market.symbol not in self._prices or self._counter % LOOKS_BETWEEN == 0:
            with contextlib.suppress(UnavailableError, RefusedError):
                bids = self._client.get(f"/depth/{market.symbol}", limit=1)["bids"]
                self._prices[market.symbol] = Decimal(str(bids[0][0])) if bids else market.usual
        return self._prices.get(market.symbol, market.usual)

    def _place(self, wanted: Sequence[dict[str, Any]]) -> list[int]:
        """Send orders, alone or as a batch; note what is acknowledged, and return those orders' ids."""
        if len(wanted) == 1:
            data = self._answer(lambda: self._client.post("/orders", wanted[0]))
            answers = [] if data is None else [{"code": 0, "data": data}]
        else:
            data = self._answer(lambda: self._client.post("/orders/batch", {"orders": list(wanted)}))
            answers = [] if data is None else data["results"]
        placed = []
        for order, answer in zip(wanted, answers, strict=False):
            if answer["code"]:
                self.asked.refused[answer["code"]] += 1
                continue
            order_id = answer["data"]["order_id"]
            self.asked.acknowledged.append(Noted(self._login.owner_id, order["client_order_id"], order_id))
            placed.append(order_id)
        return placed

    def _cancel(self, order_id: int) -> None:
        """Cancel an order, unless it has ended meanwhile."""
        if self._answer(lambda: self._client.delete(f"/orders/{order_id}")) is not None:
            self.asked.cancelled.append(order_id)

    def _answer(self, call: Callable[[], Any]) -> Any:
        """Repeat a request until it is answered, and return the answer; None for a refusal, and after too long."""
        begun = time.monotonic()
        while time.monotonic() - begun < UNANSWERED_SECONDS_MAX:
            try:
                return call()
            except RefusedError as error:
                self.asked.refused[error.code] += 1
                return None
            except UnavailableError as error:
                self.asked.repeated[str(error)] += 1
                time.sleep(max(error.retry_after, PAUSE_SECONDS))
        self.asked.unanswered += 1
        return None


class Load:
    """All traders at work."""

    def __init__(self, url: str, logins: Sequence[Login], rate: float, rng: random.Random) -> None:
        self._stopping = threading.Event()
        self._failed: list[BaseException] = []
        self._traders = [Trader(url, one, random.Random(rng.random()), self._stopping) for one in logins]
        self._threads = [threading.Thread(target=self._work, args=(one, rate), daemon=True) for one in self._traders]

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Trade while the body runs; at its end every request has its answer."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            for thread in self._threads:
                thread.join()
        if self._failed:
            raise self._failed[0]

    def asked(self) -> Asked:
        """Return what all of them were told, when they have stopped."""
        total = Asked()
        for trader in self._traders:
            total.add(trader.asked)
        return total

    def _work(self, trader: Trader, rate: float) -> None:
        """Trade; what fails here fails the run."""
        try:
            trader.trade(rate)
        except BaseException as error:  # noqa: BLE001 - raised again by the run
            self._failed.append(error)
