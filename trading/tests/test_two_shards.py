"""Two shards: the same traders and wallets on both, two workers that settle at once, one set of books."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection, connections
from psycopg.errors import LockNotAvailable

from exchange.kernel.clock import utc_now
from ledger.models import JournalEntry
from matching_worker.shard import Shard
from trading import audit, entry_keys, selectors
from trading.models import Command, Order, Position, Trade
from trading.services import cancel_all, command_log, lease, log_heads, mark_price, orders, pressure
from trading.services.mark_price import MarkPrice
from trading.services.requests import CancelOrder, PlaceOrder, ReduceOrder, Submission
from trading.tests.contracts import make_contract
from trading.tests.processes import Scratch
from trading.tests.road import fresh, limit, make_asset, make_instrument, place, worker

SPOT, CONTRACT = "BTCUSDT", "BTC-PERP"
STORM_ROUNDS = 30
SETTLED_SECONDS_MAX = 120.0


def _markets() -> None:
    """Make a spot market on shard 0 and a contract on shard 1."""
    lease.open_shard(1)
    make_instrument(SPOT)
    make_contract(CONTRACT, shard=1)


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[list[Shard]]:
    _markets()
    with ExitStack() as stack:
        yield [stack.enter_context(worker(tmp_path / f"shard-{number}", number)) for number in (0, 1)]
    assert [item for item in audit.invariants() if not item.ok] == []


def _settle(workers: list[Shard]) -> None:
    while sum([shard.step(now=utc_now()) for shard in workers]):
        pass


@pytest.mark.django_db
@pytest.mark.usefixtures("books")
class TestRoad:
    """One trader on two shards, in one thread."""

    def test_a_trader_trades_on_both_shards_from_one_wallet(self, customer, workers: list[Shard]) -> None:
        alice, bob = customer("alice", USDT=1000), customer("bob", USDT=1000, BTC=1)
        place(bob.id, limit(SPOT, "sell", "0.0100", "50000"), limit(CONTRACT, "sell", "4", "100"))
        bought, refused, opened = place(
            alice.id,
            limit(SPOT, "buy", "0.0100", "50000"),
            limit(SPOT, "buy", "0.0100", "50000"),
            limit(CONTRACT, "buy", "4", "100"),
        )
        assert (refused.name, {row.shard for row in Command.objects.all()}) == ("INSUFFICIENT_FUNDS", {0, 1})

        _settle(workers)

        assert [fresh(order).status for order in (bought, opened)] == ["filled", "filled"]
        ids = dict(Trade.objects.values_list("shard", "id"))
        assert (len(ids), ids[0] != ids[1]) == (2, True)
        assert Position.objects.get(user_id=alice.id).quantity == 4

    def test_cancel_all_reaches_every_shard(self, customer, workers: list[Shard]) -> None:
        alice = customer("alice", USDT=10_000)
        mine = place(alice.id, limit(SPOT, "buy", "0.0100", "49000"), limit(CONTRACT, "buy", "4", "90"))
        _settle(workers)

        assert cancel_all.of_trader(alice.id, now=utc_now()) == 2
        _settle(workers)

        assert [fresh(order).status for order in mine] == ["cancelled", "cancelled"]

    def test_the_same_sequence_on_two_shards_gives_back_two_holds(self, customer, workers: list[Shard]) -> None:
        alice = customer("alice", USDT=10_000)
        make_instrument("ETHUSDT", base=make_asset("ETH", 8), shard=1)
        mine = place(alice.id, *(limit(symbol, "buy", "0.0200", "49000") for symbol in (SPOT, "ETHUSDT")))
        behind = command_log.stream_head(1)[1] - command_log.stream_head(0)[1]
        place(alice.id, *(limit(SPOT, "buy", "0.0010", "49000") for _ in range(behind)))
        _settle(workers)

        for order in mine:
            orders.submit([Submission(alice.id, ReduceOrder(order.id, Decimal("0.0100")))], now=utc_now())
        _settle(workers)

        given_back = JournalEntry.objects.filter(key__startswith="command:", kind="ORDER_UNFREEZE").order_by("id")
        sequence = command_log.stream_head(0)[1]
        keys = [f"command:{sequence}:0:unfreeze", f"command:1.{sequence}:0:unfreeze"]
        assert [entry.key for entry in given_back] == keys
        assert [entry_keys.command_of(key) for key in keys] == [(0, sequence), (1, sequence)]
        assert [fresh(order).hold_remaining for order in mine] == [Decimal("490.098")] * 2
        assert entry_keys.command_of(f"order:{mine[0].id}:unfreeze") is None

    def test_a_withdrawal_waits_for_every_log(self, customer, workers: list[Shard]) -> None:
        alice = customer("alice", USDT=10_000)
        _settle(workers)
        place(alice.id, limit(CONTRACT, "buy", "4", "90"))
        heads = log_heads.now()

        workers[0].step(now=utc_now())
        assert not log_heads.have_settled(heads)
        _settle(workers)
        assert log_heads.have_settled(heads)

    def test_a_shard_that_is_behind_holds_nobody_off_on_the_other(self, customer, workers, settings) -> None:
        settings.SHARD_LAG_MAX = 2
        alice = customer("alice", USDT=10_000)
        _settle(workers)
        place(alice.id, *(limit(CONTRACT, "buy", "1", "90") for _ in range(2)))

        [on_it, elsewhere] = place(alice.id, limit(CONTRACT, "buy", "1", "90"), limit(SPOT, "buy", "0.0100", "49000"))

        assert isinstance(on_it, pressure.ShardBusyError)
        assert isinstance(elsewhere, Order)
        _settle(workers)

    def test_a_shard_without_instruments_and_waiting_commands_needs_no_worker(self, workers: list[Shard]) -> None:
        lease.open_shard(2)
        _settle(workers)

        assert [(item.shard, item.is_needed) for item in selectors.lag()] == [(0, True), (1, True), (2, False)]


def _storm(owner_ids: list[int], seed: int) -> None:
    """Place and cancel on both shards, many traders in one transaction, and mark the contract."""
    rng = random.Random(seed)
    open_ids: list[tuple[int, int]] = []
    for _ in range(STORM_ROUNDS):
        batch = []
        for owner in rng.sample(owner_ids, len(owner_ids)):
            price = rng.randrange(95, 106)
            side = rng.choice(("buy", "sell"))
            batch += [
                Submission(owner, PlaceOrder(SPOT, side, "limit", Decimal("0.001"), Decimal(500 * price))),
                Submission(owner, PlaceOrder(CONTRACT, side, "limit", Decimal(2), Decimal(price))),
            ]
        batch += [Submission(owner, CancelOrder(order_id)) for owner, order_id in open_ids[:4]]
        open_ids = open_ids[4:]
        rng.shuffle(batch)
        try:
            results = orders.submit(batch, now=utc_now())
            prices = [MarkPrice(symbol, Decimal(price)) for symbol, price in ((CONTRACT, "100"), (SPOT, "50000"))]
            mark_price.publish(prices, now=utc_now())
            cancel_all.of_trader(rng.choice(owner_ids), now=utc_now())
        except (
            OperationalError
        ) as error:  # a wait for a lock that took too long undid it, as it would a client's request
            if not isinstance(error.__cause__, LockNotAvailable):
                raise
            continue
        open_ids += [(order.user_id, order.id) for order in results if isinstance(order, Order) and rng.random() < 0.2]


class Task(threading.Thread):
    """A thread that keeps what went wrong in it for the test."""

    def __init__(self, work: Callable[..., None], *arguments: Any) -> None:
        super().__init__(daemon=True)
        self._work, self._arguments = work, arguments
        self.failure: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._work(*self._arguments)
        except BaseException as failure:  # noqa: BLE001 -- handed to the test, which fails on it
            self.failure = failure
        finally:
            connections.close_all()


def _work(number: int, folder: Path, stopping: threading.Event) -> None:
    """Settle a shard until told to stop and nothing waits."""
    with worker(folder, number) as shard:
        while shard.step(now=utc_now()) or not stopping.is_set():
            pass


def _deadlocks() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


@pytest.mark.django_db
class TestTogether:
    """Two workers and several writers at once, in a database of the test's own."""

    @pytest.fixture(name="_django_db_helper")
    def _no_transaction_around(self, django_db_setup) -> None:
        """Wrap nothing around the test: it really commits."""

    def test_two_workers_settle_the_same_traders_at_once_without_deadlock(self, scratch: Scratch, customer) -> None:
        owner_ids = [customer(f"trader-{number}", USDT=1_000_000, BTC=20).id for number in range(4)]
        _markets()
        stopping = threading.Event()
        working = [Task(_work, number, scratch.folder / f"shard-{number}", stopping) for number in (0, 1)]
        writing = [Task(_storm, owner_ids, seed) for seed in (1, 2)]

        for task in writing:
            task.join(SETTLED_SECONDS_MAX)
        stopping.set()
        deadline = time.monotonic() + SETTLED_SECONDS_MAX
        for task in working:
            task.join(max(0.0, deadline - time.monotonic()))

        assert [task.failure for task in (*writing, *working)] == [None] * 4
        assert not any(task.is_alive() for task in (*writing, *working))
        assert [item.lag for item in selectors.lag()] == [0, 0]
        traded = {shard: Trade.objects.filter(shard=shard).count() for shard in (0, 1)}
        assert min(traded.values()) > 20, traded
        assert _deadlocks() == 0
        assert [item for item in audit.invariants() if not item.ok] == []
