"""`manage.py reconcile`: the checks on demand: what is new, or everything; exit 1 when anything does not agree."""

import json
import sys
import time
from argparse import ArgumentParser
from typing import Any, Final

from django.core.management import BaseCommand, CommandError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from exchange.embedded import session
from exchange.kernel.clock import utc_now
from ledger.reconciliation import checks, reading, runner
from ledger.reconciliation.models import Break, ReconciliationRun, RunKind, RunState
from ledger.reconciliation.runner import Result

BROKEN: Final = 1
BAD_ARGUMENT: Final = 2
BUSY: Final = 3
WAIT_SECONDS: Final = 60
"""How long the round of another process is waited for."""
ROUNDS_MAX: Final = 1_000_000
SHOWN_MAX: Final = 50


class Command(BaseCommand):
    """Exit codes: 0 everything agrees, 1 unresolved breaks, 2 a wrong argument, 3 another full pass is running."""

    help = "Reconcile: look at what is new, or with --full at everything; exit 1 on any break."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare what to check and how to tell."""
        parser.add_argument("--full", action="store_true", help="everything, not only what is new")
        parser.add_argument("--check", action="append", default=[], metavar="NAME", help="only this one; may repeat")
        parser.add_argument("--list", action="store_true", help="only list the checks")
        parser.add_argument("--json", action="store_true", help="one line of JSON on standard output")

    def handle(self, *_: Any, **options: Any) -> None:
        """Run the checks and report.

        Raises:
            CommandError: With the return codes above.
        """
        names: list[str] = options["check"]
        unknown = [name for name in names if checks.named(name) is None]
        if unknown:
            known = ", ".join(check.name for check in checks.registered())
            raise CommandError(f"no check is named {', '.join(unknown)}; there are {known}", returncode=BAD_ARGUMENT)
        if options["list"]:
            self._list(names, as_json=options["json"])
            return
        with session.servers("reconcile"):
            run = runner.start(RunKind.FULL if options["full"] else RunKind.ON_DEMAND, now=utc_now())
            try:
                results = self._full(run, names) if options["full"] else self._look(run, names)
            except BaseException:
                runner.finish(run, now=utc_now(), state=RunState.FAILED)
                raise
            runner.finish(run, now=utc_now())
            unresolved = reading.unresolved(names)
            self._report(results, unresolved, as_json=options["json"])
        if unresolved:
            raise CommandError(f"{len(unresolved)} breaks are not resolved", returncode=BROKEN)

    def _look(self, run: ReconciliationRun, names: list[str]) -> list[Result]:
        """Make rounds until nothing is behind."""
        total: dict[str, Result] = {}
        memory: dict[str, dict[str, Any]] = {}
        deadline = time.monotonic() + WAIT_SECONDS
        with self._progress() as progress:
            task = progress.add_task("what is new", total=None)
            for _ in range(ROUNDS_MAX):
                results = runner.look(run, now=utc_now(), names=names, due_only=bool(total), memory=memory)
                if results is None:
                    if time.monotonic() > deadline:
                        raise CommandError("another process is reconciling and does not end", returncode=BUSY)
                    time.sleep(0.2)
                    continue
                for result in results:
                    before = total.setdefault(result.name, Result(result.name))
                    before.items += result.items
                    before.seconds += result.seconds
                    before.behind, before.failure = result.behind, result.failure
                behind = max((result.behind for result in total.values()), default=0)
                progress.update(task, description=f"what is new, {behind:,} behind")
                if not behind or any(result.failure for result in results):
                    break
        return list(total.values())

    def _full(self, run: ReconciliationRun, names: list[str]) -> list[Result]:
        """Make a full pass with a bar for the check that is running."""
        with self._progress() as progress:
            task = progress.add_task("", total=None)

            def show(name: str, done: int, total: int) -> None:
                progress.update(task, description=name, completed=done, total=total or None)

            results = runner.full(run, clock=utc_now, names=names, show=show)
        if results is None:
            raise CommandError("another full pass is running", returncode=BUSY)
        return results

    @staticmethod
    def _progress() -> Progress:
        console = Console(stderr=True)
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def _list(self, names: list[str], *, as_json: bool) -> None:
        """Print what is checked, and how soon it is noticed."""
        chosen = runner.chosen(names)
        if as_json:
            rows = [
                {
                    "name": check.name,
                    "equation": check.equation,
                    "notices_within_seconds": check.notices_within,
                    "severity": str(check.reaction),
                    "compares": check.compares,
                }
                for check in chosen
            ]
            self.stdout.write(json.dumps({"checks": rows}))
            return
        table = Table("check", "equation", "notices within", "a break", "compares", box=None)
        for check in chosen:
            within = f"{check.notices_within} s"
            table.add_row(check.name, check.equation, within, str(check.reaction), check.compares)
        Console(file=sys.stdout).print(table)

    def _report(self, results: list[Result], unresolved: list[Break], *, as_json: bool) -> None:
        """Print what was done and what does not agree."""
        broken = {row.check_name for row in unresolved}
        if as_json:
            body = {
                "ok": not unresolved,
                "checks": [
                    {
                        "name": result.name,
                        "ok": result.name not in broken,
                        "items": result.items,
                        "behind": result.behind,
                        "seconds": round(result.seconds, 3),
                        "failure": result.failure,
                    }
                    for result in results
                ],
                "breaks": [reading.as_json(row) for row in unresolved],
            }
            self.stdout.write(json.dumps(body))
            return
        for result in results:
            mark = self.style.ERROR("BROKEN") if result.name in broken else self.style.SUCCESS("agrees")
            self.stdout.write(f"{mark}  {result.name}: {result.items:,} compared in {result.seconds:.2f} s")
        for row in unresolved[:SHOWN_MAX]:
            self.stdout.write(f"  {row.check_name}  {row.subject}  [{row.state.lower()}]  {row.told}")
        if len(unresolved) > SHOWN_MAX:
            self.stdout.write(f"  and {len(unresolved) - SHOWN_MAX:,} more")
