"""Public market data by REST: open to everyone, in the units of each instrument."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import redis
from django.conf import settings
from django.db import connection

from exchange.api.tests.fixtures import Api
from exchange.kernel.clock import to_ns, utc_now
from marketdata import feed, selectors
from marketdata.models import Instrument, InstrumentStatus
from marketdata.tests.events import auction_price, state_changed
from marketdata.tests.test_publish import running
from matching_worker.protocol import TradingState
from trading.tests.road import make_asset, make_instrument

pytestmark = pytest.mark.django_db


@pytest.fixture
def instruments(db: None) -> None:
    make_instrument()
    make_instrument(
        "2330.TW",
        name="TSMC",
        base=make_asset("2330", 0, "STOCK"),
        quote=make_asset("TWD", 2, "FIAT"),
        tick_size=Decimal(1),
        lot_size=Decimal(1),
        min_notional=Decimal(100),
        reference_price=Decimal(600),
        minor_unit_decimals=2,
    )


@pytest.fixture
def books(instruments: None) -> Iterator[None]:
    """Write two books as the publisher does."""
    client = redis.Redis.from_url(settings.REDIS_URL)
    stamp: Any = {"epoch": 1, "sequence": 7, "timestamp": 1_747_564_200_123}
    client.hset(
        feed.book_key("BTCUSDT"), mapping={"b:4999900": 10, "b:5000000": 20, "a:5000100": 5, "a:5000300": 1, **stamp}
    )
    client.hset(feed.book_key("2330.TW"), mapping={"b:600": 1000, "a:601": 2000} | stamp)
    yield
    client.delete(feed.book_key("BTCUSDT"), feed.book_key("2330.TW"))
    client.close()


def _candle(symbol: str, at: datetime, prices: tuple[int, int, int, int], volume: str = "2", trades: int = 3) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            'INSERT INTO klines_1m (symbol, "timestamp", open, high, low, close, volume, turnover, trade_count)'
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [symbol, at, *prices, volume, Decimal(volume) * prices[0], trades],
        )


def test_instruments_are_listed_with_their_rules(instruments: None, api: Api) -> None:
    answer = api.get("/instruments")

    assert answer.status == 200
    stock, crypto = answer.data
    assert (stock["symbol"], stock["minor_unit_decimals"], crypto["symbol"]) == ("2330.TW", 2, "BTCUSDT")
    assert crypto == {
        "symbol": "BTCUSDT",
        "name": "BTCUSDT",
        "kind": "SPOT",
        "base": "BTC",
        "quote": "USDT",
        "status": "TRADING",
        "state": "continuous",
        "tick_size": "0.01",
        "lot_size": "0.0001",
        "min_notional": "5",
        "band_rate": "0.2",
        "market_slippage_rate": "0.05",
        "maker_fee_rate": "0.0002",
        "taker_fee_rate": "0.0002",
        "reference_price": "50000",
        "base_decimals": 8,
        "quote_decimals": 6,
        "minor_unit_decimals": None,
        "is_demo": False,
        "contract_size": "1",
        "leverage_max": None,
        "brackets": [],
    }


def test_depth_shows_the_best_levels_of_both_sides(books: None, api: Api) -> None:
    answer = api.get("/depth/BTCUSDT")

    assert answer.data == {
        "symbol": "BTCUSDT",
        "bids": [["50000", "0.002"], ["49999", "0.001"]],
        "asks": [["50001", "0.0005"], ["50003", "0.0001"]],
        "timestamp": 1_747_564_200_123,
        "sequence": 7,
    }
    assert api.get("/depth/BTCUSDT?limit=1").data["bids"] == [["50000", "0.002"]]
    assert api.get("/depth/2330.TW").data["asks"] == [[60100, 2000]]


def test_an_instrument_that_has_never_traded_has_an_empty_book_and_an_empty_day(instruments: None, api: Api) -> None:
    depth, ticker = api.get("/depth/BTCUSDT").data, api.get("/ticker/BTCUSDT").data

    assert (depth["bids"], depth["asks"], depth["sequence"]) == ([], [], 0)
    assert (ticker["last_price"], ticker["open_24h"], ticker["best_bid"]) == (None, None, None)
    assert (ticker["volume_24h"], ticker["change_rate_24h"], ticker["trade_count_24h"]) == ("0", "0", 0)


def test_candles_come_oldest_first_in_the_interval_asked_for(instruments: None, api: Api) -> None:
    now = utc_now().replace(second=0, microsecond=0)
    start = now - timedelta(minutes=now.minute % 5 + 5)
    _candle("BTCUSDT", start, (50000, 50100, 49900, 50050))
    _candle("BTCUSDT", start + timedelta(minutes=1), (50050, 50200, 50000, 50150))

    minutes = api.get("/klines/BTCUSDT?limit=20").data
    fives = api.get("/klines/BTCUSDT?interval=5m&limit=20").data

    start_ms = int(start.timestamp()) * 1000
    assert [row["timestamp"] for row in minutes] == [start_ms, start_ms + 60_000]
    assert fives == [
        {
            "timestamp": start_ms,
            "open": "50000",
            "high": "50200",
            "low": "49900",
            "close": "50150",
            "volume": "4",
            "turnover": "200100",
            "trade_count": 6,
        }
    ]
    assert [row["timestamp"] for row in api.get(f"/klines/BTCUSDT?before={start_ms + 60_000}").data] == [start_ms]


def test_the_ticker_sums_the_last_day(books: None, api: Api) -> None:
    now = utc_now().replace(second=0, microsecond=0)
    _candle("2330.TW", now - timedelta(minutes=2), (600, 610, 590, 605), volume="10")
    _candle("2330.TW", now - timedelta(minutes=1), (605, 606, 603, 603), volume="5")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO instrument_state (instrument_id, last_price) SELECT id, 603 FROM marketdata_instrument"
            " WHERE symbol = '2330.TW' ON CONFLICT (instrument_id) DO UPDATE SET last_price = 603"
        )

    ticker = api.get("/ticker/2330.TW").data

    assert ticker.pop("timestamp") >= int(now.timestamp()) * 1000
    assert ticker == {
        "symbol": "2330.TW",
        "state": "continuous",
        "last_price": 60300,
        "mark_price": None,
        "marked_at": None,
        "best_bid": 60000,
        "best_ask": 60100,
        "open_24h": 60000,
        "high_24h": 61000,
        "low_24h": 59000,
        "volume_24h": 15,
        "turnover_24h": 902500,
        "change_24h": 300,
        "change_rate_24h": "0.005",
        "trade_count_24h": 6,
        "sequence": 7,
    }


@pytest.mark.parametrize("status", InstrumentStatus)
def test_every_status_has_a_state_that_instruments_ticker_and_auction_tell(
    instruments: None, api: Api, status: InstrumentStatus
) -> None:
    Instrument.objects.filter(symbol="BTCUSDT").update(status=status)
    Instrument.revision += 1

    told = {
        {row["symbol"]: row["state"] for row in api.get("/instruments").data}["BTCUSDT"],
        api.get("/ticker/BTCUSDT").data["state"],
        api.get("/auction/BTCUSDT").data["state"],
    }

    assert told == {{"TRADING": "continuous"}.get(status, status.value.lower())}


def test_the_auction_is_told_as_the_feed_last_told_it(instruments: None, api: Api) -> None:
    shares = selectors.instrument("2330.TW")
    with running(specs=[shares], sequence=1) as publisher:
        ids = {"instrument_id": shares.id}
        publisher.publish(
            np.concatenate([state_changed(2, TradingState.AUCTION, **ids), auction_price(3, 601, 40, -7, **ids)])
        )
        assert publisher.flush(10)

    assert api.get("/auction/2330.TW").data == {
        "symbol": "2330.TW",
        "state": "auction",
        "price": 60100,
        "quantity": 40,
        "imbalance": -7,
        "timestamp": 1772600767000,
        "sequence": 3,
    }


def test_without_an_auction_there_is_no_price(instruments: None, api: Api) -> None:
    redis.Redis.from_url(settings.REDIS_URL).delete(feed.latest_key("auction.BTCUSDT"))

    assert api.get("/auction/BTCUSDT").data == {
        "symbol": "BTCUSDT",
        "state": "continuous",
        "price": None,
        "quantity": "0",
        "imbalance": "0",
        "timestamp": 0,
        "sequence": 0,
    }


def test_the_clock_is_told(api: Api) -> None:
    before = utc_now()

    data = api.get("/time").data

    told = datetime.strptime(data["time"], "%Y-%m-%dT%H:%M:%S.%f%z")
    assert before <= told <= utc_now()
    assert data["timestamp"] == to_ns(told) // 1_000_000


@pytest.mark.parametrize("call", ["depth", "klines", "ticker", "auction"])
def test_an_unknown_symbol_is_refused(instruments: None, api: Api, call: str) -> None:
    answer = api.get(f"/{call}/NONE")

    assert (answer.status, answer.code, answer.error) == (404, 5001, "UNKNOWN_INSTRUMENT")


@pytest.mark.parametrize(
    "path",
    [
        "/depth/BTCUSDT?limit=0",
        "/depth/BTCUSDT?limit=1001",
        "/depth/BTCUSDT?levels=5",
        "/klines/BTCUSDT?interval=2m",
        "/klines/BTCUSDT?limit=-1",
        "/klines/BTCUSDT?before=0",
        "/klines/BTCUSDT?before=253402300800000",
    ],
)
def test_a_faulty_question_is_refused(instruments: None, api: Api, path: str) -> None:
    answer = api.get(path)

    assert (answer.status, answer.code) == (400, 1004)


@pytest.mark.parametrize("before", [1, 253_402_300_799_999])
def test_the_ends_of_time_have_no_candles_but_an_answer(instruments: None, api: Api, before: int) -> None:
    answer = api.get(f"/klines/BTCUSDT?interval=1d&limit=1000&before={before}")

    assert (answer.status, answer.data) == (200, [])


def test_a_broken_token_does_not_close_what_is_public(instruments: None, api: Api, customer: Any) -> None:
    assert api.get("/instruments", authorization="Bearer broken").status == 200
