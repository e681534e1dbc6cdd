"""The only place that knows the names of channels, groups and Redis keys, and the shapes of public messages.

Pure: no Redis, no database. Publisher, consumers and REST build their messages here, so that they agree.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import orjson

from marketdata import states
from marketdata.units import InstrumentSpec
from matching_worker.protocol import TradingState

INTERVALS: Final = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600, "4h": 14_400, "1d": 86_400}
"""Candle intervals in seconds, aligned to 1970-01-01 UTC."""
DEPTH_LEVELS_MAX: Final = 50
"""Levels a side in `depth` messages."""
RATE_DECIMALS: Final = 4

SIDES: Final = ("buy", "sell")
"""Wire names; bids are side 0 and asks side 1 of every book here."""
FIELD_PREFIXES: Final = ("b:", "a:")

MESSAGE_TYPE: Final = "feed.message"
"""Channel layer type of everything the publisher sends; consumers handle it in `feed_message`."""


class Mark:
    """Group messages that are not for clients: they tell consumers to check where they stand."""

    NONE = ""
    START = "start"
    """A publisher began: forget what was seen, take a snapshot."""
    GAP = "gap"
    """Deltas were lost on the way: take a snapshot."""
    BEAT = "beat"
    """Nothing new; this is where the stream stands."""


class Level(NamedTuple):
    """One price of a book, in ticks and lots."""

    ticks: int
    lots: int


class Bar(NamedTuple):
    """A candle in ticks and lots; `turnover` is the sum of ticks times lots."""

    start_s: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    turnover: int
    trade_count: int


class Auction(NamedTuple):
    """What an instrument allows, and what a call auction would do now; prices and lots 0 when nothing would trade."""

    state: TradingState = TradingState.CONTINUOUS
    ticks: int = 0
    lots: int = 0
    surplus: int = 0
    """Lots that would like to buy at the price less lots that would like to sell."""


def book_key(symbol: str) -> str:
    """Return the Redis hash that holds a book: b:<ticks> and a:<ticks> -> lots, epoch, sequence, timestamp."""
    return f"book:{symbol}"


def latest_key(channel: str) -> str:
    """Return the Redis key that holds the last message of a conflated channel, for new subscribers."""
    return f"latest:{channel}"


def channel(kind: str, symbol: str, interval: str = "") -> str:
    """Return the name clients subscribe to; it is the channel layer's group too."""
    return f"{kind}.{symbol}.{interval}" if interval else f"{kind}.{symbol}"


def layer_channel(prefix: str, group: str) -> str:
    """Return the Redis channel to which channels_redis' pub/sub layer sends a group's messages.

    Source: channels_redis.pubsub.RedisPubSubLoopLayer._get_group_channel_name (4.3.0); a test
    receives through the real layer.
    """
    return f"{prefix}__group__{group}"


def envelope(
    name: str, *, epoch: int, previous: int, sequence: int, texts: Sequence[str], mark: str = Mark.NONE
) -> dict[str, Any]:
    """Wrap finished client messages for the channel layer, so that 200 consumers serialise nothing.

    Args:
        name: The channel, as clients call it.
        epoch: The writer's; consumers drop older ones.
        previous: Sequence of what was sent before on this channel.
        sequence: Sequence of the last text.
        texts: JSON texts, in order; empty for a mark.
        mark: One of `Mark`.
    """
    return {
        "type": MESSAGE_TYPE,
        "channel": name,
        "epoch": epoch,
        "previous": previous,
        "sequence": sequence,
        "texts": texts,
        "mark": mark,
    }


def trade_text(
    spec: InstrumentSpec, *, ticks: int, lots: int, timestamp_ms: int, trade_id: int, side: str, sequence: int
) -> str:
    """Return a `trade` message; `side` is the taker's, `sequence` dense per instrument."""
    return dumps(
        {
            "type": "trade",
            "symbol": spec.symbol,
            "price": spec.wire_ticks(ticks),
            "quantity": spec.wire_lots(lots),
            "timestamp": timestamp_ms,
            "trade_id": trade_id,
            "side": side,
            "sequence": sequence,
        }
    )


def delta_text(
    spec: InstrumentSpec,
    changes: Iterable[tuple[int, int, int, int]],
    *,
    sequence: int,
    previous: int,
    timestamp_ms: int,
) -> str:
    """Return a `delta` message.

    Args:
        spec: The instrument.
        changes: (side index, ticks, change in lots, lots that stand now).
        sequence: Command sequence of the last event in it.
        previous: That of the delta before it.
        timestamp_ms: Engine time.
    """
    return dumps(
        {
            "type": "delta",
            "symbol": spec.symbol,
            "changes": [
                {
                    "side": SIDES[side],
                    "price": spec.wire_ticks(ticks),
                    "qty": spec.wire_lots(change),
                    "total": spec.wire_lots(total),
                }
                for side, ticks, change, total in changes
            ],
            "sequence": sequence,
            "previous_sequence": previous,
            "timestamp": timestamp_ms,
        }
    )


def book_message(
    kind: str,
    spec: InstrumentSpec,
    bids: Iterable[tuple[int, int]],
    asks: Iterable[tuple[int, int]],
    *,
    sequence: int,
    timestamp_ms: int,
) -> dict[str, Any]:
    """Return a `depth` or `snapshot` message; levels as (ticks, lots), best first."""
    return {
        "type": kind,
        "symbol": spec.symbol,
        "bids": [[spec.wire_ticks(ticks), spec.wire_lots(lots)] for ticks, lots in bids],
        "asks": [[spec.wire_ticks(ticks), spec.wire_lots(lots)] for ticks, lots in asks],
        "timestamp": timestamp_ms,
        "sequence": sequence,
    }


def kline_text(spec: InstrumentSpec, interval: str, bar: Bar, *, sequence: int) -> str:
    """Return a `kline` message; `timestamp` is the candle's first millisecond."""
    return dumps(
        {
            "type": "kline",
            "symbol": spec.symbol,
            "interval": interval,
            "timestamp": bar.start_s * 1000,
            "open": spec.wire_ticks(bar.open),
            "high": spec.wire_ticks(bar.high),
            "low": spec.wire_ticks(bar.low),
            "close": spec.wire_ticks(bar.close),
            "volume": spec.wire_lots(bar.volume),
            "turnover": spec.wire_turnover(bar.turnover),
            "trade_count": bar.trade_count,
            "sequence": sequence,
        }
    )


def ticker_message(
    spec: InstrumentSpec,
    day: Bar | None,
    *,
    state: TradingState,
    last_ticks: int,
    mark_ticks: int,
    bid_ticks: int,
    ask_ticks: int,
    sequence: int,
    timestamp_ms: int,
) -> dict[str, Any]:
    """Return a `ticker` message: the last 24 hours, and the best prices.

    Args:
        spec: The instrument.
        day: The last 24 hours as one bar; None without trades in them.
        state: What the instrument allows.
        last_ticks: Last trade; 0 before the first.
        mark_ticks: Mark price; 0 before the first.
        bid_ticks: Best bid; 0 where there is none.
        ask_ticks: Best ask; 0 where there is none.
        sequence: Command sequence.
        timestamp_ms: Engine time.
    """

    def price(ticks: int) -> int | str | None:
        return spec.wire_ticks(ticks) if ticks else None

    change = last_ticks - day.open if day else 0
    return {
        "type": "ticker",
        "symbol": spec.symbol,
        "state": states.word(state),
        "last_price": price(last_ticks),
        "mark_price": price(mark_ticks),
        "best_bid": price(bid_ticks),
        "best_ask": price(ask_ticks),
        "open_24h": price(day.open) if day else None,
        "high_24h": price(day.high) if day else None,
        "low_24h": price(day.low) if day else None,
        "volume_24h": spec.wire_lots(day.volume if day else 0),
        "turnover_24h": spec.wire_turnover(day.turnover if day else 0),
        "change_24h": spec.wire_ticks(change),
        "change_rate_24h": rate_text(change, day.open) if day else "0",
        "trade_count_24h": day.trade_count if day else 0,
        "timestamp": timestamp_ms,
        "sequence": sequence,
    }


def auction_message(spec: InstrumentSpec, auction: Auction, *, sequence: int, timestamp_ms: int) -> dict[str, Any]:
    """Return an `auction` message; the price is null while nothing would trade, as it is outside of an auction."""
    return {
        "type": "auction",
        "symbol": spec.symbol,
        "state": states.word(auction.state),
        "price": spec.wire_ticks(auction.ticks) if auction.ticks else None,
        "quantity": spec.wire_lots(auction.lots),
        "imbalance": spec.wire_lots(auction.surplus),
        "timestamp": timestamp_ms,
        "sequence": sequence,
    }


def rate_text(change: int, base: int) -> str:
    """Return change/base as a plain decimal with four decimals, cut toward zero: shown, never computed with."""
    scaled = abs(change) * 10**RATE_DECIMALS // base
    whole, rest = divmod(scaled, 10**RATE_DECIMALS)
    sign = "-" if change < 0 and scaled else ""
    return f"{sign}{whole}.{rest:0{RATE_DECIMALS}d}".rstrip("0").rstrip(".")


def merged(bars: Sequence[Bar]) -> Bar | None:
    """Join consecutive bars, oldest first, into one; None when there are none."""
    if not bars:
        return None
    return Bar(
        bars[0].start_s,
        bars[0].open,
        max(bar.high for bar in bars),
        min(bar.low for bar in bars),
        bars[-1].close,
        sum(bar.volume for bar in bars),
        sum(bar.turnover for bar in bars),
        sum(bar.trade_count for bar in bars),
    )


def dumps(message: object) -> str:
    """Return a message as JSON text."""
    return orjson.dumps(message).decode()
