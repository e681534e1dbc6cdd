"""A settlement that takes longer than a transaction may: the database ends it, the worker goes on in smaller parts."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection
from django.db.backends.signals import connection_created

from exchange import database
from exchange.kernel.clock import utc_now
from matching_worker import shard as shards
from matching_worker.protocol import Rows
from matching_worker.shard import TooSlowError
from trading import audit
from trading.models import SettlementCursor, Trade
from trading.services import settlement
from trading.tests.road import empty_road, limit, make_instrument, place, worker

pytestmark = pytest.mark.django_db(transaction=True)

TIMEOUT_MS = 400
TRADES = 4


@pytest.fixture
def impatient(settings) -> Iterator[None]:
    """Let the database end transactions of this thread as it ends the worker's, only sooner."""
    settings.TRANSACTION_TIMEOUT_MS = TIMEOUT_MS

    def limit_transactions(**_: object) -> None:
        connection.cursor().execute(f"SET transaction_timeout = {TIMEOUT_MS}")

    connection_created.connect(limit_transactions)
    connection.close()
    yield
    connection_created.disconnect(limit_transactions)
    connection.close()


@pytest.fixture(autouse=True)
def _waiting(customer, books: None) -> Iterator[None]:
    """Orders that trade, in the log: one of a seller and one of a buyer for each trade."""
    make_instrument()
    alice, bob = customer("alice", USDT=100_000), customer("bob", BTC=1)
    place(bob.id, *[limit("BTCUSDT", "sell", "0.0010", "50000.00")] * TRADES)
    place(alice.id, *[limit("BTCUSDT", "buy", "0.0010", "50000.00")] * TRADES)
    yield
    empty_road()


def cursor() -> int:
    return SettlementCursor.objects.get(shard=0).sequence


def slow_from(commands_least: int, dawdle: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Make settlements of so many commands too slow before their COMMIT; return the sizes as they are tried."""
    sizes: list[int] = []
    settle, finish = settlement.settle, settlement.finish

    def counted(shard: int, epoch: int, commands: Rows, events: Rows, **rest: Any) -> float:
        sizes.append(len(commands))
        return settle(shard, epoch, commands, events, **rest)

    def dawdling(*args: Any) -> None:
        finish(*args)
        if sizes[-1] >= commands_least:
            dawdle()

    monkeypatch.setattr(settlement, "settle", counted)
    monkeypatch.setattr(settlement, "finish", dawdling)
    return sizes


def database_works_long() -> None:
    database.execute("SELECT pg_sleep(%s)", 2 * TIMEOUT_MS / 1000)


def worker_sleeps_long() -> None:
    time.sleep(2 * TIMEOUT_MS / 1000)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("dawdle", [database_works_long, worker_sleeps_long])
def test_what_takes_longer_than_a_transaction_may_is_settled_in_halves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dawdle: Callable[[], None]
) -> None:
    sizes = slow_from(3, dawdle, monkeypatch)

    with worker(tmp_path) as shard:
        shard.step(now=utc_now())

        assert sizes[:3] == [8, 4, 2]
        assert shard.settled == 2 * TRADES
    assert Trade.objects.count() == TRADES
    assert [item for item in audit.invariants() if not item.ok] == []


@pytest.mark.usefixtures("impatient")
def test_a_lone_command_that_is_always_too_slow_stops_the_worker_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SETTLE_ATTEMPTS_MAX", 2)
    sizes = slow_from(1, database_works_long, monkeypatch)

    with worker(tmp_path) as shard, pytest.raises(TooSlowError):
        shard.step(now=utc_now())

    assert sizes == [8, 4, 2, 1, 1]
    assert cursor() == 0


@pytest.mark.usefixtures("impatient")
def test_a_commit_that_came_through_before_the_connection_was_lost_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = settlement.settle
    calls = []

    def lost_afterwards(*args: Any, **rest: Any) -> float:
        calls.append(1)
        settle(*args, **rest)
        worker_sleeps_long()
        raise OperationalError from psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(settlement, "settle", lost_afterwards)
    with worker(tmp_path) as shard:
        shard.step(now=utc_now())

        assert shard.settled == 2 * TRADES
    assert len(calls) == 1
    assert Trade.objects.count() == TRADES


@pytest.mark.usefixtures("impatient")
def test_who_lost_the_lease_meanwhile_is_fenced_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow_from(1, database_works_long, monkeypatch)
    is_in_books = shards.Shard._is_in_books

    def after_a_takeover(*args: Any) -> bool:
        SettlementCursor.objects.update(epoch=99)
        return is_in_books(*args)

    monkeypatch.setattr(shards.Shard, "_is_in_books", after_a_takeover)
    with worker(tmp_path) as shard, pytest.raises(settlement.FencedError):
        shard.step(now=utc_now())

    assert cursor() == 0


def test_a_connection_that_is_lost_for_another_reason_stops_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: Any, **__: Any) -> float:
        raise OperationalError from psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(settlement, "settle", lost)
    with worker(tmp_path) as shard, pytest.raises(OperationalError):
        shard.step(now=utc_now())

    assert cursor() == 0
