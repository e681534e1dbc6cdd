"""`manage.py publish_reserves`: builds, signs and publishes a proof of reserves at once, also on a schedule."""

import time
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import BaseCommand, CommandError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from exchange.embedded import session
from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError
from exchange.kernel.money import plain
from ledger.reserves import liabilities, publishing, statements
from ledger.reserves.models import Publication, PublicationState


class Command(BaseCommand):
    """Publish what the exchange owes and holds now, on behalf of somebody who may."""

    help = "Publish a proof of reserves of the books as they are now."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare on whose behalf."""
        parser.add_argument("--by", required=True, metavar="USERNAME", help="who has the right to publish")

    def handle(self, *_: Any, **options: Any) -> None:
        """Publish.

        Raises:
            CommandError: The person may not, or the publication was refused.
        """
        with session.servers("publish_reserves"):
            author = get_user_model().objects.filter(username=options["by"]).first()
            if author is None:
                raise CommandError(f"There is no user {options['by']}.")
            began = time.perf_counter()
            try:
                publication = self._publish(publishing.request(author, now=utc_now()))
            except DomainError as error:
                raise CommandError(str(error)) from error
            if publication.state != PublicationState.PUBLISHED:
                raise CommandError(publication.refusal or "Another process is publishing it.")
            seconds = time.perf_counter() - began
            self._report(statements.published(publication.pk), seconds)

    def _publish(self, publication: Publication) -> Publication:
        """Build and sign, showing on a terminal which assets are done."""
        console = Console(stderr=True)
        with Progress(
            TextColumn("building trees"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        ) as progress:
            task = progress.add_task("assets", total=len(liabilities.decimals()))
            publishing.publish(publication.pk, now=utc_now(), advance=lambda _asset: progress.advance(task))
        publication.refresh_from_db()
        return publication

    def _report(self, published: statements.Published, seconds: float) -> None:
        """Print the figures."""
        self.stdout.write(f"publication {published.id}, books up to entry {published.entry_id}, {seconds:.2f} s")
        self.stdout.write(f"key {published.public_key}")
        for figures in published.assets:
            ratio = "nothing owed" if figures.ratio is None else f"ratio {plain(figures.ratio)}"
            self.stdout.write(
                f"{figures.asset}: owes {plain(figures.liabilities)}, holds {plain(figures.custody_total)}, {ratio}"
            )
