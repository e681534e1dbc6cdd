"""Domain events: dense in commit order, relayed once, consumed once, whatever comes again."""

from decimal import Decimal
from pathlib import Path

import orjson
import psycopg
import pytest
import redis
from django.conf import settings
from django.db import connection, transaction

from exchange.kernel.clock import utc_now
from exchange.kernel.errors import InvariantViolationError
from ledger.transfers.models import Notice
from trading.events import consumers, relay
from trading.events.notices import NOTICES
from trading.models import Outbox
from trading.services import outbox
from trading.tests.contracts import desk, make_contract

pytestmark = pytest.mark.django_db


@pytest.fixture
def stream():
    """The run's own Redis."""
    client = redis.Redis.from_url(settings.REDIS_URL)
    yield client
    client.close()


def tell(*numbers: int) -> None:
    outbox.store([("test", str(number), "Told", {"number": number}) for number in numbers], utc_now())


def entries(stream) -> list[tuple[str, str]]:
    return [(name.decode(), fields[b"aggregateid"].decode()) for name, fields in stream.xrange(relay.STREAM)]


def test_ids_are_dense_and_what_is_rolled_back_leaves_no_gap() -> None:
    tell(1)
    with transaction.atomic():
        tell(2)
        transaction.set_rollback(True)
    tell(3, 4)

    assert list(Outbox.objects.order_by("id").values_list("id", "aggregateid")) == [(1, "1"), (2, "3"), (3, "4")]


def test_nobody_gets_an_id_before_whoever_got_the_last_one_has_committed() -> None:
    tell(1)
    parameters = connection.get_connection_params() | {"cursor_factory": psycopg.Cursor}
    with psycopg.connect(**parameters) as other:
        other.execute("SET LOCAL lock_timeout = '100ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            other.execute("SELECT store_outbox(ARRAY['test'], ARRAY['2'], ARRAY['Told'], ARRAY['{}'], now())")


def test_events_are_relayed_in_order_with_their_ids_and_not_twice(stream) -> None:
    tell(7, 8, 9)

    assert relay.relay(stream, now=utc_now()) == 3
    assert relay.relay(stream, now=utc_now()) == 0
    assert entries(stream) == [("1-0", "7"), ("2-0", "8"), ("3-0", "9")]


def test_a_batch_that_was_half_sent_is_sent_again_without_doubles(stream) -> None:
    tell(7, 8)
    first = relay.stored(0, 1)[0]
    stream.xadd(relay.STREAM, first.fields(), id="1-0")

    relay.relay(stream, now=utc_now())

    assert entries(stream) == [("1-0", "7"), ("2-0", "8")]


def test_a_stream_that_tells_of_another_history_stops_the_relay(stream) -> None:
    tell(7)
    stream.xadd(relay.STREAM, relay.stored(0, 1)[0]._replace(key="other").fields(), id="1-0")

    with pytest.raises(InvariantViolationError, match="another event 1"):
        relay.relay(stream, now=utc_now())


def test_an_emptied_redis_goes_on_and_consumers_read_what_it_lost_from_the_outbox(stream) -> None:
    seen: list[str] = []
    consumer = consumers.Consumer("test", frozenset({"Told"}), lambda events, _: seen.extend(e.key for e in events))
    tell(1, 2)
    relay.relay(stream, now=utc_now())
    stream.flushdb()
    tell(3)
    relay.relay(stream, now=utc_now())

    assert entries(stream) == [("3-0", "3")]
    while consumers.consume(consumer, stream, now=utc_now()):
        pass
    assert seen == ["1", "2", "3"]


@pytest.mark.parametrize("consumer", consumers.CONSUMERS, ids=lambda consumer: consumer.name)
def test_what_is_delivered_again_to_a_consumer_changes_nothing(
    customer, tmp_path: Path, stream, consumer: consumers.Consumer
) -> None:
    alice, maker = customer("alice", USDT=200), customer("maker", USDT=1_000_000)
    make_contract()
    with desk(tmp_path) as at:
        at.trade(alice, maker, 10, 100)
        at.order(alice, "sell", 10, 180)
        at.settle()
        at.order(alice, "sell", 10, 100)
        at.order(maker, "buy", 10, 100)
        at.settle()
    while relay.relay(stream, now=utc_now()):
        pass
    events = relay.stored(0, 1000)

    assert consumers.deliver(consumer, events, now=utc_now()) > 0
    after_once = Notice.objects.count()
    assert consumers.deliver(consumer, events, now=utc_now()) == 0
    assert consumers.consume(consumer, stream, now=utc_now()) == len(events)

    assert Notice.objects.count() == after_once


def test_traders_are_told_when_an_order_closes_what_it_was_to_open_and_robs_another(customer, tmp_path: Path) -> None:
    alice, maker = customer("alice", USDT=200), customer("maker", USDT=1_000_000)
    make_contract()
    with desk(tmp_path) as at:
        at.trade(alice, maker, 10, 100)
        robbed = at.order(alice, "sell", 10, 180)
        at.settle()
        at.order(alice, "sell", 10, 100)
        at.order(maker, "buy", 10, 100)
        at.settle()

    consumers.deliver(NOTICES, relay.stored(0, 1000), now=utc_now())

    told = {notice.kind: notice.data for notice in Notice.objects.filter(owner_id=alice.id)}
    assert set(told) == {"POSITION_CLOSED_INSTEAD", "RESERVATION_HELD"}
    assert told["RESERVATION_HELD"]["order_id"] == str(robbed.id)
    assert Decimal(told["RESERVATION_HELD"]["held"]) == 180


def test_every_event_of_a_road_is_in_the_published_list(customer, tmp_path: Path) -> None:
    alice, maker = customer("alice", USDT=2000), customer("maker", USDT=1_000_000)
    make_contract()
    with desk(tmp_path) as at:
        at.trade(alice, maker, 10, 100)
        at.trade(maker, alice, 15, 100)
    text = (Path(relay.__file__).parent / "EVENTS.md").read_text()

    for event in relay.stored(0, 1000):
        assert f"| `{event.type}` |" in text
        for name in orjson.loads(event.payload):
            assert f"`{name}`" in text, (event.type, name)
