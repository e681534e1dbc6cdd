"""Threads and processes that fight for the same positions and wallets, against a real worker: nothing is lost or stuck.

In full (`--storm-seconds 60`) sixteen threads trade for a minute; the suite does so for ten seconds.
"""

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal

import orjson
import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import OperationalError, connections
from psycopg.errors import LockNotAvailable

from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError
from ledger.services import accounts, transfers
from trading import audit, selectors
from trading.models import OPEN_STATUSES, Order, OrderPart, Position, Trade
from trading.services import cancel_all, orders
from trading.services.requests import AmendOrder, CancelOrder, PlaceOrder, Submission
from trading.tests.contracts import SYMBOL, make_contract, set_mark
from trading.tests.processes import Scratch

pytestmark = pytest.mark.django_db

THREADS = 16
TRADERS = 6
LAG_MAX = 2_000
"""Commands that may wait for settlement before a thread waits too."""
PROCESSES = 2
ORDERS_EACH = 200


@pytest.fixture(name="_django_db_helper")
def _no_transaction_around(django_db_setup) -> None:
    """Wrap nothing around the tests of this module: each has a database of its own, and really commits."""


def make_traders(count: int, funds: int) -> list[int]:
    owners = [get_user_model().objects.create_user(f"trader-{number}").pk for number in range(count)]
    accounts.open_gates(owners)
    deposits = [transfers.Deposit(owner, "USDT", Decimal(funds), f"{owner}", "test") for owner in owners]
    transfers.deposit(deposits, utc_now())
    return owners


class Stormer(threading.Thread):
    """One client: opens, closes, reverses, amends and cancels in everybody's name."""

    def __init__(self, seed: int, owners: list[int], until: float) -> None:
        super().__init__(name=f"stormer-{seed}")
        self.rng = random.Random(seed)
        self.owners = owners
        self.until = until
        self.done: Counter[str] = Counter()
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            while time.monotonic() < self.until:
                for step in (self._batch, self._apart):
                    self._try(step)
                while sum(shard.lag for shard in selectors.lag()) > LAG_MAX:
                    time.sleep(0.01)
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
            self.done["lock timeout"] += 1

    def _batch(self) -> None:
        """Submit a few requests of several traders in one transaction."""
        submissions = [Submission(self.rng.choice(self.owners), self._place()) for _ in range(self.rng.randint(1, 5))]
        submissions += self._changes()
        for item, result in zip(submissions, orders.submit(submissions, now=utc_now()), strict=True):
            name = type(item.request).__name__
            self.done[result.name if isinstance(result, DomainError) else name] += 1

    def _place(self) -> PlaceOrder:
        rng = self.rng
        side, chance = rng.choice(["buy", "sell"]), rng.random()
        quantity, price = Decimal(rng.randint(1, 12)), Decimal(100 + rng.randint(-4, 4))
        if chance < 0.1:
            return PlaceOrder(SYMBOL, side, "market", None, None, "ioc", close_position=True)
        if chance < 0.2:
            return PlaceOrder(SYMBOL, side, "limit", quantity, price, reduce_only=True)
        if chance < 0.3:
            return PlaceOrder(SYMBOL, side, "market", quantity, None, "ioc")
        return PlaceOrder(SYMBOL, side, "limit", quantity, price)

    def _changes(self) -> Iterator[Submission]:
        """Cancel or amend some of what stands, whoever placed it."""
        found = Order.objects.filter(status__in=OPEN_STATUSES, quantity__isnull=False).order_by("-id")[:3]
        for order in found:
            if self.rng.random() < 0.3:
                yield Submission(order.user_id, CancelOrder(order.id))
            elif order.price is not None:
                price = Decimal(100 + self.rng.randint(-4, 4))
                yield Submission(order.user_id, AmendOrder(order.id, price=price, quantity=order.quantity + 1))

    def _apart(self) -> None:
        """Do now and then what has a transaction of its own."""
        chance = self.rng.random()
        if chance < 0.05:
            self.done["cancel all"] += cancel_all.of_trader(self.rng.choice(self.owners), now=utc_now())
        elif chance < 0.2:
            set_mark(str(100 + self.rng.randint(-3, 3)))
            self.done["mark"] += 1


def test_sixteen_threads_trade_the_same_positions_and_nothing_is_stuck(
    scratch: Scratch, request: pytest.FixtureRequest
) -> None:
    seconds = request.config.getoption("--storm-seconds")
    make_contract(maker_fee_rate=Decimal("0.0002"), taker_fee_rate=Decimal("0.0005"))
    owners = make_traders(TRADERS, 10_000)
    scratch.start_worker()

    until = time.monotonic() + seconds
    stormers = [Stormer(seed, owners, until) for seed in range(THREADS)]
    for stormer in stormers:
        stormer.start()
    for stormer in stormers:
        stormer.join()
    scratch.wait_settled()

    done = sum((stormer.done for stormer in stormers), Counter())
    stolen = OrderPart.objects.filter(state="STOLEN").count()
    print(f"{seconds} s: {dict(done)}; {Trade.objects.count()} trades, {stolen} reservations stolen")  # noqa: T201
    assert [stormer.failure for stormer in stormers if stormer.failure] == []
    assert len(scratch.workers) == 1
    assert [item for item in audit.invariants() if not item.ok] == []
    assert Trade.objects.exists()

    for owner in owners:
        cancel_all.of_trader(owner, now=utc_now())
    scratch.wait_settled()
    assert list(Order.objects.filter(status__in=OPEN_STATUSES)) == []
    assert not OrderPart.objects.filter(state="TRIED").exists()
    assert not Position.objects.exclude(reserved=0).exists()
    assert [item for item in audit.invariants() if not item.ok] == []


def _fight(scratch: Scratch, owner: int, side: str, price: int) -> tuple[int, list[float]]:
    """Let processes place orders of one trader; return how many were accepted, and the seconds that each took."""
    command = [sys.executable, "-m", "trading.tests.contention", str(owner), side, str(price), str(ORDERS_EACH)]
    env = {**scratch.env, "EXCHANGE_DB_ROLE": "exchange_web"}
    fighters = [
        subprocess.Popen(command, cwd=settings.BASE_DIR, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(PROCESSES)
    ]
    told = []
    for fighter in fighters:
        out, errors = fighter.communicate(timeout=120)
        assert fighter.returncode == 0, errors.decode()[-2000:]
        told.append(orjson.loads(out.splitlines()[-1]))
    return sum(one["accepted"] for one in told), sorted(second for one in told for second in one["seconds"])


def test_two_processes_never_spend_one_wallet_or_reserve_one_position_twice(scratch: Scratch) -> None:
    make_contract()
    owner, maker = make_traders(2, 1_500)
    scratch.start_worker()

    bought, waits = _fight(scratch, owner, "buy", 100)
    assert bought == 150  # 1500 at 10 each
    orders.place(maker, [PlaceOrder(SYMBOL, "sell", "limit", Decimal(100), Decimal(100))], now=utc_now())
    scratch.wait_settled()
    cancel_all.of_trader(owner, now=utc_now())
    scratch.wait_settled()
    assert Position.objects.get(user_id=owner).quantity == 100

    sold, more = _fight(scratch, owner, "sell", 110)
    scratch.wait_settled()

    reserved = OrderPart.objects.filter(user_id=owner, kind="REDUCE", state="TRIED").count()
    assert (Position.objects.get(user_id=owner).reserved, reserved) == (100, 100)
    assert sold == 100 + 500 // 11
    assert [item for item in audit.invariants() if not item.ok] == []
    for name, taken in (("wallet", waits), ("position", sorted(more))):
        p50, p99 = taken[len(taken) // 2], taken[len(taken) * 99 // 100]
        print(f"{PROCESSES} processes fight for one {name}: p50 {p50 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms")  # noqa: T201
