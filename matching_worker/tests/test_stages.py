import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from matching_worker import stages
from matching_worker.engine import Engine
from matching_worker.protocol import Rows
from matching_worker.ring import Ring
from matching_worker.stages import Journal, Match, Outlet, Release, StageThreads
from matching_worker.tests.test_ring import cancels, hashes, put

COUNT = 4_000


class Worker:
    """Stages that note in one list what they do; `journal_by` and `match_by` may delay or fail."""

    def __init__(self, capacity: int = 64) -> None:
        self.ring = Ring(stages.STAGES, capacity=capacity)
        self.engine = Engine(0, 0)
        self.journalled: list[tuple[int, int, bytes]] = []
        self.durable = self.matched = 0
        self.published: list[int] = []
        self.settled: list[int] = []
        self.too_early: list[int] = []
        self.failed: list[str] = []
        self.before_journal: Callable[[], None] = lambda: None
        self.before_match: Callable[[], None] = lambda: None

    def write(self, commands: Rows, chain_hash: bytes) -> None:
        self.before_journal()
        first, last = int(commands["sequence"][0]), int(commands["sequence"][-1])
        self.journalled.append((first, last, chain_hash))
        self.durable = last

    def apply(self, commands: Rows) -> Rows:
        self.before_match()
        events = self.engine.apply(commands)
        self.matched = int(commands["sequence"][-1])
        return events

    def release(self, into: list[int]) -> Callable[[list[Rows]], None]:
        def hand_on(results: list[Rows]) -> None:
            for events in results:
                sequences = events["sequence"].tolist()
                if sequences[-1] > min(self.durable, self.matched):
                    self.too_early += sequences
                into.extend(sequences)

        return hand_on

    def run(self, feed: Callable[[], None]) -> None:
        published: Outlet[Rows] = Outlet()
        settled: Outlet[Rows] = Outlet()
        threads = StageThreads(
            self.ring,
            {
                stages.JOURNAL: Journal(self.ring, self.write, commands_max=7),
                stages.MATCH: Match(self.ring, self.apply, (published, settled), commands_max=5),
                stages.PUBLISH: Release(published, self.release(self.published), results_max=3),
                stages.SETTLE: Release(settled, self.release(self.settled), results_max=3),
            },
            on_failure=self.failed.append,
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


@pytest.mark.parametrize("slow", ["before_journal", "before_match"])
def test_nothing_leaves_before_it_is_both_durable_and_matched(slow: str) -> None:
    worker = Worker()
    setattr(worker, slow, lambda: time.sleep(0.001))

    worker.run(feed(worker.ring, 400))

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


@pytest.mark.parametrize(("stage", "at"), [(stages.JOURNAL, "before_journal"), (stages.MATCH, "before_match")])
def test_a_stage_that_fails_stops_all_of_them_and_nothing_after_it_leaves(stage: str, at: str) -> None:
    worker = Worker()
    calls = 0

    def fail_at_the_third() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise OSError("the disk is full")

    setattr(worker, at, fail_at_the_third)

    worker.run(lambda: put(worker.ring, 1, 40))

    assert worker.failed == [stage]
    reached = worker.durable if stage == stages.JOURNAL else worker.matched
    assert 0 < reached < 40
    assert worker.published == list(range(1, len(worker.published) + 1))
    assert len(worker.published) <= reached
    assert worker.too_early == []


def test_results_that_are_only_partly_durable_wait() -> None:
    outlet: Outlet[str] = Outlet()
    handed: list[list[str]] = []
    release = Release(outlet, handed.append, results_max=9)
    outlet.add(5, "up to 5")
    outlet.add(9, "up to 9")

    assert release(1, 4) == 0
    assert release(1, 8) == 5
    assert release(6, 9) == 9
    assert handed == [["up to 5"], ["up to 9"]]


def test_one_write_takes_all_that_waits() -> None:
    ring = Ring(stages.STAGES, capacity=64)
    ring.put(cancels(1, 40), hashes(1, 40))
    written: list[tuple[int, bytes]] = []

    done = Journal(ring, lambda commands, chain_hash: written.append((len(commands), chain_hash)))(1, 40)

    assert done == 40
    assert written == [(40, hashes(40, 1)[0])]
