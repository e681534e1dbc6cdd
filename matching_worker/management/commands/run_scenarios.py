"""`manage.py run_scenarios`: what orders should do, played against the production engine."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from matching_worker import scenarios
from matching_worker.scenarios import ScenarioResult

MISMATCH: Final = 1
BAD_FILE: Final = 2


class Command(BaseCommand):
    """Needs no database: only the engine and the file."""

    help = "Play a file of scenarios through the matching engine and compare events and books."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the file and the form of the result."""
        parser.add_argument("file", type=Path, help="scenarios as JSON: steps, expected events, final book")
        parser.add_argument("--json", action="store_true", help="one line of JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Play all scenarios; a difference ends the command with status 1."""
        try:
            found = scenarios.read_scenarios(options["file"])
        except scenarios.ScenarioFileError as error:
            raise CommandError(str(error), returncode=BAD_FILE) from error
        console = Console(stderr=True)
        columns = (TextColumn("playing"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
            task = progress.add_task("scenarios", total=len(found))
            result = scenarios.run(found, advance=lambda: progress.advance(task))
        self._report(result, as_json=options["json"])
        if result.failures:
            raise CommandError(f"{len(result.failures)} scenarios failed", returncode=MISMATCH)

    def _report(self, result: ScenarioResult, *, as_json: bool) -> None:
        """Print the result; what was skipped is named either way."""
        out = self.stderr if as_json else self.stdout
        for scenario_id, what in result.skipped.items():
            out.write(f"skipped {scenario_id}: needs {what}, which this engine leaves out")
        if as_json:
            figures = {
                "passed": len(result.passed),
                "failed": len(result.failures),
                "skipped": len(result.skipped),
                "failures": [{"id": one.id, "detail": one.detail} for one in result.failures],
            }
            self.stdout.write(json.dumps(figures))
            return
        for failure in result.failures:
            self.stdout.write(f"failed {failure.id}: {failure.detail}")
        counts = f"{len(result.passed)} passed, {len(result.failures)} failed, {len(result.skipped)} skipped"
        self.stdout.write(counts)
