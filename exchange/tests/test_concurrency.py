"""Many threads placing, changing and cancelling against a real worker: no deadlock, nothing stuck, books clean."""

import random
import threading
import time
from collections.abc import Callable
from decimal import Decimal

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import OperationalError, connections, transaction
from psycopg.errors import LockNotAvailable

from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError
from ledger.services import accounts, transfers
from trading import audit
from trading.models import Order, Trade
from trading.services import cancel_all, gathering, mark_price, orders
from trading.services.mark_price import MarkPrice
from trading.services.requests import CancelOrder, PlaceOrder, ReduceOrder, Submission
from trading.tests.processes import Scratch
from trading.tests.road import make_instrument

pytestmark = pytest.mark.django_db

THREADS = 8
SECONDS = 6.0
TRADERS = 5
TRANSACTION_SECONDS = settings.TRANSACTION_TIMEOUT_MS / 1000


@pytest.fixture(name="_django_db_helper")
def _no_transaction_around(django_db_setup) -> None:
    """Wrap nothing around the tests of this module: each has a database of its own, and really commits."""


def _traders() -> list[int]:
    owners = [get_user_model().objects.create_user(f"trader-{number}").pk for number in range(TRADERS)]
    accounts.open_gates(owners)
    transfers.deposit(
        [
            transfers.Deposit(owner, asset, Decimal(amount), f"{owner}:{asset}", "test")
            for owner in owners
            for asset, amount in (("USDT", 1_000_000), ("BTC", 20))
        ],
        utc_now(),
    )
    return owners


class Feeder(threading.Thread):
    """One client: batches over all traders, so that gates and door are fought for."""

    def __init__(self, seed: int, owners: list[int], until: float) -> None:
        super().__init__(name=f"feeder-{seed}")
        self.rng = random.Random(seed)
        self.owners = owners
        self.until = until
        self.accepted: list[int] = []
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            while time.monotonic() < self.until:
                self._try(self._batch)
                self._try(self._apart)
        except BaseException as failure:  # noqa: BLE001 -- handed to the test, which fails on it
            self.failure = failure
        finally:
            connections.close_all()

    def _try(self, step: Callable[[], None]) -> None:
        """Do something; a wait for a lock that took too long undid it, as it would a client's request."""
        try:
            step()
        except OperationalError as error:
            if not isinstance(error.__cause__, LockNotAvailable):
                raise

    def _batch(self) -> None:
        rng = self.rng
        submissions = [
            Submission(
                rng.choice(self.owners),
                PlaceOrder(
                    "BTCUSDT",
                    rng.choice(["buy", "sell"]),
                    "limit",
                    Decimal(rng.randint(1, 30)) / 10_000,
                    Decimal(50_000 + rng.randint(-15, 15)),
                ),
            )
            for _ in range(rng.randint(1, 6))
        ]
        amount = Decimal(rng.randint(5, 100))
        spend = PlaceOrder("BTCUSDT", "buy", "market", time_in_force="ioc", quote_quantity=amount)
        submissions.append(Submission(rng.choice(self.owners), spend))
        for order in Order.objects.filter(id__in=self.accepted[-8:], status__in=["new", "partial_filled"]):
            change = CancelOrder(order.id) if rng.random() < 0.6 else ReduceOrder(order.id, Decimal("0.0001"))
            submissions.append(Submission(order.user_id, change))
        submit = rng.choice([orders.submit, gathering.submit])
        for submission, result in zip(submissions, submit(submissions, now=utc_now()), strict=True):
            if isinstance(submission.request, PlaceOrder) and not isinstance(result, DomainError):
                self.accepted.append(result.id)

    def _apart(self) -> None:
        """Do now and then what has a transaction of its own."""
        chance, now = self.rng.random(), utc_now()
        if chance < 0.1:
            cancel_all.of_trader(self.rng.choice(self.owners), now=now)
        elif chance < 0.15:
            cancel_all.by_operator("BTCUSDT", now=now)
        elif chance < 0.3:
            mark_price.publish([MarkPrice("BTCUSDT", Decimal(50_000 + self.rng.randint(-15, 15)))], now=now)


def test_many_threads_fight_for_the_same_traders_and_the_books_stay_clean(scratch: Scratch) -> None:
    make_instrument()
    owners = _traders()
    scratch.start_worker()

    until = time.monotonic() + SECONDS
    feeders = [Feeder(seed, owners, until) for seed in range(THREADS)]
    for feeder in feeders:
        feeder.start()
    for feeder in feeders:
        feeder.join()
    scratch.wait_settled()

    assert [feeder.failure for feeder in feeders] == [None] * THREADS
    assert [item for item in audit.invariants() if not item.ok] == []
    assert sum(len(feeder.accepted) for feeder in feeders) > 50
    stuck = Order.objects.filter(status__in=["new", "partial_filled"], cancel_requested_at__isnull=False)
    assert list(stuck) == []


def test_four_threads_never_spend_one_wallet_twice(scratch: Scratch) -> None:
    make_instrument()
    [owner] = _traders()[:1]
    price, quantity = Decimal(50_000), Decimal("1.0000")
    affordable = int(Decimal(1_000_000) / (price * quantity * Decimal("1.0002")))
    results: list[object] = []

    def spend() -> None:
        try:
            for _ in range(affordable):
                results.extend(
                    orders.place(owner, [PlaceOrder("BTCUSDT", "buy", "limit", quantity, price)], now=utc_now())
                )
        finally:
            connections.close_all()

    threads = [threading.Thread(target=spend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(isinstance(result, Order) for result in results) == affordable
    assert sum(isinstance(result, DomainError) for result in results) == 3 * affordable
    assert [item for item in audit.invariants() if not item.ok] == []


def test_settlement_waits_out_whoever_keeps_a_gate_too_long(scratch: Scratch) -> None:
    make_instrument()
    seller, buyer = _traders()[:2]
    scratch.start_worker()
    orders.place(seller, [PlaceOrder("BTCUSDT", "sell", "limit", Decimal("0.01"), Decimal(50_000))], now=utc_now())
    scratch.wait_settled()

    orders.place(buyer, [PlaceOrder("BTCUSDT", "buy", "limit", Decimal("0.01"), Decimal(50_000))], now=utc_now())
    with transaction.atomic():
        accounts.lock([seller])
        time.sleep(1.5 * TRANSACTION_SECONDS)
    scratch.wait_settled()

    assert len(scratch.workers) == 1
    assert "settlement_waits_for_locks" in (scratch.folder / "worker.log").read_text()
    assert Trade.objects.count() == 1
    assert [item for item in audit.invariants() if not item.ok] == []
