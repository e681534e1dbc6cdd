"""`manage.py run_demo_makers`: the demo's market makers, as a process of their own."""

import logging
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError, connection

from exchange.demo import catalogue, makers
from exchange.demo.client import ApiClient, UnavailableError
from exchange.kernel.clock import utc_now
from marketdata import selectors as instruments
from trading.services import mark_price
from trading.services.mark_price import MarkPrice


class Command(BaseCommand):
    """Trade as the two demo makers, through the public API of a running demo."""

    help = "Run the demo's market makers against a running exchange."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--url", default="http://127.0.0.1:8000", help="where the exchange listens")

    def handle(self, *_: Any, **options: Any) -> None:
        """Quote until stopped."""
        if not settings.DEMO:
            raise CommandError("The demo makers run in demo mode only.")
        for name in ("httpx", "trading.services.mark_price"):  # they would log every call, and every second a price
            logging.getLogger(name).setLevel(logging.WARNING)
        first, second = makers.logins()
        with (
            ApiClient(options["url"], first, catalogue.DEMO_PASSWORD) as one,
            ApiClient(options["url"], second, catalogue.DEMO_PASSWORD) as two,
        ):
            self.stdout.write(f"{first} and {second} quote on {options['url']}; their prices are a random walk.")
            makers.run((one, two), say=self.stdout.write, mark=publish_marks)


def publish_marks(marks: makers.Marks) -> None:
    """Publish mark prices that have moved; the exchange itself reckons them, so no client of its API can.

    Raises:
        UnavailableError: The database does not answer; the makers wait and go on.
    """
    wanted = [MarkPrice(symbol, price) for symbol, price in marks]
    try:
        _publish_moved(wanted)
    except (OperationalError, InterfaceError) as error:
        connection.close()
        raise UnavailableError(type(error).__name__) from error


def _publish_moved(wanted: list[MarkPrice]) -> None:
    """Leave out what the exchange has already."""
    known = instruments.states([instruments.instrument(item.symbol).id for item in wanted]) if wanted else {}
    moved = [item for item in wanted if known[instruments.instrument(item.symbol).id].mark_price != item.price]
    mark_price.publish(moved, now=utc_now())
