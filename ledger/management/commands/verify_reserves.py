"""`manage.py verify_reserves`: checks a proof of reserves, as `python -m ledger.reserves.verify` does without us."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError

from ledger.reserves import verify


class Command(BaseCommand):
    """Check that a balance is in what the exchange says it owes; exit 1 when the proof is refused."""

    help = "Verify a proof of reserves; no server is needed."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the file and the key."""
        parser.add_argument("proof", type=Path)
        parser.add_argument("--key", help="the exchange's public key, known from elsewhere: 64 hexadecimal digits")

    def handle(self, *_: Any, **options: Any) -> None:
        """Verify.

        Raises:
            CommandError: Return code 1 when the proof is refused, 2 when the file cannot be read.
        """
        try:
            verify.verify_file(options["proof"], options["key"], self.stdout.write)
        except verify.RefusedError as error:
            raise CommandError(f"REFUSED  {error}", returncode=1) from error
        except OSError as error:
            raise CommandError(f"{options['proof']}: {error.strerror}", returncode=2) from error
        self.stdout.write(self.style.SUCCESS("PROVEN"))
