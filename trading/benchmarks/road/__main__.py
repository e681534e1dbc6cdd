"""Measure the whole road: `python -m trading.benchmarks.road [--json] [--seconds N] [--users N] [--plot FILE]`.

With `--scaling`: the cost of an order with more users and instruments, N seconds each, 8 unless said.
With `--overload`: ten times what the road sustains is offered over HTTP for N seconds, 30 unless said.

Starts a durable PostgreSQL (fsync on), a Redis, a matching worker and a web server of its own. Requests go in by the
service of admission in one process, are matched, and settled; first as fast as settlement follows, then for N seconds
at a steady rate just below that; then over HTTP and WebSocket. The books are audited at the end. All of it shares the
machine's processors, the load's own process included.
"""

import argparse
import json
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from trading.benchmarks.road import overload_run, run, scaling

SECONDS, USERS, INSTRUMENTS = 60.0, 1_000, 10
FLOOD_SECONDS, CELL_SECONDS = 30.0, 8.0


def main() -> None:
    """Measure, print tables, and end with one line of JSON when asked."""
    parser = argparse.ArgumentParser(prog="python -m trading.benchmarks.road", description=__doc__)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--seconds", type=float, help="of the steady phase, or of the flood; others are parts of that")
    parser.add_argument("--users", type=int, default=USERS, help="who send orders, at least 20")
    parser.add_argument("--instruments", type=int, default=INSTRUMENTS, help="half of them contracts")
    parser.add_argument("--rate", type=float, help="requests a second in the steady phase (default: 90%% of capacity)")
    parser.add_argument("--plot", type=Path, help="an SVG file for rates and lag over time")
    parser.add_argument("--overload", action="store_true", help="offer ten times too much over HTTP, and nothing else")
    parser.add_argument(
        "--scaling",
        nargs="*",
        type=scaling.Size.parse,
        metavar="USERSxINSTRUMENTS",
        help="by size (default: nine)",
    )
    asked = parser.parse_args()
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    if asked.scaling is not None:
        with Progress(*columns, console=console) as progress:
            cells = scaling.measure(asked.scaling or scaling.SIZES, asked.seconds or CELL_SECONDS, progress)
        scaling.show(cells, console)
        if asked.json:
            print(json.dumps(scaling.line(cells)))
        return
    seconds = asked.seconds or (FLOOD_SECONDS if asked.overload else SECONDS)
    options = run.Options(seconds, asked.users, asked.instruments, asked.rate)
    if asked.overload:
        with Progress(*columns, console=console) as progress:
            flooded = overload_run.measure(options, progress)
        overload_run.show(flooded, console)
        if asked.json:
            print(json.dumps(overload_run.line(flooded)))
        return
    with Progress(*columns, console=console) as progress:
        found = run.measure(options, progress)
    from trading.benchmarks.road import plot, report

    report.show(found, console)
    if asked.plot is not None:
        plot.write(found.steady, asked.plot)
    if asked.json:
        print(json.dumps(report.line(found)))


if __name__ == "__main__":
    main()
