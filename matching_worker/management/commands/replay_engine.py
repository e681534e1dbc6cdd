"""`manage.py replay_engine`: real order flow through the engine, compared with the exchange's own record."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from matching_worker import replay

MISMATCH: Final = 1
BAD_FILE: Final = 2


class Command(BaseCommand):
    """Needs no database: only the engine and the files."""

    help = "Run a command file through the matching engine and compare fills and best prices."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the files and the form of the result."""
        parser.add_argument("commands", type=Path, help="seq,cmd,id,side,price,qty,ts; plain or .gz")
        parser.add_argument("--fills", type=Path, help="compare with these: seq,maker_id,price,qty")
        parser.add_argument("--l1", type=Path, help="compare with these: seq,ask,ask_qty,bid,bid_qty")
        parser.add_argument("--fills-out", type=Path, help="write the engine's fills: seq,maker_id,price,qty")
        parser.add_argument("--json", action="store_true", help="end with one line of JSON")

    def handle(self, **options: Any) -> None:
        """Run the file.

        Raises:
            CommandError: Return code 2 for a file that cannot be used, 1 when something differs.
        """
        try:
            self._run(**options)
        except replay.ReplayFileError as error:
            raise CommandError(str(error), returncode=BAD_FILE) from error

    def _run(
        self,
        *,
        commands: Path,
        fills: Path | None,
        l1: Path | None,
        fills_out: Path | None,
        **options: Any,
    ) -> None:
        """Read, replay, compare, report."""
        file = replay.read_commands(commands)
        expected = replay.read_fills(fills) if fills else None
        tops = replay.read_tops(l1) if l1 else []
        result = self._replay(file, tops)
        if fills_out:
            replay.write_fills(fills_out, result.fills)
        comparison = replay.compare_fills(result.fills if expected is None else expected, result.fills)
        figures = {
            "commands": result.commands,
            "aggressors": comparison.aggressors,
            "aggressors_matched": None if expected is None else comparison.aggressors_matched,
            "fills": comparison.fills,
            "fills_matched": None if expected is None else comparison.fills_matched,
            "l1_rows": result.l1_rows,
            "l1_matched": result.l1_matched if l1 else None,
            "seconds": round(result.seconds, 6),
            "commands_per_second": round(result.commands / result.seconds) if result.seconds else 0,
        }
        if options["json"]:
            self.stdout.write(json.dumps(figures))
        else:
            self._report(figures, result)
        differences = [text for text in (comparison.first_difference, result.l1_first_difference) if text]
        if differences:
            raise CommandError("; ".join(differences), returncode=MISMATCH)

    def _replay(self, file: replay.CommandFile, tops: list[replay.TopOfBook]) -> replay.ReplayResult:
        """Replay with a progress bar on the terminal, and without one elsewhere."""
        console = Console(stderr=True)
        progress = Progress(
            TextColumn("replaying"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        with progress:
            task = progress.add_task("replay", total=len(file.commands))
            return replay.replay(file, tops, advance=lambda count: progress.advance(task, count))

    def _report(self, figures: dict[str, Any], result: replay.ReplayResult) -> None:
        """Print the figures for people."""

        def against(matched: int | None, total: int) -> str:
            return f"{total:,} (not compared)" if matched is None else f"{matched:,} of {total:,}"

        lines = (
            ("commands", f"{figures['commands']:,}, of which refused {result.rejected:,}"),
            ("aggressors", against(figures["aggressors_matched"], figures["aggressors"])),
            ("fills", against(figures["fills_matched"], figures["fills"])),
            ("best bid and ask", against(figures["l1_matched"], figures["l1_rows"])),
            ("state hash", f"{result.state_hash:016x}"),
            ("time", f"{figures['seconds']:.3f} s, {figures['commands_per_second']:,} commands/s"),
        )
        for name, text in lines:
            self.stdout.write(f"{name:>17}: {text}")
