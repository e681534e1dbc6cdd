import threading
import time

import numpy as np
import pytest

from exchange.kernel.errors import InvariantViolationError
from matching_worker import protocol
from matching_worker.protocol import CommandKind, Rows
from matching_worker.ring import SEQUENCE, WANTED, WORDS, Ring, RingBrokenError
from matching_worker.stages import STAGES
from matching_worker.tests.factories import same_bytes

RECEIVE, JOURNAL, MATCH, PUBLISH, SETTLE = range(5)


def cancels(first: int, count: int) -> Rows:
    sequences = np.arange(first, first + count)
    return protocol.encode(kind=int(CommandKind.CANCEL), instrument_id=1, order_id=sequences, sequence=sequences)


def hashes(first: int, count: int) -> list[bytes]:
    return [sequence.to_bytes(32, "little") for sequence in range(first, first + count)]


def put(ring: Ring, first: int, count: int) -> None:
    ring.put(cancels(first, count), hashes(first, count))


def test_a_stage_may_work_on_what_all_that_it_follows_are_done_with() -> None:
    ring = Ring(STAGES, capacity=16)
    put(ring, 1, 10)

    ring.advance(JOURNAL, 7)
    ring.advance(MATCH, 4)

    assert ring.wait(MATCH, 5) == 10
    assert ring.wait(PUBLISH, 1) == 4
    ring.advance(MATCH, 10)
    assert ring.wait(PUBLISH, 1) == 7
    assert ring.sequences() == {"receive": 10, "journal": 7, "match": 10, "publish": 0, "settle": 0}


def test_rows_and_chain_hashes_are_found_by_sequence_also_after_the_array_has_been_used_up() -> None:
    ring = Ring(STAGES, capacity=16, start=1_000)
    put(ring, 1_001, 10)
    for stage in (JOURNAL, MATCH, PUBLISH, SETTLE):
        ring.advance(stage, 1_010)
    put(ring, 1_011, 10)

    before_the_end = ring.rows(1_011, 1_020)
    after_it = ring.rows(1_011 + len(before_the_end), 1_020)

    assert same_bytes(np.concatenate([before_the_end, after_it]), cancels(1_011, 10))
    assert [ring.chain_hash(sequence) for sequence in range(1_011, 1_021)] == hashes(1_011, 10)


def test_the_producer_does_not_overwrite_what_the_slowest_stage_still_needs() -> None:
    ring = Ring(STAGES, capacity=8)
    put(ring, 1, 8)
    for stage in (JOURNAL, MATCH, PUBLISH):
        ring.advance(stage, 8)
    ring.advance(SETTLE, 3)
    producer = threading.Thread(target=put, args=(ring, 9, 4), daemon=True)

    producer.start()
    producer.join(0.1)

    assert producer.is_alive()
    assert ring.rows(4, 7)["sequence"].tolist() == [4, 5, 6, 7]
    assert ring.rows(8, 8)["sequence"].tolist() == [8]
    ring.advance(SETTLE, 4)
    producer.join(30)
    assert not producer.is_alive()
    assert ring.sequence(RECEIVE) == 12


def test_commands_that_do_not_continue_the_ring_are_refused_and_change_nothing() -> None:
    ring = Ring(STAGES, capacity=8)
    put(ring, 1, 2)

    with pytest.raises(InvariantViolationError):
        put(ring, 4, 1)
    with pytest.raises(InvariantViolationError):
        ring.put(cancels(3, 2), hashes(3, 1))

    assert ring.sequence(RECEIVE) == 2
    assert ring.rows(1, 7)["sequence"].tolist() == [1, 2, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    "stages",
    [{"one": ("two",), "two": ()}, {"one": (), "two": ()}, {"one": (), "two": ("three",), "three": ("one",)}],
)
def test_a_ring_of_stages_that_follow_nobody_or_a_later_one_is_refused(stages: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(InvariantViolationError):
        Ring(stages, capacity=8)


def test_a_closed_ring_gives_out_what_is_there_and_then_ends() -> None:
    ring = Ring(STAGES, capacity=8)
    put(ring, 1, 3)

    ring.close()

    assert ring.wait(MATCH, 1) == 3
    assert ring.wait(MATCH, 4) == 3


def test_a_broken_ring_gives_out_nothing_more_and_wakes_who_sleeps() -> None:
    ring = Ring(STAGES, capacity=8)
    woken: list[str] = []

    def wait() -> None:
        try:
            ring.wait(MATCH, 1)
        except RingBrokenError:
            woken.append("match")

    sleeper = threading.Thread(target=wait, daemon=True)
    sleeper.start()
    sleeper.join(0.1)
    ring.break_off()
    sleeper.join(30)

    assert woken == ["match"]
    with pytest.raises(RingBrokenError):
        put(ring, 1, 9)


def test_a_sleeping_stage_takes_no_processor_time() -> None:
    ring = Ring(STAGES, capacity=8)
    took: list[float] = []

    def wait() -> None:
        ring.wait(MATCH, 1)
        started = time.thread_time()
        ring.wait(MATCH, 2)
        took.append(time.thread_time() - started)

    sleeper = threading.Thread(target=wait, daemon=True)
    sleeper.start()
    put(ring, 1, 1)
    time.sleep(0.5)
    put(ring, 2, 1)
    sleeper.join(30)

    assert took[0] < 0.05


def test_no_wake_up_call_is_lost_between_threads_that_sleep_all_the_time() -> None:
    """Two stages and a producer with a ring of four rows and no looking: each command is a chance to miss a call."""
    ring = Ring({"receive": (), "match": ("receive",), "settle": ("match",)}, capacity=4)
    count = 5_000
    seen: dict[int, list[int]] = {1: [], 2: []}

    def follow(stage: int) -> None:
        done = 0
        while done < count:
            last = ring.wait(stage, done + 1, spins=0)
            rows = ring.rows(done + 1, last)
            seen[stage] += rows["sequence"].tolist()
            done += len(rows)
            ring.advance(stage, done)

    threads = [threading.Thread(target=follow, args=(stage,), daemon=True) for stage in seen]
    for thread in threads:
        thread.start()
    for sequence in range(1, count + 1):
        put(ring, sequence, 1)
    for thread in threads:
        thread.join(30)

    assert seen == {1: list(range(1, count + 1)), 2: list(range(1, count + 1))}


def test_each_stage_has_cache_lines_of_its_own() -> None:
    ring = Ring(STAGES, capacity=8)

    assert (ring.memory % 128, WORDS * 8 % 128, SEQUENCE, WANTED * 8) == (0, 0, 0, 128)
