"""The feed of an instrument that has moved to another shard: from one writer, and without a step back."""

import pytest
import redis
from channels.layers import get_channel_layer
from django.conf import settings

from marketdata import feed
from marketdata.services.publish import Publisher
from marketdata.tests import factories
from marketdata.tests.events import rested
from marketdata.tests.feed_client import SECONDS, Client, run
from matching_worker.protocol import Side

pytestmark = pytest.mark.django_db(transaction=True)


def test_nothing_is_published_of_an_instrument_of_another_shard() -> None:
    publisher = Publisher(settings.REDIS_URL, shard=1, instrument=lambda _: factories.spec())
    publisher.reset([], {}, 0)

    publisher.publish(rested(1, Side.BUY, 99, 4, 4))

    assert publisher.flush(SECONDS)
    publisher.close()
    assert redis.Redis.from_url(settings.REDIS_URL).hgetall(feed.book_key("BTCUSDT")) == {}


def test_after_a_move_to_another_shard_lower_sequences_are_new_and_trade_numbers_go_on() -> None:
    factories.bitcoin()

    def message(channel: str, epoch: int, previous: int, sequence: int, *texts: str):
        return feed.envelope(channel, epoch=epoch, previous=previous, sequence=sequence, texts=list(texts))

    async def road() -> None:
        async with Client() as client:

            async def told(channel: str, epoch: int, previous: int, sequence: int, *texts: str) -> int:
                """Send a message of a writer; return the number in the next one that has a number."""
                sent = message(channel, epoch, previous, sequence, *texts)
                await get_channel_layer().group_send(channel, sent)
                while "n" not in (found := await client.next()):
                    pass
                return found["n"]

            await client.ask(action="subscribe", channels=["trade.BTCUSDT", "auction.BTCUSDT"])
            assert await told("auction.BTCUSDT", 50, 0, 900, '{"n": 1}') == 1
            assert await told("trade.BTCUSDT", 50, 6, 7, '{"n": 7}') == 7
            assert await told("auction.BTCUSDT", 51, 0, 3, '{"n": 2}') == 2
            assert await told("trade.BTCUSDT", 51, 6, 8, '{"n": 7}', '{"n": 8}') == 8

    run(road())
