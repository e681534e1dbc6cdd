"""Reads and writes what spot trades leave: trades, candles, each market's last trade, holdings. A statement each.

The traders' gates are held by whoever calls.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from exchange import database
from exchange.kernel.money import from_quanta, to_quanta
from marketdata import selectors as instruments
from marketdata.services import candles
from marketdata.services.candles import TradeRow
from trading.fold import HoldingState, TradeFact

_HOLDINGS = """
SELECT h.user_id, h.instrument_id, h.quantity, h.total_cost FROM risk_spotholding h
JOIN unnest(%s::bigint[], %s::smallint[]) AS g(u, i) ON h.user_id = g.u AND h.instrument_id = g.i
"""
_INSERT_TRADES = """
INSERT INTO trades (id, instrument_id, symbol, number, buy_order_id, sell_order_id, buyer_id, seller_id, price,
    quantity, notional, buyer_fee, seller_fee, taker_side, shard, sequence, executed_at)
SELECT * FROM unnest(%s::bigint[], %s::smallint[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
    %s::bigint[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::text[], %s::smallint[],
    %s::bigint[], %s::timestamptz[])
"""
_LAST_TRADES = """
INSERT INTO instrument_state (instrument_id, last_price, last_trade_id, traded_at)
SELECT * FROM unnest(%s::smallint[], %s::numeric[], %s::bigint[], %s::timestamptz[])
ON CONFLICT (instrument_id) DO UPDATE SET last_price = excluded.last_price,
    last_trade_id = excluded.last_trade_id, traded_at = excluded.traded_at
"""
_SAVE_HOLDINGS = """
INSERT INTO risk_spotholding (user_id, instrument_id, quantity, total_cost, updated_at)
SELECT *, %s FROM unnest(%s::bigint[], %s::smallint[], %s::numeric[], %s::numeric[])
ON CONFLICT (user_id, instrument_id) DO UPDATE SET quantity = excluded.quantity, total_cost = excluded.total_cost,
    updated_at = excluded.updated_at
"""


def load_holdings(pairs: Iterable[tuple[int, int]]) -> dict[tuple[int, int], HoldingState]:
    """Read what these traders bought on these spot markets; who has bought nothing is not among them."""
    wanted = sorted(set(pairs))
    if not wanted:
        return {}
    [held] = database.fetch((_HOLDINGS, database.columns(wanted, 2)))
    holdings = {}
    for user_id, instrument_id, quantity, cost in held:
        spec = instruments.instrument_by_id(instrument_id)
        holdings[user_id, instrument_id] = HoldingState(
            to_quanta(quantity, spec.base_decimals), to_quanta(cost, spec.quote_decimals)
        )
    return holdings


def save_trades(trades: Sequence[TradeFact], shard: int) -> None:
    """Insert trades, move the candles, and remember each instrument's last trade."""
    database.execute(_INSERT_TRADES, *database.columns([_trade_row(trade, shard) for trade in trades], 17))
    candles.fold(
        [
            TradeRow(
                symbol=trade.spec.symbol,
                executed_at=trade.executed_at,
                number=trade.number,
                price=trade.spec.ticks_to_price(trade.price_ticks),
                quantity=trade.spec.lots_to_qty(trade.qty_lots),
                notional=from_quanta(trade.notional, trade.spec.quote_decimals),
            )
            for trade in trades
        ]
    )
    last = {trade.spec.id: trade for trade in trades}
    rows = [(key, t.spec.ticks_to_price(t.price_ticks), t.id, t.executed_at) for key, t in sorted(last.items())]
    database.execute(_LAST_TRADES, *database.columns(rows, 4))


def _trade_row(trade: TradeFact, shard: int) -> tuple[Any, ...]:
    """Return a trade as the columns of `_INSERT_TRADES`."""
    spec, decimals = trade.spec, trade.spec.quote_decimals
    return (
        trade.id,
        spec.id,
        spec.symbol,
        trade.number,
        trade.buyer.id,
        trade.seller.id,
        trade.buyer.user_id,
        trade.seller.user_id,
        spec.ticks_to_price(trade.price_ticks),
        spec.lots_to_qty(trade.qty_lots),
        from_quanta(trade.notional, decimals),
        from_quanta(trade.buyer_fee, decimals),
        from_quanta(trade.seller_fee, decimals),
        "buy" if trade.taker_is_buyer else "sell",
        shard,
        trade.sequence,
        trade.executed_at,
    )


def save_holdings(holdings: dict[tuple[int, int], HoldingState], now: datetime) -> None:
    """Store what was bought and what it cost."""
    rows = []
    for (user_id, instrument_id), held in sorted(holdings.items()):
        if held.changed:
            spec = instruments.instrument_by_id(instrument_id)
            quantity = from_quanta(held.quantity, spec.base_decimals)
            rows.append((user_id, instrument_id, quantity, from_quanta(held.cost, spec.quote_decimals)))
    if rows:
        database.execute(_SAVE_HOLDINGS, now, *database.columns(rows, 4))
