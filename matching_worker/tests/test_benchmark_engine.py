import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from matching_worker.benchmarks import (
    ceiling,
    durable,
    engine,
    latency,
    operations,
    recorded,
    recovering,
    starting,
    stillness,
)
from matching_worker.benchmarks.recorded import RECORD_DTYPE, WorkloadFileError
from matching_worker.benchmarks.workload import PRELOADED, workload
from matching_worker.protocol import CommandKind

COMMANDS = 20_000


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """The own workload, written as records, with the minimal loop's results beside it."""
    commands = workload(COMMANDS)
    records = np.zeros(len(commands), RECORD_DTYPE)
    records["op"] = commands["kind"] == CommandKind.CANCEL
    records["side"] = np.where(records["op"] == 1, 0, commands["side"].astype(np.int32) - 1)
    records["id"], records["price"] = commands["order_id"], commands["price_ticks"]
    records["qty"] = commands["qty_lots"]
    path = tmp_path / "flow.bin"
    path.write_bytes(records.tobytes())
    _, counted = ceiling.measure(commands, PRELOADED)
    expected = {"pre": PRELOADED, "fills": counted.fills, "traded": counted.traded_lots}
    path.with_suffix(".json").write_text(json.dumps(expected))
    return path


def test_a_recorded_workload_is_held_to_its_authors_results(recording: Path) -> None:
    flow = recorded.read(recording)

    found = recorded.check(flow)

    assert (len(flow.commands), flow.preloaded) == (COMMANDS + PRELOADED, PRELOADED)
    assert {name: found[name] for name in ("fills", "traded")} == {
        name: flow.expected[name] for name in ("fills", "traded")
    }
    assert found["fills"] > 0


def test_other_results_than_the_authors_are_an_error_that_names_them(recording: Path) -> None:
    flow = recorded.read(recording)
    wrong = flow._replace(expected=flow.expected | {"fills": flow.expected["fills"] + 1})

    with pytest.raises(WorkloadFileError, match="'fills'"):
        recorded.check(wrong)


@pytest.mark.parametrize("content", [b"", b"x" * 33, b"\x02" * 32])
def test_a_file_that_is_no_workload_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "flow.bin"
    path.write_bytes(content)

    with pytest.raises(WorkloadFileError):
        recorded.read(path)


def test_latency_counts_every_command_after_the_warm_up_once(tmp_path: Path) -> None:
    measured = latency.measure(workload(COMMANDS), PRELOADED, 10_000, tmp_path / "wal", seconds=0.2)

    assert measured.entered.p50 <= measured.entered.p99 <= measured.entered.p999
    assert 0 < measured.entered.average <= measured.matched.average
    assert measured.durable.p50 > 0
    assert round(measured.per_call * 1000) >= 1000


def test_durable_speed_is_measured_with_exactly_so_many_commands_a_commit(tmp_path: Path) -> None:
    found = durable.measure(workload(COMMANDS), PRELOADED, 100, 5_000, tmp_path / "wal")

    # A commit is cut in two where the ring's array ends; it does not end in these.
    assert found.commits == 50
    assert found.rate > 0


def test_recovery_ends_where_the_engine_that_wrote_stood(tmp_path: Path) -> None:
    told: list[int] = []

    prepared = recovering.prepare(workload(COMMANDS), PRELOADED, tmp_path / "wal", told.append)

    assert recovering.measure(prepared) > 0
    assert sum(told) == COMMANDS
    assert prepared.sequence == recovering.RESTING + COMMANDS


def test_the_benchmark_ends_with_one_line_of_json_of_the_pinned_shape(
    recording: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", _words(recording))
    monkeypatch.setattr(latency, "RATES", (10_000,))
    monkeypatch.setattr(operations, "LOOKS", 1_000)
    monkeypatch.setattr(operations, "SINGLE", 100)
    monkeypatch.setattr(starting, "measure", lambda _: starting.Starting(0.0, 0.0))  # it compiles for long

    engine.main()

    *_, line = capsys.readouterr().out.splitlines()
    figures = json.loads(line)
    assert list(figures) == ["calls", "durable", "latency_us", "recovery_seconds", "ceiling", "reference"]
    assert list(figures["calls"]) == ["1", "10", "100", "1000"]
    assert list(figures["durable"]) == ["100", "1000"]
    assert {"p50", "p99", "p999"} <= set(figures["latency_us"]["10000"])
    assert all(speed > 0 for speed in [*figures["calls"].values(), figures["ceiling"], figures["reference"]])


def _words(recording: Path) -> list[str]:
    """Return a command line for a short run."""
    flags = ["--json", "--workload", str(recording), "--runs", "1", "--seconds", "0.1"]
    return ["engine", *flags, "--folder", str(recording.parent)]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot bind threads to processors")
def test_loops_that_share_a_processor_see_that_they_are_stopped() -> None:
    core = min(os.sched_getaffinity(0))

    found = stillness.measure([core, core], seconds=0.5)

    assert found.share > 0.1  # of two threads on one processor one stands still at any moment: about 1
    assert found.longest_us > stillness.LONG_NS / 1000
