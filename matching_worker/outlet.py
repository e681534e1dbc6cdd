"""What the match stage made, on its way to the stages that follow it.

Note [Calls]
    Of each call of the engine the loop writes one row of `calls`, then the number of rows so far, and then moves its
    sequence on the ring. A stage that follows finds the rows of what it may have by that number. There are as many
    rows as the ring has: a call has a command at least, and the ring keeps the match stage from being further ahead
    of the last stage than that, so no row is written over that somebody still needs.

    Events of a call stand together in a block. Each following stage has a list of the blocks, and drops one when it
    has all of its events.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from matching_worker.protocol import Rows
from matching_worker.ring import Ring, read_word

CALL_DTYPE: Final = np.dtype(
    [(name, "<i8") for name in ("last", "block", "start", "end", "started_ns", "ended_ns")], align=True
)
"""One call of the engine: its last command; the block of its events, and their rows there; the monotonic clock."""


class Matched(NamedTuple):
    """What came of commands that follow each other.

    Attributes:
        commands: (n,) COMMAND_DTYPE, rows of the ring.
        events: (m,) EVENT_DTYPE, all of theirs.
        calls: (k,) CALL_DTYPE, the calls of the engine.
    """

    commands: Rows
    events: Rows
    calls: Rows


class Outlet:
    """What was matched, for one of the stages that follow; that stage's thread reads it, and nobody else."""

    def __init__(self, ring: Ring, calls: Rows, written_at: int, start: int) -> None:
        """Begin after the command `start`; `MatchLoop.outlet` makes one."""
        self._ring = ring
        self._calls = calls
        self._written_at = written_at
        self._taken = 0
        self._first = start + 1
        self.blocks: deque[tuple[int, Rows]] = deque()

    def take(self, last: int, commands_max: int) -> list[Matched]:
        """Take out what lies wholly at or before a command, up to so many commands; of more only a single call."""
        stop = self._first + commands_max - 1
        taken: list[Matched] = []
        while (matched := self._take_together(last, stop if taken else max(stop, self._next_last()))) is not None:
            taken.append(matched)
        return taken

    def _waiting(self) -> Rows:
        """Return the calls that were not taken yet, up to the end of the array."""
        slot = self._taken & (len(self._calls) - 1)
        waiting: Rows = self._calls[slot : slot + read_word(self._written_at) - self._taken]
        return waiting

    def _next_last(self) -> int:
        """Return the last command of the next call; 0 when there is none."""
        waiting = self._waiting()
        return int(waiting["last"][0]) if len(waiting) else 0

    def _take_together(self, last: int, stop: int) -> Matched | None:
        """Take calls up to both commands whose commands, and whose events, stand in one piece; None without any."""
        calls = self._waiting()
        calls = calls[: np.searchsorted(calls["last"], min(last, stop), "right")]
        if not len(calls):
            return None
        calls = calls[: np.searchsorted(calls["block"], calls["block"][0], "right")]
        round_ends = self._first | (self._ring.capacity - 1)
        calls = calls[: np.searchsorted(calls["last"], round_ends, "right")].copy()
        while self.blocks[0][0] < calls["block"][0]:
            self.blocks.popleft()
        commands = self._ring.rows(self._first, int(calls["last"][-1]))
        events = self.blocks[0][1][calls["start"][0] : calls["end"][-1]]
        self._taken += len(calls)
        self._first += len(commands)
        return Matched(commands, events, calls)


class Release:
    """Hands on what is matched and durable: as much at once as has piled up, in pieces, up to so many commands."""

    def __init__(self, outlet: Outlet, hand_on: Callable[[list[Matched]], None], *, commands_max: int) -> None:
        self._outlet = outlet
        self._hand_on = hand_on
        self._commands_max = commands_max

    def __call__(self, first: int, last: int, /) -> int:
        """Hand on what lies wholly at or before `last`."""
        matched = self._outlet.take(last, self._commands_max)
        if not matched:
            return first - 1
        self._hand_on(matched)
        return first - 1 + sum(len(piece.commands) for piece in matched)
