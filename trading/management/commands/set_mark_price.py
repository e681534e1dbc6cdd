"""`manage.py set_mark_price SYMBOL PRICE`: say what an instrument is worth, for orders that watch its mark price."""

from argparse import ArgumentParser
from typing import Any

from django.core.management import BaseCommand, CommandError

from exchange.embedded import session
from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError
from marketdata.units import parse_decimal
from trading.services import mark_price
from trading.services.mark_price import MarkPrice


class Command(BaseCommand):
    """Set a mark price."""

    help = "Set an instrument's mark price; orders with trigger_by mark that it reaches are triggered."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare symbol and price."""
        parser.add_argument("symbol")
        parser.add_argument("price", help="a decimal in major units, a whole number of ticks")

    def handle(self, *_: Any, **options: Any) -> None:
        """Set it, or say why not.

        Raises:
            CommandError: There is no such instrument, or the price is none that it can have.
        """
        symbol = options["symbol"]
        with session.servers("set_mark_price"):
            try:
                price = parse_decimal("price", options["price"])
                [result] = mark_price.publish([MarkPrice(symbol, price)], now=utc_now())
                if isinstance(result, DomainError):
                    raise result
            except DomainError as refusal:
                raise CommandError(str(refusal)) from refusal
        self.stdout.write(f"{symbol}: mark price {options['price']}")
