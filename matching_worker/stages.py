"""The stages of the worker: threads that follow each other along the ring, by sequence.

    receive ──▶ ring ──▶ journal ──┬──▶ publish
                    └──▶ match  ───┴──▶ settle

Journal and match run beside each other; publish and settle wait for both. A stage that fails stops the
worker: nobody may act on commands that are not durable, or go past some that were left out.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Generic, Protocol, TypeVar

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

JOURNAL_MAX: Final = 1 << 14
"""Commands in one write to the WAL, at most."""

MATCH_MAX: Final = 2_000
"""Commands in one call of the engine, at most."""

SWITCH_SECONDS: Final = 0.0001
"""How long a thread that wants the GIL waits before it asks for it (`sys.setswitchinterval`).

The match stage leaves and takes the GIL all the time, for moments too short for another thread to wake up in. With
Python's usual 5 ms the journal, back from its fsync, was kept waiting for just that long.
"""

Result = TypeVar("Result")


class Work(Protocol):
    """What a stage does: take commands `first` to `last`, or the first of them, and say how far it got.

    A stage that can do nothing with so few returns `first - 1`, and is called again when there are more.
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


class Outlet(Generic[Result]):
    """What the match stage made, on its way to one stage that follows it. In order; written and read by one each."""

    def __init__(self) -> None:
        self._results: deque[tuple[int, Result]] = deque()

    def add(self, last: int, result: Result) -> None:
        """Add the result of the commands up to a sequence."""
        self._results.append((last, result))

    def take(self, last: int, at_most: int) -> tuple[int, list[Result]]:
        """Take out the results that lie wholly at or before a sequence.

        Returns:
            The last sequence of those taken, 0 when there are none, and the results.
        """
        done = 0
        taken: list[Result] = []
        while self._results and self._results[0][0] <= last and len(taken) < at_most:
            done, result = self._results.popleft()
            taken.append(result)
        return done, taken


class Match(Generic[Result]):
    """Applies commands to the books, and hands each following stage what came of them."""

    def __init__(
        self,
        ring: Ring,
        apply: Callable[[Rows], Result],
        outlets: Sequence[Outlet[Result]],
        *,
        commands_max: int = MATCH_MAX,
    ) -> None:
        self._ring = ring
        self._apply = apply
        self._outlets = outlets
        self._commands_max = commands_max

    def __call__(self, first: int, last: int, /) -> int:
        """Match what waits; nothing of it may leave the worker before it is durable as well."""
        commands = self._ring.rows(first, min(last, first + self._commands_max - 1))
        result = self._apply(commands)
        done = first + len(commands) - 1
        for outlet in self._outlets:
            outlet.add(done, result)
        return done


class Release(Generic[Result]):
    """Hands on what is matched and durable: several results at once when they have piled up."""

    def __init__(self, outlet: Outlet[Result], hand_on: Callable[[list[Result]], None], *, results_max: int) -> None:
        self._outlet = outlet
        self._hand_on = hand_on
        self._results_max = results_max

    def __call__(self, first: int, last: int, /) -> int:
        """Hand on the results that lie wholly at or before `last`."""
        done, results = self._outlet.take(last, self._results_max)
        if not results:
            return first - 1
        self._hand_on(results)
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
        wanted = done + 1
        last = ring.wait(stage, wanted, spins=spins)
        while last >= wanted:
            moved = work(done + 1, last)
            if moved > done:
                done, wanted = moved, moved + 1
                last = ring.advance_and_wait(stage, done, spins=spins)
            else:
                wanted = last + 1
                last = ring.wait(stage, wanted, spins=spins)


def pin(name: str, cores: Mapping[str, int]) -> None:
    """Bind the calling thread to its stage's processor, if it has one; say so if that cannot be."""
    if name in cores and (trouble := affinity.pin(cores[name])):
        logger.warning("affinity_not_set", stage=name, reason=trouble)
