"""Order messages over a connection: answered as they finish. Over the real server: `test_benchmark_road`."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from channels.db import database_sync_to_async
from django.contrib.auth import get_user_model
from rest_framework_simplejwt.tokens import AccessToken

from exchange.kernel.errors import DomainError
from marketdata.tests.feed_client import Client, run
from trading import api, order_entry
from trading.models import Order
from trading.services.requests import PlaceOrder
from trading.tests.road import make_instrument
from trading.tests.test_gathering import _road_emptied  # noqa: F401 -- a fixture

pytestmark = pytest.mark.django_db(transaction=True)

BUY = {"symbol": "BTCUSDT", "side": "buy", "type": "limit", "quantity": "0.001", "price": "50000"}
SLOW_PRICE = 49000
SECONDS = 60.0


@pytest.fixture
def alice(customer: Any) -> Any:
    make_instrument()
    return customer("alice", USDT=10_000).user


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Let orders at `SLOW_PRICE` wait until the event is set."""
    opened = threading.Event()
    at_work: list[int] = []
    place = api._place

    def slowly(owner_id: int, wanted: list[PlaceOrder]) -> list[Order | DomainError]:
        at_work.append(owner_id)
        try:
            if any(order.price == SLOW_PRICE for order in wanted):
                assert opened.wait(SECONDS)
            return place(owner_id, wanted)
        finally:
            at_work.pop()

    monkeypatch.setattr(api, "_place", slowly)
    yield opened
    opened.set()
    deadline = time.monotonic() + SECONDS
    while at_work:
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def signed_in(client: Client, user: Any) -> None:
    assert (await client.ask(action="auth", token=str(AccessToken.for_user(user))))["type"] == "authenticated"


async def say(client: Client, **message: Any) -> None:
    await client.wire.send_to(text_data=json.dumps(message))


def test_messages_are_answered_as_they_finish_and_beyond_the_most_in_flight_refused(alice, gate, monkeypatch) -> None:
    monkeypatch.setattr(order_entry, "IN_FLIGHT_MAX", 2)

    async def road() -> None:
        async with Client() as client:
            await signed_in(client, alice)
            await say(client, action="place", id="slow", **{**BUY, "price": str(SLOW_PRICE)})
            quick = await client.ask(action="place", id="quick", **BUY)
            await say(client, action="place", id="slow 2", **{**BUY, "price": str(SLOW_PRICE)})
            refused = await client.ask(action="place", id="one more", **BUY)
            pong = await client.ask(action="ping")
            gate.set()
            rest = [await client.next() for _ in range(2)]

            assert (quick["id"], quick["status"]) == ("quick", 201)
            assert (refused["id"], refused["status"], refused["code"]) == ("one more", 429, 3060)
            assert refused["retry_after"] == 1
            assert pong == {"type": "pong"}
            assert {(one["id"], one["status"]) for one in rest} == {("slow", 201), ("slow 2", 201)}
            assert (await client.ask(action="place", id=1, **BUY))["status"] == 201

    run(road())
    assert Order.objects.count() == 4


def test_an_order_whose_client_has_gone_is_placed_all_the_same_and_found_by_its_own_id(alice, gate) -> None:
    slow = {**BUY, "price": str(SLOW_PRICE), "client_order_id": "mine"}

    async def road() -> None:
        async with Client() as client:
            await signed_in(client, alice)
            await say(client, action="place", id=1, **slow)
            await client.ask(action="ping")
        gate.set()
        async with Client() as client:
            await signed_in(client, alice)
            answer = await client.ask(action="place", id=2, **slow)
            assert answer["status"] in (200, 201)
            again = await client.ask(action="place", id=3, **slow)
            assert (again["status"], again["data"]) == (200, answer["data"])

    run(road())
    assert [order.client_order_id for order in Order.objects.all()] == ["mine"]


def test_order_messages_need_an_id_and_somebody_who_is_signed_in_now(alice) -> None:
    async def road() -> None:
        async with Client(headers=[(b"accept-language", b"zh-hant")]) as client:
            stranger = await client.ask(action="place", id=1, **BUY)
            await signed_in(client, alice)
            nameless = await client.ask(action="place", **BUY)
            taken = await client.ask(action="place", id=2, **BUY)
            await database_sync_to_async(get_user_model().objects.filter(pk=alice.pk).update)(is_active=False)
            refused = await client.ask(action="place", id=3, **BUY)

            assert (stranger["type"], stranger["id"], stranger["status"], stranger["code"]) == ("result", 1, 401, 2001)
            assert stranger["message"].startswith("請先登入")
            assert (nameless["type"], nameless["code"]) == ("error", 5033)
            assert "id" in nameless["message"]
            assert taken["status"] == 201
            assert (refused["id"], refused["status"], refused["code"]) == (3, 401, 2003)

    run(road())
    assert Order.objects.count() == 1


def test_a_connection_that_sends_without_end_is_refused_before_anything_is_looked_up(alice, monkeypatch) -> None:
    monkeypatch.setattr(order_entry, "MESSAGES_PER_SECOND_MAX", 0)

    async def road() -> None:
        async with Client() as client:
            await signed_in(client, alice)
            refused = await client.ask(action="cancel_all", id=1)

            assert (refused["status"], refused["code"], refused["retry_after"]) == (429, 1007, 1)

    run(road())
