"""The command that compares both books: it sees a difference, and its stream has everything in it."""

import json
import sys

import numpy as np
import pytest

from exchange.kernel.errors import InvariantViolationError
from matching_worker.benchmarks import agreement, streams
from matching_worker.book.reference import ReferenceEngine
from matching_worker.engine import Engine
from matching_worker.protocol import CommandKind, EventKind, OrderType, TimeInForce
from matching_worker.tests.factories import same_bytes


def test_both_books_do_the_same_on_a_changing_stream_in_which_everything_comes_up() -> None:
    told: list[int] = []

    found = agreement.compare(streams.changing_stream(1, 12_000), 1, told.append)

    assert sum(told) == found["commands"] == 12_000
    for group, names in (("kinds", CommandKind), ("orders", OrderType), ("times", TimeInForce), ("events", EventKind)):
        assert list(found[group]) == [each.name for each in names]
        assert min(found[group].values()) > 0, group


def test_the_same_seed_gives_the_same_stream() -> None:
    one, other = streams.changing_stream(5, 3_000), streams.changing_stream(5, 3_000)

    assert same_bytes(one, other)
    assert not same_bytes(one, streams.changing_stream(6, 3_000))
    assert one["sequence"].tolist() == list(range(1, 3_001))


def test_most_changes_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "PART", 2_000)
    commands, reference, random = streams.changing_stream(2, 8_000), ReferenceEngine(0, 0), np.random.default_rng(2)
    events = []
    for start in range(0, len(commands), agreement.CALL):
        call = commands[start : start + agreement.CALL]
        agreement.aim(call, reference, random)
        events.append(reference.apply(call))

    first = np.concatenate(events)
    first = first[first["index"] == 0]
    changes = (commands["kind"] >= CommandKind.CANCEL) & (commands["kind"] <= CommandKind.AMEND)
    assert np.mean(first["kind"][changes] != EventKind.REJECTED) > 0.5


def test_a_difference_in_one_byte_is_told_with_its_command() -> None:
    commands = streams.special_stream(3, 200)
    events, expected = Engine(0, 0).apply(commands), ReferenceEngine(0, 0).apply(commands)
    events["left_lots"][57] += 1

    with pytest.raises(InvariantViolationError, match=f"command {expected['sequence'][57]}:"):
        agreement.require_same_events(events, expected)
    with pytest.raises(InvariantViolationError, match="events where the reference has"):
        agreement.require_same_events(expected[:-1], expected)


def test_a_difference_in_the_books_is_told() -> None:
    commands = streams.special_stream(3, 300)
    engine, reference = Engine(0, 0), ReferenceEngine(0, 0)
    engine.apply(commands)
    reference.apply(commands[:-1])

    with pytest.raises(InvariantViolationError, match="state hash"):
        agreement.require_same_books(engine, reference)


def test_the_command_ends_with_one_line_of_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["agreement", "--json", "--commands", "500", "--seed", "9"])

    agreement.main()

    [line] = capsys.readouterr().out.splitlines()
    assert json.loads(line)["commands"] == 500
    assert json.loads(line)["seed"] == 9
