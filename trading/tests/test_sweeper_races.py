"""The sweeper against traders, people, a worker and itself: what is left goes back once, what lives stays."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.conf import settings
from django.db import OperationalError, connection, connections
from psycopg.errors import LockNotAvailable

from exchange.kernel.clock import utc_now
from ledger.models import JournalEntry
from risk.models import ReviewLimit
from trading import audit
from trading.models import Order, Trade
from trading.services import review, sweeper
from trading.sweep_models import HoldSweep
from trading.sweeping import Cause
from trading.tests.contracts import make_contract
from trading.tests.left_behind import LATER, acting_as
from trading.tests.processes import Scratch
from trading.tests.road import limit, make_instrument, place, worker
from trading.tests.test_contract_concurrency import Stormer, make_traders

pytestmark = pytest.mark.django_db

STORM_SECONDS = 3
LEFT_BEHIND = 30


@pytest.fixture(name="_django_db_helper")
def _no_transaction_around(django_db_setup) -> None:
    """Wrap nothing around the tests of this module: each has a database of its own, and really commits."""


@pytest.fixture(autouse=True)
def _database_of_its_own(scratch) -> None:
    """Each test has a database of its own, and really commits."""


def left_in_review(customer: Any, count: int) -> list[Order]:
    """Let orders of several traders wait for a person, and their time be over."""
    make_instrument()
    ReviewLimit.objects.create(tier_id="STANDARD", asset_id="USDT", notional=500)
    traders = [customer(f"trader-{number}", USDT=10_000) for number in range(5)]
    until = utc_now() + timedelta(minutes=5)
    request = limit("BTCUSDT", "buy", "0.0101", "50000", time_in_force="gtd", expires_at=until)
    placed = [place(traders[number % 5].id, request)[0] for number in range(count)]
    Order.objects.update(expires_at=utc_now() - timedelta(seconds=1))
    return placed


def nothing_is_held() -> bool:
    """Tell whether every hold went back, once."""
    released = JournalEntry.objects.filter(kind="ORDER_UNFREEZE").count()
    return released == Order.objects.count() and not Order.objects.exclude(hold_remaining=0).exists()


def test_two_processes_sweep_the_same_holds_and_each_goes_back_once(customer, scratch: Scratch) -> None:
    left_in_review(customer, LEFT_BEHIND)
    command = [sys.executable, "manage.py", "sweep_holds", "--json"]
    env = {**scratch.env, "EXCHANGE_DB_ROLE": "exchange_back_office"}
    sweepers = [
        subprocess.Popen(command, cwd=settings.BASE_DIR, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    voided = 0
    for process in sweepers:
        out, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()[-2000:]
        voided += sum(item["step"] == "VOID" for item in orjson.loads(out.splitlines()[-1])["orders"])

    assert voided == LEFT_BEHIND
    assert nothing_is_held()
    assert [item for item in audit.invariants() if not item.ok] == []


def together(*tasks: Callable[[], object]) -> None:
    """Do things in threads of their own, at the same moment."""
    barrier = threading.Barrier(len(tasks))
    failures: list[BaseException] = []

    def run(task: Callable[[], object]) -> None:
        try:
            barrier.wait(timeout=30)
            task()
        except BaseException as failure:  # noqa: BLE001 -- handed to the test, which fails on it
            failures.append(failure)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_person_who_approves_what_the_sweeper_ends_wins_or_comes_too_late(customer, tmp_path: Path) -> None:
    placed = left_in_review(customer, 10)

    with worker(tmp_path) as shard:
        for order in placed:
            together(partial(review.approve, [order.id], now=utc_now()), partial(sweeper.sweep, now=utc_now()))
        while shard.step(now=utc_now()):
            pass

    assert set(Order.objects.values_list("status", "reason")) <= {("expired", "EXPIRED"), ("rejected", "BAD_EXPIRY")}
    assert nothing_is_held()
    assert [item for item in audit.invariants() if not item.ok] == []


class Sweeping(threading.Thread):
    """Sweeps all the while, by a clock by which everything that is under way is long overdue."""

    def __init__(self, until: float) -> None:
        super().__init__(name="sweeping")
        self.until = until
        self.rounds = self.seen = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            while time.monotonic() < self.until:
                self.rounds += 1
                try:
                    self.seen += len(sweeper.sweep(now=utc_now() + LATER, whole=True))
                except OperationalError as error:  # what looks without a lock may meet a lock of the schema
                    if not isinstance(error.__cause__, LockNotAvailable):
                        raise
        except BaseException as failure:  # noqa: BLE001 -- handed to the test, which fails on it
            self.failure = failure
        finally:
            connections.close_all()


def test_whatever_the_moment_the_sweeper_changes_nothing_for_orders_that_live(scratch: Scratch) -> None:
    make_contract(maker_fee_rate=Decimal("0.0002"), taker_fee_rate=Decimal("0.0005"))
    owners = make_traders(4, 10_000)
    scratch.start_worker()

    until = time.monotonic() + STORM_SECONDS
    stormers = [Stormer(seed, owners, until) for seed in range(4)]
    sweeping = [Sweeping(until) for _ in range(2)]
    threads: list[Stormer | Sweeping] = [*stormers, *sweeping]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    scratch.wait_settled()
    sweeper.sweep(now=utc_now() + LATER, whole=True)

    assert [thread.failure for thread in threads if thread.failure] == []
    print(  # noqa: T201
        f"{sum(one.rounds for one in sweeping)} sweeps saw {sum(one.seen for one in sweeping)} orders under way;"
        f" {Trade.objects.count()} trades"
    )
    assert set(HoldSweep.objects.values_list("state", flat=True)) <= {"CLOSED"}
    assert not HoldSweep.objects.exclude(command_sequence=None).exists()
    assert [item for item in audit.invariants() if not item.ok] == []


def test_what_the_database_refuses_is_a_break_and_the_others_stand(customer, tmp_path: Path) -> None:
    [refused] = left_in_review(customer, 1)
    bob = customer("bob", USDT=1000)
    with worker(tmp_path) as shard:
        [order] = place(bob.id, limit("BTCUSDT", "buy", "0.0010", "40000"))
        shard.step(now=utc_now())
    Order.objects.filter(id=order.id).update(cancel_requested_at=utc_now())
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM ledger_posting_right WHERE kind = 'ORDER_UNFREEZE'")

    with acting_as("exchange_back_office"):
        done = sweeper.sweep(now=utc_now() + LATER)

    assert [(item.order_id, item.cause, str(item.step)) for item in done] == [
        (refused.id, Cause.REVIEW_EXPIRED, "BREAK"),
        (order.id, Cause.CANCEL_UNANSWERED, "NOTE"),
    ]
    assert "exchange_back_office may not post ORDER_UNFREEZE" in HoldSweep.objects.get(order_id=refused.id).why
    assert Order.objects.get(id=refused.id).status == "pending_review"
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO ledger_posting_right VALUES ('exchange_back_office', 'ORDER_UNFREEZE')")
    with acting_as("exchange_back_office"):
        assert [str(item.step) for item in sweeper.sweep(now=utc_now() + LATER)] == ["VOID", "ASK"]
    assert Order.objects.get(id=refused.id).status == "expired"
