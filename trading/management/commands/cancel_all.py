"""`manage.py cancel_all SYMBOL [--user NAME]`: cancel every open order on an instrument, or one trader's there."""

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import BaseCommand, CommandError

from exchange.embedded import session
from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError
from trading.services import cancel_all


class Command(BaseCommand):
    """Cancel all."""

    help = "Cancel every open order on an instrument, or one trader's there; their holds go back to their owners."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare whose orders, and where."""
        parser.add_argument("symbol")
        parser.add_argument("--user", help="only the orders of the trader of this user name")

    def handle(self, *_: Any, **options: Any) -> None:
        """Ask for the cancels, and say how many.

        Raises:
            CommandError: There is no such instrument or user.
        """
        symbol, name = options["symbol"], options["user"]
        with session.servers("cancel_all"):
            owner_id = None if name is None else _user_id(name)
            try:
                count = cancel_all.by_operator(symbol, owner_id=owner_id, now=utc_now())
            except DomainError as refusal:
                raise CommandError(str(refusal)) from refusal
        self.stdout.write(f"{symbol}: {count} orders asked for")


def _user_id(name: str) -> int:
    """Return the id of a user.

    Raises:
        CommandError: There is none of this name.
    """
    user = get_user_model().objects.filter(username=name).first()
    if user is None:
        raise CommandError(f"There is no user {name}.")
    return int(user.pk)
