"""The command ring: the only place where threads of a worker hand commands to each other.

A ring is an array of commands, made once and written over and over, and one sequence for each stage: the
last command that the stage is done with. Nothing is queued, copied or allocated between stages.

Note [Gating]
    A stage may work on a command when all the stages it follows are done with it. The first stage writes the
    commands, and follows the last ones by the length of the ring: it never overwrites a row that anybody still
    needs. The rows a stage is given are therefore its own to read until it says that it is done with them.

Note [Waiting]
    A stage that finds nothing looks again for a moment, outside the GIL, then says what it wants (`WANTED`) and
    sleeps on its condition, which costs no processor time. Who moves a sequence looks at the wishes of the stages
    that follow it and wakes those that can go on. Sequence and wish are written and read in one total order
    (seq_cst): either the sleeper sees the new sequence, or the mover sees the wish. The sleeper holds its
    condition's lock from wish to sleep, so that the call cannot come between.

    Who looks gives way every few microseconds to a thread that waits for its processor. Without that, on a machine with
    fewer processors than looking threads, the journal that comes back from its fsync would wait for the end of
    somebody's time slice, some milliseconds.
"""

import os
import platform
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from exchange.kernel.errors import require
from matching_worker.book.compiled import entry, inlined
from matching_worker.protocol import COMMAND_DTYPE, Rows

CAPACITY: Final = 1 << 16
"""Rows of a worker's ring: how far receiving may be ahead of settlement."""

SPINS: Final = 2_000
"""Looks before a stage sleeps; less than 0.1 ms."""

LOOKS_BEFORE_YIELD: Final = 64
"""A power of two."""

STAGES_MAX: Final = 16
CHAIN_HASH_BYTES: Final = 32

_declare: Any = cgutils.get_or_insert_function

# A stage's words in the ring's memory. Sequence and wish stand in cache lines of their own.
WORDS: Final = 32
SEQUENCE: Final = 0
WANTED: Final = 16
FOLLOWED: Final = 17
FOLLOWERS: Final = 18
AHEAD: Final = 19
OVER: Final = 20
"""Of the first stage only: CLOSED or BROKEN, so that nobody looks on; otherwise 0."""
CLOSED: Final = 1
BROKEN: Final = 2
_WORD_BYTES: Final = 8
_STAGE_BYTES: Final = WORDS * _WORD_BYTES

_HAS_PAUSE: Final = platform.machine().lower() in {"x86_64", "amd64"}
_CAN_YIELD: Final = hasattr(os, "sched_yield")


class RingBrokenError(Exception):
    """A stage has failed, so this one must not go on."""


def _load(_typing_context: Any, _address: Any) -> Any:
    """Return the int64 at an address, in one total order with all other loads and stores of the ring."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.load_atomic(pointer, "seq_cst", _WORD_BYTES)

    return types.int64(types.int64), generate


def _store(_typing_context: Any, _address: Any, _value: Any) -> Any:
    """Write an int64 to an address, after everything that was written before."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        builder.store_atomic(arguments[1], pointer, "seq_cst", _WORD_BYTES)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


def _rest(_typing_context: Any) -> Any:
    """Tell the processor that this is a waiting loop."""

    def generate(context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        if _HAS_PAUSE:
            pause = ir.FunctionType(ir.VoidType(), [])
            builder.call(_declare(builder.module, pause, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), generate


def _give_way(_typing_context: Any) -> Any:
    """Let another thread have the processor, if one waits for it."""

    def generate(context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        if _CAN_YIELD:
            give_way = ir.FunctionType(ir.IntType(32), [])
            builder.call(_declare(builder.module, give_way, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), generate


# Typed as Any: what Python calls with these arguments is not what the loops call.
load: Any = intrinsic(_load)
store: Any = intrinsic(_store)
rest: Any = intrinsic(_rest)
give_way: Any = intrinsic(_give_way)


@inlined
def pause(look: int) -> None:
    """Wait a moment between two looks; every so many looks let others have the processor: Note [Waiting]."""
    if look & (LOOKS_BEFORE_YIELD - 1) == 0:
        give_way()
    else:
        rest()


@inlined
def word(memory: int, stage: int, number: int) -> int:
    """Return the address of one of a stage's words."""
    return memory + stage * _STAGE_BYTES + number * _WORD_BYTES


@inlined
def limit(memory: int, stage: int) -> int:
    """Return the last command that a stage may work on: Note [Gating]."""
    followed = load(word(memory, stage, FOLLOWED))
    last = np.int64((1 << 63) - 1)
    for other in range(STAGES_MAX):
        if followed >> other & 1:
            last = min(last, load(word(memory, other, SEQUENCE)))
    return last + load(word(memory, stage, AHEAD))  # type: ignore[no-any-return]


@inlined
def move(memory: int, stage: int, sequence: int) -> int:
    """Say that a stage is done up to a sequence; return a bit for each stage that has to be woken."""
    store(word(memory, stage, SEQUENCE), sequence)
    followers = load(word(memory, stage, FOLLOWERS))
    to_wake = np.int64(0)
    for other in range(STAGES_MAX):
        if followers >> other & 1:
            wanted = load(word(memory, other, WANTED))
            if wanted > 0 and limit(memory, other) >= wanted:
                to_wake |= np.int64(1) << other
    return to_wake  # type: ignore[return-value]


@entry
def read_word(address: int) -> int:
    """Return one word."""
    return load(address)  # type: ignore[no-any-return]


@entry
def write_word(address: int, value: int) -> int:
    """Write one word."""
    store(address, value)
    return value


@entry
def _move(memory: int, stage: int, sequence: int) -> int:
    """Do `move`, for Python."""
    return move(memory, stage, sequence)


@entry
def _look(memory: int, stage: int, wanted: int, looks: int) -> int:
    """Look until a stage may work on `wanted`, at most so many times; return its limit."""
    found = limit(memory, stage)
    while found < wanted and looks > 0 and load(word(memory, 0, OVER)) == 0:
        pause(looks)
        looks -= 1
        found = limit(memory, stage)
    return found


@entry
def _move_and_look(memory: int, stage: int, sequence: int, looks: int) -> int:
    """Do `move`, then look for the next command; return the limit, or minus the stages to wake first."""
    to_wake = move(memory, stage, sequence)
    if to_wake > 0:
        return -to_wake
    return _look(memory, stage, sequence + 1, looks)


class Ring:
    """Commands on their way through the stages of one worker.

    Attributes:
        commands: (capacity,) COMMAND_DTYPE. Command `sequence` stands in row `sequence & (capacity - 1)`.
        chain_hashes: (capacity, 32) uint8, the command log's chain hash at each of them.
        capacity: A power of two.
        memory: Address of the stages' words, for loops that move a stage without Python.
    """

    def __init__(self, stages: Mapping[str, Sequence[str]], *, capacity: int = CAPACITY, start: int = 0) -> None:
        """Make a ring.

        Args:
            stages: For each stage those that it follows. The first one follows none: it writes the commands.
            capacity: Rows; a power of two.
            start: The sequence that all stages are done with.
        """
        require(capacity > 0 and capacity & (capacity - 1) == 0, f"a ring of {capacity} rows")
        require(0 < len(stages) <= STAGES_MAX, f"a ring of {len(stages)} stages")
        self.capacity = capacity
        self.commands: Rows = np.zeros(capacity, COMMAND_DTYPE)
        self.chain_hashes: Rows = np.zeros((capacity, CHAIN_HASH_BYTES), np.uint8)
        self._bytes = self.commands.view(np.uint8).reshape(capacity, COMMAND_DTYPE.itemsize)
        self._numbers = {name: number for number, name in enumerate(stages)}
        self._words = np.zeros(STAGES_MAX * WORDS + WORDS, np.int64)
        self.memory = -(-self._words.ctypes.data // _STAGE_BYTES) * _STAGE_BYTES
        self._conditions = [threading.Condition() for _ in stages]
        self._is_closed = False
        self._is_broken = False
        self._link(stages, start)
        # Compile, or load, before anybody waits.
        _look(self.memory, 0, start, 0)
        _move(self.memory, 0, start)
        _move_and_look(self.memory, 0, start, 0)

    def _link(self, stages: Mapping[str, Sequence[str]], start: int) -> None:
        """Write down who follows whom."""
        names = list(stages)
        everybody = {name for followed in stages.values() for name in followed}
        links = {name: list(followed) for name, followed in stages.items()}
        require(not links[names[0]], "the first stage of a ring follows another")
        for name, followed in links.items():
            earlier = names[: self._numbers[name]]
            require(name == names[0] or bool(followed), f"stage {name} follows nobody")
            require(set(followed) <= set(earlier), f"stage {name} follows a later one")
        links[names[0]] = [name for name in names if name not in everybody]
        for name, followed in links.items():
            stage = self._numbers[name]
            self._set(stage, SEQUENCE, start)
            self._set(stage, FOLLOWED, sum(1 << self._numbers[other] for other in followed))
            followers = [other for other in names if name in links[other]]
            self._set(stage, FOLLOWERS, sum(1 << self._numbers[other] for other in followers))
        self._set(0, AHEAD, self.capacity)

    def _set(self, stage: int, number: int, value: int) -> None:
        """Write one of a stage's words."""
        write_word(self.memory + stage * _STAGE_BYTES + number * _WORD_BYTES, value)

    def number(self, name: str) -> int:
        """Return a stage's number, by which it is named below."""
        return self._numbers[name]

    def sequence(self, stage: int) -> int:
        """Return the last command that a stage is done with."""
        return read_word(self.memory + stage * _STAGE_BYTES + SEQUENCE * _WORD_BYTES)

    def sequences(self) -> dict[str, int]:
        """Return every stage's sequence by its name."""
        return {name: self.sequence(stage) for name, stage in self._numbers.items()}

    # --- waiting and moving -------------------------------------------------------------------------------------
    def wait(self, stage: int, wanted: int, *, spins: int = SPINS) -> int:
        """Wait until a stage may work on a command: Note [Waiting].

        Returns:
            The last command it may work on; below `wanted` only when the ring is closed and none comes.

        Raises:
            RingBrokenError: Another stage has failed.
        """
        found = _look(self.memory, stage, wanted, spins)
        if found < wanted or self._is_broken:
            found = self._sleep(stage, wanted)
        return found

    def _sleep(self, stage: int, wanted: int) -> int:
        """Say what is wanted and sleep until it is there."""
        condition = self._conditions[stage]
        with condition:
            self._set(stage, WANTED, wanted)
            while (found := _look(self.memory, stage, wanted, 0)) < wanted:
                if self._is_broken or (stage != 0 and self._is_closed and wanted > self.sequence(0)):
                    break
                condition.wait()
            self._set(stage, WANTED, 0)
        if self._is_broken:
            raise RingBrokenError
        return found

    def advance(self, stage: int, sequence: int) -> None:
        """Say that a stage is done with everything up to a sequence, and wake who waited for it."""
        to_wake = _move(self.memory, stage, sequence)
        if to_wake:
            self.wake(to_wake)

    def advance_and_wait(self, stage: int, sequence: int, *, spins: int = SPINS) -> int:
        """Do `advance`, then `wait` for the next command: one way out of the GIL and back instead of two."""
        found = _move_and_look(self.memory, stage, sequence, spins)
        if found < 0:
            self.wake(-found)
            return self.wait(stage, sequence + 1, spins=spins)
        if found <= sequence or self._is_broken:
            return self._sleep(stage, sequence + 1)
        return found

    def wake(self, stages: int) -> None:
        """Wake stages; a bit for each, as `move` returns them."""
        for number, condition in enumerate(self._conditions):
            if stages >> number & 1:
                with condition:
                    condition.notify_all()

    def close(self) -> None:
        """Say that no more commands come: the stages finish those that are there, and `wait` then ends."""
        self._is_closed = True
        if not self._is_broken:
            self._set(0, OVER, CLOSED)
        self.wake(-1)

    def break_off(self) -> None:
        """Say that a stage has failed: nobody is given any more work."""
        self._is_broken = True
        self._set(0, OVER, BROKEN)
        self.wake(-1)

    # --- rows ---------------------------------------------------------------------------------------------------
    def put(self, commands: Rows, chain_hashes: Sequence[bytes]) -> None:
        """Write the next commands, when there is room, and let the stages have them; the first stage's work.

        Args:
            commands: (n,) COMMAND_DTYPE, continuing the ring's last command densely.
            chain_hashes: One of 32 bytes for each.

        Raises:
            RingBrokenError: Another stage has failed.
        """
        require(len(commands) == len(chain_hashes), f"{len(chain_hashes)} chain hashes, {len(commands)} commands")
        last = self.sequence(0)
        require(
            not len(commands) or int(commands["sequence"][0]) == last + 1,
            f"command {commands['sequence'][:1]} was put on a ring that ends with {last}",
        )
        content = np.ascontiguousarray(commands).view(np.uint8).reshape(len(commands), COMMAND_DTYPE.itemsize)
        hashes = np.frombuffer(b"".join(chain_hashes), np.uint8).reshape(len(commands), CHAIN_HASH_BYTES)
        done = 0
        while done < len(commands):
            slot = (last + 1) & (self.capacity - 1)
            count = min(len(commands) - done, self.capacity - slot)
            self.wait(0, last + count)
            self._bytes[slot : slot + count] = content[done : done + count]
            self.chain_hashes[slot : slot + count] = hashes[done : done + count]
            done += count
            last += count
            self.advance(0, last)

    def rows(self, first: int, last: int) -> Rows:
        """Return commands from `first` on, in place: up to `last`, or to the end of the array."""
        slot = first & (self.capacity - 1)
        return self.commands[slot : slot + last + 1 - first]

    def chain_hash(self, sequence: int) -> bytes:
        """Return the chain hash at a command that is in the ring."""
        return bytes(self.chain_hashes[sequence & (self.capacity - 1)])
