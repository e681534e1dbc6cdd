"""`manage.py set_trading_state SYMBOL STATE`: open, halt, close or auction an instrument."""

from argparse import ArgumentParser
from typing import Any

from django.core.management import BaseCommand, CommandError

from exchange.embedded import session
from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError
from marketdata.models import InstrumentStatus
from trading.services import trading_state


class Command(BaseCommand):
    """Change what may be done with an instrument."""

    help = "Open, halt, close or auction an instrument."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the words."""
        parser.add_argument("symbol")
        parser.add_argument("state", choices=[str(word).lower() for word in InstrumentStatus])

    def handle(self, *_: Any, **options: Any) -> None:
        """Change it, and say from what to what."""
        wanted = InstrumentStatus(options["state"].upper())
        with session.servers("set_trading_state"):
            try:
                was = trading_state.change(options["symbol"], wanted, now=utc_now())
            except DomainError as refusal:
                raise CommandError(str(refusal)) from refusal
        self.stdout.write(f"{options['symbol']}: {was} -> {wanted}")
