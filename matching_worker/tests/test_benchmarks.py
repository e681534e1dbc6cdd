import json
import sys

import pytest

from matching_worker.benchmarks import book, cancelling
from matching_worker.benchmarks.workload import workload
from matching_worker.protocol import CommandKind
from matching_worker.tests.factories import same_bytes


def test_the_workload_is_the_same_every_time_and_nothing_in_it_is_refused() -> None:
    commands = workload(20_000)

    flow = book.describe(commands)

    assert same_bytes(commands, workload(20_000))
    assert flow["rejected"] == 0
    assert flow["commands"] == 20_000
    assert flow["cancels"] + (commands["kind"] == CommandKind.PLACE).sum() == 25_000


def test_the_mix_is_near_what_it_says() -> None:
    flow = book.describe(workload(20_000))

    assert round(flow["cancels"] / 20_000, 1) == 0.4
    assert round(flow["takers"] / 20_000, 1) == 0.1


def test_the_benchmark_ends_with_one_line_of_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["book", "--json", "--commands", "2000", "--runs", "1"])

    book.main()

    [line] = capsys.readouterr().out.splitlines()
    figures = json.loads(line)
    assert list(figures["calls"]) == ["1000", "100", "10", "1"]
    assert all(speed > 0 for speed in [*figures["calls"].values(), figures["reference"]])


def test_the_benchmark_of_cancelling_many_ends_with_one_line_of_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["cancelling", "--json", "--runs", "1", "--staying", "1000"])

    cancelling.main()

    [line] = capsys.readouterr().out.splitlines()
    found = json.loads(line)["microseconds"]
    assert list(found) == [case.name for case in cancelling.CASES]
    assert {tuple(times) for times in found.values()} == {("1000/1", "1000/100", "1000/10000")}
    assert all(each > 0 for times in found.values() for each in times.values())
