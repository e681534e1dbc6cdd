"""Reads a shard's log as it grows: at once when a writer wakes it, seldom by itself.

Note [Seldom by itself]
    Each look at the log costs as much processor time as reading some hundred commands, and the other stages want that
    processor and the GIL. So who sleeps relies on being woken: Note [Waking the worker] in
    `trading/services/command_log.py`. Only writers whose transaction had begun before the flag was set may not have
    seen it. They have ended when a transaction's time is over, and until then the log is looked at every
    WATCHFUL_SECONDS. After that only every SELDOM_SECONDS, in case the flag was lost; whoever finds something in this
    way, unwoken, sets it again and is watchful again.
"""

import time
from typing import Final

from django.conf import settings

from exchange.observability import metrics
from matching_worker.protocol import Rows
from matching_worker.shard import READ_MAX
from trading.services import command_log

WATCHFUL_SECONDS: Final = 0.02
SELDOM_SECONDS: Final = 0.25
"""How long a sleeper waits for a NOTIFY before it looks by itself: Note [Seldom by itself]."""

SLEEP_AFTER_EMPTY_READS: Final = 3
HURRY_SECONDS: Final = 0.001
"""Woken so soon after finding something, and finding more: writers need not go on waking."""


class Receiver:
    """The log of one shard; the thread that makes it is the only one that may use it."""

    def __init__(self, shard: int) -> None:
        """Subscribe this thread's connection to the shard's wake-up calls."""
        command_log.listen(shard)
        self._shard = shard
        self._is_asleep = False
        self._may_wait = False
        self._has_found = False
        self._empty_reads = 0
        self._watchful_until = 0.0

    def next(self, after: int) -> tuple[Rows, list[bytes]]:
        """Return commands after a sequence, waiting a moment for them, and each one's chain hash; perhaps none."""
        began = time.monotonic()
        is_woken = not self._may_wait or self._wait(began)
        waited = time.monotonic() - began
        started = time.perf_counter()
        commands, chain_hashes = command_log.read(self._shard, after, READ_MAX)
        if len(commands):
            metrics.STAGE_SECONDS.labels("read").observe(time.perf_counter() - started)
            self._note_found(len(commands), waited, is_woken=is_woken)
        else:
            self._note_empty()
        return commands, chain_hashes

    def _wait(self, now: float) -> bool:
        """Wait for a wake-up call; tell whether there was one."""
        return command_log.wait(WATCHFUL_SECONDS if now < self._watchful_until else SELDOM_SECONDS)

    def _note_found(self, count: int, waited: float, *, is_woken: bool) -> None:
        """Decide whether to wait before the next look, after one that found something."""
        self._empty_reads = 0
        if self._is_asleep and not is_woken and time.monotonic() >= self._watchful_until:
            self._sleep()
        elif self._is_asleep and self._has_found and waited < HURRY_SECONDS:
            self._wake_up()
        else:
            self._may_wait = self._is_asleep and count < READ_MAX
        self._has_found = True

    def _note_empty(self) -> None:
        """Decide the same after a look that found nothing."""
        self._has_found = False
        self._may_wait = self._is_asleep
        if not self._is_asleep:
            self._empty_reads += 1
            if self._empty_reads == SLEEP_AFTER_EMPTY_READS:
                metrics.MATCHING_THROUGHPUT.labels(self._shard).set(0)
                self._sleep()

    def _sleep(self) -> None:
        """Ask to be woken; the log is looked at once more before waiting."""
        command_log.set_asleep(self._shard, asleep=True)
        self._is_asleep, self._may_wait = True, False
        self._watchful_until = time.monotonic() + settings.TRANSACTION_TIMEOUT_MS / 1000

    def _wake_up(self) -> None:
        """Ask to be woken no more: the log is looked at again and again."""
        command_log.set_asleep(self._shard, asleep=False)
        self._is_asleep = self._may_wait = False
