"""A few traders' screens: how long after an order came its fills reach them through Redis."""

import threading
from datetime import datetime
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import orjson
import redis
from channels_redis.serializers import registry
from django.conf import settings

from exchange.kernel.clock import utc_now
from marketdata import feed
from trading.models import PrivateChannel
from trading.services import private_events


class Listener:
    """Listens to some traders' private messages.

    Each fill names the moment at which its taker's order came to the service; the difference is what is noted.
    """

    def __init__(self, owners: list[int]) -> None:
        self.pushed_ms: list[float] = []
        prefix: str = settings.CHANNEL_LAYERS["default"]["CONFIG"]["prefix"]  # type: ignore[index]
        self._subscription = redis.Redis.from_url(settings.REDIS_URL).pubsub(ignore_subscribe_messages=True)
        self._subscription.subscribe(*(feed.layer_channel(prefix, private_events.group(owner)) for owner in owners))
        self._serializer = registry.get_serializer("msgpack")
        threading.Thread(target=self._listen, name="listen", daemon=True).start()

    def _listen(self) -> None:
        """Note arrivals."""
        for message in self._subscription.listen():
            arrived = utc_now()
            for event in self._serializer.deserialize(message["data"])["events"]:
                if event["channel"] == PrivateChannel.FILLS:
                    sent = datetime.fromisoformat(orjson.loads(event["payload"])["executed_at"])
                    self.pushed_ms.append((arrived - sent).total_seconds() * 1e3)


def run(pipe: Connection, _lag: Any) -> None:
    """Listen to the owners that are told first; then tell what was noted since the last question."""
    listener: Listener | None = None
    while True:
        what, *words = pipe.recv()
        if what == "end":
            return
        if what == "owners":
            listener = Listener(words[0])
            pipe.send("ready")
        elif listener is not None:
            found, listener.pushed_ms = listener.pushed_ms, []
            pipe.send(np.array(found or [0.0]))
