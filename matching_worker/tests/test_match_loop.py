import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from matching_worker import stages
from matching_worker.benchmarks.streams import special_stream
from matching_worker.book import arrays
from matching_worker.engine import Engine
from matching_worker.engine_held import EngineHeld
from matching_worker.match_loop import MatchLoop
from matching_worker.outlet import Matched, Outlet, Release
from matching_worker.protocol import Rows
from matching_worker.ring import Ring
from matching_worker.stages import StageThreads
from matching_worker.tests.factories import same_bytes
from matching_worker.tests.test_ring import cancels, hashes, put

SHAPE = {stages.RECEIVE: (), stages.MATCH: (stages.RECEIVE,), stages.SETTLE: (stages.MATCH,)}
RECEIVE, MATCH, SETTLE = range(3)
PATIENT = 1 << 30


def _loop(*, capacity: int = 64, commands_max: int = 8, looks: int = 0) -> tuple[Ring, Engine, MatchLoop]:
    ring, engine = Ring(SHAPE, capacity=capacity), Engine(0, 0)
    return ring, engine, MatchLoop(ring, engine, EngineHeld(), commands_max=commands_max, looks=looks)


def _run(ring: Ring, loop: MatchLoop, hand_on: Callable[[list[Matched]], None], feed: Callable[[], None]) -> list[str]:
    failed: list[str] = []
    works: dict[str, stages.Work] = {
        stages.MATCH: loop,
        stages.SETTLE: Release(loop.outlet(), hand_on, commands_max=50),
    }
    threads = StageThreads(ring, works, on_failure=failed.append, spins={stages.MATCH: 0})
    threads.start()
    feed()
    ring.close()
    threads.join()
    return failed


def _put_all(ring: Ring, commands: Rows) -> Callable[[], None]:
    def run() -> None:
        for start in range(0, len(commands), 23):
            piece = commands[start : start + 23]
            ring.put(piece, [bytes(32)] * len(piece))

    return run


def test_the_loop_gives_the_events_that_the_engine_gives_while_books_and_blocks_grow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("ORDER", "LEVEL", "FOUND"):
        monkeypatch.setattr(arrays, f"{name}_CAPACITY_START", 2)
    monkeypatch.setattr(arrays, "NODE_CAPACITY_START", 16)
    monkeypatch.setattr("matching_worker.engine.LOOP_BLOCK", 600)
    commands = special_stream(16, 4_000)
    expected = Engine(0, 0).apply(commands)
    ring, engine, loop = _loop()
    pieces: list[Matched] = []

    def keep(matched: list[Matched]) -> None:
        pieces.extend(Matched(piece.commands.copy(), piece.events, piece.calls) for piece in matched)

    assert _run(ring, loop, keep, _put_all(ring, commands)) == []

    assert same_bytes(np.concatenate([piece.events for piece in pieces]), expected)
    assert same_bytes(np.concatenate([piece.commands for piece in pieces]), commands)
    assert engine.sequence == len(commands)
    assert len({id(piece.events.base) for piece in pieces}) > 3


def test_one_visit_to_the_loop_makes_many_calls_and_tells_of_each() -> None:
    ring, engine, loop = _loop(commands_max=5)
    put(ring, 1, 40)

    assert loop(1, 3) == 40

    calls = loop.calls()
    assert calls["last"].tolist() == [5, 10, 15, 20, 25, 30, 35, 40]
    assert calls["end"].tolist() == calls["last"].tolist()
    assert calls["start"].tolist() == [0, *calls["end"].tolist()[:-1]]
    assert bool((calls["ended_ns"] >= calls["started_ns"]).all())
    assert engine.sequence == 40


def test_after_the_loop_the_engine_writes_behind_its_events() -> None:
    ring, engine, loop = _loop()
    outlet = loop.outlet()
    put(ring, 1, 10)
    loop(1, 10)
    [piece] = outlet.take(10, 50)
    before = piece.events.copy()

    engine.apply(cancels(11, 10))

    assert same_bytes(piece.events, before)


def test_who_asks_for_the_engine_has_it_though_the_loop_never_stops() -> None:
    ring, engine, loop = _loop(looks=PATIENT)
    held = loop.held
    fed = threading.Event()
    deadline = time.monotonic() + 60
    had: list[tuple[int, int]] = []

    def ask() -> None:
        while engine.sequence < 100 and time.monotonic() < deadline:
            time.sleep(0.001)
        for _ in range(20):
            with held:
                before = engine.sequence
                time.sleep(0.002)
                had.append((before, engine.sequence))
            while engine.sequence == before and time.monotonic() < deadline:
                time.sleep(0.001)
        fed.set()

    asker = threading.Thread(target=ask)

    def feed() -> None:
        asker.start()
        first = 1
        while not fed.is_set() and time.monotonic() < deadline:
            put(ring, first, 10)
            first += 10
        asker.join(60)

    assert _run(ring, loop, lambda _: None, feed) == []

    assert len(had) == 20
    assert all(before == after for before, after in had)
    assert had[-1][0] > had[0][0]


def _outlet() -> tuple[Ring, MatchLoop, Outlet]:
    ring, _, loop = _loop(capacity=16, commands_max=5)
    return ring, loop, loop.outlet()


def test_calls_that_are_only_partly_durable_wait() -> None:
    ring, loop, outlet = _outlet()
    put(ring, 1, 9)
    loop(1, 9)

    assert outlet.take(4, 100) == []
    assert [piece.commands["sequence"].tolist() for piece in outlet.take(8, 100)] == [[1, 2, 3, 4, 5]]
    assert [piece.commands["sequence"].tolist() for piece in outlet.take(9, 100)] == [[6, 7, 8, 9]]


def test_what_is_taken_together_is_limited_but_a_single_call_is_never_cut() -> None:
    ring, loop, outlet = _outlet()
    put(ring, 1, 15)
    loop(1, 15)

    assert [len(piece.commands) for piece in outlet.take(15, 2)] == [5]
    assert [len(piece.commands) for piece in outlet.take(15, 11)] == [10]


def test_commands_on_both_sides_of_the_end_of_the_ring_come_in_two_pieces() -> None:
    ring, loop, outlet = _outlet()
    put(ring, 1, 12)
    loop(1, 12)
    outlet.take(12, 100)
    ring.advance(SETTLE, 12)
    ring.put(cancels(13, 10), hashes(13, 10))
    loop(13, 22)

    pieces = outlet.take(22, 100)

    assert [piece.commands["sequence"].tolist() for piece in pieces] == [[13, 14, 15], [*range(16, 23)]]
    assert [piece.events["sequence"].tolist() for piece in pieces] == [[13, 14, 15], [*range(16, 23)]]
