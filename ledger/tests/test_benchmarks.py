"""The benchmarks run, on small numbers, and end with the line that others read."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_posting_benchmark_posts_audits_and_ends_with_its_figures() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("EXCHANGE_", "DJANGO_"))}

    done = subprocess.run(
        [sys.executable, "-m", "ledger.benchmarks.posting", "--quick", "--json", "--users", "50"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads(done.stdout.splitlines()[-1])
    assert {name: list(value) if isinstance(value, dict) else None for name, value in figures.items()} == {
        "transfers_per_second": ["1", "10", "100", "1000"],
        "fills_per_second": ["500"],
        "ratio_to_copy": None,
    }
    assert figures["ratio_to_copy"] > 0
    assert "invariants hold" in done.stderr
