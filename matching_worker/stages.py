"""The stages of the worker: threads that follow each other along the ring, by sequence.

    receive ──▶ ring ──▶ journal ──┬──▶ publish
                    └──▶ match  ───┴──▶ settle

Journal and match run beside each other; publish and settle wait for both. A stage that fails stops the
worker: nobody may act on commands that are not durable, or go past some that were left out.

Note [Looking is for the busy]
    To look for the next command before sleeping (Note [Waiting] in `ring.py`) saves the microseconds of being woken
    where commands follow each other closely. Where they come in batches every few milliseconds no look finds anything,
    and the looks of four stages take more of a shared processor than their work. So who waited long for its last
    command does not look for the next one, but sleeps; the first that comes soon makes it look again.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import structlog

from matching_worker import affinity
from matching_worker.protocol import Rows
from matching_worker.ring import SPINS, Ring, RingBrokenError

logger = structlog.get_logger(__name__)

RECEIVE: Final = "receive"
JOURNAL: Final = "journal"
MATCH: Final = "match"
PUBLISH: Final = "publish"
SETTLE: Final = "settle"

STAGES: Final[dict[str, tuple[str, ...]]] = {
    RECEIVE: (),
    JOURNAL: (RECEIVE,),
    MATCH: (RECEIVE,),
    PUBLISH: (JOURNAL, MATCH),
    SETTLE: (JOURNAL, MATCH),
}
"""The worker's stages, and whom each follows."""

SELDOM_SECONDS: Final = 0.001
"""A stage that waited longer for its last command sleeps at once: Note [Looking is for the busy]."""

JOURNAL_MAX: Final = 1 << 14
"""Commands in one write to the WAL, at most."""

SWITCH_SECONDS: Final = 0.0001
"""How long a thread that wants the GIL waits before it asks for it (`sys.setswitchinterval`).

The match stage leaves and takes the GIL all the time, for moments too short for another thread to wake up in. With
Python's usual 5 ms the journal, back from its fsync, was kept waiting for just that long.
"""


class Work(Protocol):
    """What a stage does: take commands `first` to `last`, or the first of them, and say how far it got.

    A stage that can do nothing with so few returns `first - 1`, and is called again when there are more. One that
    follows the ring by itself (`match_loop.py`) may have gone on beyond `last`.
    """

    def __call__(self, first: int, last: int, /) -> int:
        """Do it."""


class Journal:
    """Makes commands durable: all that wait, in one write and one sync."""

    def __init__(self, ring: Ring, write: Callable[[Rows, bytes], None], *, commands_max: int = JOURNAL_MAX) -> None:
        self._ring = ring
        self._write = write
        self._commands_max = commands_max

    def __call__(self, first: int, last: int, /) -> int:
        """Write what waits; the commands are durable when this returns."""
        commands = self._ring.rows(first, min(last, first + self._commands_max - 1))
        done = first + len(commands) - 1
        self._write(commands, self._ring.chain_hash(done))
        return done


class StageThreads:
    """The threads of a ring's stages but the first, which belongs to the caller."""

    def __init__(
        self,
        ring: Ring,
        works: Mapping[str, Work],
        *,
        on_failure: Callable[[str], None],
        on_end: Callable[[], None] = lambda: None,
        cores: Mapping[str, int] | None = None,
        spins: Mapping[str, int] | None = None,
    ) -> None:
        """Prepare the threads.

        Args:
            works: What each stage does.
            on_failure: Called with the stage's name, in its thread, while the exception is being handled;
                the worker ends the process there. If it returns, the ring is broken off.
            on_end: Called in each thread when it ends.
            cores: The processor of each stage that shall have one of its own.
            spins: How often a stage looks before it sleeps, where it is not `ring.SPINS`.
        """
        self._ring = ring
        self._on_failure = on_failure
        self._on_end = on_end
        self._cores = cores or {}
        self._spins = spins or {}
        self._threads = [
            threading.Thread(target=self._guarded, args=(name, work), name=name, daemon=True)
            for name, work in works.items()
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait until all have finished what was on the ring when it was closed."""
        for thread in self._threads:
            thread.join()

    def _guarded(self, name: str, work: Work) -> None:
        """Run a stage; whatever stops it before its time stops all of them."""
        try:
            pin(name, self._cores)
            self._run(name, work)
        except RingBrokenError:
            return
        except BaseException:  # noqa: BLE001 - the caller logs it and ends the process
            self._on_failure(name)
            self._ring.break_off()
        finally:
            self._on_end()

    def _run(self, name: str, work: Work) -> None:
        """Follow the ring until it is closed and everything on it is done."""
        ring, stage = self._ring, self._ring.number(name)
        spins = self._spins.get(name, SPINS)
        done = ring.sequence(stage)
        wanted, looks = done + 1, spins
        last = ring.wait(stage, wanted, spins=looks)
        while last >= wanted:
            moved = work(done + 1, last)
            began = time.perf_counter()
            if moved > done:
                done, wanted = moved, moved + 1
                last = ring.advance_and_wait(stage, done, spins=looks)
            else:
                wanted = last + 1
                last = ring.wait(stage, wanted, spins=looks)
            looks = spins if time.perf_counter() - began < SELDOM_SECONDS else 0


def pin(name: str, cores: Mapping[str, int]) -> None:
    """Bind the calling thread to its stage's processor, if it has one; say so if that cannot be."""
    if name in cores and (trouble := affinity.pin(cores[name])):
        logger.warning("affinity_not_set", stage=name, reason=trouble)
