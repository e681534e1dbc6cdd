"""Orders by REST: placed, listed, matched, cancelled, reduced, in batches."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from exchange.api.tests.fixtures import Api
from exchange.observability import metrics
from trading import api as orders_api
from trading import selectors
from trading.models import Command, Order
from trading.tests.road import make_asset, make_instrument, run_worker_once

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]

BUY = {"symbol": "BTCUSDT", "side": "buy", "type": "limit", "quantity": "0.001", "price": "50000"}
SELL = {**BUY, "side": "sell"}


@pytest.fixture
def alice(api: Api, customer: Any) -> Api:
    make_instrument()
    return api.as_user(customer("alice", USDT=1000, BTC=1).user)


@pytest.fixture
def bob(api: Api, customer: Any, alice: Api) -> Api:
    return api.as_user(customer("bob", USDT=1000, BTC=1).user)


@pytest.fixture
def worker_answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let the worker work while a DELETE waits for it, as its process would."""

    def during_wait() -> None:
        waiting = selectors.wait_final

        def wait(owner_id: int, order_id: int, timeout_seconds: float) -> Order:
            run_worker_once()
            return waiting(owner_id, order_id, timeout_seconds)

        monkeypatch.setattr(selectors, "wait_final", wait)

    return during_wait


def test_an_accepted_order_is_new_and_durable(alice: Api) -> None:
    answer = alice.post("/orders", {**BUY, "client_order_id": "first.1", "time_in_force": "gtc"})

    assert (answer.status, answer.code, answer.body["message"]) == (201, 0, "success")
    data = answer.data
    created_at, updated_at = data.pop("created_at"), data.pop("updated_at")
    assert data == {
        "order_id": Order.objects.get().id,
        "symbol": "BTCUSDT",
        "side": "buy",
        "type": "limit",
        "time_in_force": "gtc",
        "quantity": "0.001",
        "quote_quantity": None,
        "price": "50000",
        "stop_price": None,
        "trigger_by": None,
        "display_quantity": None,
        "callback_rate": None,
        "activation_price": None,
        "post_only": False,
        "self_trade_prevention": "none",
        "expires_at": None,
        "triggered_at": None,
        "filled_quantity": "0",
        "avg_price": None,
        "fee": "0",
        "fee_asset": "USDT",
        "reduce_only": False,
        "close_position": False,
        "leverage": None,
        "intent": None,
        "reduce_quantity": None,
        "increase_quantity": None,
        "status": "new",
        "reason": "",
        "amend_refusal": "",
        "client_order_id": "first.1",
        "filled_at": None,
        "cancelled_at": None,
    }
    assert created_at == updated_at
    assert created_at.endswith("Z")
    assert len(created_at) == len("2025-05-18T10:30:00.123456Z")
    assert Command.objects.count() == 1


def test_a_match_shows_in_both_orders_with_role_and_fee(alice: Api, bob: Api) -> None:
    sell = bob.post("/orders", SELL).data["order_id"]
    buy = alice.post("/orders", {**BUY, "quantity": "0.002", "price": "50100"}).data["order_id"]
    run_worker_once()

    taker, maker = alice.get(f"/orders/{buy}").data, bob.get(f"/orders/{sell}").data

    assert (taker["status"], taker["filled_quantity"], taker["avg_price"]) == ("partial_filled", "0.001", "50000")
    assert (maker["status"], maker["filled_quantity"], maker["avg_price"]) == ("filled", "0.001", "50000")
    assert maker["filled_at"] == maker["trades"][0]["executed_at"]
    [bought], [sold] = taker["trades"], maker["trades"]
    assert bought == {**sold, "role": "taker"}
    assert (sold["role"], sold["fee"], sold["price"], sold["quantity"]) == ("maker", "0.01", "50000", "0.001")


def test_a_market_order_takes_what_is_there_and_ends(alice: Api, bob: Api) -> None:
    bob.post("/orders", SELL)
    order = {"symbol": "BTCUSDT", "side": "buy", "type": "market", "quantity": "0.002"}
    accepted = alice.post("/orders", order)
    run_worker_once()

    done = alice.get(f"/orders/{accepted.data['order_id']}").data

    assert (accepted.status, accepted.data["price"], accepted.data["time_in_force"]) == (201, None, "ioc")
    assert (done["status"], done["filled_quantity"]) == ("cancelled", "0.001")


def test_minor_units_go_in_and_out_as_integers_and_text_means_major_units(api: Api, customer: Any) -> None:
    make_instrument(
        "2330.TW",
        base=make_asset("2330", 0, "STOCK"),
        quote=make_asset("TWD", 2, "FIAT"),
        tick_size=Decimal("0.5"),
        lot_size=Decimal(1),
        min_notional=Decimal(100),
        reference_price=Decimal(600),
        minor_unit_decimals=2,
    )
    trader = api.as_user(customer("alice", TWD=100_000).user)
    order = {"symbol": "2330.TW", "side": "buy", "type": "limit"}

    whole = trader.post("/orders", {**order, "quantity": 10, "price": 60050})
    text = trader.post("/orders", {**order, "quantity": "10", "price": "600.50"})

    assert (whole.status, whole.data["price"], whole.data["quantity"]) == (201, 60050, 10)
    assert (text.status, text.data["price"], text.data["quantity"]) == (201, 60050, 10)
    assert {order.price for order in Order.objects.all()} == {Decimal("600.5")}


def test_orders_are_listed_newest_first_page_by_page(alice: Api) -> None:
    placed = [alice.post("/orders", BUY).data["order_id"] for _ in range(5)]

    first = alice.get("/orders?limit=2").data
    second = alice.get(f"/orders?limit=2&cursor={first['next_cursor']}").data
    alice.post("/orders", BUY)
    third = alice.get(f"/orders?limit=2&cursor={second['next_cursor']}").data

    pages = [[item["order_id"] for item in found["items"]] for found in (first, second, third)]
    assert pages == [[placed[4], placed[3]], [placed[2], placed[1]], [placed[0]]]
    assert third["next_cursor"] is None


def test_orders_are_filtered_by_symbol_and_status(alice: Api) -> None:
    make_instrument("ETHUSDT", base=make_asset("ETH", 8), reference_price=Decimal(3000))
    here = alice.post("/orders", BUY).data["order_id"]
    there = alice.post("/orders", {**BUY, "symbol": "ETHUSDT", "price": "3000", "quantity": "0.01"}).data["order_id"]
    ended = alice.post("/orders", {**BUY, "time_in_force": "ioc"}).data["order_id"]
    run_worker_once()

    def ids(query: str) -> list[int]:
        return [item["order_id"] for item in alice.get(f"/orders?{query}").data["items"]]

    assert ids("symbol=BTCUSDT") == [ended, here]
    assert ids("status=open") == [there, here]
    assert ids("status=cancelled&symbol=BTCUSDT") == [ended]
    assert ids("status=filled") == []


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("status=lost", 400, 1004),
        ("limit=0", 400, 1004),
        ("limit=201", 400, 1004),
        ("limit=x", 400, 1004),
        ("page=2", 400, 1004),
        ("cursor=x", 400, 1008),
        ("symbol=NONE", 404, 5001),
    ],
)
def test_a_faulty_filter_is_refused(alice: Api, query: str, status: int, code: int) -> None:
    answer = alice.get(f"/orders?{query}")

    assert (answer.status, answer.code) == (status, code)


def test_a_cancel_waits_for_the_engine_and_gives_the_funds_back(alice: Api, worker_answers: Any) -> None:
    order_id = alice.post("/orders", BUY).data["order_id"]
    run_worker_once()
    worker_answers()

    answer = alice.delete(f"/orders/{order_id}")

    assert (answer.status, answer.code, answer.body["message"]) == (200, 0, "order cancelled")
    order = Order.objects.get()
    assert answer.data["order_id"] == order_id
    assert answer.data["status"] == "cancelled"
    assert answer.data["cancelled_at"] == alice.get(f"/orders/{order_id}").data["cancelled_at"] is not None
    assert order.hold_remaining == 0
    [usdt] = [item for item in alice.get("/account").data["balances"] if item["asset"] == "USDT"]
    assert (usdt["balance"], usdt["frozen_balance"]) == ("1000", "0")


def test_a_cancel_that_the_engine_has_not_answered_is_pending(alice: Api, monkeypatch: Any) -> None:
    monkeypatch.setattr(orders_api, "CANCEL_WAIT_S", 0.0)
    order_id = alice.post("/orders", BUY).data["order_id"]

    answers = [alice.delete(f"/orders/{order_id}") for _ in range(2)]

    assert [(answer.status, answer.code, answer.data["status"]) for answer in answers] == [(202, 0, "new")] * 2
    assert Command.objects.count() == 2, "one place, one cancel, however often it is asked for"


def test_a_cancel_that_comes_too_late_shows_the_order_as_it_ended(alice: Api, bob: Api, worker_answers: Any) -> None:
    bob.post("/orders", SELL)
    order_id = alice.post("/orders", BUY).data["order_id"]
    worker_answers()

    answer = alice.delete(f"/orders/{order_id}")

    assert (answer.status, answer.code, answer.error) == (409, 3002, "ORDER_NOT_OPEN")
    assert (answer.data["order_id"], answer.data["status"], answer.data["filled_quantity"]) == (
        order_id,
        "filled",
        "0.001",
    )


def test_all_open_orders_are_cancelled_on_one_instrument_or_on_all(alice: Api) -> None:
    make_instrument("ETHUSDT", base=make_asset("ETH", 8), reference_price=Decimal(3000))
    for _ in range(3):
        alice.post("/orders", BUY)
    alice.post("/orders", {**BUY, "symbol": "ETHUSDT", "price": "3000", "quantity": "0.01"})
    run_worker_once()

    here = alice.delete("/orders?symbol=BTCUSDT")
    everywhere = alice.delete("/orders")
    run_worker_once()

    assert (here.status, here.data, everywhere.data) == (200, {"count": 3}, {"count": 1})
    assert alice.get("/orders?status=open").data["items"] == []


def test_a_reduced_order_holds_less(alice: Api) -> None:
    order_id = alice.post("/orders", {**BUY, "quantity": "0.003"}).data["order_id"]
    run_worker_once()

    answer = alice.post(f"/orders/{order_id}/reduce", {"quantity": "0.001"})
    run_worker_once()

    assert (answer.status, answer.code) == (202, 0)
    order = alice.get(f"/orders/{order_id}").data
    assert (order["status"], order["quantity"]) == ("new", "0.002")


def test_a_batch_gives_each_order_its_own_result(alice: Api) -> None:
    answer = alice.post(
        "/orders/batch",
        {
            "orders": [
                BUY,
                {**BUY, "price": "50000.001"},
                {**BUY, "quantity": "1"},
                {"symbol": "BTCUSDT"},
                "not an order",
                {**BUY, "symbol": "NONE"},
                {**BUY, "client_order_id": "one"},
                {**BUY, "client_order_id": "one", "price": "50001"},
            ]
        },
    )

    assert answer.status == 200
    results = answer.data["results"]
    assert [result["code"] for result in results] == [0, 5010, 6005, 1004, 1004, 5001, 0, 3003]
    assert results[0]["data"]["status"] == "new"
    assert results[1]["data"]["error"] == "PRICE_OFF_TICK"
    assert set(results[3]["data"]["fields"]) == {"side", "type", "quantity"}
    assert Order.objects.filter(status="new").count() == 2
    assert Order.objects.filter(status="rejected").count() == 1


@pytest.mark.parametrize(
    "body", [{}, {"orders": []}, {"orders": [BUY] * 51}, {"orders": BUY}, {"orders": [BUY], "x": 1}]
)
def test_a_faulty_batch_places_nothing(alice: Api, body: dict[str, Any]) -> None:
    answer = alice.post("/orders/batch", body)

    assert (answer.status, answer.code) == (400, 1004)
    assert not Order.objects.exists()


def test_orders_in_a_batch_compete_for_the_same_funds_in_their_order(alice: Api) -> None:
    big = {**BUY, "quantity": "0.012"}

    answer = alice.post("/orders/batch", {"orders": [big, big, BUY]})

    assert [result["code"] for result in answer.data["results"]] == [0, 6005, 0]


def test_words_come_in_the_callers_language(alice: Api) -> None:
    faulty = alice.post("/orders", {**BUY, "side": "hold", "symbl": 1}, accept_language="zh-TW")
    refused = alice.post("/orders", {**BUY, "price": "50000.001"}, accept_language="zh-Hant")

    assert faulty.headers["Content-Language"] == "zh-hant"
    assert (faulty.error, faulty.data["fields"]["symbl"]) == ("INVALID_FIELDS", ["未知的欄位。"])
    assert refused.error == "PRICE_OFF_TICK"
    assert "50000.001" in refused.body["message"]
    assert refused.body["message"] != alice.post("/orders", {**BUY, "price": "50000.001"}).body["message"]


def test_a_cancel_is_confirmed_in_the_callers_language(alice: Api, worker_answers: Any) -> None:
    order_id = alice.post("/orders", BUY).data["order_id"]
    worker_answers()

    answer = alice.delete(f"/orders/{order_id}", accept_language="zh-TW")

    assert (answer.status, answer.body["message"]) == (200, "訂單已撤銷")


def test_received_orders_are_counted_by_instrument_and_made_up_symbols_together(alice: Api) -> None:
    def counted(symbol: str) -> float:
        return metrics.REGISTRY.get_sample_value("exchange_orders_received_total", {"symbol": symbol}) or 0.0

    before = counted("BTCUSDT"), counted("unknown")

    alice.post("/orders", BUY)
    alice.post("/orders", {**BUY, "side": "hold"})
    alice.post("/orders/batch", {"orders": [BUY, {"symbol": "MADEUP"}, 5]})

    assert (counted("BTCUSDT"), counted("unknown")) == (before[0] + 3, before[1] + 2)
    assert counted("MADEUP") == 0


def test_a_stop_limit_order_waits_and_shows_its_terms(alice: Api, bob: Api) -> None:
    terms = {
        "type": "stop_limit",
        "price": "50100",
        "stop_price": "50050",
        "time_in_force": "gtd",
        "expires_at": "2099-01-01T08:00:00+08:00",
        "display_quantity": "0.0005",
        "self_trade_prevention": "cancel_taker",
    }

    order = alice.post("/orders", {**BUY, "quantity": "0.0010", **terms})
    run_worker_once()

    assert order.status == 201
    shown = alice.get(f"/orders/{order.data['order_id']}").data
    assert shown["status"] == "untriggered"
    assert {name: shown[name] for name in terms} == {**terms, "expires_at": "2099-01-01T00:00:00.000000Z"}
    assert [item["order_id"] for item in alice.get("/orders?status=open").data["items"]] == [shown["order_id"]]
    assert alice.delete(f"/orders/{shown['order_id']}").status in {200, 202}


def test_a_retry_with_other_terms_is_another_order(alice: Api) -> None:
    body = {**BUY, "client_order_id": "once", "post_only": True}

    assert alice.post("/orders", body).status == 201
    assert alice.post("/orders", body).status == 200
    assert alice.post("/orders", {**body, "post_only": False}).error == "DUPLICATE_CLIENT_ORDER_ID"


def test_an_amend_is_pending_until_the_engine_answers(alice: Api) -> None:
    order_id = alice.post("/orders", BUY).data["order_id"]
    run_worker_once()

    answer = alice.put(f"/orders/{order_id}", {"price": "49000", "quantity": "0.002"})
    again = alice.put(f"/orders/{order_id}", {"price": "48000"})
    run_worker_once()

    assert (answer.status, answer.body["message"]) == (202, "amend pending")
    assert (again.status, again.error) == (409, "AMEND_PENDING")
    shown = alice.get(f"/orders/{order_id}").data
    assert (shown["price"], shown["quantity"], shown["status"]) == ("49000", "0.002", "new")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "AMEND_EMPTY"),
        ({"price": "50000"}, "AMEND_EMPTY"),
        ({"price": "50000.001"}, "PRICE_OFF_TICK"),
        ({"price": 50000}, "NUMBER_FORMAT"),
        ({"quantity": "0.00015"}, "QUANTITY_OFF_LOT"),
        ({"price": "10"}, "PRICE_OUTSIDE_BAND"),
        ({"quantity": "5000"}, "INSUFFICIENT_FUNDS"),
        ({"side": "sell"}, "INVALID_FIELDS"),
    ],
)
def test_a_faulty_amend_changes_nothing(alice: Api, body: dict[str, Any], error: str) -> None:
    order_id = alice.post("/orders", BUY).data["order_id"]
    run_worker_once()
    before = alice.get(f"/orders/{order_id}").data

    assert alice.put(f"/orders/{order_id}", body).error == error

    assert alice.get(f"/orders/{order_id}").data == before
    assert Command.objects.count() == 1


def test_another_traders_order_cannot_be_amended(alice: Api, bob: Api) -> None:
    order_id = alice.post("/orders", BUY).data["order_id"]

    assert bob.put(f"/orders/{order_id}", {"price": "49000"}).status == 404
