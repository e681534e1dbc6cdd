"""Amounts, mark prices, words of contracts and amends by REST: what is sent, what is answered, what a retry is."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from exchange.api.tests.fixtures import Api
from exchange.kernel.clock import utc_now
from trading import selectors
from trading.models import Command, Order
from trading.services import mark_price
from trading.services.mark_price import MarkPrice
from trading.tests.road import make_asset, make_instrument, run_worker_once

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]

SELL = {"symbol": "BTCUSDT", "side": "sell", "type": "limit", "quantity": "0.01", "price": "50000"}
SPEND = {"symbol": "BTCUSDT", "side": "buy", "type": "market", "quote_quantity": "100"}
STOP = {"symbol": "BTCUSDT", "side": "buy", "type": "stop_limit", "quantity": "0.001"} | {
    "price": "51100",
    "stop_price": "51000",
}


@pytest.fixture
def alice(api: Api, customer: Any) -> Api:
    make_instrument()
    return api.as_user(customer("alice", USDT=1000, BTC=1).user)


@pytest.fixture
def bob(api: Api, customer: Any, alice: Api) -> Api:
    return api.as_user(customer("bob", USDT=1000, BTC=1).user)


@pytest.fixture
def engine_answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let the worker work while a PUT waits for it, as its process would."""

    def during_wait() -> None:
        waiting = selectors.wait_amended

        def wait(owner_id: int, order_id: int, timeout_seconds: float) -> Order:
            run_worker_once()
            return waiting(owner_id, order_id, timeout_seconds)

        monkeypatch.setattr(selectors, "wait_amended", wait)

    return during_wait


def test_a_buy_by_amount_shows_the_amount_and_no_quantity(alice: Api, bob: Api) -> None:
    bob.post("/orders", SELL)

    accepted = alice.post("/orders", SPEND)
    run_worker_once()
    done = alice.get(f"/orders/{accepted.data['order_id']}").data

    assert accepted.status == 201
    for shown, filled, status in ((accepted.data, "0", "new"), (done, "0.0019", "filled")):
        assert (shown["quantity"], shown["quote_quantity"], shown["filled_quantity"]) == (None, "100", filled)
        assert (shown["status"], shown["price"]) == (status, None)
    assert (done["avg_price"], done["fee"], done["trades"][0]["role"]) == ("50000", "0.019", "taker")
    [listed] = alice.get("/orders").data["items"]
    assert (listed["quantity"], listed["quote_quantity"]) == (None, "100")


def test_an_amount_in_minor_units_is_an_integer_and_text_means_major_units(api: Api, customer: Any) -> None:
    make_instrument(
        "2330.TW",
        base=make_asset("2330", 0, "STOCK"),
        quote=make_asset("TWD", 2, "FIAT"),
        tick_size=Decimal(1),
        lot_size=Decimal(1),
        min_notional=Decimal(100),
        reference_price=Decimal(600),
        minor_unit_decimals=2,
    )
    maker = api.as_user(customer("bob", **{"2330": 100}).user)
    trader = api.as_user(customer("alice", TWD=100_000).user)
    maker.post("/orders", {"symbol": "2330.TW", "side": "sell", "type": "limit", "quantity": 50, "price": 60000})
    spend = {"symbol": "2330.TW", "side": "buy", "type": "market"}

    whole = trader.post("/orders", {**spend, "quote_quantity": 150_050})
    text = trader.post("/orders", {**spend, "quote_quantity": "1500.50"})
    fine = trader.post("/orders", {**spend, "quote_quantity": "1500.505"})
    run_worker_once()

    assert (whole.data["quote_quantity"], text.data["quote_quantity"]) == (150_050, 150_050)
    assert (fine.status, fine.error) == (422, "TOO_MANY_DECIMALS")
    assert [order.filled_quantity for order in Order.objects.filter(side="buy")] == [2, 2]


def test_a_retry_by_amount_is_told_from_another_amount(alice: Api) -> None:
    body = {**SPEND, "client_order_id": "once"}

    first, again = alice.post("/orders", body), alice.post("/orders", {**body, "quote_quantity": "100.00"})
    other = alice.post("/orders", {**body, "quote_quantity": "101"})

    assert (first.status, again.status, other.error) == (201, 200, "DUPLICATE_CLIENT_ORDER_ID")
    assert again.data == first.data
    run_worker_once()


def test_saying_what_goes_without_saying_is_no_other_order(alice: Api) -> None:
    mark_price.publish([MarkPrice("BTCUSDT", Decimal(50000))], now=utc_now())
    body = {**STOP, "client_order_id": "once"}

    first = alice.post("/orders", body)
    again = alice.post("/orders", {**body, "trigger_by": "last", "reduce_only": False, "close_position": False})
    other = alice.post("/orders", {**body, "trigger_by": "mark"})

    assert (first.status, again.status, other.error) == (201, 200, "DUPLICATE_CLIENT_ORDER_ID")
    assert first.data["trigger_by"] == "last"


def test_one_bad_amount_of_a_batch_stops_no_other(alice: Api) -> None:
    answer = alice.post("/orders/batch", {"orders": [SPEND, {**SPEND, "quantity": "0.01"}, {"symbol": "BTCUSDT"}]})

    [placed, twice, empty] = answer.data["results"]
    assert (placed["code"], placed["data"]["quote_quantity"]) == (0, "100")
    assert (twice["code"], empty["code"]) == (3019, 1004)
    assert set(empty["data"]["fields"]) == {"side", "type", "quantity"}
    run_worker_once()


def test_the_ticker_shows_the_mark_price_and_since_when(alice: Api) -> None:
    before = alice.get("/ticker/BTCUSDT").data
    now = utc_now()
    mark_price.publish([MarkPrice("BTCUSDT", Decimal("50010.5"))], now=now)

    after = alice.get("/ticker/BTCUSDT").data

    assert (before["mark_price"], before["marked_at"]) == (None, None)
    assert after["mark_price"] == "50010.5"
    assert after["marked_at"] == now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert after["last_price"] is None


def test_an_order_by_mark_price_shows_what_it_watches(alice: Api) -> None:
    mark_price.publish([MarkPrice("BTCUSDT", Decimal(50000))], now=utc_now())

    order = alice.post("/orders", {**STOP, "trigger_by": "mark"})
    run_worker_once()
    mark_price.publish([MarkPrice("BTCUSDT", Decimal(51000))], now=utc_now())
    run_worker_once()

    shown = alice.get(f"/orders/{order.data['order_id']}").data
    assert (order.data["trigger_by"], order.data["status"]) == ("mark", "new")
    assert (shown["status"], shown["triggered_at"] is not None) == ("new", True)


def test_a_waiting_order_is_amended_in_place(alice: Api, engine_answers: Callable[[], None]) -> None:
    order_id = alice.post("/orders", STOP).data["order_id"]
    run_worker_once()
    engine_answers()

    answer = alice.put(f"/orders/{order_id}", {"stop_price": "52000", "price": "52100", "quantity": "0.002"})

    assert (answer.status, answer.body["message"]) == (200, "order amended")
    shown = alice.get(f"/orders/{order_id}").data
    assert answer.data == {name: value for name, value in shown.items() if name != "trades"}
    assert (shown["stop_price"], shown["price"], shown["quantity"]) == ("52000", "52100", "0.002")
    assert (shown["status"], shown["amend_refusal"]) == ("untriggered", "")


def test_an_amend_that_the_market_overtook_says_so(alice: Api, bob: Api, engine_answers: Callable[[], None]) -> None:
    order_id = alice.post("/orders", STOP).data["order_id"]
    for side in ("sell", "buy"):
        bob.post("/orders", {**SELL, "side": side, "quantity": "0.001", "price": "51000"})
    engine_answers()

    answer = alice.put(f"/orders/{order_id}", {"stop_price": "52000", "price": "52100"})

    assert (answer.status, answer.code, answer.error) == (409, 3018, "AMEND_OVERTAKEN")
    again = alice.put(f"/orders/{order_id}", {"stop_price": "52000"})
    assert (again.status, again.code, again.error) == (409, 3025, "ORDER_TRIGGERED")


def test_an_amend_that_the_engine_refuses_says_why(alice: Api, bob: Api, engine_answers: Callable[[], None]) -> None:
    bob.post("/orders", SELL)
    body = {**SELL, "side": "buy", "quantity": "0.001", "price": "49000", "post_only": True}
    order_id = alice.post("/orders", body).data["order_id"]
    engine_answers()

    answer = alice.put(f"/orders/{order_id}", {"price": "50000"})

    assert (answer.status, answer.code, answer.data["reason"]) == (409, 3026, "POST_ONLY_WOULD_TAKE")
    shown = alice.get(f"/orders/{order_id}").data
    assert (shown["price"], shown["amend_refusal"]) == ("49000", "POST_ONLY_WOULD_TAKE")


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"stop_price": "51000"}, 422, "AMEND_EMPTY"),
        ({"stop_price": "51000.001"}, 422, "PRICE_OFF_TICK"),
        ({"stop_price": 52000}, 400, "NUMBER_FORMAT"),
        ({"stop_price": "70000"}, 422, "PRICE_OUTSIDE_BAND"),
        ({"stop_price": None}, 400, "INVALID_FIELDS"),
        ({"trigger_by": "mark"}, 400, "INVALID_FIELDS"),
        ({"quote_quantity": "100"}, 400, "INVALID_FIELDS"),
    ],
)
def test_a_faulty_amend_of_a_waiting_order_changes_nothing(
    alice: Api, body: dict[str, Any], status: int, error: str
) -> None:
    order_id = alice.post("/orders", STOP).data["order_id"]
    run_worker_once()
    before = alice.get(f"/orders/{order_id}").data

    answer = alice.put(f"/orders/{order_id}", body)

    assert (answer.status, answer.error) == (status, error)
    assert alice.get(f"/orders/{order_id}").data == before
    assert Command.objects.count() == 1
