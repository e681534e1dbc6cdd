"""One run: load, kill after kill, and what is left in the books."""

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rich.progress import Progress, TaskID

from trading.benchmarks.chaos import instance, kinds
from trading.benchmarks.chaos.instance import Instance
from trading.benchmarks.chaos.kinds import Kind
from trading.benchmarks.chaos.traders import MARKETS, Asked, Load, Trader

if TYPE_CHECKING:
    from trading.benchmarks.chaos.books import Verdict

CALM_SECONDS: Final = (0.5, 2.5)
"""Between the end of one kill's effects and the next kill, at random."""
AUDIT_SHARE: Final = 0.25
"""Of the time, at most, for audits between kills; they take longer as the books grow."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked for: it ends after `seconds`, or after `kills` if they are given."""

    seconds: float
    kills: int | None
    kinds: Sequence[Kind]
    traders: int
    rate: float
    seed: int


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill, and how long until an order sent after it was settled, and until every process ran."""

    kind: Kind
    settled_seconds: float
    whole_seconds: float


@dataclass
class Found:
    """All figures of a run."""

    kills: list[Kill] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    audits: int = 0
    seconds: float = 0.0
    asked: Asked = field(default_factory=Asked)
    verdict: "Verdict" = field(init=False)

    @property
    def is_clean(self) -> bool:
        """Tell whether nothing was lost, nothing came twice, and every audit was clean."""
        return not (self.broken or self.verdict.lost or self.verdict.duplicated)


def measure(options: Options, progress: Progress) -> Found:
    """Run everything on an exchange of its own.

    Raises:
        instance.NotRecoveredError: It did not come back by itself.
        books.NotSettledError: An acknowledged order does not come into the books.
    """
    starting = progress.add_task("starting the exchange", total=1)
    with instance.started() as exchange:
        progress.advance(starting)
        import django

        django.setup()
        return _Chaos(options, exchange, progress).run()


class _Chaos:
    """The kills of a run, in turns."""

    def __init__(self, options: Options, exchange: Instance, progress: Progress) -> None:
        from trading.benchmarks.chaos import books

        self._books = books
        self._options, self._exchange, self._progress = options, exchange, progress
        self._rng = random.Random(options.seed)
        self._found = Found()
        self._audit_seconds = 0.0

    def run(self) -> Found:
        """Kill under load until the end, then look at everything."""
        options, found = self._options, self._found
        *logins, own = self._books.make_traders(options.traders + 1)
        self._probe = Trader(self._exchange.url, own, self._rng, threading.Event())
        load = Load(self._exchange.url, logins, options.rate, self._rng)
        task = self._progress.add_task("kills", total=options.kills)
        self._begun = time.monotonic()
        with load.at_work():
            for kind in kinds.drawn(options.kinds, self._rng):
                if self._is_over():
                    break
                time.sleep(self._rng.uniform(*CALM_SECONDS))
                found.kills.append(self._kill(kind))
                self._audit_between()
                self._tell(task)
        found.asked.add(load.asked())
        found.asked.add(self._probe.asked)
        self._books.wait_settled()
        self._audit()
        found.verdict = self._books.judge(found.asked)
        found.seconds = time.monotonic() - self._begun
        return found

    def _is_over(self) -> bool:
        if self._options.kills is not None and len(self._found.kills) >= self._options.kills:
            return True
        return time.monotonic() - self._begun > self._options.seconds

    def _tell(self, task: TaskID) -> None:
        """Move the bar; without a number of kills, its end is estimated from the time."""
        done = len(self._found.kills)
        elapsed = time.monotonic() - self._begun
        total = self._options.kills or max(done, round(done * self._options.seconds / elapsed))
        self._progress.update(task, completed=done, total=total)

    def _kill(self, kind: Kind) -> Kill:
        """Do it, send an order, and wait until that is settled and every process runs."""
        self._exchange.wait_whole(None)  # what the kill before has ended may have been noticed late
        while True:
            leader = self._books.leader()
            struck_at = time.monotonic()
            if (pid := self._exchange.strike(kind, leader)) is not None:
                break
        while self._probe.place(MARKETS[0], "ioc") is None:
            pass
        self._books.wait_settled()
        settled = time.monotonic() - struck_at
        if kind is Kind.STALL:
            time.sleep(max(0.0, kinds.STALL_SECONDS - settled))
        # One that was stopped ends when it wakes: another has taken its place.
        self._exchange.wait_whole(None if kind is Kind.EMPTIED else pid)
        return Kill(kind, settled, time.monotonic() - struck_at)

    def _audit_between(self) -> None:
        """Check every invariant, if there is time for it."""
        if self._audit_seconds <= AUDIT_SHARE * (time.monotonic() - self._begun):
            self._audit()

    def _audit(self) -> None:
        begun = time.monotonic()
        self._found.broken += self._books.broken()
        self._found.audits += 1
        self._audit_seconds += time.monotonic() - begun
