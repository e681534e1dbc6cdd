"""`manage.py replay_road`: real order flow through accounts, admission, worker and settlement, then an audit."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, Final

from django.core.management import BaseCommand, CommandError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from exchange.embedded import session
from exchange.kernel.clock import utc_now
from ledger.audit import Invariant
from matching_worker import replay
from trading import audit
from trading.road_replay import RoadReplay, RoadResult, RoadStalledError, worker

MISMATCH: Final = 1
BAD_FILE: Final = 2


class Command(BaseCommand):
    """Every trade the engine makes must be settled once, and the books must balance."""

    help = "Run a command file through the whole road and audit the books."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the file and the form of the result."""
        parser.add_argument("commands", type=Path, help="seq,cmd,id,side,price,qty,ts; plain or .gz")
        parser.add_argument("--limit", type=int, help="only the first so many commands")
        parser.add_argument("--json", action="store_true", help="end with one line of JSON")

    def handle(self, *_: Any, **options: Any) -> None:
        """Replay, compare, audit, report.

        Raises:
            CommandError: Return code 2 for a file that cannot be used, 1 when something differs.
        """
        try:
            file = replay.read_commands(options["commands"])
        except replay.ReplayFileError as error:
            raise CommandError(str(error), returncode=BAD_FILE) from error
        with session.servers("replay_road"):
            try:
                result = self._replay(file, options["limit"])
            except RoadStalledError as error:
                raise CommandError(str(error), returncode=MISMATCH) from error
            broken = [item for item in audit.invariants() if not item.ok]
        self._report(result, broken, as_json=options["json"])
        problems = [f"{item.name}: {item.detail}" for item in broken]
        if result.first_difference:
            problems.append(result.first_difference)
        if problems:
            raise CommandError("; ".join(problems), returncode=MISMATCH)

    def _replay(self, file: replay.CommandFile, limit: int | None) -> RoadResult:
        """Run the road with a progress bar."""
        console = Console(stderr=True)
        progress = Progress(
            TextColumn("replaying the road"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        run = RoadReplay(file, limit, utc_now())
        with worker(), progress:
            task = progress.add_task("road", total=len(run.commands))
            run.send(utc_now, lambda count: progress.advance(task, count))
        run.compare()
        return run.result

    def _report(self, result: RoadResult, broken: list[Invariant], *, as_json: bool) -> None:
        """Print the figures."""
        speed = round(result.commands / result.seconds) if result.seconds else 0
        if as_json:
            figures = {
                "commands": result.commands,
                "accepted": result.accepted,
                "refused": result.refused,
                "trades": result.trades,
                "trades_settled": result.settled,
                "audit_ok": not broken,
                "seconds": round(result.seconds, 3),
                "commands_per_second": speed,
            }
            self.stdout.write(json.dumps(figures))
            return
        self.stdout.write(
            f"     commands: {result.commands:,}, accepted {result.accepted:,}, refused {result.refused:,}"
        )
        for refusal in result.refusals[:5]:
            self.stdout.write(f"               refused {refusal}")
        self.stdout.write(
            f"       trades: {result.settled:,} of {result.trades:,} settled once, as the engine made them"
        )
        self.stdout.write(f"        audit: {'clean' if not broken else f'{len(broken)} invariants broken'}")
        self.stdout.write(f"         time: {result.seconds:.2f} s, {speed:,} commands/s on the whole road")
