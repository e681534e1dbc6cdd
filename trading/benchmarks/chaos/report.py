"""The table at the end of `python -m trading.benchmarks.chaos`, and its one line of JSON."""

from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from matching_worker.benchmarks.book import machine
from trading.benchmarks.chaos.kinds import TAKEOVERS, TITLES
from trading.benchmarks.chaos.run import Found, Options


def show(found: Found, options: Options, console: Console) -> None:
    """Print everything that was found."""
    console.print(_kills(found))
    orders, asked = found.verdict, found.asked
    console.print(
        f"orders acknowledged: {orders.acknowledged:,}, cancels {orders.cancels:,}; lost {len(orders.lost)}, duplicated"
        f" {len(orders.duplicated)}; refused, by code: {dict(asked.refused) or 'none'}; requests repeated, by reason:"
        f" {dict(asked.repeated) or 'none'}; never answered: {asked.unanswered}",
        soft_wrap=True,
    )
    for words in (*orders.lost, *orders.duplicated, *found.broken):
        console.print(words, soft_wrap=True)
    console.print(f"audits of the whole books: {found.audits}, {'not clean' if found.broken else 'all clean'}")
    console.print(
        f"workload: {options.traders} traders over REST, {options.rate:g} requests a second each (7 of 10 an order, 1 a"
        f" batch of 5, 2 a cancel; BTCUSDT and BTC-PERP in turns), beside the demo's two makers;"
        f" {found.seconds:.0f} s, seed {options.seed}",
        soft_wrap=True,
    )
    console.print(f"machine: {machine()}", soft_wrap=True)


def _kills(found: Found) -> Table:
    """Return how often each kind was done, and how long its effects lasted."""
    table = Table(
        title="kills, and seconds (median and most)",
        caption="settles: until an order sent after the kill is in the books. whole: until every process runs.",
        caption_justify="left",
    )
    table.add_column("what")
    for column in ("times", "settles", "most", "whole", "most"):
        table.add_column(column, justify="right")
    for kind, title in TITLES.items():
        mine = [kill for kill in found.kills if kill.kind is kind]
        if mine:
            settled, whole = [kill.settled_seconds for kill in mine], [kill.whole_seconds for kill in mine]
            figures = (median(settled), max(settled), median(whole), max(whole))
            table.add_row(title, str(len(mine)), *(f"{figure:.2f}" for figure in figures))
    return table


def line(found: Found) -> dict[str, Any]:
    """Return what others read; null for a takeover that was not asked for."""
    takeovers = [kill.settled_seconds for kill in found.kills if kill.kind in TAKEOVERS]
    return {
        "kills": len(found.kills),
        "acknowledged": found.verdict.acknowledged,
        "lost": len(found.verdict.lost),
        "duplicated": len(found.verdict.duplicated),
        "takeover_seconds_max": round(max(takeovers), 3) if takeovers else None,
        "audit_ok": not found.broken,
    }
