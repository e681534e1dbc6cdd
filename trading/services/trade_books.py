"""Reads and writes what trades leave: trades, candles, each market's last trade and mark, holdings; a statement each.

The traders' gates are held by whoever calls.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from exchange import database
from exchange.kernel.money import from_quanta, to_quanta
from marketdata import selectors as instruments
from marketdata.services import candles
from marketdata.services.candles import TradeRow
from trading.fold import HoldingState, TradeFact

_HOLDINGS = """
SELECT h.user_id, h.instrument_id, h.quantity, h.total_cost FROM unnest(%s::bigint[], %s::smallint[]) AS g(u, i)
CROSS JOIN LATERAL (SELECT * FROM risk_spotholding WHERE user_id = g.u AND instrument_id = g.i OFFSET 0) h
"""
_INSERT_TRADES = """
INSERT INTO trades (id, instrument_id, symbol, number, buy_order_id, sell_order_id, buyer_id, seller_id, price,
    quantity, notional, buyer_fee, seller_fee, taker_side, shard, sequence, executed_at)
SELECT unnest(%s::bigint[]), unnest(%s::smallint[]), unnest(%s::text[]), unnest(%s::bigint[]), unnest(%s::bigint[]),
    unnest(%s::bigint[]), unnest(%s::bigint[]), unnest(%s::bigint[]), unnest(%s::numeric[]), unnest(%s::numeric[]),
    unnest(%s::numeric[]), unnest(%s::numeric[]), unnest(%s::numeric[]), unnest(%s::text[]), unnest(%s::smallint[]),
    unnest(%s::bigint[]), unnest(%s::timestamptz[])
"""
_SAVE_STATES = """
INSERT INTO instrument_state AS s (instrument_id, last_price, last_trade_id, traded_at, settled_mark)
SELECT * FROM unnest(%s::smallint[], %s::numeric[], %s::bigint[], %s::timestamptz[], %s::numeric[])
ON CONFLICT (instrument_id) DO UPDATE SET last_price = coalesce(excluded.last_price, s.last_price),
    last_trade_id = coalesce(excluded.last_trade_id, s.last_trade_id),
    traded_at = coalesce(excluded.traded_at, s.traded_at),
    settled_mark = coalesce(excluded.settled_mark, s.settled_mark)
"""
_SAVE_HOLDINGS = """
INSERT INTO risk_spotholding (user_id, instrument_id, quantity, total_cost, updated_at)
SELECT *, %s FROM unnest(%s::bigint[], %s::smallint[], %s::numeric[], %s::numeric[])
ON CONFLICT (user_id, instrument_id) DO UPDATE SET quantity = excluded.quantity, total_cost = excluded.total_cost,
    updated_at = excluded.updated_at
"""


def holdings_reading(
    pairs: Iterable[tuple[int, int]],
) -> database.Reading[dict[tuple[int, int], HoldingState]]:
    """Read what these traders bought on these spot markets; who has bought nothing is not among them."""
    wanted = sorted(set(pairs))
    [held] = yield ((_HOLDINGS, database.columns(wanted, 2)) if wanted else None,)
    holdings = {}
    for user_id, instrument_id, quantity, cost in held:
        spec = instruments.instrument_by_id(instrument_id)
        holdings[user_id, instrument_id] = HoldingState(
            to_quanta(quantity, spec.base_decimals), to_quanta(cost, spec.quote_decimals)
        )
    return holdings


def save_trades(trades: Sequence[TradeFact], shard: int) -> None:
    """Insert trades, and move the candles."""
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


def save_states(trades: Sequence[TradeFact], marks: Mapping[int, int]) -> None:
    """Remember each instrument's last trade, and the mark that settlement has come to, in ticks by instrument.

    By instrument and in one statement, as `mark_price` writes them: who locked trades' instruments first and those of
    marks after them could each wait for the other.
    """
    last = {trade.spec.id: trade for trade in trades}
    rows = []
    for key in sorted(last.keys() | marks.keys()):
        trade = last.get(key)
        told = (None, None, None) if trade is None else _last_trade(trade)
        mark = instruments.instrument_by_id(key).ticks_to_price(marks[key]) if key in marks else None
        rows.append((key, *told, mark))
    if rows:
        database.execute(_SAVE_STATES, *database.columns(rows, 5))


def _last_trade(trade: TradeFact) -> tuple[Any, ...]:
    """Return what is remembered of an instrument's last trade."""
    return trade.spec.ticks_to_price(trade.price_ticks), trade.id, trade.executed_at


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
