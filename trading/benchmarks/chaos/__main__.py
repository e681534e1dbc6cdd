"""Kill at random under load: `python -m trading.benchmarks.chaos [--minutes N] [--json]`.

Starts an exchange of its own with `manage.py up --standby`, whose supervisor restarts what ends. Traders place and
cancel orders over REST, on a spot market and on a perpetual contract, and repeat each request until it is answered, as
clients do; meanwhile matching worker, its standby, web server, Celery, Redis and PostgreSQL are killed in turns
(kill -9), and the worker is also stopped (SIGSTOP) for a while and woken. Every acknowledged order is then looked for
in the books, and every invariant is checked: between the kills while a quarter of the time suffices for that, and at
the end.
"""

import argparse
import json
import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from trading.benchmarks.chaos import run
from trading.benchmarks.chaos.kinds import Kind

MINUTES, TRADERS, RATE = 20.0, 8, 3.0


def main() -> int:
    """Run, print a table, and end with one line of JSON when asked; return 1 unless all was found and clean."""
    parser = argparse.ArgumentParser(prog="python -m trading.benchmarks.chaos", description=__doc__)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="how long, the start not counted")
    parser.add_argument("--kills", type=int, help="end after so many")
    parser.add_argument("--kinds", nargs="+", type=Kind, default=list(Kind), metavar="KIND", help=", ".join(Kind))
    parser.add_argument("--traders", type=int, default=TRADERS, help="who trade at once")
    parser.add_argument("--rate", type=float, default=RATE, help="requests a second and trader")
    parser.add_argument("--seed", type=int, default=1, help="of the choices")
    asked = parser.parse_args()
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    options = run.Options(asked.minutes * 60, asked.kills, asked.kinds, asked.traders, asked.rate, asked.seed)
    with Progress(*columns, console=console) as progress:
        found = run.measure(options, progress)
    from trading.benchmarks.chaos import report

    report.show(found, options, console)
    if asked.json:
        print(json.dumps(report.line(found)))
    return 0 if found.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
