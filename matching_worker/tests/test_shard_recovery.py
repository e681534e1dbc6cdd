"""A worker starts from the newest good snapshot, then the WAL, then the log, and never silently from something else."""

import shutil
from decimal import Decimal
from pathlib import Path

import pytest
from django.db import connection

from exchange.kernel.clock import utc_now
from matching_worker import snapshot, snapshotter
from matching_worker.retention import snapshots_of
from matching_worker.shard import LogMismatchError, Shard
from matching_worker.tests.storage_files import flip
from matching_worker.wal import WalError
from trading import audit
from trading.models import SettlementCursor, Trade
from trading.services import lease
from trading.tests.road import make_instrument, settle_all, trade, worker

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]


@pytest.fixture
def traders(customer) -> tuple[int, int]:
    make_instrument()
    return customer("alice", USDT=100_000).id, customer("bob", BTC=1).id


def run(wal_dir: Path, *, take: bool = False) -> None:
    """Recover a worker, settle what waits, take a snapshot if wanted, stop."""
    with worker(wal_dir) as shard:
        settle_all(shard)
        if take:
            assert shard.snapshotter.take(shard.engine)


def recovered(wal_dir: Path) -> tuple[Shard, int]:
    shard = Shard(0, wal_dir=wal_dir, owner="test")
    replayed = shard.recover(now=utc_now())
    shard.close()
    return shard, replayed


def assert_books_are_clean(trades: int) -> None:
    assert Trade.objects.count() == trades
    assert [item for item in audit.invariants() if not item.ok] == []


def test_only_the_wal_after_the_newest_snapshot_is_replayed(traders, tmp_path: Path) -> None:
    trade(traders, 2)
    run(tmp_path, take=True)
    trade(traders, 3)
    run(tmp_path)

    shard, replayed = recovered(tmp_path)

    assert (replayed, shard.engine.sequence) == (6, 10)
    assert_books_are_clean(5)


def test_a_snapshot_past_the_settlement_cursor_is_not_used(traders, tmp_path: Path) -> None:
    trade(traders)
    run(tmp_path, take=True)
    trade(traders, 2)
    with worker(tmp_path) as shard:
        commands, chain_hash = shard.read() or (None, b"")
        assert commands is not None
        shard.journal(commands, chain_hash)
        shard.match(commands)
        assert shard.snapshotter.take(shard.engine)  # the worker dies before it settles
    assert SettlementCursor.objects.get(shard=0).sequence == 2

    shard, replayed = recovered(tmp_path)

    assert (replayed, shard.settled) == (4, 6)
    assert_books_are_clean(3)


def test_a_damaged_snapshot_is_reported_and_the_next_older_one_is_used(
    traders, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        trade(traders)
        run(tmp_path, take=True)
    newest = snapshot.paths(snapshots_of(tmp_path))[0]
    flip(newest, 1000)

    _, replayed = recovered(tmp_path)

    assert replayed == 2
    assert f"{newest}: damaged: block 1" in caplog.text
    assert_books_are_clean(2)


def test_without_wal_and_with_a_snapshot_the_log_gives_the_rest_and_the_new_wal_begins_there(
    traders, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trade(traders)
    run(tmp_path, take=True)
    trade(traders, 2)
    run(tmp_path)
    for path in tmp_path.glob("*.wal"):
        path.unlink()

    shard, replayed = recovered(tmp_path)
    told = "wal_ends_before_books" in caplog.text
    caplog.clear()
    again, replayed_again = recovered(tmp_path)

    assert (told, "wal_ends_before_books" in caplog.text) == (True, False)
    assert (replayed, replayed_again) == (4, 4)
    assert shard.wal.tail.sequence == again.engine.sequence == 6
    assert_books_are_clean(3)


def test_a_wal_that_lost_its_newest_segment_is_told_and_made_good_from_the_log(
    traders, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trade(traders)
    run(tmp_path)
    trade(traders)
    run(tmp_path)
    max(tmp_path.glob("*.wal")).unlink()

    shard, replayed = recovered(tmp_path)

    assert "wal_ends_before_books" in caplog.text
    assert (replayed, shard.wal.tail.sequence) == (4, 4)
    assert_books_are_clean(2)


def test_without_a_usable_snapshot_the_log_stands_for_segments_that_are_gone(
    traders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trade(traders)
    run(tmp_path)
    trade(traders)
    run(tmp_path, take=True)
    min(tmp_path.glob("*.wal")).unlink()
    shutil.rmtree(snapshots_of(tmp_path))

    shard, replayed = recovered(tmp_path)

    assert (replayed, shard.engine.sequence, shard.wal.tail.sequence) == (4, 4, 4)
    assert_books_are_clean(2)


def test_a_snapshot_of_another_history_is_passed_over(
    traders, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trade(traders)
    run(tmp_path, take=True)
    trade(traders)
    run(tmp_path)
    path = snapshot.paths(snapshots_of(tmp_path))[0]
    engine, header = snapshot.load(path, shard=0)
    capture = snapshot.Capturer().capture(engine)
    snapshot.write(capture, path.parent, epoch=header.epoch, chain_hash=bytes(32), made_at_ns=0)

    _, replayed = recovered(tmp_path)

    assert "has another history than the command log at command 2" in caplog.text
    assert replayed == 4


def test_books_settled_with_another_hash_than_the_snapshot_s_stop_the_worker(traders, tmp_path: Path) -> None:
    trade(traders)
    run(tmp_path, take=True)
    SettlementCursor.objects.filter(shard=0).update(state_hash=Decimal(1))

    shard = Shard(0, wal_dir=tmp_path, owner="test")

    with pytest.raises(LogMismatchError, match="where the books were settled at 0000000000000001"):
        shard.recover(now=utc_now())
    SettlementCursor.objects.filter(shard=0).update(state_hash=shard.settled_hash)


def test_a_worker_that_is_asked_takes_a_snapshot_of_what_is_settled(
    traders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshotter, "LOOK_SECONDS", 0.01)
    trade(traders)
    with worker(tmp_path) as shard:
        settle_all(shard)
        answer = snapshotter.ask(tmp_path, "word", wait_seconds=20)

    assert answer is not None
    _, header = snapshot.load(Path(answer["path"]), shard=0)
    with connection.cursor() as cursor:
        cursor.execute("SELECT chain_hash FROM commands WHERE sequence = 2")
        [[logged]] = cursor.fetchall()
    assert (header.sequence, header.chain_hash) == (2, bytes(logged))


def test_a_sync_policy_that_loses_trades_is_refused_before_the_lease_is_taken(tmp_path: Path, settings) -> None:
    settings.WAL_SYNC_POLICY = "interval:50"
    settings.WAL_SYNC_LOSS_ALLOWED = False
    settings.DEBUG = False

    with pytest.raises(WalError, match="may lose published trades"):
        Shard(0, wal_dir=tmp_path, owner="test")

    assert lease.is_held(0) is False


def test_a_sync_policy_that_loses_trades_works_when_it_is_allowed(traders, tmp_path: Path, settings) -> None:
    settings.WAL_SYNC_POLICY = "interval:5"
    settings.WAL_SYNC_LOSS_ALLOWED = True
    trade(traders)
    run(tmp_path, take=True)

    _, replayed = recovered(tmp_path)

    assert replayed == 0
    assert_books_are_clean(1)
