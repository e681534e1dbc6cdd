"""Measure the books: `python -m matching_worker.benchmarks.book [--json]`.

Commands a second of `Engine.apply` (events and state hash included) for calls of several sizes, and of
the readable reference on the same flow in the same run. One thread, no network, no disk. On a machine
that does other work besides, the figures per processor second are the ones to compare.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numba
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from exchange.kernel.errors import require
from matching_worker.benchmarks.workload import COMMANDS, INSTRUMENT_ID, PRELOADED, workload
from matching_worker.book.reference import ReferenceEngine
from matching_worker.engine import Engine
from matching_worker.protocol import EventKind, Rows

CALL_SIZES: Final = (1000, 100, 10, 1)
REFERENCE_COMMANDS: Final = 50_000
RUNS: Final = 5


def _calls(commands: Rows, size: int) -> Iterator[Rows]:
    """Cut commands into calls."""
    return (commands[start : start + size] for start in range(0, len(commands), size))


class Speed(NamedTuple):
    """Commands a second: by the clock on the wall, and by the time this process had a processor."""

    wall: float
    processor: float


def measure_engine(commands: Rows, size: int, preloaded: int = PRELOADED) -> tuple[Speed, Engine]:
    """Return the speed after the preload, and the engine as it ended."""
    engine = Engine(0, 0)
    engine.apply(commands[:preloaded])
    calls = list(_calls(commands[preloaded:], size))
    count = len(commands) - preloaded
    started, processor_started = time.perf_counter(), time.process_time()
    for call in calls:
        engine.apply(call)
    wall, processor = time.perf_counter() - started, time.process_time() - processor_started
    return Speed(count / wall, count / processor), engine


def measure_reference(commands: Rows, preloaded: int = PRELOADED) -> tuple[float, ReferenceEngine]:
    """Return the reference's commands a second after the preload, and the book as it ended."""
    reference = ReferenceEngine(0, 0)
    reference.apply(commands[:preloaded])
    started = time.perf_counter()
    for call in _calls(commands[preloaded:], 1000):
        reference.apply(call)
    return (len(commands) - preloaded) / (time.perf_counter() - started), reference


def describe(commands: Rows) -> dict[str, Any]:
    """Return what the flow consists of, found by running it once."""
    engine = Engine(0, 0)
    engine.apply(commands[:PRELOADED])
    events = engine.apply(commands[PRELOADED:])
    fills = events[events["kind"] == EventKind.FILL]
    return {
        "commands": len(commands) - PRELOADED,
        "preloaded": PRELOADED,
        "cancels": int(np.count_nonzero(commands["kind"] == 2)),  # noqa: PLR2004 - CommandKind.CANCEL
        "takers": len(np.unique(fills["sequence"])),
        "fills": len(fills),
        "resting_at_end": engine.open_order_count,
        "levels_at_end": [len(levels) for levels in engine.levels(INSTRUMENT_ID)],
        "rejected": int(np.count_nonzero(events["kind"] == EventKind.REJECTED)),
    }


def machine() -> dict[str, Any]:
    """Return what was measured on."""
    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):  # noqa: PTH110 - a plain question
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123
            model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    versions = {"python": platform.python_version(), "numba": numba.__version__, "numpy": np.__version__}
    return {"processor": model, "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 2), **versions}


def main() -> None:
    """Measure, show a table, and end with one line of JSON when asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--commands", type=int, default=COMMANDS, help="commands after the preload")
    parser.add_argument("--runs", type=int, default=RUNS, help="runs of each size; the median counts")
    arguments = parser.parse_args()
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("measuring", total=len(CALL_SIZES) * arguments.runs + 2)
        commands = workload(arguments.commands)
        flow = describe(commands)
        progress.advance(task)
        first = commands[: PRELOADED + min(REFERENCE_COMMANDS, arguments.commands)]
        reference_speed, reference = measure_reference(first)
        require(measure_engine(first, 1000)[1].state_hash == reference.state_hash, "the books disagree")
        progress.advance(task)
        speeds: dict[int, Speed] = {}
        for size in CALL_SIZES:
            runs = []
            for _ in range(arguments.runs):
                runs.append(measure_engine(commands, size)[0])
                progress.advance(task)
            speeds[size] = Speed(*(statistics.median(column) for column in zip(*runs, strict=True)))
    table = Table(title=f"commands a second, median of {arguments.runs}", caption=f"{flow}\n{machine()}")
    for column in ("book", "calls of", "commands/s", "per processor second", "times the reference"):
        table.add_column(column, justify="left" if column == "book" else "right")
    for size, speed in speeds.items():
        ratio = f"{speed.wall / reference_speed:,.0f}"
        table.add_row("engine", f"{size:,}", f"{speed.wall:,.0f}", f"{speed.processor:,.0f}", ratio)
    table.add_row("reference", "1,000", f"{reference_speed:,.0f}", "", "1")
    Console(stderr=arguments.json).print(table)
    if arguments.json:
        calls = {str(size): round(speed.wall) for size, speed in speeds.items()}
        per_processor_second = {str(size): round(speed.processor) for size, speed in speeds.items()}
        print(
            json.dumps(
                {
                    "calls": calls,
                    "per_processor_second": per_processor_second,
                    "reference": round(reference_speed),
                    "workload": flow,
                    "machine": machine(),
                }
            )
        )


if __name__ == "__main__":
    main()
