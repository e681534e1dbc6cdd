"""Helpers for tests that need the whole road in one thread: submit, then match and settle what waits."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django.db import connection, transaction

from exchange.kernel.clock import utc_now
from ledger.models import Asset
from marketdata import selectors as instruments
from marketdata.models import Instrument
from matching_worker.engine import Engine
from matching_worker.shard import Shard
from trading.models import Order, Outbox
from trading.services import orders
from trading.services.requests import PlaceOrder

ROAD_TABLES = (
    "commands, orders, order_keys, trades, klines_1m, outbox, private_messages,"
    " command_stream, settlement_cursor, worker_lease, worker_sleep"
)


def empty_road() -> None:
    """Empty the road after a test that really commits: its log refuses that to all but a superuser."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(f"TRUNCATE {ROAD_TABLES}")
        cursor.execute("SELECT open_shard(0::smallint)")


def run_worker_once() -> int:
    """Recover a worker in this thread, match and settle what waits, stop it; return how many commands."""
    with TemporaryDirectory() as folder, worker(Path(folder)) as shard:
        done = 0
        while count := shard.step(now=utc_now()):
            done += count
        return done


@contextmanager
def worker(folder: Path, number: int = 0) -> Iterator[Shard]:
    """Run a shard's worker in this thread, as a process would: lease, WAL, recovery; stopped cleanly at the end."""
    shard = Shard(number, wal_dir=folder, owner="test")
    shard.recover(now=utc_now())
    shard.keep_step()
    yield shard
    shard.close()


def make_asset(code: str, decimals: int, kind: str = "CRYPTO") -> Asset:
    """Return an asset, made if it is missing."""
    return Asset.objects.get_or_create(code=code, defaults={"name": code, "decimals": decimals, "kind": kind})[0]


def make_instrument(symbol: str = "BTCUSDT", **fields: Any) -> Instrument:
    """Return a market, BTC in USDT unless said otherwise: tick 0.01, lot 0.0001, fees 0.02 %, last price 50000."""
    values: dict[str, Any] = {
        "name": symbol,
        "base": make_asset("BTC", 8),
        "quote": make_asset("USDT", 6),
        "tick_size": Decimal("0.01"),
        "lot_size": Decimal("0.0001"),
        "min_notional": Decimal(5),
        "reference_price": Decimal(50000),
    }
    return Instrument.objects.create(symbol=symbol, **(values | fields))


def limit(symbol: str, side: str, quantity: str, price: str, **fields: Any) -> PlaceOrder:
    """Return a limit order's request."""
    return PlaceOrder(symbol, side, "limit", Decimal(quantity), Decimal(price), **fields)


def market(symbol: str, side: str, quantity: str) -> PlaceOrder:
    """Return a market order's request."""
    return PlaceOrder(symbol, side, "market", Decimal(quantity), None, "ioc")


def place(owner_id: int, *requests: PlaceOrder, now: datetime | None = None) -> list[Any]:
    """Place orders and return the results."""
    return orders.place(owner_id, requests, now=now or utc_now())


def fresh(order: Order) -> Order:
    """Return an order as it is now."""
    return Order.objects.get(id=order.id)


def told_book(symbol: str) -> list[dict[Decimal, Decimal]]:
    """Return bids and asks, quantity by price, as its domain events tell them from the first one on."""
    sides: list[dict[Decimal, Decimal]] = [{}, {}]
    told = Outbox.objects.filter(type="OrderBookUpdated", aggregateid=symbol).order_by("id")
    for payload in told.values_list("payload", flat=True):
        for side, levels in zip(sides, (payload["bids"], payload["asks"]), strict=True):
            for price, quantity in levels:
                side.pop(Decimal(price), None)
                if Decimal(quantity):
                    side[Decimal(price)] = Decimal(quantity)
    return sides


def require_told_books(engine: Engine) -> None:
    """Assert that who applies the domain events of each instrument has the engine's books."""
    for spec in instruments.instruments():
        levels = engine.levels(spec.id)
        kept = [{spec.ticks_to_price(row[0]): spec.lots_to_qty(row[1]) for row in side.tolist()} for side in levels]
        assert told_book(spec.symbol) == kept, spec.symbol


__all__ = [
    "empty_road",
    "fresh",
    "limit",
    "make_asset",
    "make_instrument",
    "market",
    "place",
    "require_told_books",
    "run_worker_once",
    "told_book",
    "worker",
]


def trade(traders: tuple[int, int], count: int = 1) -> None:
    """Let a buyer and a seller make so many trades, of two commands each."""
    alice, bob = traders
    for _ in range(count):
        place(bob, limit("BTCUSDT", "sell", "0.0010", "50000.00"))
        place(alice, limit("BTCUSDT", "buy", "0.0010", "50000.00"))


def settle_all(shard: Shard) -> None:
    """Settle what is in the log."""
    while shard.step(now=utc_now()):
        pass
