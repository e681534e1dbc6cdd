"""Makes the totals anew from the lines: `manage.py rebuild_totals`."""

from typing import Any

from django.core.management.base import BaseCommand
from rich.progress import Progress

from exchange.embedded import session
from ledger.services import totals


class Command(BaseCommand):
    """Throw the totals away and derive them again; statements stay right meanwhile, and are slower."""

    help = "Derive the totals of statements anew from the lines of the books."

    def handle(self, *args: Any, **options: Any) -> None:
        """Rebuild, with a progress bar."""
        with session.servers("rebuild_totals"), Progress() as bar:
            totals.forget()
            task = bar.add_task("totals", total=totals.due())
            while done := totals.keep():
                bar.advance(task, done)
        self.stdout.write("The totals are made anew.")
