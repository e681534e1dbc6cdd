"""An order message is the REST call that it names: same data, codes, words, limits and sign-in."""

import json
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from django.conf import settings as configured
from django.contrib.auth import get_user_model
from django.test import Client as Browser
from rest_framework_simplejwt.tokens import AccessToken

from exchange.api import throttling
from exchange.api.tests.fixtures import Answer, Api, check_against_document
from trading import order_entry, selectors
from trading.models import Command, Order
from trading.order_entry import CALLS, Caller
from trading.tests.road import make_instrument, run_worker_once

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]

BUY = {"symbol": "BTCUSDT", "side": "buy", "type": "limit", "quantity": "0.001", "price": "50000"}
ADDRESS = "10.255.0.1"


@pytest.fixture
def alice(customer: Any) -> Any:
    make_instrument()
    return customer("alice", USDT=1000, BTC=1).user


@pytest.fixture
def worker_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the worker work while a cancel or an amend waits for it, as its process would."""
    for name in ("wait_final", "wait_amended"):
        waiting = getattr(selectors, name)

        def wait(*words: Any, waiting: Any = waiting) -> Order:
            run_worker_once()
            return waiting(*words)

        monkeypatch.setattr(selectors, name, wait)


def caller(user: Any, *, token: str | None = "", session: str | None = None, language: str = "en") -> Caller:
    """Return who asks; an empty token stands for a fresh one."""
    shown = str(AccessToken.for_user(user)) if token == "" else token
    scope = {"headers": [(b"host", b"testserver"), (b"cookie", b"a=b")], "client": [ADDRESS, 1]}
    return Caller(scope, user.pk, shown, session, language)


def send(who: Caller, action: str, **fields: Any) -> dict[str, Any]:
    """Send a message, and hold its answer against the document of REST."""
    message = {"action": action, "id": 7, **fields}
    result = json.loads(order_entry._carry_out(who, message))
    assert (result["type"], result["action"], result["id"]) == ("result", action, 7)
    assert len(result["trace_id"]) >= 16
    call = CALLS[action]
    path = f"{call.path}/1" if call.is_of_order else call.path
    body = {name: result[name] for name in ("code", "message", "data")}
    check_against_document(call.method, path.removeprefix("/api/v1"), Answer(result["status"], body, {}))
    return result


@pytest.mark.usefixtures("worker_answers")
def test_an_order_is_placed_amended_and_cancelled_with_the_answers_of_rest(alice: Any) -> None:
    who = caller(alice)

    placed = send(who, "place", **BUY, client_order_id="first.1")
    repeated = send(who, "place", **BUY, client_order_id="first.1")
    order_id = placed["data"]["order_id"]
    amended = send(who, "amend", order_id=order_id, price="49000")
    cancelled = send(who, "cancel", order_id=order_id)
    ended = send(who, "cancel", order_id=order_id)

    assert (placed["status"], placed["code"], placed["message"]) == (201, 0, "success")
    assert (repeated["status"], repeated["data"]) == (200, placed["data"])
    assert (amended["status"], amended["message"], amended["data"]["price"]) == (200, "order amended", "49000")
    assert (cancelled["status"], cancelled["message"]) == (200, "order cancelled")
    assert cancelled["data"]["status"] == "cancelled"
    assert (ended["status"], ended["data"]["error"], ended["data"]["status"]) == (409, "ORDER_NOT_OPEN", "cancelled")
    assert Order.objects.count() == 1


def test_a_batch_has_a_result_for_each_order_and_all_are_cancelled_at_once(alice: Any) -> None:
    who = caller(alice)

    batch = send(who, "place_batch", orders=[BUY, {**BUY, "side": "up"}, {**BUY, "price": "40000"}])
    run_worker_once()
    elsewhere = send(who, "cancel_all", symbol="NOPE")
    swept = send(who, "cancel_all", symbol="BTCUSDT")

    assert [item["code"] for item in batch["data"]["results"]] == [0, 1004, 0]
    assert elsewhere["status"] == 404
    assert (swept["status"], swept["data"]) == (200, {"count": 2})


@pytest.mark.parametrize(
    ("action", "fields", "method", "path", "body"),
    [
        ("place", {**BUY, "price": "50000.001"}, "POST", "/orders", {**BUY, "price": "50000.001"}),
        ("place", {**BUY, "price": 1.5, "x": 1}, "POST", "/orders", {**BUY, "price": 1.5, "x": 1}),
        ("place", {**BUY, "quantity": 10**30}, "POST", "/orders", {**BUY, "quantity": 10**30}),
        ("place", {**BUY, "quantity": "10"}, "POST", "/orders", {**BUY, "quantity": "10"}),
        ("place_batch", {"orders": []}, "POST", "/orders/batch", {"orders": []}),
        ("place_batch", {"orders": [BUY] * 51}, "POST", "/orders/batch", {"orders": [BUY] * 51}),
        ("amend", {"order_id": 1, "price": "1"}, "PUT", "/orders/1", {"price": "1"}),
        ("amend", {"order_id": 1}, "PUT", "/orders/1", {}),
        ("cancel", {"order_id": 10**25}, "DELETE", f"/orders/{10**25}", None),
        ("cancel_all", {"symbol": "NOPE"}, "DELETE", "/orders?symbol=NOPE", None),
        ("cancel_all", {"side": "buy"}, "DELETE", "/orders?side=buy", None),
    ],
)
def test_a_refusal_has_the_code_the_data_and_the_words_of_rest_in_the_callers_language(
    alice: Any, api: Api, action: str, fields: dict[str, Any], method: str, path: str, body: Any
) -> None:
    rest = api.as_user(alice).send(method, path, body, headers={"accept-language": "zh-hant"})
    result = send(caller(alice, language="zh-hant"), action, **fields)

    told = {name: result[name] for name in ("code", "message", "data")}
    for answer in (told, rest.body):
        answer["data"].pop("order_id", None)  # an order that is stored as rejected has an id of its own
    assert (result["status"], told) == (rest.status, rest.body)


@pytest.mark.parametrize("order_id", [None, "1", True, -1, 1.0])
def test_an_order_id_is_an_integer(alice: Any, order_id: Any) -> None:
    for action in ("cancel", "amend"):
        refused = send(caller(alice), action, order_id=order_id)

        assert (refused["status"], refused["code"], list(refused["data"]["fields"])) == (400, 1004, ["order_id"])


def test_a_field_that_a_cancel_does_not_have_is_refused(alice: Any) -> None:
    who = caller(alice)
    placed = send(who, "place", **BUY)

    for refused in (
        send(who, "cancel", order_id=placed["data"]["order_id"], symbol="BTCUSDT"),
        send(who, "cancel_all", symbol=None),
    ):
        assert (refused["status"], list(refused["data"]["fields"])) == (400, ["symbol"])
    assert Command.objects.count() == 1


def test_messages_and_rest_calls_count_against_one_limit_of_the_user(
    alice: Any, api: Api, settings, monkeypatch
) -> None:
    monkeypatch.setattr(throttling, "SECOND", 600)
    settings.REQUESTS_PER_SECOND_AND_USER = 2
    rest = api.as_user(alice)

    assert rest.post("/orders", BUY).status == 201
    assert send(caller(alice), "place", **BUY)["status"] == 201
    over = send(caller(alice), "place", **BUY)

    assert (over["status"], over["code"]) == (429, 1007)
    assert over["retry_after"] == over["data"]["retry_after"] > 0
    assert rest.post("/orders", BUY).status == 429
    assert Order.objects.count() == 2


def test_messages_and_rest_calls_count_against_one_limit_of_the_address(
    alice: Any, api: Api, settings, monkeypatch
) -> None:
    monkeypatch.setattr(throttling, "SECOND", 600)
    settings.REQUESTS_PER_SECOND_AND_IP = 2
    rest = api.as_user(alice)
    rest.address = ADDRESS

    assert rest.post("/orders", BUY).status == 201
    assert send(caller(alice), "cancel", order_id="x")["status"] == 400
    assert send(caller(alice), "place", **BUY)["code"] == 1007
    assert rest.post("/orders", BUY).status == 429


def test_a_market_that_is_behind_refuses_new_orders_and_takes_cancels(alice: Any, settings) -> None:
    who = caller(alice)
    placed = send(who, "place", **BUY)
    settings.SHARD_LAG_MAX = 0

    refused = send(who, "place", **BUY)
    passed = send(who, "cancel_all")

    assert (refused["status"], refused["code"], refused["data"]["error"]) == (429, 3046, "SHARD_BUSY")
    assert refused["retry_after"] == refused["data"]["retry_after"]
    assert passed["status"] == 200
    assert placed["status"] == 201


def test_nobody_orders_with_a_token_that_has_run_out_or_whose_user_is_switched_off(alice: Any) -> None:
    old = AccessToken.for_user(alice)
    old.set_exp(lifetime=-timedelta(minutes=1))

    expired = send(caller(alice, token=str(old)), "place", **BUY)
    who = caller(alice)
    get_user_model().objects.filter(pk=alice.pk).update(is_active=False)
    switched_off = send(who, "place", **BUY)

    assert (expired["status"], expired["code"]) == (401, 2002)
    assert (switched_off["status"], switched_off["code"]) == (401, 2003)
    assert not Order.objects.exists()


def test_a_pages_session_orders_until_it_ends_or_is_anothers(alice: Any, customer: Any) -> None:
    browser = Browser()
    browser.force_login(alice)
    key = browser.session.session_key
    who = caller(alice, token=None, session=key)
    bob = customer("bob", USDT=1000).user

    taken = send(who, "place", **BUY)
    as_bob = send(caller(bob, token=None, session=key), "place", **BUY)
    import_module(configured.SESSION_ENGINE).SessionStore(key).delete()
    ended = send(who, "place", **BUY)

    assert taken["status"] == 201
    assert [(one["status"], one["code"]) for one in (as_bob, ended)] == [(401, 2001), (401, 2001)]
    assert [order.user_id for order in Order.objects.all()] == [alice.pk]


def test_a_trader_cannot_touch_anothers_order(alice: Any, customer: Any) -> None:
    placed = send(caller(alice), "place", **BUY)
    bob = caller(customer("bob", USDT=1000).user)

    for refused in (
        send(bob, "cancel", order_id=placed["data"]["order_id"]),
        send(bob, "amend", order_id=placed["data"]["order_id"], price="1"),
    ):
        assert refused["status"] == 404
    assert send(bob, "cancel_all")["data"] == {"count": 0}
    assert Command.objects.count() == 1


def test_a_fault_of_ours_is_an_answer_too_and_tells_nothing(alice: Any, monkeypatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("trading.services.gathering.submit", broken)

    failed = send(caller(alice), "place", **BUY)

    assert (failed["status"], failed["code"], failed["data"]) == (500, 9000, {"error": "INTERNAL_ERROR"})
