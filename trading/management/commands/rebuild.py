"""`manage.py rebuild balances|candles|holdings|positions`: derived tables from what never changes."""

import json
import time
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any, Final

from django.core.management import BaseCommand, CommandError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from exchange.embedded import session
from ledger.services import rebuild as of_lines
from ledger.services.rebuild import Rebuilt
from trading import rebuild as of_trades
from trading import rebuild_positions

TABLES: Final[dict[str, Callable[..., Rebuilt]]] = {
    "balances": of_lines.balances,
    "candles": of_trades.candles,
    "holdings": of_trades.holdings,
    "positions": rebuild_positions.positions,
}
DIFFERENT: Final = 1


class Command(BaseCommand):
    """Exit codes: 0 the table is right now; 1 with --check it is not, or what it is derived from is damaged."""

    help = "Rebuild balances, candles, holdings or positions from lines, trades and history; with --check only compare."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the table and the form of the result."""
        parser.add_argument("table", choices=sorted(TABLES))
        parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if anything is wrong")
        parser.add_argument("--json", action="store_true", help="one line of JSON on standard output")

    def handle(self, *_: Any, **options: Any) -> None:
        """Compare, put right, report.

        Raises:
            CommandError: With the return code above.
        """
        console = Console(stderr=True)
        progress = Progress(
            TextColumn(options["table"]),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        started = time.perf_counter()
        with session.servers("rebuild"), progress:
            task = progress.add_task("", total=None)
            done = TABLES[options["table"]](
                write=not options["check"],
                show=lambda count, total: progress.update(task, completed=count, total=total or None),
            )
        self._report(options["table"], done, time.perf_counter() - started, as_json=options["json"])
        if done.left:
            raise CommandError(f"{done.left} rows are derived from what is damaged itself", returncode=DIFFERENT)
        if done.different and options["check"]:
            raise CommandError(f"{done.different} of {done.rows} rows are wrong", returncode=DIFFERENT)

    def _report(self, table: str, done: Rebuilt, seconds: float, *, as_json: bool) -> None:
        """Print what was found and done."""
        changed = done.different - done.left if done.written else 0
        if as_json:
            body = {
                "table": table,
                "rows": done.rows,
                "different": done.different,
                "changed": changed,
                "left": done.left,
                "named": done.named,
                "seconds": round(seconds, 3),
            }
            self.stdout.write(json.dumps(body))
            return
        self.stdout.write(f"{table}: {done.rows:,} rows compared in {seconds:.1f} s, {done.different:,} were wrong")
        for words in done.named:
            self.stdout.write(f"  {words}")
        if done.different > len(done.named):
            self.stdout.write(f"  and {done.different - len(done.named):,} more")
        if done.written:
            self.stdout.write(f"  {changed:,} put right")
