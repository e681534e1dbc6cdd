"""Public REST calls: instruments, books, auctions, candles, the last day, the clock."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.views import APIView

from exchange.api.envelope import ApiResponse
from exchange.kernel.clock import from_ns, to_ns, utc_now
from marketdata import books, feed, selectors
from marketdata.selectors import Kline
from marketdata.serializers import (
    AuctionResponse,
    DepthQuery,
    DepthResponse,
    InstrumentResponse,
    KlineQuery,
    KlineResponse,
    TickerResponse,
    TimeResponse,
)
from marketdata.units import InstrumentSpec

NS_PER_MS = 1_000_000
JUST_BEFORE = timedelta(microseconds=1)


class PublicView(APIView):
    """A call that needs no sign-in; a token is not even read, so an expired one does no harm."""

    authentication_classes = ()
    permission_classes = (AllowAny,)


def timestamp_ms(moment: datetime) -> int:
    """Return a moment as integer milliseconds."""
    return to_ns(moment) // NS_PER_MS


class InstrumentsView(PublicView):
    """What is traded."""

    @extend_schema(operation_id="instruments", responses={200: InstrumentResponse(many=True)})
    def get(self, request: Request) -> ApiResponse:
        """List every instrument with the rules that its orders must keep."""
        return ApiResponse(InstrumentResponse(selectors.instruments(), many=True).data)


class DepthView(PublicView):
    """The book of an instrument."""

    @extend_schema(operation_id="depth", parameters=[DepthQuery], responses={200: DepthResponse})
    def get(self, request: Request, symbol: str) -> ApiResponse:
        """Return the best levels of both sides, best first, as [price, quantity]."""
        query = DepthQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        spec = selectors.instrument(symbol)
        message = books.read(symbol).message("depth", spec, query.validated_data["limit"])
        del message["type"]
        return ApiResponse(message)


class AuctionView(PublicView):
    """The auction of an instrument."""

    @extend_schema(operation_id="auction", responses={200: AuctionResponse})
    def get(self, request: Request, symbol: str) -> ApiResponse:
        """Return what an instrument allows, and at what price its auction would trade now."""
        spec = selectors.instrument(symbol)
        message = books.latest_message(feed.channel("auction", symbol))
        if message is None:  # no worker has ever written it
            message = feed.auction_message(spec, feed.Auction(spec.engine_state), sequence=0, timestamp_ms=0)
        del message["type"]
        return ApiResponse(message)


class KlinesView(PublicView):
    """The candles of an instrument."""

    @extend_schema(operation_id="klines", parameters=[KlineQuery], responses={200: KlineResponse(many=True)})
    def get(self, request: Request, symbol: str) -> ApiResponse:
        """List candles, oldest first. An interval in which nothing traded has none."""
        query = KlineQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        wanted = query.validated_data
        spec = selectors.instrument(symbol)
        before = wanted.get("before")
        end = utc_now() if before is None else from_ns(before * NS_PER_MS) - JUST_BEFORE
        rows = selectors.klines(symbol, wanted["interval"], end=end, limit=wanted["limit"])
        return ApiResponse([_kline(row, spec) for row in rows])


def _kline(row: Kline, spec: InstrumentSpec) -> dict[str, Any]:
    """Return a candle in the units of its instrument."""
    return {
        "timestamp": timestamp_ms(row.timestamp),
        "open": spec.wire_price(row.open),
        "high": spec.wire_price(row.high),
        "low": spec.wire_price(row.low),
        "close": spec.wire_price(row.close),
        "volume": spec.wire_qty(row.volume),
        "turnover": spec.wire_price(row.turnover),
        "trade_count": row.trade_count,
    }


class TickerView(PublicView):
    """The last day of an instrument."""

    @extend_schema(operation_id="ticker", responses={200: TickerResponse})
    def get(self, request: Request, symbol: str) -> ApiResponse:
        """Return the last 24 hours and the best prices."""
        spec = selectors.instrument(symbol)
        now = utc_now()
        return ApiResponse(_ticker(spec, selectors.ticker(symbol, now=now), books.read(symbol), now))


def _ticker(spec: InstrumentSpec, day: selectors.Day, book: books.BookImage, now: datetime) -> dict[str, Any]:
    """Return the day of an instrument in its units, as the ticker channel shows it."""
    change, rate = Decimal(0), "0"
    if day.last_price is not None and day.open is not None:
        change = day.last_price - day.open
        rate = feed.rate_text(spec.price_to_ticks(day.last_price) - (opened := spec.price_to_ticks(day.open)), opened)
    return {
        "symbol": spec.symbol,
        "state": spec.state,
        "last_price": _price(spec, day.last_price),
        "mark_price": _price(spec, day.mark_price),
        "marked_at": day.marked_at,
        "best_bid": spec.wire_ticks(book.bids[0].ticks) if book.bids else None,
        "best_ask": spec.wire_ticks(book.asks[0].ticks) if book.asks else None,
        "open_24h": _price(spec, day.open),
        "high_24h": _price(spec, day.high),
        "low_24h": _price(spec, day.low),
        "volume_24h": spec.wire_qty(day.volume),
        "turnover_24h": spec.wire_price(day.turnover),
        "change_24h": spec.wire_price(change),
        "change_rate_24h": rate,
        "trade_count_24h": day.trade_count,
        "timestamp": timestamp_ms(now),
        "sequence": book.sequence,
    }


def _price(spec: InstrumentSpec, price: Decimal | None) -> int | str | None:
    """Return a price in the units of its instrument; None where there is none."""
    return None if price is None else spec.wire_price(price)


class TimeView(PublicView):
    """The exchange's clock."""

    @extend_schema(operation_id="time", responses={200: TimeResponse})
    def get(self, request: Request) -> ApiResponse:
        """Return the time by which the exchange judges."""
        now = utc_now()
        return ApiResponse({"time": now, "timestamp": timestamp_ms(now)})
