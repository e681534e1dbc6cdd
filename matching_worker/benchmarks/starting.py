"""What the first engine of a process costs: compiling all loops once, and loading them from the cache ever after."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

_START: Final = """
import time
started = time.perf_counter()
from matching_worker.engine import Engine
from matching_worker.ring import Ring
Engine(0, 0)
Ring({"receive": (), "match": ("receive",)})
print(time.perf_counter() - started)
"""
_SECONDS_MAX: Final = 600


class Starting(NamedTuple):
    """Seconds from importing the engine to the first one that is ready."""

    cold: float
    warm: float


def measure(cache: Path) -> Starting:
    """Start two new processes: one with an empty cache of machine code, one with what the first has left.

    Args:
        cache: An empty folder.
    """
    return Starting(_start(cache), _start(cache))


def _start(cache: Path) -> float:
    """Start a process and return what it says."""
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", _START],
        env=os.environ | {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        check=True,
        text=True,
        timeout=_SECONDS_MAX,
    )
    return float(done.stdout)
