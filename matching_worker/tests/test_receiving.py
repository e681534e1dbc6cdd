"""The log is read when a writer says so, and seldom by itself: Note [Seldom by itself]."""

import time
from collections import deque
from typing import Any

import numpy as np
import pytest

from matching_worker.protocol import COMMAND_DTYPE, Rows
from matching_worker.receiving import SELDOM_SECONDS, WATCHFUL_SECONDS, Receiver
from matching_worker.shard import READ_MAX
from trading.services import command_log

LONG_SECONDS = 2.0
"""`TRANSACTION_TIMEOUT_MS`."""


class Log:
    """A log of which each look finds so many commands; how long it was waited for, and what writers were told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        self.found: deque[int] = deque()
        self.woken: deque[bool] = deque()
        self.waits: list[float] = []
        self.flags: list[bool] = []
        monkeypatch.setattr(command_log, "listen", lambda _: None)
        monkeypatch.setattr(command_log, "read", self._read)
        monkeypatch.setattr(command_log, "wait", self._wait)
        monkeypatch.setattr(command_log, "set_asleep", lambda _, *, asleep: self.flags.append(asleep))
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def _read(self, *_: int) -> tuple[Rows, list[bytes]]:
        count = self.found.popleft() if self.found else 0
        return np.zeros(count, COMMAND_DTYPE), [bytes(32)] * count

    def _wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        is_woken = self.woken.popleft() if self.woken else False
        self.now += seconds / 2 if is_woken else seconds
        return is_woken


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Log:
    settings.TRANSACTION_TIMEOUT_MS = int(LONG_SECONDS * 1000)
    return Log(monkeypatch)


def _asleep(log: Log) -> Receiver:
    """Return a receiver that has slept for longer than any writer's transaction."""
    receiver = Receiver(0)
    while len(log.waits) < LONG_SECONDS / WATCHFUL_SECONDS + 2:
        receiver.next(0)
    log.waits.clear()
    return receiver


def test_who_sleeps_looks_often_until_every_writer_knows_and_then_seldom(log: Log) -> None:
    receiver = Receiver(0)
    for _ in range(4):
        receiver.next(0)
    assert (log.flags, log.waits) == ([True], [])  # looked at once more after the flag was set

    for _ in range(200):
        receiver.next(0)

    often = [seconds for seconds in log.waits if seconds == WATCHFUL_SECONDS]
    assert LONG_SECONDS <= sum(often) <= LONG_SECONDS + 2 * WATCHFUL_SECONDS
    assert log.waits[len(often) :] == [SELDOM_SECONDS] * (200 - len(often))
    assert log.flags == [True]


def test_who_was_woken_waits_again_without_another_look(log: Log) -> None:
    receiver = _asleep(log)
    log.woken, log.found = deque([True, True]), deque([5, 7])

    sizes = [len(receiver.next(0)[0]) for _ in range(3)]

    assert sizes == [5, 7, 0]
    assert log.waits == [SELDOM_SECONDS] * 3
    assert log.flags == [True]


def test_what_is_found_unwoken_means_that_the_flag_was_lost(log: Log) -> None:
    receiver = _asleep(log)
    log.found = deque([5])

    for _ in range(3):
        receiver.next(0)

    assert log.flags == [True, True]
    assert log.waits == [SELDOM_SECONDS, WATCHFUL_SECONDS]  # once without waiting, then often again


def test_a_full_read_is_followed_by_another_at_once(log: Log) -> None:
    receiver = _asleep(log)
    log.woken, log.found = deque([True]), deque([READ_MAX, READ_MAX, 1])

    sizes = [len(receiver.next(0)[0]) for _ in range(3)]

    assert sizes == [READ_MAX, READ_MAX, 1]
    assert log.waits == [SELDOM_SECONDS]


def test_who_is_woken_again_at_once_tells_writers_to_wake_no_more(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = _asleep(log)
    log.found = deque([5, 7, 0, 0, 0])
    monkeypatch.setattr(command_log, "wait", lambda _: True)

    for _ in range(2):
        receiver.next(0)
    assert log.flags == [True, False]

    for _ in range(3):
        receiver.next(0)
    assert log.flags == [True, False, True]
