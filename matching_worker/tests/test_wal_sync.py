"""The sync policy: what `sync` promises, and that losing the promise must be allowed."""

import os
import time
from pathlib import Path

import pytest

from matching_worker.tests.wal_files import SEGMENT_1, SHARD, chain_hash, commands_from, sequences_in, written
from matching_worker.wal import SyncPolicy, Tail, Wal, WalError


def opened(folder: Path, policy: SyncPolicy) -> Wal:
    return Wal.open(folder, shard=SHARD, epoch=1, policy=policy)


def appended(log: Wal, count: int) -> None:
    log.append(commands_from(log.tail.sequence + 1, count), chain_hash(log.tail.sequence + count))
    log.sync()


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    done: list[float] = []
    original = os.fdatasync

    def noted(descriptor: int) -> None:
        original(descriptor)
        done.append(time.monotonic())

    monkeypatch.setattr(os, "fdatasync", noted)
    return done


@pytest.mark.parametrize(("text", "interval_ms"), [("always", 0), ("interval:1", 1), ("interval:60000", 60_000)])
def test_policies_that_are_taken(text: str, interval_ms: int) -> None:
    assert SyncPolicy.parse(text, loss_allowed=True) == SyncPolicy(interval_ms)
    assert SyncPolicy.parse("always", loss_allowed=False) == SyncPolicy()


@pytest.mark.parametrize("text", ["", "never", "always:5", "interval", "interval:0", "interval:60001", "interval:-5"])
def test_policies_that_do_not_exist(text: str) -> None:
    with pytest.raises(WalError, match="it must be `always` or `interval:<1 to 60000>`"):
        SyncPolicy.parse(text, loss_allowed=True)


def test_a_policy_that_may_lose_trades_is_refused_unless_allowed() -> None:
    with pytest.raises(WalError, match="may lose published trades in a power cut"):
        SyncPolicy.parse("interval:50", loss_allowed=False)


def test_always_syncs_before_it_returns(tmp_path: Path, syncs: list[float]) -> None:
    log = opened(tmp_path, SyncPolicy())
    appended(log, 1)
    before = len(syncs)

    appended(log, 1)
    appended(log, 1)

    assert len(syncs) == before + 2
    assert log.hash_when_durable(3, wait_seconds=0) == chain_hash(3)
    log.close()


def test_an_interval_syncs_later_and_a_crash_of_the_process_loses_nothing(tmp_path: Path, syncs: list[float]) -> None:
    log = opened(tmp_path, SyncPolicy(60_000))
    appended(log, 1)
    before = len(syncs)

    appended(log, 2)

    assert len(syncs) == before
    assert sequences_in(tmp_path) == [1, 2, 3]
    with pytest.raises(WalError, match="command 3 is not durable after 0 s"):
        log.hash_when_durable(3, wait_seconds=0)
    log.close()
    assert len(syncs) == before + 1


def test_an_interval_makes_durable_without_being_called(tmp_path: Path) -> None:
    log = opened(tmp_path, SyncPolicy(10))

    appended(log, 2)

    assert log.hash_when_durable(2, wait_seconds=20) == chain_hash(2)
    log.close()


def test_frames_of_an_interval_say_truly_what_was_durable(tmp_path: Path) -> None:
    log = opened(tmp_path, SyncPolicy(60_000))
    for _ in range(3):
        appended(log, 1)
    log.close()
    path = tmp_path / SEGMENT_1
    content = bytearray(path.read_bytes())
    content[100] ^= 1  # the first frame, which was not durable when the others were written
    path.write_bytes(content)

    reopened = Wal.open(tmp_path, shard=SHARD, epoch=1)

    assert reopened.tail == Tail(0, bytes(32))
    assert reopened.torn is not None
    reopened.close()


def test_a_full_segment_is_durable_before_the_next_begins(tmp_path: Path, syncs: list[float]) -> None:
    log = Wal.open(tmp_path, shard=SHARD, epoch=1, policy=SyncPolicy(60_000), segment_bytes_max=1)
    appended(log, 1)
    before = len(syncs)

    appended(log, 1)

    assert len(syncs) == before + 2  # the old segment's content, the new one's header
    assert log.hash_when_durable(1, wait_seconds=0) == chain_hash(1)
    log.close()


def test_a_disk_that_refuses_an_interval_s_sync_stops_the_next_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = opened(tmp_path, SyncPolicy(10))
    appended(log, 1)
    log.hash_when_durable(1, wait_seconds=20)
    refused: list[int] = []

    def refuse(descriptor: int) -> None:
        refused.append(descriptor)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", refuse)
    appended(log, 1)
    deadline = time.monotonic() + 20
    while not refused:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert log._syncer is not None
    log._syncer.join(20)  # it has kept the error then

    with pytest.raises(OSError, match="Input/output"):
        appended(log, 1)
    with pytest.raises(OSError, match="Input/output"):
        log.sync()
    log.close()


def test_what_a_dead_process_wrote_is_made_durable_before_it_is_counted_on(tmp_path: Path, syncs: list[float]) -> None:
    written(tmp_path, 3)
    before = len(syncs)

    log = Wal.open(tmp_path, shard=SHARD, epoch=2)

    assert len(syncs) == before + 1
    assert log.hash_when_durable(3, wait_seconds=0) == chain_hash(3)
    log.close()


def test_the_hash_inside_a_frame_is_not_known(tmp_path: Path) -> None:
    log = opened(tmp_path, SyncPolicy())
    appended(log, 5)

    assert log.hash_when_durable(3, wait_seconds=0) is None
    assert log.hash_when_durable(5, wait_seconds=0) == chain_hash(5)
    log.close()
