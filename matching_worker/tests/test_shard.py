"""One shard's worker without threads: how it cuts settlement, recovers, refuses foreign histories, and stops."""

import shutil
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from psycopg.errors import LockNotAvailable

from exchange.kernel.clock import utc_now
from matching_worker import shard as shards
from matching_worker.protocol import COMMAND_DTYPE, EVENT_DTYPE, Rows
from matching_worker.shard import Batch, LogMismatchError, Shard
from trading import audit
from trading.models import SettlementCursor, Trade
from trading.services import settlement
from trading.tests.road import limit, make_instrument, place, worker


def _batch(first: int, event_counts: list[int]) -> Batch:
    """Return commands from a sequence on, with so many events each."""
    commands = np.zeros(len(event_counts), COMMAND_DTYPE)
    commands["sequence"] = np.arange(first, first + len(event_counts))
    events = np.zeros(sum(event_counts), EVENT_DTYPE)
    events["sequence"] = np.repeat(commands["sequence"], event_counts)
    return Batch(commands, events)


def _shape(batch: Batch) -> tuple[list[int], int]:
    return batch.commands["sequence"].tolist(), len(batch.events)


@pytest.mark.parametrize(
    ("commands_max", "events_max", "shape"),
    [
        (10, 10, ([7, 8, 9, 10], 7)),
        (2, 10, ([7, 8], 4)),
        (10, 6, ([7, 8, 9], 6)),
        (10, 5, ([7, 8], 4)),
        (10, 1, ([7], 1)),
        (10, 3, ([7], 1)),
    ],
)
def test_the_first_part_keeps_both_limits_and_whole_commands(
    commands_max: int, events_max: int, shape: tuple[list[int], int]
) -> None:
    assert _shape(_batch(7, [1, 3, 2, 1]).first(commands_max, events_max)) == shape


def test_a_command_with_more_events_than_the_limit_is_a_part_of_its_own() -> None:
    assert _shape(_batch(7, [5, 1]).first(10, 3)) == ([7], 5)


def test_what_comes_after_a_sequence_begins_with_the_next_command() -> None:
    batch = _batch(7, [1, 3, 2])

    after = batch.after(8)

    assert after is not None
    assert _shape(after) == ([9], 2)
    assert _shape(batch.after(3) or batch) == ([7, 8, 9], 6)
    assert batch.after(9) is None


@pytest.mark.django_db
@pytest.mark.usefixtures("books")
def test_settlement_is_cut_by_events_too(customer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_instrument()
    alice, bob = customer("alice", USDT=100_000), customer("bob", BTC=1)
    parts = []
    settle = settlement.settle

    def spy(shard: int, epoch: int, commands: Rows, events: Rows, **rest: object) -> float:
        parts.append((len(commands), len(events)))
        return settle(shard, epoch, commands, events, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(settlement, "settle", spy)
    monkeypatch.setattr(shards, "SETTLE_EVENTS_FIRST", 64)
    monkeypatch.setattr(shards, "SETTLE_EVENTS_MAX", 64)
    place(bob.id, *[limit("BTCUSDT", "sell", "0.0010", "50000.00")] * 120)
    place(alice.id, *[limit("BTCUSDT", "buy", "0.0020", "50000.00")] * 60)

    with worker(tmp_path) as shard:
        while shard.step(now=utc_now()):
            pass

    assert sum(events for _, events in parts) == 240
    assert max(events for _, events in parts) <= 64
    assert Trade.objects.count() == 120
    assert [item for item in audit.invariants() if not item.ok] == []


@pytest.mark.django_db
def test_settlements_grow_while_they_keep_the_door_shortly_and_shrink_before_the_database_ends_them(
    tmp_path: Path,
) -> None:
    with worker(tmp_path) as shard:
        sizes = []
        for door, seconds in (
            (0.03, 0.3),  # little: the door says nothing
            (0.03, 0.3),
            (0.016, 0.3),
            (0.03, 0.3),
            (0.002, 0.3),
            (0.03, 0.3),
            (0.03, 0.8),
            (0.03, 0.8),
            (0.001, 0.4),
            (0.001, 0.3),
        ):
            shard._adapt(door, seconds)
            sizes.append(shard._settle_events)

    assert sizes == [400, 800, 1000, 500, 1000, 500, 250, 125, 125, 250]


@pytest.mark.django_db
@pytest.mark.parametrize("events_max", [1, 150])
def test_no_settlement_grows_beyond_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events_max: int) -> None:
    monkeypatch.setattr(shards, "SETTLE_EVENTS_MAX", events_max)
    with worker(tmp_path) as shard:
        shard._settle_events = 1
        for _ in range(20):
            shard._adapt(0.001, 0.01)

        assert shard._settle_events == events_max


@pytest.mark.django_db
def test_a_worker_whose_wal_is_lost_replays_the_log_to_the_books_before_it_starts(customer, tmp_path: Path) -> None:
    make_instrument()
    alice, bob = customer("alice", USDT=1000), customer("bob", BTC=1)
    place(bob.id, limit("BTCUSDT", "sell", "0.0100", "50000.00"))
    place(alice.id, limit("BTCUSDT", "buy", "0.0040", "50000.00"))
    with worker(tmp_path / "wal") as shard:
        shard.step(now=utc_now())
    shutil.rmtree(tmp_path / "wal")
    place(alice.id, limit("BTCUSDT", "buy", "0.0010", "50000.00"))

    shard = Shard(0, wal_dir=tmp_path / "wal", owner="test")
    replayed = shard.recover(now=utc_now())
    shard.close()

    assert replayed == 3
    assert shard.wal.tail.sequence == shard.engine.sequence == 3
    assert Trade.objects.count() == 2
    assert [item for item in audit.invariants() if not item.ok] == []


@pytest.mark.django_db
def test_a_log_that_ends_before_the_books_stops_the_worker(customer, tmp_path: Path) -> None:
    make_instrument()
    bob = customer("bob", BTC=1)
    place(bob.id, limit("BTCUSDT", "sell", "0.0100", "50000.00"))
    SettlementCursor.objects.filter(shard=0).update(sequence=5, state_hash=Decimal(1))

    shard = Shard(0, wal_dir=tmp_path, owner="test")

    with pytest.raises(LogMismatchError, match="log ends at 1, but the books are settled to 5"):
        shard.recover(now=utc_now())


@pytest.mark.django_db
def test_a_wal_of_another_database_stops_the_worker(customer, tmp_path: Path) -> None:
    make_instrument()
    bob = customer("bob", BTC=1)
    place(bob.id, limit("BTCUSDT", "sell", "0.0100", "50000.00"))
    with worker(tmp_path) as shard:
        shard.step(now=utc_now())
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE commands DISABLE TRIGGER commands_append_only")
        cursor.execute("UPDATE commands SET chain_hash = sha256('another')")

    other = Shard(0, wal_dir=tmp_path, owner="test")

    with pytest.raises(LogMismatchError, match="ends at command 1, but the command log has another history"):
        other.recover(now=utc_now())


@pytest.mark.django_db
def test_books_settled_with_another_hash_stop_the_worker(customer, tmp_path: Path) -> None:
    make_instrument()
    bob = customer("bob", BTC=1)
    place(bob.id, limit("BTCUSDT", "sell", "0.0100", "50000.00"))
    with worker(tmp_path) as shard:
        shard.step(now=utc_now())
    SettlementCursor.objects.filter(shard=0).update(state_hash=Decimal(1))

    other = Shard(0, wal_dir=tmp_path, owner="test")

    with pytest.raises(LogMismatchError, match="where the books were settled at 0000000000000001"):
        other.recover(now=utc_now())


@pytest.mark.django_db
def test_a_settlement_that_never_gets_its_locks_gives_up(
    customer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_instrument()
    bob = customer("bob", BTC=1)
    place(bob.id, limit("BTCUSDT", "sell", "0.0100", "50000.00"))
    attempts = []

    def blocked(*_: object, **__: object) -> None:
        attempts.append(1)
        raise OperationalError from LockNotAvailable()

    monkeypatch.setattr(settlement, "settle", blocked)
    shard = Shard(0, wal_dir=tmp_path, owner="test")

    with pytest.raises(OperationalError):
        shard.step(now=utc_now())
    assert len(attempts) == shards.SETTLE_ATTEMPTS_MAX
    assert shard.settled == 0


@pytest.mark.django_db
def test_a_shard_that_cannot_be_is_refused_and_leaves_no_rows() -> None:
    with pytest.raises(CommandError, match="Shard 64 is outside 0 to 63"):
        call_command("run_matching_worker", shard=64, http_port=0)

    assert list(SettlementCursor.objects.values_list("shard", flat=True)) == [0]
