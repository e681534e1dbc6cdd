"""Killed at 200 random points and more, the worker's storage loses nothing, repeats nothing, and ends as it should."""

import json
import os
import subprocess
import sys
from pathlib import Path

KILLS = 220
SEED = os.environ.get("EXCHANGE_CRASH_SEED", "20261120")
ROOT = Path(__file__).parents[2]


def test_a_worker_killed_at_random_points_loses_and_repeats_no_command_and_reaches_the_same_hash(
    tmp_path: Path,
) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "matching_worker.tests.crash_storage", str(tmp_path), str(KILLS), SEED],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )

    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout.splitlines()[-1])
    assert told["wrong"] == ""
    assert told["kills"] >= KILLS
    assert {
        "write",
        "before fdatasync",
        "after fdatasync",
        "before fsync",
        "after fsync",
        "before replace",
        "after replace",
        "before unlink",
        "after unlink",
        "inside match",
        "power cut too",
        "snapshot damaged too",
    } <= told["killed"].keys()
