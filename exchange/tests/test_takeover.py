"""A second worker follows a shard's first one, and goes on with its orders when it dies or stalls."""

import random
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError, connections

from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError
from ledger.services import accounts, transfers
from matching_worker import inspection, retention, snapshot, wal
from risk.models import TraderProfile
from trading import audit, selectors
from trading.models import Command, Order, SettlementCursor, Trade
from trading.services import orders
from trading.services.requests import PlaceOrder, Submission
from trading.tests.processes import Scratch
from trading.tests.road import make_instrument

pytestmark = pytest.mark.django_db

SEED = 606
WAIT_SECONDS = 180.0
FOLLOWS_WITHIN = 100
"""Commands: while somebody trades without pause the log's very head is seldom met."""
STANDBY = ("manage.py", "run_matching_worker", "--http-port", "0", "--standby")


@pytest.fixture(name="_django_db_helper")
def _no_transaction_around(django_db_setup) -> None:
    """Wrap nothing around the tests of this module: each has a database of its own, and really commits."""


def _trader(name: str) -> int:
    user = get_user_model().objects.create_user(name)
    accounts.open_gates([user.pk])
    # Orders come as fast as they are taken: more than others may place in a day.
    TraderProfile.objects.create(user_id=user.pk, tier_id="MARKET_MAKER", counted_on=utc_now().date())
    amounts = (("USDT", 10_000_000), ("BTC", 100))
    given = [transfers.Deposit(user.pk, asset, Decimal(amount), f"{name}:{asset}", "test") for asset, amount in amounts]
    transfers.deposit(given, utc_now())
    return user.pk


class Market:
    """Two traders whose orders often cross."""

    def __init__(self) -> None:
        make_instrument()
        self._rng = random.Random(SEED)
        self._traders = [_trader("alice"), _trader("bob")]
        self.acknowledged: list[int] = []

    def trade(self) -> None:
        """Place a few orders."""
        batch = [Submission(self._rng.choice(self._traders), self._order()) for _ in range(10)]
        results = orders.submit(batch, now=utc_now())
        self.acknowledged.extend(item.id for item in results if not isinstance(item, DomainError))

    def _order(self) -> PlaceOrder:
        price, quantity = Decimal(50_000 + self._rng.randint(-20, 20)), Decimal(self._rng.randint(1, 50)) / 10_000
        side, validity = self._rng.choice(["buy", "sell"]), self._rng.choice(["gtc", "ioc"])
        return PlaceOrder("BTCUSDT", side, "limit", quantity, price, validity)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Trade while the body runs."""
        stopping = threading.Event()

        def feed() -> None:
            try:
                while not stopping.wait(0.01):
                    with suppress(OperationalError):  # a stalled worker keeps a gate: its traders try again
                        self.trade()
            finally:
                connections.close_all()

        feeding = threading.Thread(target=feed)
        feeding.start()
        try:
            yield
        finally:
            stopping.set()
            feeding.join()


def _said(scratch: Scratch) -> str:
    log = scratch.folder / "worker.log"
    return re.sub(r"\x1b\[[0-9;]*m", "", log.read_text()) if log.exists() else ""


def _until(scratch: Scratch, condition: Callable[[], bool]) -> None:
    """Wait for what other processes do."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, _said(scratch)[-4000:]
        time.sleep(0.02)


def _takeovers(scratch: Scratch) -> list[float]:
    """Return for how long the shard had no worker, each time."""
    return [
        float(found)
        for line in _said(scratch).splitlines()
        if "shard_taken_over" in line
        for found in re.findall(r"seconds=([\d.]+)", line)
    ]


def _start(scratch: Scratch, *argv: str) -> subprocess.Popen[bytes]:
    """Start a worker, and wait until it works."""
    before = _said(scratch).count("recovered ")
    worker = scratch.start_worker(*(argv or STANDBY))
    _until(scratch, lambda: _said(scratch).count("recovered ") > before)
    return worker


def _behind() -> int | None:
    """Return how far the shard's standby is behind the log."""
    return selectors.lag()[0].standby_behind


def _follow(scratch: Scratch) -> subprocess.Popen[bytes]:
    """Start a worker that stands by, and wait until it has replayed."""
    _until(scratch, lambda: _behind() is None)
    worker = scratch.start_worker(*STANDBY)
    _until(scratch, lambda: _behind() in range(FOLLOWS_WITHIN))
    return worker


def _check(scratch: Scratch, market: Market) -> None:
    """Everything that was acknowledged is settled, once, and the books are clean."""
    scratch.wait_settled()
    assert [item for item in audit.invariants() if not item.ok] == []
    known = set(Order.objects.filter(id__in=market.acknowledged).values_list("id", flat=True))
    assert known == set(market.acknowledged)
    assert Trade.objects.count() > 0


def test_a_standby_goes_on_when_the_worker_is_killed_also_without_its_disk(scratch: Scratch, tmp_path: Path) -> None:
    scratch.env["EXCHANGE_LEASE_SECONDS"] = "600"  # a busy machine is no stall, and the death of one is seen at once
    market = Market()
    first = _start(scratch)
    second = _follow(scratch)
    with market.at_work():
        _until(scratch, lambda: len(market.acknowledged) > 100)
        first.kill()
        first.wait()
        _until(scratch, lambda: len(_takeovers(scratch)) == 1)
        scratch.env["EXCHANGE_DATA_DIR"] = str(tmp_path / "another disk")
        third = _follow(scratch)
        second.kill()
        second.wait()
        _until(scratch, lambda: len(_takeovers(scratch)) == 2)
    _check(scratch, market)
    third.kill()
    third.wait()

    _start(scratch)
    market.trade()
    _check(scratch, market)

    folder = tmp_path / "another disk" / "wal" / "shard-0"
    [began] = snapshot.paths(retention.snapshots_of(folder))
    whole = inspection.verify(folder, 0)
    assert whole.first == snapshot.read_header(began).sequence + 1
    assert whole.last == SettlementCursor.objects.get(shard=0).sequence
    assert "snapshot_loaded" in _said(scratch)


def _is_stopped(process: subprocess.Popen[bytes]) -> bool:
    """Tell whether a process has been stopped by a signal."""
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_a_worker_that_stalls_before_it_writes_is_replaced_and_writes_nothing_when_it_wakes(scratch: Scratch) -> None:
    scratch.env["EXCHANGE_LEASE_SECONDS"] = "10"  # a busy machine is no stall
    market = Market()
    stalled = _start(scratch, "-m", "trading.tests.crash_worker", "before journal", "5", "SIGSTOP")
    second = _follow(scratch)
    with market.at_work():
        _until(scratch, lambda: _is_stopped(stalled))
        _until(scratch, lambda: len(_takeovers(scratch)) == 1)
        enough = len(market.acknowledged) + 50
        _until(scratch, lambda: len(market.acknowledged) > enough)
        stalled.send_signal(signal.SIGCONT)
        assert stalled.wait(timeout=WAIT_SECONDS) == 1
    _check(scratch, market)
    second.kill()
    second.wait()

    _start(scratch)
    market.trade()
    _check(scratch, market)

    folder = scratch.folder / "wal" / "shard-0"
    assert inspection.verify(folder, 0).last == SettlementCursor.objects.get(shard=0).sequence
    hashes = dict(Command.objects.values_list("sequence", "chain_hash"))
    assert all(bytes(hashes[int(rows["sequence"][-1])]) == chain_hash for rows, chain_hash in wal.read(folder))
