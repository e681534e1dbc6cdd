"""`manage.py export_journal`: the journal for Beancount or hledger, which check the books without anything of ours."""

import os
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from django.core.management import BaseCommand, CommandError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from exchange.embedded import session
from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError
from ledger.exports import journal
from ledger.exports.formats import FORMATS, first_moment, last_moment
from ledger.exports.names import View


class Command(BaseCommand):
    """Write the users' or the platform's journal to a file or to standard output, in constant memory."""

    help = "Export a journal for Beancount or hledger; dates are UTC, a moment may be given with its offset."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare format, view, period and file."""
        parser.add_argument("--format", choices=sorted(FORMATS), required=True)
        parser.add_argument("--view", choices=[view.value for view in View], default=View.PLATFORM.value)
        parser.add_argument("--from", default="", help="first date or moment; the file opens with balances")
        parser.add_argument("--to", default="", help="last date or moment, included")
        parser.add_argument("--as-of", default="", help="leave out what was recorded later, corrections too")
        parser.add_argument("--output", type=Path, help="default: standard output")

    def handle(self, *_: Any, **options: Any) -> None:
        """Export.

        Raises:
            CommandError: There is nothing to export, or the format cannot hold it; then no file is left behind.
        """
        with session.servers("export_journal"):
            try:
                asked = journal.scope(
                    View(options["view"]),
                    first=first_moment(options["from"]),
                    last=last_moment(options["to"]),
                    as_of=last_moment(options["as_of"]),
                )
                with _output(options["output"], self.stdout) as file:
                    self._write(asked, options["format"], file, utc_now())
            except DomainError as error:
                raise CommandError(str(error)) from error
            except OSError as error:
                raise CommandError(f"{options['output']}: {error.strerror}") from error

    def _write(self, asked: journal.Scope, form: str, file: Any, now: datetime) -> None:
        """Write the pieces, showing on a terminal how far they are."""
        console = Console(stderr=True)
        begun = asked.before.entry_id if asked.before else 0
        with Progress(
            TextColumn("exporting"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("entries"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        ) as progress:
            task = progress.add_task("entries", total=asked.entries)

            def advance(entry_id: int) -> None:
                progress.update(task, completed=min(max(entry_id - begun, 0), asked.entries))

            for piece in journal.pieces(asked, FORMATS[form], now, advance):
                file.write(piece)
            progress.update(task, completed=asked.entries)


@contextmanager
def _output(path: Path | None, standard: Any) -> Iterator[TextIO | Any]:
    """Open a file that appears under its name only when it is complete; without a name, standard output."""
    if path is None:
        standard.ending = ""
        yield standard
        return
    draft = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with draft.open("w", encoding="utf-8", newline="\n") as file:
            yield file
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
