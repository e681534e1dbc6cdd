"""`manage.py sweep_holds`: finds holds and reservations that were left behind, and puts them right."""

import json
import sys
from argparse import ArgumentParser
from typing import Any, Final

from django.core.management import BaseCommand, CommandError
from rich.console import Console
from rich.table import Table

from exchange.embedded import session
from exchange.kernel.clock import utc_now
from exchange.kernel.money import plain
from trading.services import sweeper
from trading.services.sweep_desk import Swept
from trading.sweeping import Step

BROKEN: Final = 1


class Command(BaseCommand):
    """Exit codes: 0 nothing is inexplicable; 1 something is, and waits for people as a break."""

    help = "Find holds and reservations that were left behind, and put them right; never ahead of settlement."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare how far to look, and the form of the result."""
        parser.add_argument("--dry-run", action="store_true", help="only tell what would be done")
        parser.add_argument("--whole", action="store_true", help="also look for orders that never came into the log")
        parser.add_argument("--json", action="store_true", help="one line of JSON on standard output")

    def handle(self, *_: Any, **options: Any) -> None:
        """Sweep once, as Celery does every minute.

        Raises:
            CommandError: With the return code above.
        """
        with session.servers("sweep_holds"):
            done = sweeper.sweep(now=utc_now(), whole=options["whole"], dry_run=options["dry_run"])
        if options["json"]:
            self.stdout.write(json.dumps({"dry_run": options["dry_run"], "orders": [_fields(item) for item in done]}))
        elif not done:
            self.stdout.write("nothing was left behind")
        else:
            _show(done, Console(file=sys.stdout, highlight=False))
        broken = sum(item.step == Step.BREAK for item in done)
        if broken:
            raise CommandError(f"{broken} of {len(done)} cannot be explained", returncode=BROKEN)


def _fields(item: Swept) -> dict[str, Any]:
    """Return what was done with an order, as JSON takes it."""
    return item._asdict() | {"step": str(item.step), "hold": plain(item.hold), "quantity": plain(item.quantity)}


def _show(done: list[Swept], console: Console) -> None:
    """Draw what was done as a table."""
    table = Table("order", "user", "market", "step", "cause", "in hold", "reserved", "why", box=None)
    for item in done:
        held = f"{plain(item.hold)} {item.asset}"
        numbers = (str(item.order_id), str(item.user_id), item.symbol)
        table.add_row(*numbers, item.step.lower(), item.cause, held, plain(item.quantity), item.why)
    console.print(table)
