"""The loops against the readable book: every byte of every event, and so every state hash."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matching_worker.benchmarks.agreement import require_same_books
from matching_worker.benchmarks.streams import random_stream, special_stream
from matching_worker.book import arrays
from matching_worker.book.reference import ReferenceEngine
from matching_worker.engine import Engine
from matching_worker.protocol import Rows
from matching_worker.tests.factories import same_bytes
from matching_worker.tests.strategies import command_streams, commands_of


@settings(max_examples=300, deadline=None)
@given(command_streams(), st.integers(1, 60))
def test_both_books_do_the_same(commands: Rows, batch: int) -> None:
    engine, reference = Engine(3, 2), ReferenceEngine(3, 2)

    for start in range(0, len(commands), batch):
        events = engine.apply(commands[start : start + batch])
        expected = reference.apply(commands[start : start + batch])
        assert same_bytes(events, expected)
        require_same_books(engine, reference)


@pytest.mark.parametrize(
    ("seed", "instruments", "open_ids", "spread"),
    [(1, 1, 500, 10), (2, 5, 5_000, 300), (3, 200, 20_000, 5_000), (4, 1, 20_000, 2)],
)
def test_both_books_do_the_same_on_long_streams_of_a_moving_market(
    seed: int, instruments: int, open_ids: int, spread: int
) -> None:
    commands = random_stream(seed, 30_000, instruments=instruments, open_ids=open_ids, spread=spread)
    engine, reference = Engine(0, 0), ReferenceEngine(0, 0)

    for start in range(0, len(commands), 1_000):
        batch = commands[start : start + 1_000]
        assert same_bytes(engine.apply(batch), reference.apply(batch))

    require_same_books(engine, reference)


def test_both_books_do_the_same_while_every_array_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "ORDER_CAPACITY_START", 2)
    monkeypatch.setattr(arrays, "LEVEL_CAPACITY_START", 2)
    monkeypatch.setattr(arrays, "NODE_CAPACITY_START", 16)
    monkeypatch.setattr("matching_worker.engine.EVENTS_PER_COMMAND", 0)
    monkeypatch.setattr("matching_worker.engine.EVENTS_SPARE", 0)
    monkeypatch.setattr("matching_worker.engine.EVENTS_BLOCK", 1)
    commands = random_stream(5, 5_000, instruments=3, open_ids=10_000, spread=500)
    engine, reference = Engine(0, 0), ReferenceEngine(0, 0)

    assert same_bytes(engine.apply(commands), reference.apply(commands))

    require_same_books(engine, reference)
    assert len(engine._arrays.orders) == 256


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 400), st.integers(1, 3), st.integers(1, 30), st.integers(0, 3))
def test_both_books_do_the_same_on_any_short_stream_of_every_type(
    seed: int, count: int, instruments: int, spread: int, contracts: int
) -> None:
    commands = special_stream(
        seed, count, instruments=instruments, spread=spread, contracts=min(contracts, instruments)
    )
    engine, reference = Engine(1, 1), ReferenceEngine(1, 1)

    assert same_bytes(engine.apply(commands), reference.apply(commands))
    require_same_books(engine, reference)


@pytest.mark.parametrize("seed", range(11, 15))
def test_both_books_do_the_same_with_every_type_of_order(seed: int) -> None:
    commands = special_stream(seed, 6_000)
    engine, reference = Engine(0, 0), ReferenceEngine(0, 0)

    for start in range(0, len(commands), 500):
        batch = commands[start : start + 500]
        assert same_bytes(engine.apply(batch), reference.apply(batch))
        require_same_books(engine, reference)


def test_both_books_do_the_same_with_every_type_of_order_while_every_array_grows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("ORDER", "LEVEL", "FOUND"):
        monkeypatch.setattr(arrays, f"{name}_CAPACITY_START", 2)
    monkeypatch.setattr(arrays, "NODE_CAPACITY_START", 16)
    monkeypatch.setattr(arrays, "POSITION_CAPACITY_START", 2)
    for name, size in (("EVENTS_PER_COMMAND", 0), ("EVENTS_SPARE", 0), ("EVENTS_BLOCK", 1)):
        monkeypatch.setattr(f"matching_worker.engine.{name}", size)
    commands = special_stream(16, 4_000)
    engine, reference = Engine(0, 0), ReferenceEngine(0, 0)

    for start in range(0, len(commands), 40):
        batch = commands[start : start + 40]
        assert same_bytes(engine.apply(batch), reference.apply(batch))

    require_same_books(engine, reference)


def test_a_changed_field_changes_the_hash() -> None:
    commands = random_stream(6, 200, instruments=2, open_ids=100, spread=5)
    original = Engine(0, 0)
    original.apply(commands)

    for name in ("order_id", "trader_id", "price_ticks", "qty_lots", "instrument_id", "side", "timestamp_ns"):
        changed = commands.copy()
        changed[name][50] += 100_000 if name == "timestamp_ns" else 1
        engine = Engine(0, 0)
        engine.apply(changed)
        assert engine.state_hash != original.state_hash, name


def test_two_commands_in_the_other_order_give_another_hash() -> None:
    commands = random_stream(7, 100, instruments=1, open_ids=100, spread=5)
    swapped = commands.copy()
    swapped[[40, 41]] = commands[[41, 40]]
    swapped["sequence"] = np.arange(1, 101)

    one, other = Engine(0, 0), Engine(0, 0)
    one.apply(commands)
    other.apply(swapped)

    assert one.state_hash != other.state_hash


def test_the_hash_of_a_known_stream_never_changes() -> None:
    rows: list[tuple[int, ...]] = [
        (1 + (step * 7 % 11 > 6) * (1 + step % 3), step % 3, step * 37 % 101, step % 5, 1 + step * step % 2,
         1, 1 + (step % 13 == 0), 100 + step * 31 % 17, 1 + step * 53 % 29, step)
        for step in range(1, 5_000)
    ]  # fmt: skip
    engine = Engine(0, 0)
    commands = commands_of(rows)
    commands["version"] = 1

    engine.apply(commands)

    # A difference here means that old logs no longer replay: raise the protocol version instead.
    assert engine.trade_number(0) > 100
    assert f"{engine.state_hash:016x}" == "b30664e284354661"
