import threading
import time
from collections.abc import Callable

import numpy as np

from matching_worker import stages
from matching_worker.engine import Engine
from matching_worker.engine_held import EngineHeld
from matching_worker.match_loop import MatchLoop
from matching_worker.outlet import Matched, Release
from matching_worker.protocol import Rows
from matching_worker.ring import Ring
from matching_worker.stages import Journal, StageThreads
from matching_worker.tests.test_ring import cancels, hashes, put

COUNT = 4_000


class Worker:
    """Stages that note in one list what they do; `before_journal` may delay or fail, who has `held` stops matching."""

    def __init__(self, capacity: int = 64) -> None:
        self.ring = Ring(stages.STAGES, capacity=capacity)
        self.engine = Engine(0, 0)
        self.held = EngineHeld()
        self.match = MatchLoop(self.ring, self.engine, self.held, commands_max=5)
        self.journalled: list[tuple[int, int, bytes]] = []
        self.durable = 0
        self.published: list[int] = []
        self.settled: list[int] = []
        self.too_early: list[int] = []
        self.failed: list[str] = []
        self.before_journal: Callable[[], None] = lambda: None

    @property
    def matched(self) -> int:
        return self.engine.sequence

    def write(self, commands: Rows, chain_hash: bytes) -> None:
        self.before_journal()
        first, last = int(commands["sequence"][0]), int(commands["sequence"][-1])
        self.journalled.append((first, last, chain_hash))
        self.durable = last

    def release(self, into: list[int]) -> Callable[[list[Matched]], None]:
        def hand_on(matched: list[Matched]) -> None:
            for piece in matched:
                sequences = piece.events["sequence"].tolist()
                if sequences[-1] > min(self.durable, self.matched) or sequences != piece.commands["sequence"].tolist():
                    self.too_early += sequences
                into.extend(sequences)

        return hand_on

    def run(self, feed: Callable[[], None]) -> None:
        threads = StageThreads(
            self.ring,
            {
                stages.JOURNAL: Journal(self.ring, self.write, commands_max=7),
                stages.MATCH: self.match,
                stages.PUBLISH: Release(self.match.outlet(), self.release(self.published), commands_max=3),
                stages.SETTLE: Release(self.match.outlet(), self.release(self.settled), commands_max=30),
            },
            on_failure=self.failed.append,
            spins={stages.MATCH: 0},
        )
        threads.start()
        feed()
        self.ring.close()
        threads.join()


def feed(ring: Ring, count: int) -> Callable[[], None]:
    def run() -> None:
        sizes = np.random.default_rng(3).integers(1, 20, count)
        done = 0
        for size in sizes.tolist():
            size = min(size, count - done)  # noqa: PLW2901 - the last piece is shorter
            if not size:
                return
            put(ring, done + 1, size)
            done += size

    return run


def test_every_command_passes_every_stage_once_and_in_order() -> None:
    worker = Worker()

    worker.run(feed(worker.ring, COUNT))

    everything = list(range(1, COUNT + 1))
    assert worker.failed == []
    assert [sequence for first, last, _ in worker.journalled for sequence in range(first, last + 1)] == everything
    assert worker.engine.sequence == COUNT
    assert worker.published == everything
    assert worker.settled == everything
    assert worker.ring.sequences() == dict.fromkeys(stages.STAGES, COUNT)


def test_each_write_to_the_journal_carries_the_chain_hash_of_its_last_command() -> None:
    worker = Worker()

    worker.run(feed(worker.ring, 200))

    assert [chain_hash for _, _, chain_hash in worker.journalled] == [
        hashes(last, 1)[0] for _, last, _ in worker.journalled
    ]


def test_nothing_leaves_before_it_is_durable() -> None:
    worker = Worker()
    worker.before_journal = lambda: time.sleep(0.001)

    worker.run(feed(worker.ring, 400))

    assert worker.too_early == []
    assert worker.settled == list(range(1, 401))


def test_nothing_leaves_before_it_is_matched() -> None:
    worker = Worker()

    def run() -> None:
        for first in range(1, 401, 20):
            with worker.held:
                put(worker.ring, first, 20)
                deadline = time.monotonic() + 60
                while worker.durable < first + 19 and time.monotonic() < deadline:
                    time.sleep(0.001)
                assert worker.matched < first
                assert len(worker.published) < first
            while worker.matched < first + 19 and time.monotonic() < deadline:  # before the ring is full of what waits
                time.sleep(0.001)

    worker.run(run)

    assert worker.too_early == []
    assert worker.settled == list(range(1, 401))


def test_the_engine_matches_while_the_journal_waits_for_the_disk() -> None:
    worker = Worker()
    may_write = threading.Event()

    def wait_for_the_disk() -> None:
        may_write.wait(60)

    worker.before_journal = wait_for_the_disk

    def run() -> None:
        put(worker.ring, 1, 20)
        deadline = time.monotonic() + 60
        while worker.matched < 20 and time.monotonic() < deadline:
            time.sleep(0.001)
        assert (worker.matched, worker.durable, worker.published) == (20, 0, [])
        may_write.set()

    worker.run(run)

    assert worker.published == list(range(1, 21))


def test_a_journal_that_fails_stops_all_stages_and_nothing_after_it_leaves() -> None:
    worker = Worker()
    calls = 0

    def fail_at_the_third() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise OSError("the disk is full")

    worker.before_journal = fail_at_the_third

    worker.run(lambda: put(worker.ring, 1, 40))

    assert worker.failed == [stages.JOURNAL]
    assert 0 < worker.durable < 40
    assert worker.published == list(range(1, len(worker.published) + 1))
    assert len(worker.published) <= worker.durable
    assert worker.too_early == []


def test_a_command_out_of_sequence_stops_all_stages_and_nothing_after_it_leaves() -> None:
    worker = Worker()

    def run() -> None:
        commands = cancels(1, 40)
        commands["sequence"][22:] += 1
        worker.ring.put(commands, hashes(1, 40))

    worker.run(run)

    assert worker.failed == [stages.MATCH]
    assert worker.matched == 22
    assert worker.published == list(range(1, len(worker.published) + 1))
    assert len(worker.published) <= 22


def test_one_write_takes_all_that_waits() -> None:
    ring = Ring(stages.STAGES, capacity=64)
    ring.put(cancels(1, 40), hashes(1, 40))
    written: list[tuple[int, bytes]] = []

    done = Journal(ring, lambda commands, chain_hash: written.append((len(commands), chain_hash)))(1, 40)

    assert done == 40
    assert written == [(40, hashes(40, 1)[0])]
