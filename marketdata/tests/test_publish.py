import asyncio
import json
import threading
import time
from contextlib import contextmanager
from decimal import Decimal

import numpy as np
import pytest
import redis
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.conf import settings

from exchange.embedded import addresses
from exchange.embedded import redis as embedded_redis
from exchange.observability import metrics
from marketdata import books, feed
from marketdata.services import publish, streams, transport
from marketdata.services.publish import Publisher
from marketdata.tests.events import Flow, event, fill, rested
from marketdata.tests.factories import share_spec, spec
from matching_worker.protocol import CommandKind, EventKind, Side, encode

SECONDS = 30.0
NOTHING: tuple = (np.zeros((0, 3), np.int64), np.zeros((0, 3), np.int64))


@contextmanager
def running(url=None, specs=(), sequence=0, levels=None, **options):
    """Run a publisher whose books are in Redis, and stop it."""
    publisher = Publisher(url or settings.REDIS_URL, **options)
    publisher.reset(specs or [spec()], levels or {}, sequence)
    assert publisher.flush(SECONDS)
    try:
        yield publisher
    finally:
        publisher.close()


def ticks_of(levels) -> dict[int, int]:
    """Turn a message's levels back into ticks and lots."""
    one = spec()
    return {one.price_to_ticks(Decimal(price)): one.qty_to_lots(Decimal(quantity)) for price, quantity in levels}


def latest(channel: str) -> dict:
    message = books.latest(channel)
    assert message is not None
    return message


class Listener:
    """A member of groups of the real channel layer, as a consumer is."""

    def __init__(self, *groups: str) -> None:
        self.groups = groups

    async def __aenter__(self):
        self.layer = get_channel_layer()
        self.name = await self.layer.new_channel()
        for group in self.groups:
            await self.layer.group_add(group, self.name)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.layer.flush()

    async def message(self):
        return await asyncio.wait_for(self.layer.receive(self.name), SECONDS)

    async def messages_until(self, sequence: int, kind: str):
        """Return messages up to the one of this kind that reaches a sequence."""
        found = []
        while True:
            found.append(await self.message())
            if found[-1]["channel"].startswith(kind) and found[-1]["sequence"] >= sequence:
                return found


def test_what_the_publisher_sends_arrives_through_the_real_channel_layer() -> None:
    async def road() -> None:
        async with Listener("trade.BTCUSDT", "delta.BTCUSDT") as listener:
            with running() as publisher:
                publisher.publish(np.concatenate([rested(1, Side.SELL, 101, 10, 10), fill(2, 1, Side.BUY, 101, 3, 7)]))
                messages = await listener.messages_until(2, "delta")

        texts = [json.loads(text) for message in messages for text in message["texts"]]
        assert {message["type"] for message in messages} == {"feed.message"}
        assert texts == [
            {
                "type": "trade",
                "symbol": "BTCUSDT",
                "price": "1.01",
                "quantity": "0.0003",
                "timestamp": 1772600767000,
                "trade_id": 1001,
                "side": "buy",
                "sequence": 1,
            },
            {
                "type": "delta",
                "symbol": "BTCUSDT",
                "changes": [{"side": "sell", "price": "1.01", "qty": "0.0007", "total": "0.0007"}],
                "sequence": 2,
                "previous_sequence": 0,
                "timestamp": 1772600767000,
            },
        ]

    asyncio.run(road())


def test_minor_unit_instruments_send_json_integers() -> None:
    async def road() -> None:
        async with Listener("delta.2330.TW") as listener:
            with running(specs=[share_spec()]) as publisher:
                publisher.publish(rested(1, Side.BUY, 1200, 1000, 1000, instrument_id=2))
                messages = await listener.messages_until(1, "delta")

        [change] = json.loads(messages[-1]["texts"][0])["changes"]
        assert change == {"side": "buy", "price": 60000, "qty": 1000, "total": 1000}

    asyncio.run(road())


@pytest.mark.parametrize("seed", range(5))
def test_a_client_that_applies_snapshot_and_deltas_ends_with_the_same_book(seed) -> None:
    async def road() -> None:
        flow = Flow(seed)
        first = flow.batch(200)
        async with Listener("delta.BTCUSDT") as listener:
            with running() as publisher:
                publisher.publish(first)
                assert publisher.flush(SECONDS)
                image = books.read("BTCUSDT")
                for _ in range(60):
                    publisher.publish(flow.batch(flow.random.randint(1, 30)))
                    await asyncio.sleep(flow.random.choice((0, 0, 0.002)))
                assert await asyncio.to_thread(publisher.flush, SECONDS)
                last = books.read("BTCUSDT")
                messages = await listener.messages_until(last.sequence, "delta")

        held: dict[str, dict] = {"buy": dict(image.bids), "sell": dict(image.asks)}
        sequence = image.sequence
        deltas = [json.loads(text) for message in messages for text in message["texts"]]
        for delta in deltas:
            if delta["sequence"] <= image.sequence:
                continue
            assert delta["previous_sequence"] == sequence
            sequence = delta["sequence"]
            for change in delta["changes"]:
                [(ticks, total)] = [
                    (spec().price_to_ticks(Decimal(change["price"])), Decimal(change["total"]) / spec().lot_size)
                ]
                before = held[change["side"]].pop(ticks, 0)
                assert before + Decimal(change["qty"]) / spec().lot_size == total
                if total:
                    held[change["side"]][ticks] = total
        assert held == {"buy": flow.sides[0], "sell": flow.sides[1]}
        assert (dict(last.bids), dict(last.asks)) == flow.sides
        assert len(deltas) > 10

    asyncio.run(road())


def test_the_book_starts_from_the_engines_levels_and_sequence() -> None:
    flow = Flow(3)
    flow.batch(300)

    with running(sequence=flow.sequence, levels={1: flow.levels()}) as publisher:
        before = books.read("BTCUSDT")
        assert (dict(before.bids), dict(before.asks), before.sequence) == (*flow.sides, 300)

        publisher.publish(flow.batch(20))
        assert publisher.flush(SECONDS)

    after = books.read("BTCUSDT")
    assert (dict(after.bids), dict(after.asks), after.sequence) == (*flow.sides, 320)
    assert [level.ticks for level in after.bids] == sorted(flow.sides[0], reverse=True)
    assert [level.ticks for level in after.asks] == sorted(flow.sides[1])


def test_an_emptied_redis_is_rewritten_from_the_mirror_and_marked_as_a_gap() -> None:
    async def road() -> None:
        flow = Flow(4)
        async with Listener("delta.BTCUSDT") as listener:
            with running() as publisher:
                publisher.publish(flow.batch(100))
                assert publisher.flush(SECONDS)
                sequence = books.read("BTCUSDT").sequence
                await listener.messages_until(sequence, "delta")

                redis.Redis.from_url(settings.REDIS_URL).delete(feed.book_key("BTCUSDT"))
                while (message := await listener.message())["mark"] != feed.Mark.GAP:
                    pass

                assert message["sequence"] == sequence
                image = books.read("BTCUSDT")
                assert (dict(image.bids), dict(image.asks)) == flow.sides

    asyncio.run(road())


def test_a_quiet_book_beats_so_that_a_lost_last_delta_is_noticed(monkeypatch) -> None:
    monkeypatch.setattr(streams, "BEAT_SECONDS", 0.05)

    async def road() -> None:
        async with Listener("delta.BTCUSDT") as listener:
            with running() as publisher:
                publisher.publish(rested(1, Side.BUY, 99, 4, 4))
                await listener.messages_until(1, "delta")
                beats = [await listener.message() for _ in range(3)]

        assert [(beat["mark"], beat["sequence"], beat["texts"]) for beat in beats] == [("beat", 1, [])] * 3

    asyncio.run(road())


def test_an_older_epoch_is_fenced_and_changes_nothing() -> None:
    with running(epoch=7) as newer:
        newer.publish(rested(1, Side.BUY, 99, 4, 4))
        assert newer.flush(SECONDS)

        older = Publisher(settings.REDIS_URL, epoch=6)
        older.reset([spec()], {}, 0)
        assert older.flush(SECONDS)  # a start is never fenced: it holds the lease
        newer_again = Publisher(settings.REDIS_URL, epoch=8)
        newer_again.reset([spec()], {1: (np.array([[98, 5, 1]]), NOTHING[1])}, 9)
        assert newer_again.flush(SECONDS)
        older.publish(rested(1, Side.BUY, 97, 1, 1))
        assert older.flush(SECONDS)

        assert older.fenced
        assert not newer_again.fenced
        assert books.read("BTCUSDT").bids == [(98, 5)]
        older.close()
        newer_again.close()


def test_matching_is_not_held_up_while_redis_is_away_and_all_is_repaired_when_it_is_back(tmp_path) -> None:
    server = embedded_redis.start(tmp_path)
    url = f"unix://{addresses.redis_socket(tmp_path)}?db=0"
    flow = Flow(5)
    with running(url=url) as publisher:
        publisher.publish(flow.batch(50))
        assert publisher.flush(SECONDS)
        server.terminate()
        server.wait()

        took = []
        for _ in range(20):
            batch = flow.batch(20)
            started = time.perf_counter()
            publisher.publish(batch)
            took.append(time.perf_counter() - started)
            time.sleep(0.02)
        assert not publisher.flush(1)
        assert sorted(took)[len(took) // 2] < 0.25  # a busy machine holds up one or two, a wait for Redis each
        server = embedded_redis.start(tmp_path)

        assert publisher.flush(SECONDS)
        fields = redis.Redis.from_url(url).hgetall(feed.book_key("BTCUSDT"))
        image = books._image(fields)
        assert (dict(image.bids), dict(image.asks)) == flow.sides
    server.terminate()
    server.wait()


def test_trades_made_while_redis_was_away_are_sent_once_when_it_is_back(monkeypatch) -> None:
    sent: list[int] = []
    real = transport.Transport.commit
    failing = threading.Event()

    def commit(self, writes):
        if failing.is_set():
            raise redis.exceptions.ConnectionError("cut")
        writes = list(writes)
        outcomes = real(self, writes)
        sent.extend(
            json.loads(text)["sequence"]
            for write in writes
            for group, message in write.messages
            if group == "trade.BTCUSDT"
            for text in message["texts"]
        )
        return outcomes

    monkeypatch.setattr(transport.Transport, "commit", commit)
    with running() as publisher:
        publisher.publish(fill(1, 1, Side.BUY, 100, 1, -1))
        assert publisher.flush(SECONDS)
        failing.set()
        publisher.publish(fill(2, 2, Side.BUY, 100, 1, -1))
        time.sleep(0.1)
        publisher.publish(fill(3, 3, Side.BUY, 100, 1, -1))
        time.sleep(0.1)
        assert sent == [1]
        failing.clear()

        assert publisher.flush(SECONDS)

    assert sent == [1, 2, 3]


def test_a_full_queue_is_folded_by_the_caller_and_loses_no_level(monkeypatch) -> None:
    monkeypatch.setattr(publish, "EVENTS_QUEUED_MAX", 100)
    blocked = threading.Event()
    real = transport.Transport.commit

    def commit(self, writes):
        blocked.wait(SECONDS)
        return real(self, writes)

    flow = Flow(6)
    with running() as publisher:
        monkeypatch.setattr(transport.Transport, "commit", commit)
        for _ in range(30):
            publisher.publish(flow.batch(20))
        assert publisher.overflows > 0
        blocked.set()

        assert publisher.flush(SECONDS)
        image = books.read("BTCUSDT")

    assert (dict(image.bids), dict(image.asks)) == flow.sides


def test_depth_is_conflated_to_ten_a_second_and_ends_with_the_last_state() -> None:
    async def road() -> None:
        flow = Flow(7)
        async with Listener("depth.BTCUSDT") as listener:
            with running() as publisher:
                began = time.monotonic()
                for _ in range(50):
                    publisher.publish(flow.batch(5))
                    await asyncio.sleep(0.01)
                assert await asyncio.to_thread(publisher.flush, SECONDS)
                seconds = time.monotonic() - began
                texts: list[str] = []
                while len(texts) == 0 or json.loads(texts[-1])["sequence"] < books.read("BTCUSDT").sequence:
                    texts += (await listener.message())["texts"]

        depth = json.loads(texts[-1])
        bids = dict(sorted(flow.sides[0].items(), reverse=True)[:50])
        asks = dict(sorted(flow.sides[1].items())[:50])
        assert (ticks_of(depth["bids"]), ticks_of(depth["asks"])) == (bids, asks)
        assert depth["type"] == "depth"
        assert len(texts) <= seconds * 10 + 2

    asyncio.run(road())


def test_ticker_and_candles_are_sent_and_kept_for_new_subscribers() -> None:
    with running() as publisher:
        publisher.publish(
            np.concatenate(
                [
                    rested(1, Side.BUY, 90, 4, 4),
                    fill(2, 1, Side.BUY, 100, 2, -1),
                    fill(3, 2, Side.BUY, 110, 1, -1),
                ]
            )
        )
        assert publisher.flush(SECONDS)

    ticker = json.loads(latest("ticker.BTCUSDT")["texts"][0])
    candle = json.loads(latest("kline.BTCUSDT.5m")["texts"][0])
    assert (ticker["last_price"], ticker["best_bid"], ticker["best_ask"]) == ("1.1", "0.9", None)
    assert (ticker["open_24h"], ticker["change_24h"], ticker["change_rate_24h"]) == ("1", "0.1", "0.1")
    assert (ticker["volume_24h"], ticker["turnover_24h"]) == ("0.0003", "0.00031")
    assert candle == {
        "type": "kline",
        "symbol": "BTCUSDT",
        "interval": "5m",
        "timestamp": 1772600700000,
        "open": "1",
        "high": "1.1",
        "low": "1",
        "close": "1.1",
        "volume": "0.0003",
        "turnover": "0.00031",
        "trade_count": 2,
        "sequence": 3,
    }


def test_the_mark_price_is_told_in_the_ticker_after_a_restart_too() -> None:
    marks = encode(kind=int(CommandKind.MARK_PRICE), instrument_id=1, order_id=0, price_ticks=123, sequence=1)
    with running() as publisher:
        before = latest("ticker.BTCUSDT")
        publisher.publish(event(sequence=1, kind=EventKind.APPLIED, price_ticks=123), marks)
        assert publisher.flush(SECONDS)
        after = latest("ticker.BTCUSDT")

    assert [json.loads(message["texts"][0])["mark_price"] for message in (before, after)] == [None, "1.23"]
    publisher = Publisher(settings.REDIS_URL, epoch=2)
    publisher.reset([spec()], {}, 1, marks={1: 124})
    assert publisher.flush(SECONDS)
    publisher.close()
    assert json.loads(latest("ticker.BTCUSDT")["texts"][0])["mark_price"] == "1.24"


def test_an_instrument_created_after_the_start_gets_its_feed() -> None:
    with running(instrument=lambda _: share_spec()) as publisher:
        publisher.publish(rested(5, Side.BUY, 1200, 7, 7, instrument_id=2))
        assert publisher.flush(SECONDS)

    assert books.read("2330.TW").bids == [(1200, 7)]


def test_the_layers_own_group_send_and_ours_name_the_same_redis_channel() -> None:
    layer = get_channel_layer()

    async def name() -> str:
        return layer._get_group_channel_name("delta.BTCUSDT")

    assert async_to_sync(name)() == feed.layer_channel("push", "delta.BTCUSDT")
    assert layer.serialize({"type": "x", "n": 1}) == transport.pack({"type": "x", "n": 1})


@pytest.mark.parametrize("seed", [1, 2])
def test_deltas_are_at_least_ninety_percent_fewer_bytes_than_sending_the_book(seed) -> None:
    flow = Flow(seed)
    with running() as publisher:
        publisher.publish(flow.batch(3000))
        assert publisher.flush(SECONDS)
    whole = delta = 0
    stream = publisher._streams[1]
    stream.rewrite = None
    for _ in range(200):
        [step] = publisher._mirror.apply(flow.batch(3))
        write = stream.write(step, 0.0)
        delta += sum(len(text) for _, message in write.messages for text in message["texts"])
        bids, asks = stream.book.top(1000)
        whole += len(feed.dumps(feed.book_message("depth", spec(), bids, asks, sequence=flow.sequence, timestamp_ms=0)))
        stream._sequence_sent = write.sequence
        stream._trades.clear()

    assert delta <= whole / 10


def test_the_number_of_levels_is_told_as_a_metric() -> None:
    with running() as publisher:
        publisher.publish(np.concatenate([rested(1, Side.BUY, 101, 10, 10), rested(2, Side.BUY, 100, 5, 5)]))
        assert publisher.flush(SECONDS)

    symbol = spec().symbol
    assert metrics.ORDERBOOK_DEPTH.labels(symbol, "bid")._value.get() == 2
    assert metrics.ORDERBOOK_DEPTH.labels(symbol, "ask")._value.get() == 0
