"""`manage.py audit_books`: every invariant of the books and of the road, by name, with its result."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management import BaseCommand, CommandError
from rich.console import Console

from exchange.embedded import session
from trading import audit


class Command(BaseCommand):
    """Re-derive everything from lines and log; exit 1 on any break."""

    help = "Audit the books: re-derive every invariant from lines and log; exit 1 on any break."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the form of the result."""
        parser.add_argument("--json", action="store_true", help="one line of JSON on standard output")

    def handle(self, *_: Any, **options: Any) -> None:
        """Audit.

        Raises:
            CommandError: Return code 1 when an invariant does not hold.
        """
        console = Console(stderr=True)
        with session.servers("audit_books"), console.status("auditing the books"):
            found = audit.invariants()
        broken = sum(not invariant.ok for invariant in found)
        if options["json"]:
            self.stdout.write(json.dumps({"ok": not broken, "invariants": [item._asdict() for item in found]}))
        else:
            for invariant in found:
                mark = self.style.SUCCESS("holds ") if invariant.ok else self.style.ERROR("BROKEN")
                self.stdout.write(f"{mark}  {invariant.name}: {invariant.detail}")
        if broken:
            raise CommandError(f"{broken} of {len(found)} invariants are broken", returncode=1)
