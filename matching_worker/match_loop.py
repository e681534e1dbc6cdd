"""The match stage: one compiled loop that follows the ring, matches, and says what came of it, without Python.

Note [No Python between two calls]
    A stage that goes back to Python after each call of the engine needs the GIL there, and the journal needs it four
    times a commit. Whoever finds it taken sleeps, and is woken by the system tens of microseconds later: with Python
    between the calls one command in a hundred waited for that, and half of all latency was Python's. So the loop stays
    outside the GIL while commands come. It returns for what only Python can do: more room for events or in the books,
    waking a stage that sleeps, letting another thread have the engine, and sleeping.

"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import intrinsic
from numba.np import arrayobj

from exchange.kernel.errors import require
from matching_worker.book.apply import apply
from matching_worker.book.compiled import address_of, entry
from matching_worker.book.handle import books_at
from matching_worker.book.layout import COUNT_SHIFT, POSITION_SHIFT
from matching_worker.engine import EVENTS_PER_COMMAND, EVENTS_SPARE, Engine
from matching_worker.engine_held import EngineHeld
from matching_worker.monotonic import clock_ns, now_ns
from matching_worker.outlet import CALL_DTYPE, Outlet
from matching_worker.protocol import Rows
from matching_worker.ring import (
    BROKEN,
    OVER,
    SEQUENCE,
    SPINS,
    Ring,
    limit,
    load,
    move,
    pause,
    store,
    word,
    write_word,
)
from matching_worker.stages import MATCH, SELDOM_SECONDS

COMMANDS_MAX: Final = 2_000
"""Commands in one call of the engine, at most."""

NS_PER_SECOND: Final = 1_000_000_000

# What `_follow` asks for; a negative number is minus the stages to wake.
NOTHING: Final = 0
ROOM: Final = 1
FINISHING: Final = 2
ENGINE: Final = 3

# The loop's own words.
WRITTEN: Final = 0
USED: Final = 1
BLOCK: Final = 2
COUNT: Final = 3
RESULT: Final = 4
STARTED: Final = 5
CALL_MAX: Final = 6
LOOKS: Final = 7
TURN_WORDS: Final = 8

_OUTCOME_MASK: Final = (1 << POSITION_SHIFT) - 1
_make_array: Any = arrayobj.make_array
_populate_array: Any = arrayobj.populate_array


def _apply_there(
    _typing_context: Any, _function: Any, commands: Any, _first: Any, _count: Any, _used: Any, _addresses: Any
) -> Any:
    """Call `apply`, by its address, for some rows of an array.

    Called by name it would be compiled into the caller once more, which takes half a minute.
    """
    argument_types = (commands, types.int64, types.int64, types.int64)

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        address, ring, first, count, used, addresses = arguments
        given = _make_array(commands)(context, builder, ring)
        rows = _make_array(commands)(context, builder)
        row_bytes = context.get_constant(types.intp, commands.dtype.size)
        _populate_array(
            rows,
            data=builder.gep(given.data, [first]),
            shape=[count],
            strides=[row_bytes],
            itemsize=row_bytes,
            meminfo=None,
        )
        convention = context.call_conv
        function_type = convention.get_function_type(types.int64, argument_types)
        _, result = convention.call_function(
            builder,
            builder.inttoptr(address, function_type.as_pointer()),
            types.int64,
            argument_types,
            [rows._getvalue(), context.get_constant(types.int64, 0), used, addresses],  # noqa: SLF001
        )
        return result

    signature = types.int64(types.int64, commands, types.int64, types.int64, types.int64, types.int64)
    return signature, generate


apply_there: Any = intrinsic(_apply_there)


@entry
def _follow(
    memory: int,
    stage: int,
    commands: Rows,
    function: int,
    addresses: int,
    calls: Rows,
    turn: npt.NDArray[np.int64],
    written_at: int,
    asked_at: int,
) -> int:
    """Match what comes until Python is wanted: Note [No Python between two calls].

    Args:
        memory: The ring's.
        stage: The match stage's number.
        commands: The ring's.
        function: Where `apply` stands.
        addresses: The books'.
        calls: (n,) CALL_DTYPE; n is a power of two, at least the number of the ring's commands.
        turn: (TURN_WORDS,) the loop's own words, kept from one time to the next.
        written_at: Address of the first of them, which other threads read.
        asked_at: Address of the word of who wants the engine.

    Returns:
        What is wanted.
    """
    capacity, calls_kept = len(commands), len(calls)
    done = load(word(memory, stage, SEQUENCE))
    commands_max, looks = turn[CALL_MAX], turn[LOOKS]
    left = looks
    while True:
        if load(asked_at) != 0:
            return ENGINE
        over = load(word(memory, 0, OVER))
        last = limit(memory, stage)
        if over == BROKEN:
            return NOTHING
        if last <= done:
            if left <= 0 or over != 0:
                return NOTHING
            pause(left)
            left -= 1
            continue
        left = looks
        first = (done + 1) & (capacity - 1)
        count = min(last - done, commands_max, capacity - first)
        used = turn[USED]
        if len(books_at(addresses).events) - used < EVENTS_PER_COMMAND * count + EVENTS_SPARE:
            return ROOM
        started = clock_ns()
        result = apply_there(function, commands, first, count, used, addresses)
        if result & _OUTCOME_MASK:
            turn[COUNT], turn[RESULT], turn[STARTED] = count, result, started
            return FINISHING
        written, done, end = turn[WRITTEN], done + count, result >> COUNT_SHIFT
        call = calls[np.uint64(written & (calls_kept - 1))]
        call["last"], call["block"], call["start"], call["end"] = done, turn[BLOCK], used, end
        call["started_ns"], call["ended_ns"] = started, clock_ns()
        turn[USED] = end
        store(written_at, written + 1)
        to_wake = move(memory, stage, done)
        if to_wake > 0:
            return -to_wake


class MatchLoop:
    """The work of the match stage. From the first call on nobody else may apply commands, but who holds `held`."""

    def __init__(
        self,
        ring: Ring,
        engine: Engine,
        held: EngineHeld,
        *,
        commands_max: int = COMMANDS_MAX,
        looks: int = SPINS,
        calls_kept: int = 0,
    ) -> None:
        """Prepare for the ring's next command.

        Args:
            engine: Where the ring stands.
            held: Held while commands come.
            commands_max: Commands in one call of the engine, at most.
            looks: How often to look for a command before the stage may sleep.
            calls_kept: Calls that `calls` can tell, a power of two, where these are to be more than the ring's rows.
        """
        self._ring = ring
        self._stage = ring.number(MATCH)
        self._engine = engine
        self.held = held
        self._commands_max = min(commands_max, ring.capacity)
        self._calls: Rows = np.zeros(max(calls_kept, ring.capacity), CALL_DTYPE)
        self._turn = np.zeros(TURN_WORDS, np.int64)
        self._written_at = int(self._turn[WRITTEN:].ctypes.data)
        self._outlets: list[Outlet] = []
        self._block: Rows = engine.events_room(0)
        self._function = address_of(apply)
        self._turn[CALL_MAX] = self._commands_max
        self._follow()  # compiles it; there is nothing to match yet
        self._looks = looks
        self._ended_ns = now_ns()

    def outlet(self) -> Outlet:
        """Make an outlet for a stage that follows, before the stages start."""
        outlet = Outlet(self._ring, self._calls, self._written_at, self._ring.sequence(self._stage))
        outlet.blocks.append((int(self._turn[BLOCK]), self._block))
        self._outlets.append(outlet)
        return outlet

    def __call__(self, first: int, last: int, /) -> int:
        """Match what is there and what comes, until it is time to sleep.

        How long that is: Note [Looking is for the busy] in `stages.py`.
        """
        is_busy = now_ns() - self._ended_ns < SELDOM_SECONDS * NS_PER_SECOND
        self._turn[LOOKS] = self._looks if is_busy else 0
        while True:
            with self.held:
                wanted = self._match()
            if wanted != ENGINE:
                self._ended_ns = now_ns()
                return self._ring.sequence(self._stage)

    def calls(self) -> Rows:
        """Return the calls so far, when there were not more than are kept."""
        written = int(self._turn[WRITTEN])
        require(written <= len(self._calls), f"{written} calls, of which {len(self._calls)} are kept")
        return self._calls[:written]

    def _match(self) -> int:
        """Match, do what the loop asks for, and so on until it asks for nothing or for the engine."""
        while True:
            wanted = self._follow()
            if wanted < 0:
                self._ring.wake(-wanted)
            elif wanted == ROOM:
                self._take_block(self._engine.events_room(self._commands_max), used=0)
            elif wanted == FINISHING:
                self._finish_call()
            else:
                self._engine.events_used(int(self._turn[USED]))
                return wanted

    def _follow(self) -> int:
        """Go into the loop."""
        return _follow(
            self._ring.memory,
            self._stage,
            self._ring.commands,
            self._function,
            self._engine.addresses,
            self._calls,
            self._turn,
            self._written_at,
            self.held.asked_address,
        )

    def _take_block(self, block: Rows, *, used: int) -> None:
        """Let the outlets know of a new block of events, before any call names it."""
        self._block = block
        self._turn[BLOCK] += 1
        self._turn[USED] = used
        for outlet in self._outlets:
            outlet.blocks.append((int(self._turn[BLOCK]), block))

    def _finish_call(self) -> None:
        """Finish a call for which the books, or the room for events, were too small."""
        turn, ring = self._turn, self._ring
        first = ring.sequence(self._stage) + 1
        commands = ring.rows(first, first + int(turn[COUNT]) - 1)
        block, start, end = self._engine.go_on(commands, int(turn[USED]), int(turn[RESULT]))
        if block.base is not self._block.base:
            self._take_block(block, used=start)
        last = first + len(commands) - 1
        written = int(turn[WRITTEN])
        self._calls[written & (len(self._calls) - 1)] = (last, turn[BLOCK], start, end, turn[STARTED], now_ns())
        turn[USED] = end
        write_word(self._written_at, written + 1)
        ring.advance(self._stage, last)
