"""`manage.py run_demo_makers`: the demo's market makers, as a process of their own."""

import logging
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError

from exchange.demo import catalogue, makers
from exchange.demo.client import ApiClient


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
        logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log every call
        first, second = makers.logins()
        with (
            ApiClient(options["url"], first, catalogue.DEMO_PASSWORD) as one,
            ApiClient(options["url"], second, catalogue.DEMO_PASSWORD) as two,
        ):
            self.stdout.write(f"{first} and {second} quote on {options['url']}; their prices are a random walk.")
            makers.run((one, two), say=self.stdout.write)
