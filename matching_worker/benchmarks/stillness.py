"""How often the machine itself stops a thread that only looks at the clock: the floor under every latency beside it.

A virtual machine's processors are taken away by its host, and a busy machine's by other processes. A loop that does
nothing but read the clock sees that as a jump. Commands that arrive while the processor is away wait for its return,
whatever the engine does: where more than a hundredth of the time is in such jumps, no P99 can be below them.
"""

import threading
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from matching_worker import affinity
from matching_worker.book.compiled import entry
from matching_worker.monotonic import clock_ns

SECONDS: Final = 2.0
LONG_NS: Final = 100_000
"""A jump that counts: the P99 that latency shall stay below."""
JUMPS_MAX: Final = 1 << 16


class Stillness(NamedTuple):
    """What loops on all the processors together saw.

    Attributes:
        share: Part of the time in jumps above LONG_NS, of the processors together.
        longest_us: The longest of them, microseconds.
    """

    share: float
    longest_us: float


@entry
def _watch(jumps: npt.NDArray[np.int64], duration_ns: int) -> int:
    """Read the clock for a while; write each jump above LONG_NS; return how many."""
    first = clock_ns()
    last, found = first, 0
    while last - first < duration_ns and found < len(jumps):
        now = clock_ns()
        if now - last > LONG_NS:
            jumps[found] = now - last
            found += 1
        last = now
    return found


def measure(cores: Sequence[int], *, seconds: float = SECONDS) -> Stillness:
    """Watch the clock on each of these processors at the same time."""
    jumps = np.zeros((len(cores), JUMPS_MAX), np.int64)
    _watch(jumps[0], 0)  # compiles it

    def watch(row: int) -> None:
        affinity.pin(cores[row])
        _watch(jumps[row], int(seconds * 1e9))

    threads = [threading.Thread(target=watch, args=(row,), name="stillness") for row in range(len(cores))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Stillness(float(jumps.sum()) / (seconds * 1e9), float(jumps.max()) / 1000)
