"""`manage.py run_event_relay`: carries domain events to Redis and hands them to consumers, until it is stopped."""

import signal
import threading
from typing import Any, Final

import redis
import structlog
from django.conf import settings
from django.core.management import BaseCommand
from django.db import DatabaseError, connection

from exchange.kernel.clock import utc_now
from trading.events import consumers, relay

logger = structlog.get_logger(__name__)

IDLE_SECONDS: Final = 0.1
RETRY_SECONDS: Final = 2.0


class Command(BaseCommand):
    """The relay. A second one waits for the first's lock, batch by batch, and does no harm."""

    help = "Carry domain events from the outbox to Redis, in commit order, and hand them to their consumers."
    requires_system_checks: list[str] = []

    def handle(self, *_: Any, **__: Any) -> None:
        """Work until SIGTERM or SIGINT."""
        stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        client: redis.Redis = redis.Redis.from_url(settings.REDIS_URL)
        while not stopping.is_set():
            try:
                done = relay.relay(client, now=utc_now())
                for consumer in consumers.CONSUMERS:
                    done += consumers.consume(consumer, client, now=utc_now())
            except (DatabaseError, redis.RedisError):
                logger.exception("event_relay_waits")
                connection.close()
                stopping.wait(RETRY_SECONDS)
                continue
            if not done:
                stopping.wait(IDLE_SECONDS)
