"""The AsyncAPI document says what the feed sends: every message of a session is held against its schema."""

from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import numpy as np
import pytest
import yaml
from channels.layers import get_channel_layer
from django.conf import settings
from django.contrib.auth import get_user_model
from rest_framework_simplejwt.tokens import AccessToken

from marketdata import selectors
from marketdata.feed import INTERVALS
from marketdata.services.publish import Publisher
from marketdata.tests import factories
from marketdata.tests.events import fill, rested
from marketdata.tests.feed_client import SECONDS, Client, run
from matching_worker.protocol import Side
from trading.consumers import TYPES, ExchangeFeed
from trading.position_state import PositionState
from trading.services.private_events import group
from trading.tests.contracts import SYMBOL, make_contract
from trading.wire import position_fields

pytestmark = pytest.mark.django_db(transaction=True)
DOCUMENT = yaml.safe_load((Path(settings.BASE_DIR) / "exchange" / "api" / "asyncapi.yaml").read_text())
MESSAGES = DOCUMENT["components"]["messages"]


def conforms(message: dict) -> str:
    """Hold a message against the schema of its type; return the schema's name."""
    name = "private" if message["type"] in TYPES.values() else message["type"]
    schema = MESSAGES[name]["payload"] | {"components": DOCUMENT["components"]}
    jsonschema.validate(message, schema)
    return name


@pytest.mark.parametrize("make", [factories.bitcoin, factories.tsmc])
def test_every_message_of_a_session_is_as_the_document_says(make) -> None:
    spec = selectors.spec_of(make())
    user = get_user_model().objects.create_user("alice", password="a-long-secret-1")
    token = str(AccessToken.for_user(user))
    publisher = Publisher(settings.REDIS_URL)
    publisher.reset([spec], {}, 0)
    assert publisher.flush(SECONDS)
    seen: set[str] = set()

    async def road() -> None:
        kinds = ("trade", "depth", "delta", "ticker", "auction")
        names = [f"{kind}.{spec.symbol}" for kind in kinds] + [f"kline.{spec.symbol}.{one}" for one in INTERVALS]
        async with Client() as client:
            for request in (
                {"action": "ping", "id": "text"},
                {"action": "nothing", "id": 1},
                {"action": "auth", "token": token, "id": 2},
                {"action": "resume", "sequence": 0, "id": 3},
                {"action": "subscribe", "channels": list(TYPES), "id": 4},
                {"action": "unsubscribe", "channels": ["positions"], "id": 5},
                {"action": "place", "symbol": "NOPE", "id": 6},
                {"action": "subscribe", "channels": names},
            ):
                seen.add(conforms(await client.ask(**request)))
            while "snapshot" not in seen:  # what is published before it is in it, and no delta follows
                seen.add(conforms(await client.next()))
            event = {"sequence": 1, "channel": "orders", "payload": b'{"order_id":1}'}
            await get_channel_layer().group_send(group(user.pk), {"type": "private.events", "events": [event]})
            ids = {"instrument_id": spec.id}
            publisher.publish(
                np.concatenate([rested(1, Side.SELL, 101, 10, 10, **ids), fill(2, 1, Side.BUY, 101, 3, 7, **ids)])
            )
            while len(seen) < len(MESSAGES) - len(ExchangeFeed.actions):
                seen.add(conforms(await client.next()))

    run(road())
    publisher.close()
    assert seen == set(MESSAGES) - set(ExchangeFeed.actions)


def test_a_position_is_told_as_the_document_says() -> None:
    make_contract()
    spec = selectors.instrument(SYMBOL)
    flat, long_10 = PositionState.flat(1, spec), PositionState(1, spec, leverage=10)
    long_10.open(10, 10 * 100 * spec.unit_quanta, is_buy=True, margin=100 * 10**6, missing=0)

    for position, ticks in ((flat, None), (long_10, None), (long_10, 105)):
        data = position_fields(position, ticks)
        assert conforms({"type": "position", "sequence": 1, "data": data}) == "private"
        with pytest.raises(jsonschema.ValidationError):
            conforms({"type": "position", "sequence": 1, "data": data | {"leverage": "10"}})
