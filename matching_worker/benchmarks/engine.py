"""Measure the whole engine: `python -m matching_worker.benchmarks.engine [--json] [--workload FILE]`.

Commands a second at calls of several sizes, with WAL and fdatasync, latency at several loads, single operations,
replay, recovery, memory; beside the plain-Python reference and a minimal array loop on the same flow in the same
run. Each figure is the median of the runs. `Note [Two clocks]` in `latency.py` says where latency is read.
"""

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from exchange.kernel.errors import require
from matching_worker import affinity
from matching_worker.benchmarks import (
    book,
    ceiling,
    durable,
    latency,
    operations,
    recorded,
    recovering,
    report,
    starting,
    stillness,
    workload,
)
from matching_worker.benchmarks.recorded import Recorded, WorkloadFileError
from matching_worker.engine import Engine
from matching_worker.stages import JOURNAL, MATCH, RECEIVE, STAGES

CALL_SIZES: Final = (1, 10, 100, 1000)
DURABLE_COMMANDS: Final = {100: 200_000, 1000: 1_000_000}
"""Commands in a commit, and commands in a run."""
REFERENCE_COMMANDS: Final = 50_000
RUNS: Final = 5

Figure = TypeVar("Figure")


class Options(NamedTuple):
    """What to measure, and how."""

    runs: int
    seconds: float
    folder: Path
    cores: dict[str, int]


def median(runs: list[Any]) -> Any:
    """Return the median of each number of equal tuples, at any depth."""
    if isinstance(runs[0], tuple):
        return type(runs[0])(*(median(list(column)) for column in zip(*runs, strict=True)))
    return statistics.median(runs)


class Bench:
    """One run of the whole benchmark."""

    def __init__(self, flow: Recorded, options: Options, progress: Progress) -> None:
        self._commands, self._preloaded = flow.commands, flow.preloaded
        self._flow = flow
        self._options = options
        self._progress = progress
        self._folders = 0

    def _repeat(self, name: str, measure: Callable[[], Figure]) -> Figure:
        """Measure as often as wanted and return the median."""
        task = self._progress.add_task(name, total=self._options.runs)
        runs = []
        for _ in range(self._options.runs):
            runs.append(measure())
            self._progress.advance(task)
        return median(runs)

    def _once(self, name: str, measure: Callable[[], Figure]) -> Figure:
        """Measure once."""
        task = self._progress.add_task(name, total=1)
        found = measure()
        self._progress.advance(task)
        return found

    def _folder(self) -> Path:
        """Return a new folder's path."""
        self._folders += 1
        return self._options.folder / str(self._folders)

    def run(self) -> dict[str, Any]:
        """Measure everything; memory first, while nothing has been given back that could be used again."""
        return {
            "memory": self._once("memory of 1,000,000 orders", operations.memory),
            "outcome": self._once("check of the results", lambda: recorded.check(self._flow)),
            "starting": self._once("first start", lambda: starting.measure(self._folder())),
            "calls": {size: self._calls(size) for size in CALL_SIZES},
            "ceiling": self._repeat("minimal array loop", self._ceiling),
            "reference": self._reference(),
            "durable": {size: self._durable(size, count) for size, count in DURABLE_COMMANDS.items()},
            "stillness": self._repeat("the machine's own pauses", self._stillness),
            "latency": {rate: self._latency(rate) for rate in latency.RATES},
            "operations": self._repeat("single operations", operations.measure),
            "replay": self._repeat("replay", lambda: recovering.measure_replay(self._commands)),
            "recovery_seconds": self._recovery(),
        }

    def _calls(self, size: int) -> book.Speed:
        """Return commands a second at calls of a size."""
        return self._repeat(f"calls of {size:,}", lambda: book.measure_engine(self._commands, size, self._preloaded)[0])

    def _ceiling(self) -> float:
        """Return the minimal loop's commands a second, after checking that it trades the same."""
        speed, counted = ceiling.measure(self._commands, self._preloaded)
        expected = self._flow.expected
        same = "fills" not in expected or counted == (expected["fills"], expected["traded"])
        require(same, f"the minimal loop traded {counted}")
        return speed

    def _reference(self) -> float:
        """Return the reference's commands a second, after checking that it agrees hash for hash."""
        first = self._commands[: self._preloaded + REFERENCE_COMMANDS]
        engine = Engine(0, 0)
        engine.apply(first)

        def measure() -> float:
            speed, reference = book.measure_reference(first, self._preloaded)
            require(engine.state_hash == reference.state_hash, "the books disagree")
            return speed

        return self._repeat("reference", measure)

    def _durable(self, size: int, count: int) -> durable.Durable:
        """Return durable commands a second at commits of a size."""
        return self._repeat(
            f"durable, {size:,} a commit",
            lambda: durable.measure(self._commands, self._preloaded, size, count, self._folder()),
        )

    def _latency(self, rate: int) -> latency.Measured:
        """Return the latency at a rate."""
        options = self._options
        return self._repeat(
            f"latency at {rate:,}/s",
            lambda: latency.measure(
                self._commands, self._preloaded, rate, self._folder(), seconds=options.seconds, cores=options.cores
            ),
        )

    def _stillness(self) -> stillness.Stillness:
        """Return how the machine disturbs the processors of the latency runs."""
        return stillness.measure(sorted(set(self._options.cores.values())) or [0], seconds=self._options.seconds)

    def _recovery(self) -> float:
        """Return the seconds of a recovery."""
        task = self._progress.add_task("writing a WAL to recover from", total=len(self._commands) - self._preloaded)
        prepared = recovering.prepare(
            self._commands, self._preloaded, self._folder(), lambda count: self._progress.advance(task, count)
        )
        return self._repeat("recovery", lambda: recovering.measure(prepared))


def own_workload(commands: int) -> Recorded:
    """Return the repository's own workload of the same mix."""
    return Recorded(workload.workload(commands), workload.PRELOADED, {})


def line(found: dict[str, Any]) -> str:
    """Return the figures that others read, as one line of JSON: commands a second, microseconds, seconds.

    `p50`, `p99`, `p999` are from ring entry to matched, `due_*` from the moment the command was due to matched,
    `durable_*` from ring entry to durable.
    """
    return json.dumps(
        {
            "calls": {str(size): round(speed.wall) for size, speed in found["calls"].items()},
            "durable": {str(size): round(figure.rate) for size, figure in found["durable"].items()},
            "latency_us": {
                str(rate): {name: round(getattr(measured.entered, name), 2) for name in ("p50", "p99", "p999")}
                | {f"due_{name}": round(getattr(measured.matched, name), 2) for name in ("p50", "p99", "p999")}
                | {f"durable_{name}": round(getattr(measured.durable, name), 2) for name in ("p50", "p99", "p999")}
                for rate, measured in found["latency"].items()
            },
            "recovery_seconds": round(found["recovery_seconds"], 3),
            "ceiling": round(found["ceiling"]),
            "reference": round(found["reference"]),
        }
    )


def default_cores() -> str:
    """Return which processors the latency runs use: the match stage has one for itself, if there are two."""
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(allowed) <= 1:
        return ""
    first, *others, last = allowed
    return affinity.describe({RECEIVE: first, JOURNAL: (others or [first])[0], MATCH: last})


def _arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--workload", type=Path, help="records of 32 bytes; NAME.json beside NAME.bin is checked")
    parser.add_argument("--commands", type=int, default=workload.COMMANDS, help="commands of the own workload")
    parser.add_argument("--runs", type=int, default=RUNS, help="runs of each measurement; the median counts")
    parser.add_argument("--seconds", type=float, default=latency.SECONDS, help="of each latency run")
    parser.add_argument(
        "--cores",
        default=default_cores(),
        help="processors of the latency runs (default: %(default)s); empty for any",
    )
    parser.add_argument("--folder", type=Path, default=Path(), help="on the disk that shall hold the WAL")
    return parser.parse_args()


def main() -> None:
    """Measure, show tables, and end with one line of JSON when asked."""
    arguments = _arguments()
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        cores = affinity.parse(arguments.cores, STAGES)
        with (
            tempfile.TemporaryDirectory(prefix=".benchmark-", dir=arguments.folder) as folder,
            Progress(*columns, console=console, disable=not console.is_terminal) as progress,
        ):
            task = progress.add_task("workload", total=1)
            flow = recorded.read(arguments.workload) if arguments.workload else own_workload(arguments.commands)
            progress.advance(task)
            options = Options(arguments.runs, arguments.seconds, Path(folder), cores)
            found = Bench(flow, options, progress).run()
    except (WorkloadFileError, affinity.AffinityError, OSError) as error:
        raise SystemExit(str(error)) from error
    name = str(arguments.workload or f"own, seed {workload.SEED}")
    report.show(found, flow, name, options.runs, cores, Console(stderr=arguments.json))
    if arguments.json:
        print(line(found))


if __name__ == "__main__":
    main()
