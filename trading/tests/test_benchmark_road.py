"""The benchmark of the road runs on small numbers, leaves books that balance, and ends with the line others read."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from trading.benchmarks.road import figures, plot
from trading.benchmarks.road.watch import Sample, growth

ROOT = Path(__file__).parents[2]


def test_it_runs_through_every_phase_audits_and_ends_with_its_figures(tmp_path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("EXCHANGE_", "DJANGO_"))}
    picture = tmp_path / "road.svg"
    words = ["--seconds", "2", "--users", "20", "--instruments", "2", "--rate", "50", "--plot", str(picture)]

    done = subprocess.run(
        [sys.executable, "-m", "trading.benchmarks.road", "--json", *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout.splitlines()[-1])
    times = ["p50", "p99"]
    assert {name: list(value) if isinstance(value, dict) else None for name, value in found.items()} == {
        "orders_per_second": None,
        "accept_ms": times,
        "match_ms": times,
        "settle_ms": times,
        "push_ms": times,
        "http_batch_orders_per_second": None,
        "audit_ok": None,
    }
    assert found["audit_ok"] is True
    assert "where the time of" in done.stderr
    for way in ("HTTP", "WebSocket"):
        for what in ("batches of 50", "single orders"):
            [told] = [line for line in done.stderr.splitlines() if line.startswith(f"{way}, {what}: ")]
            assert not told.startswith(f"{way}, {what}: 0 orders/s")
    assert picture.read_text().startswith("<svg")


def test_times_are_found_by_sequence_and_the_later_of_matched_and_durable_counts() -> None:
    came = np.array([1_000_000, 2_000_000, 3_000_000])
    report = {
        "sent": [(5, came)],
        "matched": [(5, 6, 4_000_000), (7, 7, 9_000_000)],
        "durable": [(5, 7, 5_000_000)],
        "settled": [(5, 5, 6_000_000), (6, 7, 8_000_000)],
    }

    times = figures.Times(report)

    assert times.waits(times.matched, 5, 7).tolist() == [4.0, 3.0, 6.0]
    assert times.waits(times.settled, 6, 7).tolist() == [6.0, 5.0]


def test_the_lag_grows_by_the_slope_of_its_samples() -> None:
    samples = [Sample(float(second), 100 * second, 90 * second) for second in range(10)]

    assert round(growth(samples), 6) == 10


def test_the_plot_shows_what_came_in_and_what_was_settled_in_each_second() -> None:
    start = datetime(2026, 1, 2, tzinfo=UTC).timestamp()
    samples = [Sample(start + tenth / 10, 40 * tenth, 30 * tenth) for tenth in range(31)]
    found = figures.Steady(
        seconds=3.0,
        offered=400.0,
        admitted=400.0,
        matched=400.0,
        settled=300.0,
        growth=100.0,
        samples=samples,
        admitted_at=[(start + 0.1, 400), (start + 1.1, 200), (start + 2.1, 400)],
        refused={},
        latencies={},
        admission={},
        settlement={},
        spent={},
        orders=1,
        fills=0,
        cores=2,
    )

    drawn = plot.draw(found)

    assert not found.is_flat
    assert drawn.count("<polyline") == 3
    assert ">400</text>" in drawn  # the most that came in within a second, at the top of the left axis
    assert ">300</text>" in drawn  # the most that waited, at the top of the right one
