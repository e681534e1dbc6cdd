"""Helpers for tests of contracts: a perpetual market that is open and marked, orders in it, positions as numbers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from exchange.kernel.clock import utc_now
from marketdata.models import Instrument, InstrumentKind, InstrumentStatus, LeverageBracket
from matching_worker.shard import Shard
from trading.models import Order, Position
from trading.services import mark_price, orders, trading_state
from trading.services.mark_price import MarkPrice
from trading.services.requests import PlaceOrder
from trading.tests.road import make_asset, make_instrument, worker

SYMBOL = "BTC-PERP"


def make_contract(symbol: str = SYMBOL, *, mark: str = "100", **fields: Any) -> Instrument:
    """Return an open, marked perpetual: tick 1, lot 1, size 1, leverage up to 100, no fee unless said otherwise."""
    values: dict[str, Any] = {
        "kind": InstrumentKind.PERPETUAL,
        "base": make_asset("BTC", 8),
        "quote": make_asset("USDT", 6),
        "tick_size": Decimal(1),
        "lot_size": Decimal(1),
        "min_notional": Decimal(1),
        "band_rate": Decimal("0.9"),
        "maker_fee_rate": Decimal(0),
        "taker_fee_rate": Decimal(0),
        "reference_price": Decimal(mark),
        "status": InstrumentStatus.CLOSED,
    }
    row = make_instrument(symbol, **(values | fields))
    brackets = ((0, 100, "0.005", 0), (100_000, 50, "0.01", 500), (1_000_000, 20, "0.025", 15_500))
    for floor, leverage, rate, amount in brackets:
        LeverageBracket.objects.create(
            instrument=row,
            notional_floor=Decimal(floor),
            leverage_max=leverage,
            maintenance_rate=Decimal(rate),
            maintenance_amount=Decimal(amount),
        )
    trading_state.change(symbol, InstrumentStatus.TRADING, now=utc_now())
    set_mark(mark, symbol)
    return row


def set_mark(price: str, symbol: str = SYMBOL) -> None:
    """Publish a mark price."""
    mark_price.publish([MarkPrice(symbol, Decimal(price))], now=utc_now())


@dataclass(slots=True)
class Desk:
    """Traders' orders in one contract, and the worker that settles them when asked."""

    shard: Shard

    def order(self, owner: Any, side: str, quantity: int | None, price: int | None, **fields: Any) -> Order:
        """Place an order; it must be accepted."""
        [result] = self.try_order(owner, side, quantity, price, **fields)
        assert isinstance(result, Order), result
        return result

    def try_order(self, owner: Any, side: str, quantity: int | None, price: int | None, **fields: Any) -> list[Any]:
        """Place an order; return the result."""
        symbol = fields.pop("symbol", SYMBOL)
        values: dict[str, Any] = {"type": "limit"} if price is not None else {"type": "market", "time_in_force": "ioc"}
        request = PlaceOrder(
            symbol,
            side,
            quantity=None if quantity is None else Decimal(quantity),
            price=None if price is None else Decimal(price),
            **(values | fields),
        )
        return orders.place(owner.id, [request], now=utc_now())

    def settle(self) -> None:
        """Match and settle everything that waits, what settlement itself asks for included."""
        while self.shard.step(now=utc_now()):
            pass

    def trade(self, buyer: Any, seller: Any, quantity: int, price: int) -> None:
        """Let two traders meet: the seller rests, the buyer takes."""
        self.order(seller, "sell", quantity, price)
        self.order(buyer, "buy", quantity, price)
        self.settle()


@contextmanager
def desk(folder: Path) -> Iterator[Desk]:
    """Open a desk with a worker in this thread."""
    with worker(folder) as shard:
        yield Desk(shard)


def position(owner: Any, symbol: str = SYMBOL) -> tuple[int, Decimal, Decimal]:
    """Return a trader's quantity, open cost and margin."""
    row = Position.objects.filter(user_id=owner.id, symbol=symbol).first()
    return (0, Decimal(0), Decimal(0)) if row is None else (int(row.quantity), row.open_cost, row.margin)
