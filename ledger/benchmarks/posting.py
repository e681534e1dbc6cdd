"""Measure how fast entries are posted: `python -m ledger.benchmarks.posting [--json] [--runs N] [--users N] [--quick]`.

Starts a durable PostgreSQL of its own (fsync on), posts through the door as the matching worker's role with every
check on, and audits the books at the end. A batch is one transaction, whose commit waits for the disk. What belongs to
callers is ready before the clock starts: drafts are composed, accounts are open, gates are not locked (but by the
posters that work at the same time, since they share users).

The ceiling is COPY of as many rows into the same tables, one transaction a batch, with triggers off and no balance
kept. It takes turns with the door, so that both meet the same machine.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from exchange.kernel.clock import utc_now
from exchange.kernel.errors import require
from ledger.benchmarks import scratch

if TYPE_CHECKING:
    from ledger.entries import EntryDraft

TRANSFER_BATCHES: Final = {1: 400, 10: 200, 100: 100, 1000: 20}
"""Transfers in a batch, and batches in a run."""
FILL_BATCH: Final = 500
FILL_BATCHES: Final = 20
TURNS, TURN_BATCHES, TURN_BATCH = 3, 5, 1000
POSTERS: Final = (2, 4, 8)
POSTER_BATCH, POSTER_BATCHES = 100, 40
QUICK_POSTERS: Final = (2,)
STARTING_SECONDS_MAX: Final = 300
RUNS: Final = 5
USERS: Final = 10_000
COPIED_FROM: Final = 10**12
"""Entries that COPY brings are numbered from here, and are gone before the door goes on."""

Figure = TypeVar("Figure")
Batch = Sequence["EntryDraft"]


class Ratio(NamedTuple):
    """Lines a second through the door, and by COPY at the same time."""

    door: float
    copy: float


def post(batches: Sequence[Batch]) -> float:
    """Post batches, each in a transaction of its own; return the seconds it took."""
    from ledger.services import journal

    started = time.perf_counter()
    for batch in batches:
        journal.post(batch, utc_now())
    return time.perf_counter() - started


def lines_of(batches: Sequence[Batch]) -> int:
    """Count lines."""
    return sum(len(draft.lines) for batch in batches for draft in batch)


def copy(batches: Sequence[Batch]) -> float:
    """COPY the rows of batches into the tables, then remove them, triggers off; return the seconds that COPY took."""
    from django.db import connection, transaction

    ready = list(_rows(batches))
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")
        cursor.execute("SET session_replication_role = replica")
        started = time.perf_counter()
        for entries, lines in ready:
            with transaction.atomic():
                _copy_rows(cursor, "ledger_entry", entries)
                _copy_rows(cursor, "ledger_line", lines)
        taken = time.perf_counter() - started
        cursor.execute("DELETE FROM ledger_line WHERE entry_id >= %s", [COPIED_FROM])
        cursor.execute("DELETE FROM ledger_entry WHERE id >= %s", [COPIED_FROM])
        cursor.execute("RESET session_replication_role")
        cursor.execute("VACUUM ledger_line, ledger_entry")
        cursor.execute("SET ROLE exchange_worker")
    return taken


def _rows(batches: Sequence[Batch]) -> Iterator[tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]]:
    """Yield the rows of entries and of lines that the door would write for each batch, but for hash and balances."""
    from ledger.services import accounts

    ids = accounts.ids(key for batch in batches for draft in batch for key, _ in draft.lines)
    number, now, any_hash, any_balance = COPIED_FROM, utc_now(), bytes(32), Decimal("123456789.123456789012345678")
    for batch in batches:
        entries: list[tuple[Any, ...]] = []
        lines: list[tuple[Any, ...]] = []
        for draft in batch:
            key = f"copy:{draft.key}"
            entries.append(
                (number, str(draft.kind), key, draft.effective_at, False, now, draft.trace, None, 1, any_hash)
            )
            lines += [(number, n, ids[key], amount, any_balance) for n, (key, amount) in enumerate(draft.lines, 1)]
            number += 1
        yield entries, lines


def _copy_rows(cursor: Any, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Send rows as the driver writes them."""
    with cursor.copy(f"COPY {table} FROM STDIN") as sink:
        for row in rows:
            sink.write_row(row)


# --- Several posters --------------------------------------------------------------------------------------------------


_TOGETHER: list[Any] = []
"""In a poster's process: the barrier at which all posters meet."""


def _meet_at(barrier: Any) -> None:
    """Prepare a poster's process."""
    _TOGETHER.append(barrier)


def _poster(number: int, users: int, batches: int, name: str) -> tuple[float, float, Decimal]:
    """Post transfers among users that all posters share, in a process of its own.

    Returns:
        When it began and ended, and the sum of what it froze.
    """
    import django

    django.setup()
    from django.db import connection, transaction

    from ledger.benchmarks.posted import Workload
    from ledger.services import accounts, journal

    workload = Workload(users, f"{name}:{number}")
    work = [workload.transfers(POSTER_BATCH) for _ in range(batches)]
    accounts.ids(key for batch in work for draft in batch for key, _ in draft.lines)
    with connection.cursor() as cursor:
        cursor.execute("SET ROLE exchange_worker")
    _TOGETHER[0].wait(STARTING_SECONDS_MAX)
    started = time.time()
    for batch in work:
        with transaction.atomic():
            accounts.lock({key.owner_id for draft in batch for key, _ in draft.lines if key.owner_id is not None})
            journal.post(batch, utc_now())
    ended = time.time()
    connection.close()
    return started, ended, sum((draft.lines[0][1] for batch in work for draft in batch), Decimal(0))


def posters(count: int, users: int, batches: int) -> float:
    """Let processes post at the same time, gates and all; return transfers a second.

    Raises:
        InvariantViolationError: An entry or an update of a balance was lost.
        DatabaseError: A poster was refused, as by a deadlock.
    """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    before, entries_before = _frozen()
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(count)
    with ProcessPoolExecutor(count, mp_context=context, initializer=_meet_at, initargs=(barrier,)) as pool:
        waiting = [pool.submit(_poster, number, users, batches, f"{count}-posters") for number in range(count)]
        found = [future.result() for future in waiting]
    after, entries_after = _frozen()
    posted = count * batches * POSTER_BATCH
    require(entries_after - entries_before == posted, f"{entries_after - entries_before} entries of {posted}")
    require(after - before == sum(frozen for _, _, frozen in found), "an update was lost")
    return posted / (max(ended for _, ended, _ in found) - min(started for started, _, _ in found))


def _frozen() -> tuple[Decimal, int]:
    """Return what all order holds have together, and how many entries there are."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT sum(balance) FROM ledger_account WHERE code = '1020'), (SELECT entry_id FROM ledger_head)"
        )
        frozen, entries = cursor.fetchone()
        return frozen, entries


# --- The whole --------------------------------------------------------------------------------------------------------


class Bench:
    """One run of the whole benchmark.

    Args:
        share: Of the batches of a full run.
        posters: How many posters work at the same time, one number after the other.
    """

    def __init__(self, users: int, runs: int, share: float, posters: tuple[int, ...], progress: Progress) -> None:
        from ledger.benchmarks.posted import Workload

        self._users, self._runs, self._share, self._progress = users, runs, share, progress
        self._posters = posters
        self._workload = Workload(users, "one")

    def _count(self, batches: int) -> int:
        return max(1, round(batches * self._share))

    def _repeat(self, name: str, measure: Callable[[], Figure], runs: int | None = None) -> list[Figure]:
        """Measure as often as wanted, telling how far it is."""
        task = self._progress.add_task(name, total=runs or self._runs)
        found = []
        for _ in range(runs or self._runs):
            found.append(measure())
            self._progress.advance(task)
        return found

    def run(self) -> dict[str, Any]:
        """Measure everything, then audit; each figure is the median of the runs."""
        from django.db import connection

        from ledger import audit
        from ledger.benchmarks.posted import prepare

        self._repeat("users", lambda: prepare(self._users), 1)
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
            cursor.execute("SET ROLE exchange_worker")
        self._repeat("warming up", lambda: post([self._workload.transfers(1000), self._workload.fills(100)]), 1)
        transfers = {
            size: statistics.median(self._repeat(f"transfers by {size}", partial(self._transfers, size)))
            for size in TRANSFER_BATCHES
        }
        fills = statistics.median(self._repeat(f"fills by {FILL_BATCH}", self._fills))
        ratios = self._repeat("door and COPY", self._in_turns)
        with connection.cursor() as cursor:
            cursor.execute("RESET ROLE")
        together = {
            count: self._repeat(f"{count} posters", partial(self._together, count), 1)[0] for count in self._posters
        }
        [invariants] = self._repeat("audit", audit.invariants, 1)
        broken = [invariant for invariant in invariants if not invariant.ok]
        require(not broken, f"the books are broken: {broken}")
        return {
            "transfers": transfers,
            "fills": fills,
            "copy": statistics.median(ratio.copy for ratio in ratios),
            "ratio": statistics.median(ratio.door / ratio.copy for ratio in ratios),
            "together": together,
            "audited": f"{len(invariants)} invariants hold: {invariants[0].detail}",
        }

    def _transfers(self, size: int) -> float:
        """Return transfers a second at batches of a size."""
        count = self._count(TRANSFER_BATCHES[size])
        return size * count / post([self._workload.transfers(size) for _ in range(count)])

    def _fills(self) -> float:
        """Return fills a second."""
        count = self._count(FILL_BATCHES)
        return FILL_BATCH * count / post([self._workload.fills(FILL_BATCH) for _ in range(count)])

    def _in_turns(self) -> Ratio:
        """Return lines a second through the door and by COPY, a few batches in turn."""
        lines, door, bare = 0, 0.0, 0.0
        for _ in range(self._count(TURNS)):
            mine, theirs = ([self._workload.transfers(TURN_BATCH) for _ in range(TURN_BATCHES)] for _ in range(2))
            lines += lines_of(mine)
            door += post(mine)
            bare += copy(theirs)
        return Ratio(lines / door, lines / bare)

    def _together(self, count: int) -> float:
        """Return transfers a second of several posters."""
        return posters(count, self._users, self._count(POSTER_BATCHES))


def show(found: dict[str, Any], runs: int, users: int, console: Console) -> None:
    """Print what was found."""
    from matching_worker.benchmarks.book import machine

    table = Table(title=f"posting, median of {runs}", caption=found["audited"], caption_justify="left")
    table.add_column("what")
    table.add_column("a second", justify="right")
    for size, speed in found["transfers"].items():
        table.add_row(f"transfers of two lines, {size:,} a batch", f"{speed:,.0f}")
    table.add_row(f"fills of nine lines, {FILL_BATCH} a batch", f"{found['fills']:,.0f}")
    for count, speed in found["together"].items():
        table.add_row(f"transfers, {POSTER_BATCH} a batch, {count} posters, gates locked", f"{speed:,.0f}")
    table.add_row(f"lines by COPY, triggers off, {2 * TURN_BATCH:,} a batch", f"{found['copy']:,.0f}")
    table.add_row("the door's share of COPY's speed, in the same turns", f"{found['ratio']:.2f}")
    console.print(table)
    console.print(
        f"workload: {users:,} users, drawn at random; a transfer is an order's freeze, a fill a perpetual match:"
        " two entries, five and four lines. PostgreSQL of its own, fsync and full_page_writes on, every check on.",
        soft_wrap=True,
    )
    console.print(f"machine: {machine()}", soft_wrap=True)


def main() -> None:
    """Measure, print a table, and end with one line of JSON when asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--runs", type=int, default=RUNS, help="of each measurement; the median counts")
    parser.add_argument("--users", type=int, default=USERS, help="who share the transfers")
    parser.add_argument("--quick", action="store_true", help="one run of a twentieth of the batches: that it works")
    arguments = parser.parse_args()
    runs, share, at_once = (1, 0.05, QUICK_POSTERS) if arguments.quick else (arguments.runs, 1.0, POSTERS)
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with scratch.server(), Progress(*columns, console=console) as progress:
        found = Bench(arguments.users, runs, share, at_once, progress).run()
    show(found, runs, arguments.users, console)
    if arguments.json:
        print(
            json.dumps(
                {
                    "transfers_per_second": {str(size): round(speed) for size, speed in found["transfers"].items()},
                    "fills_per_second": {str(FILL_BATCH): round(found["fills"])},
                    "ratio_to_copy": round(found["ratio"], 3),
                }
            )
        )


if __name__ == "__main__":
    main()
