"""How long from POST of a crossing order until another client's WebSocket shows the trade.

Drives a running demo (`manage.py up`) over HTTP and WebSocket as two clients would: `python -m
trading.benchmarks.push_latency [--url http://127.0.0.1:8000] [--orders 200] [--json]`. Between orders it waits, so that
what is measured is an idle exchange with its demo makers, not a queue.
"""

import argparse
import asyncio
import json
import platform
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil
import websockets
from rich.progress import track

PAUSE_SECONDS = 0.1
TRADE_SECONDS_MAX = 5.0


@dataclass
class Latencies:
    """Milliseconds, one an order."""

    accepted: list[float] = field(default_factory=list)
    pushed: list[float] = field(default_factory=list)
    after_accept: list[float] = field(default_factory=list)


def _quantiles(values: list[float]) -> dict[str, float]:
    """Return median and 99th percentile."""
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": round(statistics.median(values), 3), "p99": round(cuts[98], 3)}


async def _sign_in(client: httpx.AsyncClient, user: str, password: str) -> dict[str, str]:
    """Return the header of a signed-in user."""
    answer = await client.post("/api/v1/auth/token", json={"username": user, "password": password})
    answer.raise_for_status()
    return {"Authorization": f"Bearer {answer.json()['data']['access']}"}


async def _one(
    client: httpx.AsyncClient,
    headers: dict[str, str],
    arrivals: dict[int, float],
    symbol: str,
    side: str,
    quantity: str,
) -> tuple[float, float, float] | None:
    """Send one market order; return its moments of sending, reply and first trade, or None when it did not trade."""
    sent = time.perf_counter()
    answer = await client.post(
        "/api/v1/orders",
        json={"symbol": symbol, "side": side, "type": "market", "quantity": quantity},
        headers=headers,
    )
    replied = time.perf_counter()
    answer.raise_for_status()
    order_id = answer.json()["data"]["order_id"]
    deadline = replied + TRADE_SECONDS_MAX
    while time.perf_counter() < deadline:
        order = (await client.get(f"/api/v1/orders/{order_id}", headers=headers)).json()["data"]
        if order["status"] in {"filled", "cancelled", "rejected"}:
            seen = [arrivals[trade["trade_id"]] for trade in order["trades"] if trade["trade_id"] in arrivals]
            if seen or not order["trades"]:
                return (sent, replied, min(seen)) if seen else None
        await asyncio.sleep(0.02)
    return None


async def measure(url: str, orders: int, *, user: str, password: str, symbol: str, quantity: str) -> Latencies:
    """Send market orders one at a time and note when the other client sees each one's first trade."""
    found = Latencies()
    arrivals: dict[int, float] = {}
    async with (
        httpx.AsyncClient(base_url=url, timeout=10) as client,
        websockets.connect(url.replace("http", "ws", 1) + "/ws", origin=websockets.Origin(url)) as socket,
    ):
        headers = await _sign_in(client, user, password)
        await socket.send(json.dumps({"action": "subscribe", "channels": [f"trade.{symbol}"], "id": 1}))

        async def listen() -> None:
            async for message in socket:
                arrived = time.perf_counter()
                fact: dict[str, Any] = json.loads(message)
                if fact["type"] == "trade":
                    arrivals[fact["trade_id"]] = arrived

        listening = asyncio.create_task(listen())
        for number in track(range(orders), description="orders"):
            moments = await _one(client, headers, arrivals, symbol, "sell" if number % 2 else "buy", quantity)
            if moments is not None:
                sent, replied, pushed = moments
                found.accepted.append((replied - sent) * 1e3)
                found.pushed.append((pushed - sent) * 1e3)
                found.after_accept.append(max(0.0, pushed - replied) * 1e3)
            await asyncio.sleep(PAUSE_SECONDS)
        listening.cancel()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--orders", type=int, default=200)
    parser.add_argument("--user", default="alice")
    parser.add_argument("--password", required=True)
    parser.add_argument("--symbol", default="BTCUSDT")
    parser.add_argument("--quantity", default="0.001")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = asyncio.run(
        measure(
            options.url,
            options.orders,
            user=options.user,
            password=options.password,
            symbol=options.symbol,
            quantity=options.quantity,
        )
    )
    figures = {
        "orders": options.orders,
        "traded": len(found.pushed),
        "accept_ms": _quantiles(found.accepted),
        "post_to_trade_ms": _quantiles(found.pushed),
        "accept_to_trade_ms": _quantiles(found.after_accept),
    }
    if options.json:
        print(json.dumps(figures))
        return
    print(f"machine: {platform.machine()}, {psutil.cpu_count()} cores, Python {platform.python_version()}")
    print(f"workload: {options.orders} market orders of {options.quantity} {options.symbol}, one at a time, idle demo")
    for name in ("accept_ms", "post_to_trade_ms", "accept_to_trade_ms"):
        print(f"{name:>20}: {figures[name]}")
    print(f"{'traded':>20}: {len(found.pushed)} of {options.orders}")


if __name__ == "__main__":
    main()
