"""Who follows the log has what the worker has, and brings WAL, engine and books to one command when it takes over."""

from pathlib import Path

import pytest
from django.db import connection

from exchange.kernel.clock import utc_now
from matching_worker import inspection, snapshot, standby
from matching_worker.retention import snapshots_of
from matching_worker.shard import LogMismatchError, Shard
from matching_worker.standby import Follower, take_over
from matching_worker.wal import WalError
from trading import audit, selectors
from trading.models import SettlementCursor, Trade
from trading.services import command_log, lease
from trading.tests.road import make_instrument, settle_all, trade, worker

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]


@pytest.fixture
def traders(customer) -> tuple[int, int]:
    make_instrument()
    return customer("alice", USDT=100_000).id, customer("bob", BTC=1).id


def leader(wal_dir: Path) -> Shard:
    """Start a worker that will die: it is never closed."""
    shard = Shard(0, wal_dir=wal_dir, owner="leader")
    shard.recover(now=utc_now())
    lease.hold(0, shard.epoch, 3600)  # nothing renews it here
    return shard


def follow(wal_dir: Path) -> Follower:
    """Follow up to the log's head."""
    follower = Follower(0, wal_dir=wal_dir)
    while follower.follow():
        pass
    return follower


def taken(follower: Follower, wal_dir: Path) -> Shard:
    """Take over, and stop: whoever stops cleanly has WAL and engine at one command."""
    shard = Shard(0, wal_dir=wal_dir, owner="follower")
    take_over(shard, follower, now=utc_now())
    settle_all(shard)
    shard.close()
    return shard


def require_whole(shard: Shard, wal_dir: Path, *, trades: int, first: int = 1) -> None:
    """Assert that log, WAL, engine and books are at one command, and the books are clean."""
    _, head = command_log.stream_head(0)
    assert (shard.engine.sequence, shard.settled) == (head, head)
    verified = inspection.verify(wal_dir, 0)
    assert (verified.first, verified.last) == (first, head)
    assert Trade.objects.count() == trades
    assert [item for item in audit.invariants() if not item.ok] == []
    with worker(wal_dir) as again:
        assert again.engine.state_hash == shard.engine.state_hash


def test_a_follower_has_the_worker_s_books_and_keeps_only_what_is_not_settled(traders, tmp_path: Path) -> None:
    dying = leader(tmp_path)
    trade(traders, 2)
    settle_all(dying)
    trade(traders)

    follower = follow(tmp_path)

    assert (follower.engine.sequence, follower.standing.settled, follower.behind) == (6, 4, 0)
    assert [len(batch.commands) for batch in follower.unsettled()] == [2]
    settle_all(dying)
    assert follower.engine.state_hash == dying.engine.state_hash


def test_it_begins_with_a_snapshot_and_drops_what_is_settled_when_it_looks(traders, tmp_path: Path) -> None:
    dying = leader(tmp_path)
    trade(traders)
    settle_all(dying)
    assert dying.snapshotter.take(dying.engine)
    follower = Follower(0, wal_dir=tmp_path)
    assert follower.engine.sequence == 2
    trade(traders)
    assert follower.follow() == 2
    settle_all(dying)

    is_free = follower.look("follower")

    assert not is_free
    assert follower.unsettled() == []
    assert (follower.standing.settled, follower.standing.owner) == (4, "leader")
    described = {"status": "standby", "sequence": 4, "behind": 0, "settled": 4, "worker": "leader"}
    assert follower.describe() == described
    [told] = selectors.lag()
    assert told.standby_behind == 0
    lease.forget_standby(0, "follower")
    assert selectors.lag()[0].standby_behind is None


@pytest.mark.parametrize("journalled", [0, 1, 2], ids=["nothing", "one command", "both"])
@pytest.mark.parametrize("followed", [2, 0], ids=["follower not behind the WAL", "behind it"])
def test_whatever_the_worker_had_done_when_it_died_is_made_whole(
    traders, tmp_path: Path, journalled: int, followed: int
) -> None:
    dying = leader(tmp_path)
    trade(traders)
    settle_all(dying)
    follower = follow(tmp_path)
    trade(traders)
    if followed:
        assert follower.follow() == followed
    if journalled:
        commands, hashes = command_log.read(0, 2, journalled)
        dying.journal(commands, hashes[-1])
        dying.match(commands)

    shard = taken(follower, tmp_path)

    assert shard.epoch == dying.epoch + 1
    require_whole(shard, tmp_path, trades=2)


def test_without_the_first_one_s_disk_the_wal_begins_after_a_snapshot_taken_at_once(traders, tmp_path: Path) -> None:
    dying, own = leader(tmp_path / "first"), tmp_path / "second"
    trade(traders)
    settle_all(dying)
    follower = follow(own)
    trade(traders)
    follower.follow()

    shard = Shard(0, wal_dir=own, owner="follower")
    take_over(shard, follower, now=utc_now())
    trade(traders)
    settle_all(shard)
    shard.close()

    [taken_at] = snapshot.paths(snapshots_of(own))
    assert snapshot.read_header(taken_at).sequence == 4
    require_whole(shard, own, trades=3, first=5)


def test_without_a_disk_that_takes_a_snapshot_it_does_not_begin(
    traders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader(tmp_path / "first")
    trade(traders)
    follower = follow(tmp_path / "second")
    shard = Shard(0, wal_dir=tmp_path / "second", owner="follower")
    full = OSError(28, "No space left on device")
    monkeypatch.setattr(snapshot, "write", lambda *_, **__: (_ for _ in ()).throw(full))

    with pytest.raises(WalError, match="no WAL can begin here without a snapshot: OSError"):
        take_over(shard, follower, now=utc_now())


@pytest.mark.parametrize("change", ["epoch", "history"])
def test_a_log_that_is_another_one_now_is_recovered_from_anew(
    traders, tmp_path: Path, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    dying = leader(tmp_path)
    trade(traders)
    settle_all(dying)
    follower = follow(tmp_path)
    if change == "epoch":
        command_log.raise_epoch(0)
    else:
        follower.tail = follower.tail._replace(chain_hash=bytes(32))
    followed = follower.engine

    shard = taken(follower, tmp_path)

    assert shard.engine is not followed
    assert "standby_log_changed" in caplog.text
    require_whole(shard, tmp_path, trades=1)


def test_a_log_that_ends_before_the_books_stops_the_takeover(traders, tmp_path: Path) -> None:
    leader(tmp_path)
    trade(traders)
    follower = follow(tmp_path)
    SettlementCursor.objects.filter(shard=0).update(sequence=5)
    shard = Shard(0, wal_dir=tmp_path, owner="follower")

    with pytest.raises(LogMismatchError, match="log ends at 2, but WAL or books have command 5"):
        take_over(shard, follower, now=utc_now())


def test_books_settled_with_another_hash_stop_the_follower(traders, tmp_path: Path) -> None:
    dying = leader(tmp_path)
    trade(traders)
    follower = follow(tmp_path)
    settle_all(dying)
    SettlementCursor.objects.filter(shard=0).update(state_hash=1)

    with pytest.raises(LogMismatchError, match="where the books were settled at 0000000000000001"):
        follower.look("follower")


def test_a_follower_waits_where_the_books_are_too_far_behind(
    traders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standby, "AHEAD_MAX", 2)
    dying = leader(tmp_path)
    trade(traders)
    follower = follow(tmp_path)
    trade(traders)

    assert follower.follow() == 0
    settle_all(dying)
    follower.look("follower")
    assert follower.follow() == 2
    assert follower.engine.state_hash == dying.engine.state_hash


def test_the_lease_is_seen_to_be_free_when_it_has_expired(traders, tmp_path: Path) -> None:
    leader(tmp_path)
    follower = follow(tmp_path)
    assert not lease.look(0).is_free

    with connection.cursor() as cursor:
        cursor.execute("UPDATE worker_lease SET expires_at = clock_timestamp() - interval '2 seconds'")

    assert follower.look("follower")
    assert follower.standing.silent_seconds >= 2 + lease.LEASE_SECONDS
