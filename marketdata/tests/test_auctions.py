"""Trading states and auction prices on their way from the engine's events to clients: publisher, Redis, WebSocket."""

import asyncio
import json
import time

import numpy as np
import pytest
import redis
from django.conf import settings

from marketdata import books, feed, selectors
from marketdata.services.publish import Publisher
from marketdata.tests import factories
from marketdata.tests.events import auction_price, state_changed
from marketdata.tests.factories import share_spec, spec
from marketdata.tests.feed_client import SECONDS, Client, run
from marketdata.tests.test_publish import Listener, running
from matching_worker.protocol import TradingState


def told(channel: str) -> dict:
    message = books.latest_message(channel)
    assert message is not None
    return message


def test_an_auctions_price_is_sent_and_kept_and_the_ticker_tells_the_state() -> None:
    with running(specs=[spec(), share_spec()]) as publisher:
        publisher.publish(
            np.concatenate(
                [
                    state_changed(1, TradingState.AUCTION),
                    auction_price(2, 101, 7, -3),
                    state_changed(3, TradingState.HALTED, instrument_id=2),
                ]
            )
        )
        assert publisher.flush(SECONDS)

    assert told("auction.BTCUSDT") == {
        "type": "auction",
        "symbol": "BTCUSDT",
        "state": "auction",
        "price": "1.01",
        "quantity": "0.0007",
        "imbalance": "-0.0003",
        "timestamp": 1772600767000,
        "sequence": 3,
    }
    shares = told("auction.2330.TW")
    assert (shares["state"], shares["price"], shares["quantity"], shares["imbalance"]) == ("halted", None, 0, 0)
    assert [told(f"ticker.{symbol}")["state"] for symbol in ("BTCUSDT", "2330.TW")] == ["auction", "halted"]


def test_an_auctions_price_is_conflated_to_ten_a_second_and_ends_with_the_last_one() -> None:
    async def road() -> None:
        async with Listener("auction.BTCUSDT") as listener:
            with running() as publisher:
                publisher.publish(state_changed(1, TradingState.AUCTION))
                began = time.monotonic()
                for sequence in range(2, 202):
                    publisher.publish(auction_price(sequence, 100 + sequence, sequence, 1))
                    await asyncio.sleep(0.002)
                assert await asyncio.to_thread(publisher.flush, SECONDS)
                seconds = time.monotonic() - began
                messages = await listener.messages_until(201, "auction")

        texts = [json.loads(text) for message in messages for text in message["texts"]]
        assert (texts[-1]["price"], texts[-1]["quantity"]) == ("3.01", "0.0201")
        assert len(texts) <= seconds * 10 + 3

    asyncio.run(road())


def test_a_new_worker_tells_state_and_price_of_the_auction_that_it_recovered() -> None:
    with running() as first:
        first.publish(np.concatenate([state_changed(1, TradingState.AUCTION), auction_price(2, 101, 7, -3)]))
        assert first.flush(SECONDS)
    redis.Redis.from_url(settings.REDIS_URL).delete(feed.latest_key("auction.BTCUSDT"))

    after = Publisher(settings.REDIS_URL, epoch=2)
    recovered = feed.Auction(TradingState.AUCTION, 101, 7, -3)
    after.reset([spec()], {}, 2, auctions={1: recovered}, timestamp_ms=1772600767000)
    assert after.flush(SECONDS)
    after.close()

    auction = told("auction.BTCUSDT")
    assert (auction["state"], auction["price"], auction["imbalance"]) == ("auction", "1.01", "-0.0003")
    assert (auction["sequence"], auction["timestamp"]) == (2, 1772600767000)
    assert told("ticker.BTCUSDT")["state"] == "auction"


def test_an_emptied_redis_gets_the_auction_back() -> None:
    with running() as publisher:
        publisher.publish(np.concatenate([state_changed(1, TradingState.AUCTION), auction_price(2, 101, 7, -3)]))
        assert publisher.flush(SECONDS)

        kept = (feed.book_key("BTCUSDT"), feed.latest_key("auction.BTCUSDT"), feed.latest_key("ticker.BTCUSDT"))
        redis.Redis.from_url(settings.REDIS_URL).delete(*kept)
        deadline = time.monotonic() + SECONDS
        while (auction := books.latest_message("auction.BTCUSDT")) is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    assert (auction["state"], auction["price"], auction["quantity"]) == ("auction", "1.01", "0.0007")


@pytest.mark.django_db(transaction=True)
def test_an_auction_begins_with_what_is_and_goes_on_live_through_a_new_worker() -> None:
    spec = selectors.spec_of(factories.bitcoin())
    market = Publisher(settings.REDIS_URL)
    market.reset([spec], {}, 0)
    ids = {"instrument_id": spec.id}
    market.publish(np.concatenate([state_changed(1, TradingState.AUCTION, **ids), auction_price(2, 101, 10, 0, **ids)]))
    assert market.flush(SECONDS)

    async def road() -> None:
        async with Client() as client:
            await client.ask(action="subscribe", channels=["auction.BTCUSDT"])
            told = [await client.next()]
            market.publish(auction_price(3, 102, 12, -4, **ids))
            told += await client.until("auction", sequence=3)
            market.close()

            after = Publisher(settings.REDIS_URL, epoch=2)
            recovered = feed.Auction(TradingState.AUCTION, 103, 15, 1)
            after.reset([spec], {}, 9, auctions={spec.id: recovered})
            told += await client.until("auction", sequence=9)
            after.publish(state_changed(10, TradingState.CONTINUOUS, **ids))
            told += await client.until("auction", sequence=10)
            after.close()

        assert [(one["state"], one["price"], one["quantity"], one["imbalance"]) for one in told] == [
            ("auction", "1.01", "0.001", "0"),
            ("auction", "1.02", "0.0012", "-0.0004"),
            ("auction", "1.03", "0.0015", "0.0001"),
            ("continuous", None, "0", "0"),
        ]

    run(road())
