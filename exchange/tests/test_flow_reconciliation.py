"""Reconciliation as it runs: a process of its own beside the worker, under its own role, and the command."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

import psycopg
import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection

from exchange.kernel.clock import utc_now
from ledger.reconciliation import checks
from ledger.reconciliation.models import Break, CheckMark, ReconciliationRun
from ledger.services import accounts, transfers
from marketdata.models import Instrument
from trading.tests.processes import Scratch
from trading.tests.road import limit, make_instrument, place

pytestmark = pytest.mark.django_db

WAIT_SECONDS = 180.0


@pytest.fixture(name="_django_db_helper")
def _no_transaction_around(django_db_setup) -> None:
    """Wrap nothing around the tests of this module: each has a database of its own, and really commits."""


@contextmanager
def reconciler(scratch: Scratch) -> Iterator[subprocess.Popen[bytes]]:
    """Run the continuous reconciliation, as `up` does."""
    with (scratch.folder / "reconciler.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "run_reconciler"],
            cwd=settings.BASE_DIR,
            env={**scratch.env, "EXCHANGE_DB_ROLE": "exchange_back_office"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


def wait(condition, seconds: float = WAIT_SECONDS) -> float:
    """Wait for something; return how long it took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            marks = list(CheckMark.objects.order_by("name").values_list("name", "position", "behind"))
            breaks = list(Break.objects.values_list("check_name", "subject", "figures"))
            pytest.fail(f"it did not happen in time: {marks}, {breaks}")
        time.sleep(0.05)
    return time.monotonic() - began


def damage(statement: str) -> None:
    """Write past every trigger, in a transaction that is committed."""
    with connection.cursor() as cursor:
        cursor.execute(f"BEGIN; SET LOCAL session_replication_role = replica; {statement}; COMMIT")


def reconcile(scratch: Scratch, *arguments: str) -> tuple[int, dict]:
    """Run the command; return its exit code and its JSON."""
    done = subprocess.run(
        [sys.executable, "manage.py", "reconcile", "--json", *arguments],
        cwd=settings.BASE_DIR,
        env={**os.environ, **scratch.env},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else {"error": done.stderr}


@pytest.fixture
def market(scratch: Scratch) -> tuple[int, int]:
    """A market with a buyer and a seller, and a worker that settles."""
    make_instrument()
    people = [get_user_model().objects.create_user(name) for name in ("alice", "bob")]
    accounts.open_gates([user.pk for user in people])
    funds = [
        transfers.Deposit(people[0].pk, "USDT", Decimal(100_000), "first"),
        transfers.Deposit(people[1].pk, "BTC", Decimal(10), "second"),
    ]
    transfers.deposit(funds, utc_now())
    scratch.start_worker()
    return people[0].pk, people[1].pk


def trade(scratch: Scratch, buyer_id: int, seller_id: int, *, count: int = 1) -> None:
    """Let trades happen, and settle."""
    for _ in range(count):
        place(seller_id, limit("BTCUSDT", "sell", "0.0010", "50000.00"))
        place(buyer_id, limit("BTCUSDT", "buy", "0.0010", "50000.00"))
    scratch.wait_settled()


def looked_at_everything() -> bool:
    """Tell whether every check has looked, and has come to the end."""
    marks = CheckMark.objects.in_bulk()
    looking = [check.name for check in checks.registered() if check.look]
    return all(name in marks and marks[name].looked_at and not marks[name].behind for name in looking)


def test_the_reconciler_follows_what_happens_and_notices_in_time_what_is_damaged(scratch: Scratch, market) -> None:
    btc = Instrument.objects.get().pk
    trade(scratch, *market, count=3)
    with reconciler(scratch):
        wait(looked_at_everything)
        assert not Break.objects.exists()
        trade(scratch, *market, count=5)
        wait(lambda: CheckMark.objects.get(pk="trades.entries").position["numbers"] == {str(btc): 8})
        assert not Break.objects.exists()

        with psycopg.connect(scratch.env["DATABASE_URL"], autocommit=True) as other:
            wait(lambda: other.execute("SELECT pg_try_advisory_lock(9020, 1)").fetchone() == (True,))
            trade(scratch, *market)  # no round sees this before it is damaged
            damage("UPDATE ledger_entry SET trace = 'other' WHERE id = (SELECT entry_id FROM ledger_head)")
        seconds = wait(lambda: Break.objects.filter(check_name="entries.hash").exists())

        named = checks.named("entries.hash")
        assert named is not None
        assert seconds <= named.notices_within
        assert wait(lambda: "reconciliation_break" in (scratch.folder / "reconciler.log").read_text()) < WAIT_SECONDS
    [run] = ReconciliationRun.objects.all()
    assert (run.kind, run.state) == ("CONTINUOUS", "DONE")
    assert run.rounds > 2


def test_a_second_reconciler_stands_by_and_takes_over(scratch: Scratch, market) -> None:
    with reconciler(scratch) as first, reconciler(scratch):
        wait(lambda: ReconciliationRun.objects.count() == 2)
        wait(looked_at_everything)
        first.send_signal(signal.SIGTERM)
        assert first.wait(timeout=60) == 0
        moment = utc_now()

        wait(lambda: CheckMark.objects.filter(looked_at__gt=moment).exists())


def test_the_command_reconciles_and_exits_by_what_it_found(scratch: Scratch, market) -> None:
    trade(scratch, *market, count=2)

    code, found = reconcile(scratch)
    assert (code, found["ok"], found["breaks"]) == (0, True, [])
    assert {item["name"] for item in found["checks"]} == {check.name for check in checks.registered() if check.look}
    code, found = reconcile(scratch, "--full")
    assert (code, len(found["checks"])) == (0, len(checks.registered()))

    damage("UPDATE ledger_account SET balance = balance + 1 WHERE code = '1110' AND asset = 'BTC'")
    code, found = reconcile(scratch, "--full", "--check", "platform.owed")
    assert (code, found["ok"]) == (1, False)
    [broken] = found["breaks"]
    assert (broken["check"], broken["subject"], broken["amount"], broken["state"]) == (
        "platform.owed",
        "BTC",
        "-1",
        "OPEN",
    )
    code, found = reconcile(scratch, "--check", "nonsense")
    assert code == 2
    assert "no check is named nonsense; there are entries.balance," in found["error"]
    code, found = reconcile(scratch, "--list", "--check", "log.replay")
    assert (code, found["checks"][0]["equation"], found["checks"][0]["notices_within_seconds"]) == (0, "R7", 12)


def test_a_full_pass_says_that_another_is_running(scratch: Scratch) -> None:
    with psycopg.connect(scratch.env["DATABASE_URL"], autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(9020, 2)")

        assert reconcile(scratch, "--full")[0] == 3
