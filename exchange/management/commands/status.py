"""`manage.py status`: what runs, how far it has come, and whether something is down."""

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management import BaseCommand
from rich.console import Console
from rich.table import Table

from exchange.embedded import folder
from exchange.kernel.clock import utc_now
from exchange.management import dependencies, health
from exchange.management.health import Holds, Reconciliation, Report


class Command(BaseCommand):
    """Show processes, servers, sequences and lag; exit 1 when something is down."""

    help = "Show what runs, sequences and lag. Exit code 1 when something is down."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--json", action="store_true", help="one line of JSON")
        parser.add_argument(folder.OPTION, default="", help="the data folder that `up` was given")

    def handle(self, *_: Any, **options: Any) -> None:
        """Look and show."""
        found = health.report(now=utc_now())
        if options["json"]:
            self.stdout.write(json.dumps(found.as_dict()))
        else:
            _show(found, Console(file=sys.stdout, highlight=False))
        if not found.ok:
            raise SystemExit(1)


def _mark(*, ok: bool) -> str:
    return "[green]ok[/]" if ok else "[bold red]down[/]"


def _reconciled(found: Reconciliation) -> str:
    """Write in one line what reconciliation has found."""
    looked = "never looked" if found.seconds_ago is None else f"looked {found.seconds_ago} s ago"
    complete = f"in full at {found.last_full_at}" if found.last_full_at else "never in full"
    breaks = f"[bold red]{found.breaks:,} breaks not resolved[/]" if found.breaks else "[green]no breaks[/]"
    return f"reconciliation: {breaks}, {looked}, {found.behind:,} behind, {complete}"


def _held(found: Holds) -> str:
    """Write in one line what the sweeper of holds has found."""
    broken = f"[bold red]{found.broken:,} cannot be explained[/]" if found.broken else "[green]all explained[/]"
    waits = "" if found.review_seconds is None else f", the oldest for {found.review_seconds:,} s"
    swept = f"{found.voided:,} given back, {found.waiting:,} wait for settlement"
    return f"holds left behind: {broken}, {swept}; {found.in_review:,} orders in review{waits}"


def _dependencies(found: Report) -> Table:
    """Return a table of what the exchange depends on, and what stops where something is away."""
    table = Table("dependency", "", "detail", "without it", box=None)
    for one in found.dependencies:
        without = "" if one.ok else dependencies.WITHOUT.get(one.name.partition("_shard_")[0], "")
        table.add_row(one.name, _mark(ok=one.ok), one.detail, without)
    return table


def _show(found: Report, console: Console) -> None:
    """Draw the report as tables."""
    where = f"{found.url} (process {found.pid}, {found.uptime_seconds} s)" if found.running else "not running"
    console.print(f"exchange {where}, data in {found.data_dir}", soft_wrap=True)
    if found.processes:
        table = Table("process", "state", "pid", "up for s", "restarts", "last exit", box=None)
        for process in found.processes:
            row = (process.pid, process.uptime_seconds, process.restarts, process.last_exit_code)
            state = "[green]running[/]" if process.ok else f"[bold red]{process.state}[/]"
            table.add_row(process.name, state, *("-" if value is None else str(value) for value in row))
        console.print(table)
    orders = "[green]orders are taken[/]" if found.takes_orders else "[bold red]no orders are taken[/]"
    console.print(orders)
    console.print(_dependencies(found))
    if found.shards:
        table = Table("shard", "worker", "epoch", "log head", "settled", "lag", "settled at", "instruments", box=None)
        for shard in found.shards:
            numbers = (shard.epoch, shard.log_head, shard.settled, shard.lag)
            worker = _mark(ok=shard.worker_alive) if shard.needed or shard.worker_alive else "not needed"
            table.add_row(
                str(shard.shard),
                worker,
                *(f"{n:,}" for n in numbers),
                shard.settled_at or "-",
                ", ".join(shard.instruments) or "-",
            )
        console.print(table)
    for sentence in found.misplaced:
        console.print(f"[bold yellow]{sentence}[/]", soft_wrap=True)
    if found.reconciliation:
        console.print(_reconciled(found.reconciliation), soft_wrap=True)
    if found.holds:
        console.print(_held(found.holds), soft_wrap=True)
    console.print(", ".join(f"{name} {version}" for name, version in found.versions.items()), soft_wrap=True)
