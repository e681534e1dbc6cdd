"""Load on a running demo exchange, for people who want Locust's page.

    pip install locust
    locust -f trading/benchmarks/locustfile.py --host http://127.0.0.1:8000

Each simulated trader signs up, takes demo funds, and then adds limit orders near the last price (half of what it does),
cancels (a third) and takes, on every market. Sign-ups and requests are limited by address: spawn at most one trader a
second, and expect refusals with 429 beyond the limits of one address, which count as failures under their code.
"""

import random
import secrets
from decimal import Decimal
from typing import Any, Final

from locust import HttpUser, between, task

LOTS_MAX: Final = 20
STEPS_FROM_LAST: Final = 30
"""Ticks between a new order and the last price, at most."""


class Trader(HttpUser):
    """A person, or a small program, with an account of its own."""

    wait_time = between(0.2, 1.0)

    def on_start(self) -> None:
        """Sign up, take demo funds, and learn the markets."""
        name, password = f"load-{secrets.token_hex(6)}", secrets.token_urlsafe(24)
        made = self._ask("POST", "/auth/register", json={"username": name, "password": password})
        self.client.headers["Authorization"] = f"Bearer {made['access']}"
        self._ask("POST", "/faucet", json={})
        self.markets: list[dict[str, Any]] = self._ask("GET", "/instruments")
        self.open: list[int] = []

    @task(3)
    def add(self) -> None:
        """Let an order rest near the last price."""
        market = random.choice(self.markets)
        tick, last = Decimal(market["tick_size"]), self._last(market)
        side = random.choice(("buy", "sell"))
        away = tick * random.randint(1, STEPS_FROM_LAST)
        price = last - away if side == "buy" else last + away
        self._order(market, side, last, {"type": "limit", "price": f"{price // tick * tick:f}"})

    @task(2)
    def cancel(self) -> None:
        """Cancel an order; that it was filled before is no failure."""
        if self.open:
            number = self.open.pop(random.randrange(len(self.open)))
            self._ask("DELETE", f"/orders/{number}", name="/orders/[id]", fine=(409, 422))

    @task(1)
    def take(self) -> None:
        """Trade at once."""
        market = random.choice(self.markets)
        self._order(market, random.choice(("buy", "sell")), self._last(market), {"type": "market"})

    @task(1)
    def look(self) -> None:
        """Look at the account and at a book."""
        self._ask("GET", "/account")
        self._ask("GET", f"/depth/{random.choice(self.markets)['symbol']}", name="/depth/[symbol]")

    def _order(self, market: dict[str, Any], side: str, last: Decimal, terms: dict[str, str]) -> None:
        """Place a small order, at least of the least value that the market takes."""
        lot = Decimal(market["lot_size"])
        least = Decimal(market["min_notional"]) / (last * Decimal(market["contract_size"]))
        lots = int(2 * least / lot) + random.randint(1, LOTS_MAX)
        wanted = {"symbol": market["symbol"], "side": side, "quantity": f"{lots * lot:f}", **terms}
        placed = self._ask("POST", "/orders", json=wanted, fine=(422,))
        if placed and placed.get("status") == "new" and terms["type"] == "limit":
            self.open.append(placed["order_id"])

    def _last(self, market: dict[str, Any]) -> Decimal:
        """Return the last price in major units."""
        told = self._ask("GET", f"/ticker/{market['symbol']}", name="/ticker/[symbol]")
        if not told or told["last_price"] is None:
            return Decimal(market["reference_price"])
        return Decimal(told["last_price"]).scaleb(-(market["minor_unit_decimals"] or 0))

    def _ask(self, method: str, path: str, *, fine: tuple[int, ...] = (), name: str = "", **words: Any) -> Any:
        """Send a request and return the answer's data; refusals count as failures, but those that are fine.

        Args:
            fine: Statuses that are an answer like any other: too little money, an order that has ended.
            name: What the page calls it, where it is not the path.
        """
        request = self.client.request(
            method, f"/api/v1{path}", name=f"{method} {name or path}", catch_response=True, **words
        )
        with request as answer:
            body = answer.json() if answer.content else {}
            if answer.ok or answer.status_code in fine:
                answer.success()
            else:
                answer.failure(f"{answer.status_code} code {body.get('code')}")
            return body.get("data") if answer.ok else {}
