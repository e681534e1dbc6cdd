"""Private events: stored with the change, dense per trader, pushed only after commit."""

import json
import re

import pytest
import redis
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import IntegrityError, transaction

from exchange import database
from exchange.kernel.clock import utc_now
from ledger.models import Gate
from marketdata import feed
from trading import private_stream
from trading.models import PrivateChannel, PrivateEvent
from trading.services import private_events

pytestmark = pytest.mark.django_db

ORDERS, FILLS = PrivateChannel.ORDERS, PrivateChannel.FILLS


def test_facts_are_numbered_per_trader_in_the_order_given(customer) -> None:
    alice, bob = customer("alice"), customer("bob")

    first = private_events.append([(alice.id, ORDERS, {"n": 1}), (bob.id, ORDERS, {"n": 2})], now=utc_now())
    second = private_events.append(
        [(alice.id, FILLS, {"n": 3}), (bob.id, FILLS, {"n": 4}), (alice.id, ORDERS, {"n": 5})], now=utc_now()
    )

    assert first.before() == {alice.id: 0, bob.id: 0}
    assert second.before() == {alice.id: 1, bob.id: 1}
    rows = PrivateEvent.objects.filter(user_id=alice.id).order_by("sequence")
    assert [(row.sequence, row.channel, row.payload) for row in rows] == [
        (1, "orders", {"n": 1}),
        (2, "fills", {"n": 3}),
        (3, "orders", {"n": 5}),
    ]
    assert Gate.objects.get(owner_id=bob.id).event_sequence == 2


def test_facts_reach_the_traders_connections_after_commit_and_not_before(
    customer, django_capture_on_commit_callbacks
) -> None:
    alice = customer("alice")
    layer = get_channel_layer()

    async def received() -> dict[str, object]:
        channel = await layer.new_channel()
        await layer.group_add(private_events.group(alice.id), channel)
        await push()
        message = await layer.receive(channel)
        await layer.flush()
        return message

    facts = [(alice.id, ORDERS, {"order_id": 1}), (alice.id, FILLS, {"trade_id": 2})]
    with django_capture_on_commit_callbacks() as callbacks, transaction.atomic():
        private_events.push_on_commit(private_events.append(facts, now=utc_now()))
    [callback] = callbacks

    async def push() -> None:
        callback()

    assert async_to_sync(received)() == {
        "type": "private.events",
        "events": [
            {"sequence": 1, "channel": "orders", "payload": b'{"order_id":1}'},
            {"sequence": 2, "channel": "fills", "payload": b'{"trade_id":2}'},
        ],
    }


def test_an_absent_redis_is_logged_and_stops_nothing(customer, settings, caplog: pytest.LogCaptureFixture) -> None:
    settings.REDIS_URL = "unix:///nowhere/redis.sock?db=0"
    private_events._redis.cache_clear()
    try:
        private_events._push({1: [{"sequence": 1, "channel": "orders", "payload": b"{}"}]})
    finally:
        private_events._redis.cache_clear()

    assert "push_failed" in caplog.text


def test_pushes_wait_for_no_reply_and_outlive_a_lost_connection(customer) -> None:
    watching = redis.Redis.from_url(settings.REDIS_URL)
    heard = watching.pubsub(ignore_subscribe_messages=True)
    prefix = settings.CHANNEL_LAYERS["default"]["CONFIG"]["prefix"]  # type: ignore[index]
    heard.subscribe(feed.layer_channel(prefix, private_events.group(7)))
    heard.get_message(timeout=5)
    private_events._redis.cache_clear()

    private_events._push(_one_event())
    [used] = private_events._redis()._available_connections
    assert heard.get_message(timeout=5) is not None
    is_silent = not used.can_read(timeout=0.05)
    watching.client_kill_filter(_id=_publisher(watching))
    private_events._push(_one_event())

    assert is_silent
    assert heard.get_message(timeout=5) is not None
    heard.close()
    watching.close()


def _one_event() -> dict[int, list[dict[str, object]]]:
    """Return what is pushed to one trader."""
    return {7: [{"sequence": 1, "channel": "orders", "payload": b"{}"}]}


def _publisher(watching: redis.Redis) -> str:
    """Return the server's number of the client that publishes."""
    return next(one["id"] for one in watching.client_list() if one["cmd"] == "publish")


def test_nothing_is_written_for_no_facts(django_assert_num_queries) -> None:
    with django_assert_num_queries(0):
        assert private_events.append([], now=utc_now()).before() == {}
        private_events.push_on_commit(private_events.Stored())


def test_what_a_trader_is_told_at_once_is_one_message_which_may_be_read_from_its_middle(customer) -> None:
    alice = customer("alice")

    private_events.append([(alice.id, ORDERS, {"n": 1}), (alice.id, FILLS, {"n": 2})], now=utc_now())
    private_events.append([(alice.id, FILLS, {"n": 3}), (alice.id, ORDERS, {"n": 4})], now=utc_now())

    [rows] = database.fetch(("SELECT sequence, channels FROM private_messages ORDER BY sequence", ()))
    assert rows == [(2, ["orders", "fills"]), (4, ["fills", "orders"])]
    assert private_stream.bounds(alice.id) == (1, 4)
    assert private_stream.after(alice.id, 1, 2) == [(2, "fills", {"n": 2}), (3, "fills", {"n": 3})]
    assert private_stream.after(alice.id, 3, 2) == [(4, "orders", {"n": 4})]


def test_the_bounds_of_a_stream_are_found_at_its_ends(customer) -> None:
    alice = customer("alice")
    for n in range(50):
        private_events.append([(alice.id, ORDERS, {"n": n})], now=utc_now())

    database.execute("SET LOCAL enable_seqscan = off")  # as for the online roles
    [[(plan,)]] = database.fetch(
        (f"EXPLAIN (ANALYZE, FORMAT JSON) {private_stream._BOUNDS}".replace("%s", str(alice.id)), ())
    )

    assert private_stream.bounds(alice.id) == (1, 50)
    assert max(map(float, re.findall(r'"Actual Rows": ([\d.]+)', json.dumps(plan)))) == 1


@pytest.mark.parametrize(
    ("channels", "payloads", "refused_by"),
    [
        (["orders"], "no JSON", "private_messages_payloads_are_json"),
        (["orders"], "{}", "private_messages_payloads_are_json"),
        (["gossip"], "[{}]", "private_messages_known_channels"),
        ([], "[]", "private_messages_known_channels"),
    ],
)
def test_the_database_refuses_messages_that_cannot_be_read(channels, payloads, refused_by) -> None:
    with pytest.raises(IntegrityError, match=refused_by):
        database.execute(
            "INSERT INTO private_messages VALUES (1, 1000, %s::text[], %s, %s)", channels, payloads, utc_now()
        )
