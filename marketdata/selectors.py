"""Reads of market data: instruments, last trades, candles, day statistics. Writes nothing."""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, NamedTuple

from django.db import connection

from exchange import database
from exchange.kernel.errors import DomainError, gettext_noop
from exchange.kernel.money import to_quanta
from marketdata import feed
from marketdata.models import Instrument, LeverageBracket
from marketdata.units import RATE_DECIMALS, Bracket, InstrumentSpec

SPEC_SECONDS = 1.0
"""How long a process trusts its copy of the instruments; a save in the same process ends it at once."""
SYMBOL_SHOWN_MAX = 24
KLINES_MAX = 1000
"""Candles in one answer."""
DAY_LONG = timedelta(hours=24)


class UnknownInstrumentError(DomainError):
    """No instrument of that symbol or id."""

    code = 5001
    name = "UNKNOWN_INSTRUMENT"
    status = 404
    message = gettext_noop("There is no instrument %(symbol)s.")


class UnknownIntervalError(DomainError):
    """No candles of that interval."""

    code = 5002
    name = "UNKNOWN_INTERVAL"
    status = 400
    message = gettext_noop("There are no candles of %(interval)s; there are %(intervals)s.")


class Specs(NamedTuple):
    """All instruments at one moment."""

    loaded_at: float
    revision: int
    by_symbol: dict[str, InstrumentSpec]
    by_id: dict[int, InstrumentSpec]


_STATES = (
    "SELECT instrument_id, last_price, last_trade_id, traded_at, mark_price, marked_at FROM instrument_state"
    " WHERE instrument_id = ANY(%s)"
)


class MarketState(NamedTuple):
    """What an instrument last traded at, and its mark price, in major units; None before the first of each."""

    last_price: Decimal | None
    last_trade_id: int | None
    traded_at: datetime | None
    mark_price: Decimal | None
    marked_at: datetime | None


class Kline(NamedTuple):
    """A candle in major units."""

    timestamp: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    turnover: Decimal
    trade_count: int


class Day(NamedTuple):
    """The last 24 hours of an instrument in major units; prices None where nothing traded or was marked."""

    last_price: Decimal | None
    open: Decimal | None
    high: Decimal | None
    low: Decimal | None
    volume: Decimal
    turnover: Decimal
    trade_count: int
    mark_price: Decimal | None
    marked_at: datetime | None


KLINES = """
SELECT date_bin(%(step)s, "timestamp", 'epoch') AS start, (array_agg(open ORDER BY "timestamp"))[1],
       max(high), min(low), (array_agg(close ORDER BY "timestamp" DESC))[1],
       sum(volume), sum(turnover), sum(trade_count)::bigint
FROM klines_1m
WHERE symbol = %(symbol)s AND "timestamp" <= %(end)s
  AND "timestamp" >= date_bin(%(step)s, %(end)s, 'epoch') - %(reach)s
GROUP BY start ORDER BY start
"""
DAY = """
SELECT s.last_price, d.open, d.high, d.low, d.volume, d.turnover, d.trade_count, s.mark_price, s.marked_at
FROM (
    SELECT (array_agg(open ORDER BY "timestamp"))[1] AS open, max(high) AS high, min(low) AS low,
           coalesce(sum(volume), 0) AS volume, coalesce(sum(turnover), 0) AS turnover,
           coalesce(sum(trade_count), 0)::bigint AS trade_count
    FROM klines_1m WHERE symbol = %(symbol)s AND "timestamp" >= %(start)s
) d LEFT JOIN (
    SELECT s.* FROM instrument_state s JOIN marketdata_instrument i ON i.id = s.instrument_id
    WHERE i.symbol = %(symbol)s
) s ON true
"""

_lock = threading.Lock()
_cached: list[Specs] = []


def instruments() -> list[InstrumentSpec]:
    """Return every instrument, by symbol."""
    return [spec for _, spec in sorted(_specs().by_symbol.items())]


def by_symbol() -> Mapping[str, InstrumentSpec]:
    """Return every instrument under its symbol."""
    return _specs().by_symbol


def is_known(symbol: str) -> bool:
    """Tell whether there is an instrument of a symbol."""
    return symbol in _specs().by_symbol


def instrument(symbol: str) -> InstrumentSpec:
    """Return the instrument of a symbol.

    Raises:
        UnknownInstrumentError: There is none.
    """
    spec = _specs().by_symbol.get(symbol)
    if spec is None:
        raise UnknownInstrumentError(symbol=str(symbol)[:SYMBOL_SHOWN_MAX])
    return spec


def instrument_by_id(instrument_id: int) -> InstrumentSpec:
    """Return the instrument of an id; looks again at once for one it does not know.

    Raises:
        UnknownInstrumentError: There is none.
    """
    spec = _specs().by_id.get(instrument_id) or _load().by_id.get(instrument_id)
    if spec is None:
        raise UnknownInstrumentError(symbol=str(instrument_id))
    return spec


def states(instrument_ids: Iterable[int]) -> dict[int, MarketState]:
    """Return last trade and mark price of each instrument asked for, fresh from the table, in one statement."""
    wanted = list(instrument_ids)
    [rows] = database.fetch(states_statement(wanted))
    return states_of(rows, wanted)


def states_statement(instrument_ids: Iterable[int]) -> tuple[str, Sequence[Any]]:
    """Return the statement whose rows `states_of` reads, for callers that gather statements."""
    return _STATES, (database.array(list(instrument_ids)),)


def states_of(rows: Iterable[tuple[Any, ...]], instrument_ids: Iterable[int]) -> dict[int, MarketState]:
    """Return last trade and mark price of each instrument asked for."""
    found = dict.fromkeys(instrument_ids, MarketState(None, None, None, None, None))
    found.update({row[0]: MarketState(*row[1:]) for row in rows})
    return found


def klines(symbol: str, interval: str, *, end: datetime, limit: int) -> list[Kline]:
    """Return the candles of the `limit` intervals up to and including the one of `end`, oldest first.

    Intervals without a trade have no candle.

    Raises:
        UnknownIntervalError: The interval is none of `feed.INTERVALS`.
    """
    seconds = feed.INTERVALS.get(interval)
    if seconds is None:
        raise UnknownIntervalError(interval=interval[:SYMBOL_SHOWN_MAX], intervals=", ".join(feed.INTERVALS))
    step = timedelta(seconds=seconds)
    reach = step * (min(limit, KLINES_MAX) - 1)
    parameters: dict[str, Any] = {"step": step, "end": end, "reach": reach, "symbol": symbol}
    with connection.cursor() as cursor:
        cursor.execute(KLINES, parameters)
        return [Kline(*row) for row in cursor.fetchall()]


def ticker(symbol: str, *, now: datetime) -> Day:
    """Return the last 24 hours of an instrument in one statement; None where nothing traded."""
    with connection.cursor() as cursor:
        cursor.execute(DAY, {"symbol": symbol, "start": now - DAY_LONG})
        return Day(*cursor.fetchone())


def minutes(spec: InstrumentSpec, now: datetime) -> list[feed.Bar]:
    """Return an instrument's candles of the last 24 hours, in ticks and lots, oldest first.

    The publisher goes on from these after a restart.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            'SELECT "timestamp", open, high, low, close, volume, turnover, trade_count FROM klines_1m'
            ' WHERE symbol = %s AND "timestamp" >= %s ORDER BY "timestamp"',
            [spec.symbol, now - DAY_LONG],
        )
        return [_bar(spec, Kline(*row)) for row in cursor.fetchall()]


def _bar(spec: InstrumentSpec, kline: Kline) -> feed.Bar:
    """Turn a stored candle into ticks and lots."""
    return feed.Bar(
        int(kline.timestamp.timestamp()),
        spec.price_to_ticks(kline.open),
        spec.price_to_ticks(kline.high),
        spec.price_to_ticks(kline.low),
        spec.price_to_ticks(kline.close),
        int(kline.volume / spec.lot_size),
        int(kline.turnover / spec.step_worth),
        kline.trade_count,
    )


def spec_of(row: Instrument) -> InstrumentSpec:
    """Turn a row, its assets loaded, into the value that the rest of the system passes around."""
    return InstrumentSpec(
        id=row.pk,
        symbol=row.symbol,
        name=row.name,
        kind=row.kind,
        base=row.base_id,
        quote=row.quote_id,
        base_decimals=row.base.decimals,
        quote_decimals=row.quote.decimals,
        tick_size=row.tick_size,
        lot_size=row.lot_size,
        min_notional=row.min_notional,
        band_rate=row.band_rate,
        market_slippage_rate=row.market_slippage_rate,
        maker_fee_rate=row.maker_fee_rate,
        taker_fee_rate=row.taker_fee_rate,
        reference_price=row.reference_price,
        minor_unit_decimals=row.minor_unit_decimals,
        status=row.status,
        shard=row.shard,
        is_demo=row.is_demo,
        contract_size=row.contract_size,
        brackets=tuple(_bracket(bracket, row.quote.decimals) for bracket in row.brackets.all()),
    )


def _bracket(row: LeverageBracket, decimals: int) -> Bracket:
    """Turn a bracket's row into integers; a floor between two quanta begins at the next, an amount at the one below."""
    scale = Decimal(1).scaleb(decimals)
    return Bracket(
        notional_floor=int((row.notional_floor * scale).to_integral_value(ROUND_CEILING)),
        leverage_max=row.leverage_max,
        maintenance_rate=to_quanta(row.maintenance_rate, RATE_DECIMALS),
        maintenance_amount=int((row.maintenance_amount * scale).to_integral_value(ROUND_FLOOR)),
    )


def _specs() -> Specs:
    """Return this process' copy of the instruments, at most a second old."""
    if _cached:
        specs = _cached[0]
        if specs.revision == Instrument.revision and time.monotonic() - specs.loaded_at < SPEC_SECONDS:
            return specs
    return _load()


def _load() -> Specs:
    """Read all instruments and their brackets, a statement each.

    One that is as it was stays the same object, and keeps what it remembers of prices and quantities.
    """
    loaded_at, revision = time.monotonic(), Instrument.revision
    before = _cached[0].by_id if _cached else {}
    found = []
    for row in Instrument.objects.select_related("base", "quote").prefetch_related("brackets").order_by("id"):
        read = spec_of(row)
        known = before.get(read.id, read)
        found.append(known if known == read else read)
    specs = Specs(loaded_at, revision, {spec.symbol: spec for spec in found}, {spec.id: spec for spec in found})
    with _lock:
        _cached[:] = [specs]
    return specs
