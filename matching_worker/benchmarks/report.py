"""The tables at the end of `benchmarks/engine.py`."""

from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from matching_worker import affinity
from matching_worker.benchmarks.book import machine
from matching_worker.benchmarks.latency import PATIENT, Latency, Measured
from matching_worker.benchmarks.recorded import Recorded
from matching_worker.benchmarks.recovering import RESTING
from matching_worker.benchmarks.stillness import LONG_NS, Stillness
from matching_worker.protocol import CommandKind
from matching_worker.ring import SPINS

_NS_BELOW: Final = 0.1


def show(found: dict[str, Any], flow: Recorded, name: str, runs: int, cores: dict[str, int], console: Console) -> None:
    """Print everything that was found.

    Args:
        found: What `Bench.run` returned.
        name: The workload's.
        runs: Of each measurement.
        cores: Which threads were bound to processors.
    """
    console.print(_speeds(found, runs))
    console.print(_latencies(found["latency"], found["stillness"], cores))
    console.print(_stages(found["latency"], found["durable"]))
    console.print(_operations(found))
    console.print(_rest(found))
    console.print(f"workload: {name}: {_mix(flow)}; {found['outcome']}", soft_wrap=True)
    console.print(f"machine: {machine()}", soft_wrap=True)


def _table(title: str, first: str, *columns: str, caption: str = "") -> Table:
    """Return an empty table whose columns but the first are numbers."""
    table = Table(title=title, caption=caption or None, caption_justify="left")
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _mix(flow: Recorded) -> str:
    """Return what a workload consists of."""
    kinds = flow.commands["kind"][flow.preloaded :]
    cancels = int(np.count_nonzero(kinds == CommandKind.CANCEL))
    return f"{flow.preloaded:,} preloaded, then {len(kinds):,} commands, {cancels / len(kinds):.1%} of them cancels"


def _speeds(found: dict[str, Any], runs: int) -> Table:
    """Return commands a second."""
    table = _table(
        f"commands a second, median of {runs}",
        "what",
        *("by the clock", "of processor time", "times the reference"),
        caption="'of processor time': by the time that this process had a processor; the one to compare on a machine"
        " that does other work besides.",
    )
    rows = [
        (f"engine, calls of {size:,}", each.wall, f"{each.processor:,.0f}") for size, each in found["calls"].items()
    ]
    rows += [(f"durable, {size:,} a commit", each.rate, "") for size, each in found["durable"].items()]
    rows += [("ceiling: minimal loop, no events", found["ceiling"], ""), ("reference", found["reference"], "")]
    for what, speed, of_processor in rows:
        table.add_row(what, f"{speed:,.0f}", of_processor, f"{speed / found['reference']:,.1f}")
    return table


def _latencies(latencies: dict[int, Measured], still: Stillness, cores: dict[str, int]) -> Table:
    """Return latency at each rate."""
    table = _table(
        "microseconds from the ring to matched and to durable",
        "offered/s",
        "until",
        *("average", "P50", "P95", "P99", "P99.9"),
        caption="First clock: when the row is in the ring, just before its sequence moves ('from due', to matched: when"
        " it should have been there; the generator is an open loop). Second: after the engine's call in the match loop;"
        f" after fdatasync in the journal thread. Processors: {affinity.describe(cores) or 'any'}. The match thread"
        f" looks up to {PATIENT:,} times before it sleeps (in the worker: {SPINS:,}). The machine itself, just before:"
        f" a loop that only reads the clock was stopped for more than {LONG_NS // 1000} µs during {still.share:.2%} of"
        f" the time, at most {still.longest_us:,.0f} µs at once.",
    )
    for rate, measured in latencies.items():
        for until, row in (
            ("matched", measured.entered),
            ("from due", measured.matched),
            ("durable", measured.durable),
        ):
            table.add_row(f"{rate:,}", until, *(f"{value:,.1f}" for value in row))
        table.add_section()
    return table


def _stages(latencies: dict[int, Measured], durables: dict[int, Any]) -> Table:
    """Return what each stage takes."""
    table = _table(
        "what each stage takes, microseconds a batch",
        "load",
        *("match P50", "P99", "commands", "commit P50", "P99", "commands"),
        caption="match: one call of the engine; commit: append, write and fdatasync; commands: in one of these.",
    )

    def cells(match: Latency, sync: Latency, per_call: float, per_sync: float) -> list[str]:
        return [
            *(f"{value:,.1f}" for value in (match.p50, match.p99, per_call)),
            *(f"{value:,.1f}" for value in (sync.p50, sync.p99, per_sync)),
        ]

    for rate, each in latencies.items():
        table.add_row(f"{rate:,}/s", *cells(each.match_call, each.sync, each.per_call, each.per_sync))
    for size, each in durables.items():
        averages = f"{each.match_us:,.1f} avg", "", f"{size:,}", f"{each.sync_us:,.1f} avg", "", f"{size:,}"
        table.add_row(f"all at once, {size:,}", *averages)
    return table


def _time(microseconds: float) -> str:
    """Return a time in the unit that suits it."""
    return f"{microseconds * 1000:,.1f} ns" if microseconds < _NS_BELOW else f"{microseconds:,.2f} µs"


def _operations(found: dict[str, Any]) -> Table:
    """Return the mission's table of operations."""
    each = found["operations"]
    table = _table("one operation", "what", "in batches of 1,000, or compiled", "alone, from Python")
    for what, batched, alone in (
        ("add an order", each.add, each.add_alone),
        ("remove an order", each.remove, each.remove_alone),
        ("best bid and ask", each.best, each.best_python),
        ("depth, ten levels a side", each.depth, each.depth_python),
    ):
        table.add_row(what, _time(batched), _time(alone))
    return table


def _rest(found: dict[str, Any]) -> Table:
    """Return replay, recovery, memory and first start."""
    memory, start = found["memory"], found["starting"]
    table = _table("coming back, memory, start", "what", "figure")
    table.add_row("replay of the log's payloads", f"{found['replay']:,.0f} commands/s")
    what = f"recovery: snapshot with {RESTING:,} orders, then the workload from the WAL"
    table.add_row(what, f"{found['recovery_seconds']:.3f} s")
    table.add_row("memory for one resting order (its row alone)", f"{memory.grown:,.0f} B ({memory.row} B)")
    table.add_row("first engine of a process, nothing compiled", f"{start.cold:.2f} s")
    table.add_row("first engine of a process, machine code cached", f"{start.warm:.2f} s")
    return table
