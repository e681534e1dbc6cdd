"""The tables at the end of `python -m trading.benchmarks.road`, and its one line of JSON."""

from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from matching_worker.benchmarks.book import machine
from trading.benchmarks.road.figures import Steady, quantiles
from trading.benchmarks.road.run import Found

MICROSECONDS = 1e6


def _table(title: str, first: str, *columns: str, caption: str = "") -> Table:
    """Return an empty table whose columns but the first are numbers."""
    table = Table(title=title, caption=caption or None, caption_justify="left")
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def show(found: Found, console: Console) -> None:
    """Print everything that was found."""
    steady = found.steady
    console.print(_rates(found))
    console.print(_latencies(found))
    console.print(_batches(steady))
    console.print(_budget(steady))
    for name, figures in found.ways_in.items():
        times = quantiles(np.array(figures.milliseconds))
        console.print(
            f"{name}: {figures.accepted / figures.seconds:,.0f} orders/s accepted, p50 {times.p50:.1f} ms, p99"
            f" {times.p99:.1f} ms, errors: {dict(figures.errors) or 'none'}"
        )
    console.print(f"audit of the whole books: {'clean' if not found.broken else '; '.join(found.broken)}")
    console.print(f"workload: {found.workload}", soft_wrap=True)
    console.print(f"machine: {machine()}", soft_wrap=True)


def _rates(found: Found) -> Table:
    """Return orders a second."""
    steady = found.steady
    table = _table(
        f"orders a second, cancels included; steady for {steady.seconds:.0f} s",
        "what",
        "a second",
        caption=f"refused: {steady.refused or 'none'}; fills settled: {steady.fills:,}",
    )
    table.add_row(
        f"capacity: settled while the sender waits for a lag of at most {found.lag_max:,}", f"{found.capacity:,.0f}"
    )
    for name, value in (
        ("offered", steady.offered),
        ("admitted", steady.admitted),
        ("matched", steady.matched),
        ("settled", steady.settled),
    ):
        table.add_row(name, f"{value:,.0f}")
    table.add_row(f"lag grows by ({'flat' if steady.is_flat else 'NOT flat'})", f"{steady.growth:,.1f}")
    return table


def _latencies(found: Found) -> Table:
    """Return how long things took."""
    table = _table(
        "milliseconds in the steady phase",
        "until",
        *("p50", "p90", "p99", "most"),
        caption="accept: from when the order was due until its COMMIT. The others begin when its batch came to the"
        " service. match: matched and durable in the WAL; settle: COMMIT of the books; push: a fill reaches its"
        " traders' channel.",
    )
    for name, times in found.steady.latencies.items():
        table.add_row(name, *(f"{value:,.1f}" for value in times))
    return table


def _batches(steady: Steady) -> Table:
    """Return what one transaction does."""
    table = _table("one transaction", "of", "orders", "statements", "ms")
    table.add_row("admission", *(f"{steady.admission[name]:,.1f}" for name in ("orders", "statements", "ms")))
    table.add_row("settlement", *(f"{steady.settlement[name]:,.1f}" for name in ("orders", "statements")), "")
    return table


def _budget(steady: Steady) -> Table:
    """Return where the processors' time went."""
    whole = steady.cores * steady.seconds
    table = _table(
        f"where the time of {steady.cores} processors went",
        "process",
        *("stage", "µs an order", "share"),
        caption="share: of all processor time in the steady phase.",
    )
    for (process, stage), seconds in sorted(steady.spent.items(), key=lambda item: -item[1]):
        table.add_row(process, stage, f"{seconds * MICROSECONDS / steady.orders:,.0f}", f"{seconds / whole:.1%}")
    rest = whole - sum(steady.spent.values())
    table.add_row("unused, or of others", "", f"{rest * MICROSECONDS / steady.orders:,.0f}", f"{rest / whole:.1%}")
    return table


def line(found: Found) -> dict[str, Any]:
    """Return what `--json` ends with."""
    times = {f"{name}_ms": {"p50": each.p50, "p99": each.p99} for name, each in found.steady.latencies.items()}
    return {
        "orders_per_second": round(found.steady.settled),
        **times,
        "http_batch_orders_per_second": round(found.http_batches.accepted / found.http_batches.seconds),
        "audit_ok": not found.broken,
    }
