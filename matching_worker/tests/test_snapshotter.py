"""When snapshots are taken, what is kept after, who is told, and that matching never waits for the disk."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from matching_worker import recovery, snapshot, snapshotter
from matching_worker.engine import Engine
from matching_worker.retention import snapshots_of
from matching_worker.snapshotter import Rules, Snapshotter
from matching_worker.tests.storage_files import STREAM_EPOCH, hash_after, history
from matching_worker.tests.wal_files import SHARD, chain_hash

NEVER = Rules(commands=1 << 40, seconds=1e9, snapshots_kept=2, wal_seconds=0)


@contextmanager
def watching(
    wal_dir: Path, engine: Engine, rules: Rules, *, lock: AbstractContextManager[object] | None = None
) -> Iterator[Snapshotter]:
    taker = Snapshotter(
        wal_dir,
        epoch=4,
        rules=rules,
        engine_held=lock or threading.Lock(),
        chain_hash_at=chain_hash,
        settled=lambda: engine.sequence,
        clock_ns=lambda: 99,
    )
    taker.start(engine)
    yield taker
    taker.close()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.01)


@pytest.fixture
def engine() -> Engine:
    made = Engine(SHARD, STREAM_EPOCH)
    made.apply(history()[:1000])
    return made


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshotter, "LOOK_SECONDS", 0.01)


def test_a_snapshot_is_taken_after_so_many_commands(tmp_path: Path, engine: Engine) -> None:
    with watching(tmp_path, engine, NEVER._replace(commands=500)) as taker:
        time.sleep(0.1)
        assert snapshot.paths(snapshots_of(tmp_path)) == []

        engine.apply(history()[1000:1500])
        until(lambda: taker.last)

    assert taker.last is not None
    loaded, header = snapshot.load(taker.last.path, shard=SHARD)
    assert (header.sequence, header.epoch, header.chain_hash) == (1500, 4, chain_hash(1500))
    assert loaded.state_hash == hash_after(history()[:1500])
    assert 0 < taker.last.pause_seconds < 10  # in seconds


def test_a_snapshot_is_taken_after_so_long_only_if_there_was_a_command(tmp_path: Path, engine: Engine) -> None:
    with watching(tmp_path, engine, NEVER._replace(seconds=0.0)) as taker:
        time.sleep(0.1)
        assert snapshot.paths(snapshots_of(tmp_path)) == []

        engine.apply(history()[1000:1001])
        until(lambda: taker.last)

    assert taker.last is not None
    assert taker.last.sequence == 1001
    assert len(snapshot.paths(snapshots_of(tmp_path))) == 1


def test_an_idle_worker_takes_one_when_asked_and_answers(tmp_path: Path, engine: Engine) -> None:
    with watching(tmp_path, engine, NEVER):
        answer = snapshotter.ask(tmp_path, "word", wait_seconds=60)

    assert answer is not None
    assert (answer["sequence"], Path(answer["path"]).exists(), answer["pause_seconds"] < 10) == (1000, True, True)
    assert [path.suffix for path in snapshots_of(tmp_path).iterdir()] == [".snapshot"]


def test_a_request_that_nobody_answers_is_taken_back(tmp_path: Path) -> None:
    assert snapshotter.ask(tmp_path, "word", wait_seconds=0.05) is None
    assert list(snapshots_of(tmp_path).iterdir()) == []


def test_a_request_that_cannot_be_read_is_told_and_matching_goes_on(
    tmp_path: Path, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshots_of(tmp_path).mkdir()
    (snapshots_of(tmp_path) / snapshotter.REQUEST).write_bytes(b"\xff\xfe")
    with watching(tmp_path, engine, NEVER) as taker:
        time.sleep(0.1)

        assert taker.take(engine)


def test_old_snapshots_go_after_a_new_one(tmp_path: Path, engine: Engine) -> None:
    with watching(tmp_path, engine, NEVER) as taker:
        for end in (1100, 1200, 1300):
            engine.apply(history()[end - 100 : end])
            assert taker.take(engine)

    names = [path.name for path in snapshot.paths(snapshots_of(tmp_path))]
    assert names == ["00000000000000001300-000004.snapshot", "00000000000000001200-000004.snapshot"]


def test_a_snapshot_that_cannot_be_written_is_told_to_who_asked_and_the_next_one_is_taken(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> Path:
        raise OSError(28, "No space left on device")

    with watching(tmp_path, engine, NEVER) as taker:
        with monkeypatch.context() as full:
            full.setattr(snapshot, "write", refuse)
            answer = snapshotter.ask(tmp_path, "word", wait_seconds=60)
        assert answer is not None
        assert "path" not in answer
        assert answer["error"] == taker.failure == "OSError: [Errno 28] No space left on device"
        assert taker.describe() == {"sequence": 0, "pause_ms": 0, "failure": taker.failure}

        assert taker.take(engine)
        told = taker.describe()
        assert (told["sequence"], told["failure"], told["pause_ms"] > 0) == (1000, "", True)
    assert recovery.newest_sequence(tmp_path, at_most=5000) == 1000


def test_a_snapshot_without_a_chain_hash_is_refused(tmp_path: Path, engine: Engine) -> None:
    taker = Snapshotter(
        tmp_path,
        epoch=1,
        rules=NEVER,
        engine_held=threading.Lock(),
        chain_hash_at=lambda _: None,
        settled=lambda: 0,
        clock_ns=lambda: 0,
    )

    assert taker.take(engine) is False
    assert taker.failure == "ValueError: the command log has no command 1000"


def test_the_engine_is_held_while_it_is_copied_and_free_while_the_disk_is_slow(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = threading.Lock()
    writing, may_end = threading.Event(), threading.Event()
    write, capture = snapshot.write, snapshot.Capturer.capture
    held: list[bool] = []

    def slow(*args: object, **named: object) -> Path:
        writing.set()
        assert may_end.wait(60)
        return write(*args, **named)  # type: ignore[arg-type]

    def noted(self: snapshot.Capturer, engine: Engine) -> snapshot.Capture:
        held.append(lock.locked())
        return capture(self, engine)

    monkeypatch.setattr(snapshot, "write", slow)
    with watching(tmp_path, engine, NEVER._replace(commands=100), lock=lock) as taker:
        monkeypatch.setattr(snapshot.Capturer, "capture", noted)
        with lock:
            engine.apply(history()[1000:1100])
        assert writing.wait(60)
        with lock:  # the disk is at work, and matching goes on
            engine.apply(history()[1100:1150])
        may_end.set()
        until(lambda: taker.last)

    assert held[:1] == [True]
    assert taker.last is not None
    assert snapshot.load(taker.last.path, shard=SHARD)[0].state_hash == hash_after(history()[:1100])
