"""The only writer of candles: settled trades, folded into minutes by one statement a batch."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from exchange import database

# Within a batch a minute is folded by trade number; across batches the rows that stand are older,
# since one instrument's trades are settled in order.
UPSERT = """
INSERT INTO klines_1m AS k (symbol, "timestamp", open, high, low, close, volume, turnover, trade_count)
SELECT symbol, date_trunc('minute', executed_at, 'UTC'),
       (array_agg(price ORDER BY number))[1], max(price), min(price), (array_agg(price ORDER BY number DESC))[1],
       sum(quantity), sum(notional), count(*)
FROM unnest(%s::text[], %s::bigint[], %s::numeric[], %s::numeric[], %s::numeric[],
            %s::timestamptz[]) AS trade (symbol, number, price, quantity, notional, executed_at)
GROUP BY 1, 2
ORDER BY 1, 2
ON CONFLICT (symbol, "timestamp") DO UPDATE SET
    high = greatest(k.high, excluded.high), low = least(k.low, excluded.low), close = excluded.close,
    volume = k.volume + excluded.volume, turnover = k.turnover + excluded.turnover,
    trade_count = k.trade_count + excluded.trade_count
"""


class TradeRow(NamedTuple):
    """A settled trade as candles see it, in major units; `number` is dense per instrument."""

    symbol: str
    number: int
    price: Decimal
    quantity: Decimal
    notional: Decimal
    executed_at: datetime


def fold(trades: Iterable[TradeRow]) -> None:
    """Fold trades into their minutes, in the caller's transaction, with one statement.

    Not idempotent: each trade is folded once, by the transaction that settles it.

    Args:
        trades: Trades of any instruments, in any order; later than all that was folded before.
    """
    rows = list(trades)
    if rows:
        database.execute(UPSERT, *database.columns(rows, len(TradeRow._fields)))
