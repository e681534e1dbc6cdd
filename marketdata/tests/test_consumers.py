import asyncio
import json
from decimal import Decimal

import numpy as np
import pytest
import redis
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.conf import settings

from exchange.asgi import application
from marketdata import books, consumers, feed, selectors
from marketdata.services import streams
from marketdata.services.publish import Publisher
from marketdata.tests import factories
from marketdata.tests.events import Flow, fill, rested
from marketdata.tests.feed_client import SECONDS, Client, run
from matching_worker.protocol import Side

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def market():
    """BTCUSDT with a publisher that has an empty book in Redis; ids follow the row's."""
    spec = selectors.spec_of(factories.bitcoin())
    publisher = Publisher(settings.REDIS_URL)
    publisher.reset([spec], {}, 0)
    assert publisher.flush(SECONDS)
    publisher.spec = spec  # type: ignore[attr-defined]
    yield publisher
    publisher.close()


def test_a_subscriber_gets_an_answer_with_its_id_and_then_the_trades(market) -> None:
    async def road() -> None:
        async with Client() as client:
            answer = await client.ask(action="subscribe", channels=["trade.BTCUSDT"], id=7)
            market.publish(fill(1, 1, Side.SELL, 6_000_001, 3, -1, instrument_id=market.spec.id))

            assert answer == {"type": "subscribed", "channels": ["trade.BTCUSDT"], "id": 7}
            assert await client.next() == {
                "type": "trade",
                "symbol": "BTCUSDT",
                "price": "60000.01",
                "quantity": "0.0003",
                "timestamp": 1772600767000,
                "trade_id": 1001,
                "side": "sell",
                "sequence": 1,
            }

    run(road())


def test_the_symbol_is_all_after_the_first_dot() -> None:
    factories.tsmc()

    async def road() -> None:
        async with Client() as client:
            for channel in ("trade.2330.TW", "kline.2330.TW.5m", "depth.2330.TW"):
                assert (await client.ask(action="subscribe", channels=[channel]))["channels"] == [channel]

    run(road())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_snapshot_and_deltas_over_the_websocket_give_the_mirrors_book(market, seed) -> None:
    async def road() -> None:
        flow = Flow(seed, instrument_id=market.spec.id)
        market.publish(flow.batch(100))
        async with Client() as client:
            await client.ask(action="subscribe", channels=["delta.BTCUSDT"])

            for _ in range(50):
                market.publish(flow.batch(flow.random.randint(1, 20)))
                await asyncio.sleep(0.001)
            assert await asyncio.to_thread(market.flush, SECONDS)
            sequence = market._mirror.books[market.spec.id].sequence
            messages = await client.next(), *(await client.until("delta", sequence=sequence))

        held, snapshots = replay(messages)
        assert held == as_wire(market.spec, flow)
        assert messages[0]["type"] == "snapshot"
        assert snapshots == 1

    run(road())


def replay(messages):
    """Apply snapshots and deltas as a client would; refuse a broken chain."""
    held: dict[str, dict]
    held, sequence, snapshots = {"buy": {}, "sell": {}}, None, 0
    for message in messages:
        if message["type"] == "snapshot":
            held = {"buy": dict(message["bids"]), "sell": dict(message["asks"])}
            snapshots += 1
        elif message["type"] == "delta":
            assert message["previous_sequence"] == sequence
            for change in message["changes"]:
                before = Decimal(held[change["side"]].pop(change["price"], 0))
                assert before + Decimal(change["qty"]) == Decimal(change["total"])
                if change["total"] != "0":
                    held[change["side"]][change["price"]] = change["total"]
        sequence = message["sequence"]
    return held, snapshots


def as_wire(spec, flow):
    return {
        name: {spec.wire_ticks(ticks): spec.wire_lots(lots) for ticks, lots in side.items()}
        for name, side in zip(("buy", "sell"), flow.sides, strict=True)
    }


def test_a_lost_delta_brings_a_fresh_snapshot_and_the_chain_goes_on(market) -> None:
    async def road() -> None:
        flow = Flow(9, instrument_id=market.spec.id)
        async with Client() as client:
            await client.ask(action="subscribe", channels=["delta.BTCUSDT"])
            messages = await client.until("snapshot", sequence=0)  # one made later could hold the batch already
            layer = get_channel_layer()
            market.publish(flow.batch(30))
            messages += await client.until("delta", sequence=30)
            await layer.group_discard("delta.BTCUSDT", next(iter(layer._get_layer().channels)))
            market.publish(flow.batch(1))
            assert await asyncio.to_thread(market.flush, SECONDS)
            await layer.group_add("delta.BTCUSDT", next(iter(layer._get_layer().channels)))

            market.publish(flow.batch(40))
            assert await asyncio.to_thread(market.flush, SECONDS)
            sequence = market._mirror.books[market.spec.id].sequence
            messages += await client.until("snapshot", sequence=sequence)
            market.publish(flow.batch(40))
            assert await asyncio.to_thread(market.flush, SECONDS)
            sequence = market._mirror.books[market.spec.id].sequence
            messages += await client.until("delta", sequence=sequence)

        held, snapshots = replay(messages)
        assert held == as_wire(market.spec, flow)
        assert snapshots == 2

    run(road())


def test_a_beat_alone_reveals_that_the_last_delta_was_lost(market, monkeypatch) -> None:
    async def road() -> None:
        async with Client() as client:
            await client.ask(action="subscribe", channels=["delta.BTCUSDT"])
            await client.until("snapshot", sequence=0)
            layer = get_channel_layer()
            name = next(iter(layer._get_layer().channels))
            await layer.group_discard("delta.BTCUSDT", name)
            market.publish(rested(1, Side.BUY, 100, 5, 5, instrument_id=market.spec.id))
            assert await asyncio.to_thread(market.flush, SECONDS)
            await layer.group_add("delta.BTCUSDT", name)

            [snapshot] = await client.until("snapshot")

            assert (snapshot["bids"], snapshot["sequence"]) == ([["1", "0.0005"]], 1)

    monkeypatch.setattr(streams, "BEAT_SECONDS", 0.05)
    run(road())


def test_a_restarted_publisher_makes_clients_take_a_snapshot(market) -> None:
    async def road() -> None:
        flow = Flow(10, instrument_id=market.spec.id)
        market.publish(flow.batch(50))
        async with Client() as client:
            await client.ask(action="subscribe", channels=["delta.BTCUSDT"])
            await client.until("snapshot")
            market.close()
            flow.batch(5)

            after = Publisher(settings.REDIS_URL, epoch=2)
            after.reset([market.spec], {market.spec.id: flow.levels()}, flow.sequence)
            messages = await client.until("snapshot", sequence=55)
            after.publish(flow.batch(1))
            messages += await client.until("delta", previous_sequence=55)
            after.close()

        held, _ = replay(messages)
        assert held == as_wire(market.spec, flow)

    run(road())


def test_older_epochs_and_repeated_sequences_are_dropped(market) -> None:
    def message(epoch: int, sequence: int, *texts: str):
        previous = sequence - len(texts)
        return feed.envelope("trade.BTCUSDT", epoch=epoch, previous=previous, sequence=sequence, texts=list(texts))

    async def road() -> None:
        async with Client() as client:
            await client.ask(action="subscribe", channels=["trade.BTCUSDT"])
            send = get_channel_layer().group_send
            await send("trade.BTCUSDT", message(5, 2, '{"n": 1}', '{"n": 2}'))
            await send("trade.BTCUSDT", message(4, 9, '{"n": 9}'))
            await send("trade.BTCUSDT", message(5, 2, '{"n": 2}'))
            await send("trade.BTCUSDT", message(5, 4, '{"n": 2}', '{"n": 3}', '{"n": 4}'))

            assert [(await client.next())["n"] for _ in range(4)] == [1, 2, 3, 4]
            assert await client.is_silent()

    run(road())


def test_depth_ticker_and_candles_begin_with_the_last_ones(market) -> None:
    market.publish(
        np.concatenate(
            [
                rested(1, Side.SELL, 101, 10, 10, instrument_id=market.spec.id),
                fill(2, 1, Side.BUY, 101, 3, 7, instrument_id=market.spec.id),
            ]
        )
    )
    assert market.flush(SECONDS)

    async def road() -> None:
        async with Client() as client:
            await client.ask(action="subscribe", channels=["depth.BTCUSDT", "ticker.BTCUSDT", "kline.BTCUSDT.1h"])
            depth, ticker, kline = [await client.next() for _ in range(3)]

        assert (depth["type"], depth["bids"], depth["asks"]) == ("depth", [], [["1.01", "0.0007"]])
        assert (ticker["type"], ticker["last_price"], ticker["best_ask"]) == ("ticker", "1.01", "1.01")
        assert (kline["type"], kline["interval"], kline["close"]) == ("kline", "1h", "1.01")

    run(road())


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", 1001),
        ('{"action": NaN}', 1001),
        ("[" * 1000, 1001),
        ('{"action": "ping", "action": "ping"}', 1001),
        ("[]", 5033),
        ('"ping"', 5033),
        ("{}", 5032),
        ('{"action": "dance"}', 5032),
        ('{"action": ["ping"]}', 5032),
        ('{"action": "subscribe"}', 5033),
        ('{"action": "subscribe", "channels": "trade.BTCUSDT"}', 5033),
        ('{"action": "subscribe", "channels": []}', 5033),
        ('{"action": "subscribe", "channels": [1]}', 5033),
        ('{"action": "subscribe", "channels": ["trade.NOPE"]}', 5030),
        ('{"action": "subscribe", "channels": ["mark.BTCUSDT"]}', 5030),
        ('{"action": "subscribe", "channels": ["auction.NOPE"]}', 5030),
        ('{"action": "subscribe", "channels": ["kline.BTCUSDT"]}', 5030),
        ('{"action": "subscribe", "channels": ["kline.BTCUSDT.2m"]}', 5030),
        ('{"action": "subscribe", "channels": ["user.1"]}', 5030),
        ('{"action": "subscribe", "channels": [""]}', 5030),
        ('{"action": "subscribe", "channels": ["trade.BTCUSDT", "trade.NOPE"]}', 5030),
        ('{"action": "subscribe", "channels": ["orders"]}', 2001),
        ('{"action": "resume", "sequence": 1}', 2001),
        ('{"action": "resume", "sequence": "1"}', 5033),
        ('{"action": "auth"}', 5033),
        ('{"action": "auth", "token": "x"}', 2003),
        (json.dumps({"action": "ping", "padding": "x" * consumers.MESSAGE_BYTES_MAX}), 5034),
        (json.dumps({"action": "subscribe", "channels": ["trade.BTCUSDT"] * 101}), 5031),
    ],
)
def test_a_bad_message_is_answered_with_a_code_and_the_connection_lives(text, code) -> None:
    factories.bitcoin()

    async def road() -> None:
        async with Client() as client:
            await client.wire.send_to(text_data=text)
            answer = await client.next()

            assert (answer["type"], answer["code"]) == ("error", code)
            assert answer["message"]
            assert await client.ask(action="ping", id="a") == {"type": "pong", "id": "a"}
            assert await client.is_silent(0.05)

    run(road())


def test_a_binary_message_is_answered_with_a_code_and_the_connection_lives() -> None:
    async def road() -> None:
        async with Client() as client:
            await client.wire.send_to(bytes_data=b"\x00\xff")

            assert (await client.next())["code"] == 5033
            assert (await client.ask(action="ping"))["type"] == "pong"

    run(road())


def test_a_refused_subscription_joins_none_of_its_channels(market) -> None:
    async def road() -> None:
        async with Client() as client:
            await client.ask(action="subscribe", channels=["trade.BTCUSDT", "trade.NOPE"])
            market.publish(fill(1, 1, Side.SELL, 100, 3, -1, instrument_id=market.spec.id))

            assert await client.is_silent()

    run(road())


def test_after_unsubscribing_nothing_comes(market) -> None:
    async def road() -> None:
        async with Client() as client:
            await client.ask(action="subscribe", channels=["trade.BTCUSDT"])
            assert (await client.ask(action="unsubscribe", channels=["trade.BTCUSDT"]))["type"] == "unsubscribed"
            market.publish(fill(1, 1, Side.SELL, 100, 3, -1, instrument_id=market.spec.id))

            assert await client.is_silent()

    run(road())


def test_one_connection_has_a_named_limit_of_channels(monkeypatch) -> None:
    monkeypatch.setattr(consumers, "CHANNELS_MAX", 2)
    factories.bitcoin()

    async def road() -> None:
        async with Client() as client:
            await client.ask(action="subscribe", channels=["trade.BTCUSDT", "delta.BTCUSDT"])
            await client.next()
            answer = await client.ask(action="subscribe", channels=["kline.BTCUSDT.1m"])

            assert (answer["code"], answer["message"]) == (5031, "At most 2 channels on one connection.")

    run(road())


def test_a_client_that_asks_too_fast_is_told_so(monkeypatch) -> None:
    monkeypatch.setattr(consumers, "ACTIONS_PER_SECOND_MAX", 5)  # so few that a second is long

    async def road() -> None:
        async with Client() as client:
            for _ in range(consumers.ACTIONS_PER_SECOND_MAX + 1):
                await client.wire.send_to(text_data='{"action": "ping"}')
            answers = [(await client.next()) for _ in range(consumers.ACTIONS_PER_SECOND_MAX + 1)]

        assert [answer["type"] for answer in answers[:-1]] == ["pong"] * consumers.ACTIONS_PER_SECOND_MAX
        assert answers[-1]["code"] == 1007

    run(road())


def test_a_client_that_does_not_read_is_closed_with_a_code_and_its_queue_is_bounded(market, monkeypatch) -> None:
    monkeypatch.setattr(consumers, "OUTBOX_MESSAGES_MAX", 10)
    reading, answered = asyncio.Event(), asyncio.Event()
    closed: list[dict] = []

    async def slow(scope, receive, send) -> None:
        async def blocked(message) -> None:
            if message["type"] == "websocket.send" and not reading.is_set():
                answered.set()
                await asyncio.sleep(3600)
            if message["type"] == "websocket.close":
                closed.append(message)
                reading.set()
            await send(message)

        await application(scope, receive, blocked)

    async def road() -> None:
        async with Client(app=slow) as client:
            await client.wire.send_to(text_data=json.dumps({"action": "subscribe", "channels": ["trade.BTCUSDT"]}))
            await asyncio.wait_for(answered.wait(), SECONDS)  # it has joined then
            rows = [fill(n, n, Side.SELL, 100, 3, -1, instrument_id=market.spec.id) for n in range(1, 31)]
            market.publish(np.concatenate(rows))
            await asyncio.wait_for(reading.wait(), SECONDS)

        assert [message["code"] for message in closed] == [4008]

    run(road())


@pytest.mark.parametrize(
    ("origin", "is_open"),
    [(None, True), (b"http://testserver", True), (b"https://evil.example", False), (b"null", False)],
)
def test_pages_of_other_sites_are_refused_and_programs_without_origin_are_not(origin, is_open) -> None:
    async def road() -> None:
        headers = [(b"origin", origin)] if origin else []
        wire = WebsocketCommunicator(application, "/ws", headers=headers)
        assert (await wire.connect(SECONDS))[0] is is_open
        if is_open:
            await wire.disconnect()

    run(road())


def test_a_path_other_than_ws_is_refused() -> None:
    async def road() -> None:
        assert (await WebsocketCommunicator(application, "/wsx").connect(SECONDS))[0] is False

    run(road())


def test_redis_being_away_is_said_and_the_connection_lives(market, monkeypatch) -> None:
    def away(_: str):
        raise books.MarketDataAwayError

    monkeypatch.setattr(books, "read", away)

    async def road() -> None:
        async with Client() as client:
            assert (await client.ask(action="subscribe", channels=["delta.BTCUSDT"]))["type"] == "subscribed"
            assert (await client.next())["code"] == 5020
            monkeypatch.undo()
            [snapshot] = await client.until("snapshot")
            assert snapshot["bids"] == []

    run(road())


def test_an_emptied_redis_leaves_no_subscriber_behind(market) -> None:
    async def road() -> None:
        flow = Flow(11, instrument_id=market.spec.id)
        market.publish(flow.batch(20))
        async with Client() as client:
            await client.ask(action="subscribe", channels=["delta.BTCUSDT"])
            messages = await client.until("snapshot")
            await sync_to_async(redis.Redis.from_url(settings.REDIS_URL).delete)(feed.book_key("BTCUSDT"))
            market.publish(flow.batch(20))
            assert await asyncio.to_thread(market.flush, SECONDS)
            sequence = market._mirror.books[market.spec.id].sequence
            messages += await client.until("snapshot", sequence=sequence)

        assert replay(messages)[0] == as_wire(market.spec, flow)

    run(road())
