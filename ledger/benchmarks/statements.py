"""How long statements take over large books: `python -m ledger.benchmarks.statements [--lines N] [--json]`.

Makes books in a PostgreSQL of its own, audits a sample of them, and measures: the platform's balance sheet at random
past moments, one user's, the trial balance, and the admin's list of the journal as a superuser's browser asks for it.
"""

import argparse
import json
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import psutil
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ledger.benchmarks import scratch

SHARED_BUFFERS: Final = "1GB"
"""What a server for such books would be given at the least, and what the embedded one has."""
WARM_UP: Final = 5
MOMENTS: Final = 20
PAGES: Final = 10
SEED: Final = 7
TARGETS_MS: Final = {"balance_sheet_ms": 1000, "user_ms": 20, "trial_balance_ms": 2000, "admin_list_ms": 300}


def main() -> None:
    """Read the command line, make the books, measure, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=10_000_000, help="lines in the books (default: %(default)s)")
    parser.add_argument("--accounts", type=int, default=100_000, help="ledger accounts (default: %(default)s)")
    parser.add_argument("--data-dir", type=Path, help="keep the books here, and use them again if they are there")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    options = parser.parse_args()
    console = Console(stderr=options.json)
    with scratch.server(options.data_dir, durable=False, settings={"shared_buffers": SHARED_BUFFERS}):
        loaded_s = _make(options.lines, options.accounts, console)
        _keep_totals(console)
        broken = _audit(console)
        found = _measure(console)
        _show(found, loaded_s, console)
    if options.json:
        print(json.dumps({name: value for name, value in found.items() if name in _JSON}))
    if broken:
        sys.exit(1)


_JSON: Final = ("lines", "accounts", "balance_sheet_ms", "user_ms", "trial_balance_ms", "admin_list_ms")


# --- Making the books -----------------------------------------------------------------------------

ASSETS: Final = """
INSERT INTO ledger_asset (code, name, decimals, kind)
VALUES ('USDT', 'Tether', 6, 'CRYPTO'), ('BTC', 'Bitcoin', 8, 'CRYPTO')
"""


def _make(lines: int, accounts: int, console: Console) -> float:
    """Load books of the size asked for, unless the database has some; return the seconds it took."""
    from django.db import connection

    from ledger.benchmarks.generated import Books

    with connection.cursor() as cursor:
        cursor.execute("SELECT entry_id FROM ledger_head")
        if cursor.fetchone()[0]:
            return 0.0
    started = time.perf_counter()
    books = Books(lines, accounts)
    with connection.cursor() as cursor, _bar(console) as bar:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(ASSETS)
        rebuilt = _without_indexes(cursor)
        task = bar.add_task("lines", total=lines)
        for chunk in books.chunks():
            load(cursor, chunk)
            bar.advance(task, chunk.line_count)
        finish(cursor, books)
        task = bar.add_task("indexes", total=len(rebuilt) + 1)
        for statement in rebuilt:
            cursor.execute(statement)
            bar.advance(task)
        cursor.execute("SET session_replication_role = origin")
        cursor.execute("VACUUM (ANALYZE) ledger_account, ledger_entry, ledger_line")
        bar.advance(task)
    return time.perf_counter() - started


def _keep_totals(console: Console) -> None:
    """Keep the totals that are due, as the back office of a running exchange has done."""
    from django.db import connection

    from ledger.services import totals

    with _bar(console) as bar, connection.cursor() as cursor:
        task = bar.add_task("totals", total=totals.due())
        while done := totals.keep():
            bar.advance(task, done)
        cursor.execute("VACUUM (ANALYZE) ledger_total")


def _bar(console: Console) -> Progress:
    """Return a progress bar that counts."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
    )


def load(cursor: Any, chunk: Any) -> None:
    """Load a chunk of the books; the caller has switched the triggers off."""
    _copy(cursor, "ledger_line (entry_id, n, account_id, amount, balance_after)", chunk.lines)
    columns = "id, kind, key, effective_at, late, recorded_at, trace, reverses, transaction_id, hash"
    _copy(cursor, f"ledger_entry ({columns})", chunk.entries)


def _copy(cursor: Any, target: str, rows: str) -> None:
    """Load text."""
    with cursor.copy(f"COPY {target} FROM STDIN") as copy:
        copy.write(rows)


def _without_indexes(cursor: Any) -> list[str]:
    """Drop the indexes of entries and lines, and return the statements that make them again: far faster so."""
    statements = []
    for table in ("ledger_line", "ledger_entry"):
        cursor.execute(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE conrelid = %s::regclass AND contype IN ('p', 'u')",
            [table],
        )
        for name, definition in cursor.fetchall():
            statements.append(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
            cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        cursor.execute("SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s", [table])
        for name, definition in cursor.fetchall():
            statements.append(definition)
            cursor.execute(f"DROP INDEX {name}")
    return statements


def finish(cursor: Any, books: Any) -> None:
    """Load the accounts with their last balances, and move the head."""
    from ledger.benchmarks.generated import columns

    target = "ledger_account (id, owner_id, code, asset, sub, face, bound, balance, last_entry_id)"
    _copy(cursor, target, "".join(columns(row) for row in books.account_rows()))
    cursor.execute(
        "SELECT setval(pg_get_serial_sequence('ledger_account', 'id'), (SELECT max(id) FROM ledger_account))"
    )
    cursor.execute(
        "UPDATE ledger_head SET entry_id = %s, hash = %s, recorded_at = (SELECT max(recorded_at) FROM ledger_entry)",
        [books.entries, books.hash],
    )


def _audit(console: Console) -> bool:
    """Audit a sample; tell whether anything is broken."""
    from ledger.benchmarks.sampled import audit_sample

    invariants = audit_sample()
    for invariant in invariants:
        mark = "[green]holds[/]" if invariant.ok else "[red]BROKEN[/]"
        console.print(f"{mark}  {invariant.name}: {invariant.detail}")
    return any(not invariant.ok for invariant in invariants)


# --- Measuring ------------------------------------------------------------------------------------


def _taken_ms(calls: list[Callable[[], object]]) -> tuple[float, float]:
    """Return the median and the least of how long each call takes, in milliseconds."""
    taken = []
    for call in calls:
        started = time.perf_counter()
        call()
        taken.append((time.perf_counter() - started) * 1000)
    return round(statistics.median(taken), 2), round(min(taken), 2)


def _measure(console: Console) -> dict[str, Any]:
    """Measure everything; the first calls of each kind are not counted: they fill caches as a running server's are."""
    lines, accounts, owners = _sizes()
    made = _Statements(owners)

    def times(make: Callable[[], Callable[[], object]], count: int = MOMENTS) -> tuple[float, float]:
        for _ in range(WARM_UP):
            make()()
        return _taken_ms([make() for _ in range(count)])

    with console.status("measuring"):
        taken = {
            "balance_sheet_ms": times(made.sheet_of_platform),
            "user_ms": times(made.sheet_of_user),
            "trial_balance_ms": times(made.trial),
            "admin_list_ms": times(_admin_list(), PAGES),
            "user_statement_ms": times(made.statement_of_user),
            "income_statement_ms": times(made.income),
            "lines_of_one_busy_account_ms": times(partial(made.lines, "4110")),
            "lines_of_every_user_ms": times(partial(made.lines, "1010")),
        }
    found: dict[str, Any] = {"lines": lines, "accounts": accounts}
    for name, (median, least) in taken.items():
        found |= {name: median, f"{name}_least": least}
    return found


class _Statements:
    """Makes calls of reports, each at moments drawn anew from the life of the books.

    Args:
        owners: Of whom a user is drawn.
    """

    def __init__(self, owners: list[int]) -> None:
        from ledger.reports import moments

        life = moments.life()
        if life.first_at is None or life.last_at is None:
            raise RuntimeError("the books are empty")
        self._first, self._last, self._owners = life.first_at, life.last_at, owners
        self._chance = random.Random(SEED)

    def _past(self) -> datetime:
        return self._first + timedelta(seconds=self._chance.uniform(0, (self._last - self._first).total_seconds()))

    def _span(self) -> tuple[datetime, datetime]:
        start, end = sorted((self._past(), self._past()))
        return start, end

    def sheet_of_platform(self) -> Callable[[], object]:
        """Ask for the platform's balance sheet."""
        from ledger.reports.scopes import Scope
        from ledger.reports.sheet import balance_sheet

        return partial(balance_sheet, Scope.PLATFORM, [self._past()])

    def sheet_of_user(self) -> Callable[[], object]:
        """Ask for one user's balance sheet."""
        from ledger.reports.scopes import Scope
        from ledger.reports.sheet import balance_sheet

        return partial(balance_sheet, Scope.USERS, [self._past()], owner_id=self._chance.choice(self._owners))

    def statement_of_user(self) -> Callable[[], object]:
        """Ask for one user's statement of thirty days."""
        from ledger.reports import customer, moments

        at, owner = self._past(), self._chance.choice(self._owners)
        return lambda: customer.statement(owner, moments.period(at, at + timedelta(days=30)))

    def trial(self) -> Callable[[], object]:
        """Ask for the platform's trial balance between two moments."""
        from ledger.reports.scopes import Scope
        from ledger.reports.trial import trial_balance

        return partial(trial_balance, Scope.PLATFORM, *self._span())

    def income(self) -> Callable[[], object]:
        """Ask for the income between two moments, and before them."""
        from ledger.reports.income import income_statement
        from ledger.reports.scopes import Scope

        start, end = self._span()
        return partial(income_statement, Scope.CONSOLIDATED, [(start, end), (None, start)])

    def lines(self, code: str) -> Callable[[], object]:
        """Ask for the first page of the lines of a code between two moments, with what they began from."""
        from ledger.reports import lines, moments
        from ledger.reports.scopes import Scope
        from ledger.reports.selection import Selection

        start, end = self._span()
        selection = Selection(Scope.PLATFORM, codes=(code,), asset="USDT")
        return lambda: lines.page(selection, moments.period(start, end))


def _sizes() -> tuple[int, int, list[int]]:
    """Return how many lines and accounts there are, and the users who have some."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT (SELECT count(*) FROM ledger_line), (SELECT count(*) FROM ledger_account)")
        lines, accounts = cursor.fetchone()
        cursor.execute("SELECT DISTINCT owner_id FROM ledger_account WHERE owner_id IS NOT NULL ORDER BY 1 LIMIT 1000")
        return lines, accounts, [row[0] for row in cursor.fetchall()]


def _client() -> Any:
    """Return a superuser's browser."""
    from django.contrib.auth import get_user_model
    from django.test import Client

    client = Client()
    user, _ = get_user_model().objects.get_or_create(
        username="benchmark", defaults={"is_staff": True, "is_superuser": True}
    )
    client.force_login(user)
    return client


def _admin_list() -> Callable[[], Callable[[], object]]:
    """Return a maker of visits to the admin's list of the journal."""
    client = _client()

    def visit() -> object:
        answer = client.get("/admin/ledger/journalentry/", secure=True)
        if answer.status_code != 200:  # noqa: PLR2004 -- success
            raise RuntimeError(f"the admin answered {answer.status_code}")
        return answer

    return lambda: visit


def _show(found: dict[str, Any], loaded_s: float, console: Console) -> None:
    """Print what was found, on what machine."""
    table = Table(title=f"statements over {found['lines']:,} lines of {found['accounts']:,} accounts")
    for title, justify in (("what", "left"), ("median ms", "right"), ("least ms", "right"), ("to be below", "right")):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]  # one of two words
    for name, value in found.items():
        if name.endswith("_ms"):
            limit = TARGETS_MS.get(name)
            what, least = name.removesuffix("_ms").replace("_", " "), found[f"{name}_least"]
            table.add_row(what, f"{value:,.2f}", f"{least:,.2f}", f"{limit:,}" if limit else "")
    console.print(table)
    made = f"made and loaded in {loaded_s:,.0f} s" if loaded_s else "found in the data folder"
    memory = psutil.virtual_memory().total / 2**30
    console.print(
        f"workload: {MOMENTS} random past moments (on a busy machine the least says what the work takes); books {made};"
        f" machine: {platform.processor() or platform.machine()},"
        f" {psutil.cpu_count()} processors, {memory:.0f} GiB, PostgreSQL 18 embedded, shared_buffers {SHARED_BUFFERS},"
        " fsync off (it only reads)"
    )


if __name__ == "__main__":
    main()
