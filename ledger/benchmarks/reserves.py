"""How long a proof of reserves takes: `python -m ledger.benchmarks.reserves [--users 100000] [--assets 3] [--json]`.

Gives every user a balance of every asset, through the door, in a PostgreSQL of its own; then publishes, step by step
and as a whole, makes random users' proofs, and has the verifier check them.
"""

import argparse
import functools
import json
import os
import platform
import random
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import psutil
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ledger.benchmarks import scratch

USERS_A_BATCH: Final = 2_000
DECIMALS: Final = 8
PROOFS: Final = 200
SEED: Final = 7
KEY: Final = "5e" * 32
BEGIN: Final = datetime(2026, 3, 1, tzinfo=UTC)


def main() -> None:
    """Read the command line, fill the books, measure, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=100_000, help="users (default: %(default)s)")
    parser.add_argument("--assets", type=int, default=3, help="assets that each of them has (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    options = parser.parse_args()
    console = Console(stderr=options.json)
    os.environ["RESERVES_SIGNING_KEY"] = KEY
    with scratch.server(durable=False):
        _fill(options.users, options.assets, console)
        found = {"users": options.users, "assets": options.assets, **_measure(options.users, console)}
    _show(found, console)
    if options.json:
        print(json.dumps(found))


def _fill(users: int, assets: int, console: Console) -> None:
    """Post a deposit of every asset for every user: one entry a user."""
    from django.db import connection, transaction

    from ledger.chart import AccountCode
    from ledger.entries import AccountKey, EntryDraft
    from ledger.models import Asset
    from ledger.services import accounts, journal

    chance = random.Random(SEED)
    names = [f"A{number}" for number in range(assets)]
    Asset.objects.bulk_create(Asset(code=name, name=name, decimals=DECIMALS, kind="CRYPTO") for name in names)

    def draft(user: int) -> EntryDraft:
        lines = []
        for name in names:
            amount = chance.randrange(1, 10**12)
            for owner, code, sign in ((user, AccountCode.AVAILABLE, 1), (user, AccountCode.EXTERNAL, -1)):
                lines.append((AccountKey(owner, code, name), _units(sign * amount)))
            lines.append((AccountKey(None, AccountCode.CUSTODY, name, "main"), _units(amount)))
        return EntryDraft("DEPOSIT", f"deposit:{user}", BEGIN, "benchmark", lines)

    bar = Progress(TextColumn("deposits"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console)
    with bar:
        task = bar.add_task("deposits", total=users)
        for start in range(1, users + 1, USERS_A_BATCH):
            batch = range(start, min(start + USERS_A_BATCH, users + 1))
            with transaction.atomic():
                accounts.open_gates(batch)
                accounts.lock(batch)
                journal.post([draft(user) for user in batch], BEGIN)
            bar.advance(task, len(batch))
    with connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE) ledger_account, ledger_entry, ledger_line")


def _units(quanta: int) -> Any:
    from exchange.kernel.money import from_quanta

    return from_quanta(quanta, DECIMALS)


def _seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    answer = call()
    return round(time.perf_counter() - started, 3), answer


def _measure(users: int, console: Console) -> dict[str, Any]:
    """Measure reading, trees, the whole publication, proofs and their check."""
    from django.contrib.auth import get_user_model
    from django.db import connection

    from ledger.reserves import liabilities, proofs, publishing, tree, verify
    from ledger.reserves.models import PublicationState

    staff = get_user_model().objects.create_user("benchmark", password="x", is_staff=True, is_superuser=True)  # noqa: S106
    last = liabilities.head()
    if last is None:
        raise RuntimeError("the books are empty")
    with console.status("reading and hashing"):
        read_s, owed = _seconds(lambda: list(liabilities.owed(last[0])))
        salts: dict[int, bytes] = {}
        trees_s, _ = _seconds(
            lambda: [tree.root(tree.leaves(1, asset, bytes(32), of_asset, salts)) for asset, of_asset in owed]
        )
    with console.status("publishing"):
        request = publishing.request(staff, now=BEGIN)
        publish_s, publication = _seconds(lambda: publishing.publish(request.pk, now=BEGIN))
    if publication is None or publication.state != PublicationState.PUBLISHED:
        raise RuntimeError("nothing was published")
    chance = random.Random(SEED)
    proof_ms, verify_ms = [], []
    for user in chance.sample(range(1, users + 1), min(PROOFS, users)):
        taken, proof = _seconds(functools.partial(proofs.proof, publication.pk, user))
        proof_ms.append(taken * 1000)
        taken, said = _seconds(lambda: list(verify.steps(proof)))  # noqa: B023 -- called at once
        verify_ms.append(taken * 1000)
        if not said[-1].endswith("that the exchange says it owes"):
            raise RuntimeError("a proof was not proven")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_total_relation_size('ledger_publication_chunk')")
        stored = cursor.fetchone()[0]
    return {
        "read_s": read_s,
        "trees_s": trees_s,
        "publish_s": publish_s,
        "proof_ms": round(statistics.median(proof_ms), 2),
        "verify_ms": round(statistics.median(verify_ms), 2),
        "proof_bytes": len(json.dumps(proof)),
        "stored_mib": round(stored / 2**20, 1),
    }


def _show(found: dict[str, Any], console: Console) -> None:
    """Print what was found, on what machine."""
    table = Table(title=f"proof of reserves of {found['users']:,} users with {found['assets']} assets each")
    table.add_column("what")
    table.add_column("", justify="right")
    for name, words in (
        ("read_s", "read all balances at an entry, s"),
        ("trees_s", "build the trees, s"),
        ("publish_s", "publish: read, build, sign, store, s"),
        ("proof_ms", f"a user's proof, median of {PROOFS}, ms"),
        ("verify_ms", "its check by the verifier, ms"),
        ("proof_bytes", "a proof, bytes"),
        ("stored_mib", "stored trees, MiB"),
    ):
        table.add_row(words, f"{found[name]:,}")
    console.print(table)
    memory = psutil.virtual_memory().total / 2**30
    console.print(
        "workload: one wallet an asset and user, two leaves each; machine:"
        f" {platform.processor() or platform.machine()}, {psutil.cpu_count()} processors, {memory:.0f} GiB,"
        " PostgreSQL 18 embedded, fsync off"
    )


if __name__ == "__main__":
    main()
