import json
import random
import threading
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from exchange.demo import makers
from exchange.demo.client import ApiClient, RefusedError, UnavailableError


class Exchange(HTTPServer):
    """A server that answers from a list: (status, headers, body), and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, dict[str, str], object]] = []
        self.asked: list[tuple[str, str, str]] = []
        self.sign_ins = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Exchange

    def respond(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/api/v1/auth/token":
            self.server.sign_ins += 1
            token = {"access": f"token-{self.server.sign_ins}", "refresh": "", "access_expires_in": 300}
            answer: tuple[int, dict[str, str], object] = (200, {}, {"code": 0, "message": "", "data": token})
        else:
            self.server.asked.append((self.command, self.path, self.headers["Authorization"]))
            answer = self.server.answers.pop(0)
        status, headers, body = answer
        content = json.dumps(body).encode() if not isinstance(body, bytes) else body
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = respond  # noqa: N815 -- names that http.server asks for

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    with Exchange() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def good(data: object) -> tuple[int, dict[str, str], object]:
    return 200, {}, {"code": 0, "message": "success", "data": data}


def test_a_client_signs_in_once_and_sends_its_token(exchange: Exchange) -> None:
    exchange.answers = [good([1]), good([2])]

    with ApiClient(exchange.url, "demo-maker-1", "password") as client:
        assert [client.get("/instruments"), client.get("/trades/BTCUSDT", limit=1)] == [[1], [2]]

    assert exchange.sign_ins == 1
    assert exchange.asked == [
        ("GET", "/api/v1/instruments", "Bearer token-1"),
        ("GET", "/api/v1/trades/BTCUSDT?limit=1", "Bearer token-1"),
    ]


def test_a_refused_token_is_replaced_once(exchange: Exchange) -> None:
    expired: tuple[int, dict[str, str], object] = (401, {}, {"code": 2001, "message": "expired", "data": {}})
    exchange.answers = [expired, good("done"), expired, expired]

    with ApiClient(exchange.url, "demo-maker-1", "password") as client:
        assert client.post("/orders/batch", {}) == "done"
        with pytest.raises(RefusedError, match="401 expired"):
            client.get("/orders")

    assert exchange.sign_ins == 3


def test_a_limit_tells_when_to_come_back(exchange: Exchange) -> None:
    exchange.answers = [(429, {"Retry-After": "7"}, {"code": 1, "message": "", "data": {}})]

    with ApiClient(exchange.url, "demo-maker-1", "password") as client, pytest.raises(UnavailableError) as caught:
        client.get("/orders")

    assert caught.value.retry_after == 7.0


@pytest.mark.parametrize("answer", [(503, {}, {}), (200, {}, b"<html>"), (200, {}, {"code": 0})])
def test_a_broken_answer_is_no_refusal(exchange: Exchange, answer) -> None:
    exchange.answers = [answer]

    with ApiClient(exchange.url, "demo-maker-1", "password") as client, pytest.raises(UnavailableError):
        client.get("/orders")


def test_a_refusal_carries_the_exchanges_code(exchange: Exchange) -> None:
    exchange.answers = [(409, {}, {"code": 3007, "message": "ended before", "data": {}})]

    with ApiClient(exchange.url, "demo-maker-1", "password") as client, pytest.raises(RefusedError) as caught:
        client.delete("/orders/1")

    assert caught.value.code == 3007


def test_makers_wait_ever_longer_while_nobody_answers() -> None:
    waits: list[float] = []
    lines: list[str] = []
    closed = "http://127.0.0.1:9"

    with ApiClient(closed, "one", "") as one, ApiClient(closed, "two", "") as two:
        makers.run((one, two), say=lines.append, mark=lambda _: None, sleep=waits.append, rounds=6)

    assert [round(wait) for wait in waits] == [2, 4, 8, 16, 30, 30]
    assert lines == [f"waiting {pause} s: ConnectError" for pause in (2, 4, 8, 16, 30, 30)]


def test_a_round_cancels_what_is_off_the_ladder_and_places_what_is_missing(exchange: Exchange) -> None:
    instrument = {
        "symbol": "BTCUSDT", "tick_size": "0.01", "lot_size": "0.0001", "minor_unit_decimals": None,
        "reference_price": "65000", "band_rate": "0.2", "is_demo": True, "status": "TRADING",
    }  # fmt: skip
    halted = instrument | {"symbol": "AAPL", "status": "HALTED"}
    far = {"order_id": 5, "symbol": "BTCUSDT", "side": "buy", "price": "1"}
    results = {"results": [{"code": 0}] * 16}
    exchange.answers = [
        good([instrument, halted]), good([]), good({"items": [far]}), good({}),
        good({"bids": [], "asks": []}), good(results),
    ]  # fmt: skip
    waits: list[float] = []
    one = ApiClient(exchange.url, "demo-maker-1", "password")
    two = ApiClient(exchange.url, "demo-maker-2", "password")

    with one, two, pytest.MonkeyPatch.context() as patch:
        patch.setattr(makers, "TAKE_CHANCE_PERCENT", 100)
        makers.run((one, two), say=pytest.fail, mark=lambda _: None, sleep=waits.append, rounds=1)

    assert [f"{method} {path}" for method, path, _ in exchange.asked] == [
        "GET /api/v1/instruments",
        "GET /api/v1/trades/BTCUSDT?limit=1",
        "GET /api/v1/orders?status=open&limit=100",
        "DELETE /api/v1/orders/5",
        "GET /api/v1/depth/BTCUSDT?limit=1",
        "POST /api/v1/orders/batch",
    ]
    assert len(waits) == 1


def test_a_contract_follows_its_market_and_is_marked_at_the_middle_of_that_markets_book(exchange: Exchange) -> None:
    spot = {
        "symbol": "BTCUSDT", "tick_size": "0.01", "lot_size": "0.0001", "minor_unit_decimals": None,
        "reference_price": "65000", "band_rate": "0.2", "is_demo": True, "status": "TRADING",
    }  # fmt: skip
    contract = spot | {"symbol": "BTC-PERP", "tick_size": "0.1", "lot_size": "0.001"}
    refused: tuple[int, dict[str, str], object] = (409, {}, {"code": 3038, "message": "orders are open", "data": {}})
    exchange.answers = [
        good([contract, spot]), good([]), good([{"price": "61000"}]),
        refused, good({"bids": [["61000.03", "1"]], "asks": [["61000.36", "1"]]}),
        good({"items": []}), good({"results": [{"code": 0}] * 32}),
    ]  # fmt: skip
    marked: list[makers.Marks] = []
    one = ApiClient(exchange.url, "demo-maker-1", "password")

    with one, pytest.MonkeyPatch.context() as patch:
        patch.setattr(makers, "TAKE_CHANCE_PERCENT", 0)
        fair = makers.Fair(one, random.Random(1))
        maker = makers.Maker(0, one, random.Random(1))
        markets = fair.step()
        maker.set_leverage(["BTC-PERP"])
        marked.append(fair.marks(markets))
        maker.play(markets)

    assert marked == [[("BTC-PERP", Decimal("61000.1"))]]
    prices = {market.symbol: ticks * market.tick_size for market, ticks in markets}
    assert 0 <= prices["BTCUSDT"] - prices["BTC-PERP"] < Decimal("0.1")
    assert ("PUT", "/api/v1/positions/BTC-PERP/leverage", "Bearer token-1") in exchange.asked
