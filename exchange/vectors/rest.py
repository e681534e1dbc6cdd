"""The road of an integrator: signs up and in, and asks everything over REST."""

import json
import secrets
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from django.test import Client

from exchange.kernel.errors import InvariantViolationError, require
from exchange.vectors.road import ASSET, HELD, Ended, Placed, Stands

CREATED, OK = 201, 200
NOTHING: Final = Decimal(0)

Send = Callable[[str, str, Any, dict[str, str]], tuple[int, Any]]
"""Method, path under /api/v1, body and headers -> HTTP status and the envelope."""


def in_process(address: str = "127.0.0.1") -> Send:
    """Return a sender that hands requests to this process's own application: every middleware, no socket."""
    client = Client()

    def send(method: str, path: str, body: Any, headers: dict[str, str]) -> tuple[int, Any]:
        payload = b"" if body is None else json.dumps(body).encode()
        answer = client.generic(
            method,
            f"/api/v1{path}",
            payload,
            content_type="application/json" if payload else "",
            secure=True,
            headers=headers,
            REMOTE_ADDR=address,
        )
        return answer.status_code, json.loads(answer.content)

    return send


class Rest:
    """Traders, each with an access token."""

    def __init__(self, symbol: str, send: Send) -> None:
        self._symbol = symbol
        self._send = send
        self._tokens: dict[str, str] = {}
        self._passwords: dict[str, str] = {}

    def join(self, name: str) -> int:
        """Sign up, sign in, and ask who one is."""
        username, password = f"{name}.{self._symbol.lower()}", secrets.token_urlsafe(20)
        login = {"username": username, "password": password}
        self._tokens[name], self._passwords[name] = "", password
        self._ask(name, "POST", "/auth/register", login, expected=CREATED)
        self._tokens[name] = self._ask(name, "POST", "/auth/token", login)["access"]
        return int(self._ask(name, "GET", "/users/me")["user_id"])

    def _ask(self, name: str, method: str, path: str, body: Any = None, *, expected: int = OK) -> Any:
        """Return the data of an answer that must have the expected status."""
        status, envelope = self._answer(name, method, path, body)
        require(status == expected, f"{method} {path} {body}: {status} {envelope}")
        return envelope["data"]

    def _answer(self, name: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Send a request in somebody's name."""
        token = self._tokens[name]
        return self._send(method, path, body, {"authorization": f"Bearer {token}"} if token else {})

    def leverage(self, name: str, leverage: int) -> None:
        """Put a leverage."""
        answer = self._ask(name, "PUT", f"/positions/{self._symbol}/leverage", {"leverage": leverage})
        require(answer["leverage"] == leverage, f"leverage {leverage} became {answer}")

    def order(self, name: str, side: str, quantity: Decimal, price: Decimal) -> Placed:
        """Preview and place a limit order."""
        body = {
            "symbol": self._symbol,
            "side": side,
            "type": "limit",
            "quantity": str(quantity),
            "price": str(price),
        }
        foreseen = self._ask(name, "POST", "/orders/preview", body)
        placed = self._placed(name, "/orders", body)
        words = ("reduce_quantity", "increase_quantity", "hold")
        expected = (foreseen["intent"], *(Decimal(foreseen[word]) for word in words))
        found = (placed.intent, placed.reduces, placed.opens, placed.hold)
        require(expected == found and foreseen["refusal"] is None, f"{placed} is not the {foreseen} of before")
        return placed

    def of_position(self, name: str, what: str) -> Placed:
        """Close or reverse the position."""
        return self._placed(name, f"/positions/{self._symbol}/{what}", {})

    def _placed(self, name: str, path: str, body: Any) -> Placed:
        """Post an order; its hold is what it made frozen."""
        before = self._balance(name)
        order = self._ask(name, "POST", path, body, expected=CREATED)
        after = self._balance(name)
        return Placed(
            order_id=order["order_id"],
            side=order["side"],
            quantity=None if order["quantity"] is None else Decimal(order["quantity"]),
            intent=order["intent"],
            reduces=Decimal(order["reduce_quantity"]),
            opens=Decimal(order["increase_quantity"]),
            hold=Decimal(after["frozen_balance"]) - Decimal(before["frozen_balance"]),
        )

    def _balance(self, name: str) -> Any:
        """Return the balances of the contract's quote asset."""
        for balance in self._ask(name, "GET", "/account")["balances"]:
            if balance["asset"] == ASSET:
                return balance
        raise InvariantViolationError(f"{name} has no {ASSET}")

    def withdraw(self, name: str, amount: Decimal, address_id: int) -> str:
        """Ask for a withdrawal, confirmed by password."""
        body = {"address_id": address_id, "amount": str(amount), "password": self._passwords[name]}
        status, envelope = self._answer(name, "POST", "/withdrawals", body)
        return HELD if status == CREATED else str(envelope["data"]["error"])

    def stands(self, name: str) -> Stands:
        """Get position and account."""
        position, balance = self._ask(name, "GET", f"/positions/{self._symbol}"), self._balance(name)
        require(balance["margin"] == position["margin"], f"{balance} has another margin than {position}")
        entry, unrealised = position["entry_price"], position["unrealized_pnl"]
        return Stands(
            quantity=Decimal(position["quantity"]),
            entry=None if entry is None else Decimal(entry),
            margin=Decimal(position["margin"]),
            reserved=Decimal(position["reserved_quantity"]),
            realised=Decimal(position["realized_pnl"]),
            unrealised=NOTHING if unrealised is None else Decimal(unrealised),
            available=Decimal(balance["balance"]),
            frozen=Decimal(balance["frozen_balance"]),
        )

    def orders(self, name: str) -> list[Ended]:
        """Get all orders, page by page."""
        found: list[Ended] = []
        path = f"/orders?symbol={self._symbol}&limit=50"
        cursor: str | None = ""
        while cursor is not None:
            answer = self._ask(name, "GET", path + (f"&cursor={cursor}" if cursor else ""))
            found += [
                Ended(row["order_id"], row["status"], row["reason"] or "", Decimal(row["filled_quantity"]))
                for row in answer["items"]
            ]
            cursor = answer["next_cursor"]
        return found[::-1]
