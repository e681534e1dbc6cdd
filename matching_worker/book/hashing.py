"""The running state hash: the only definition of how commands and events are folded into it.

Note [State hash]
    Two engines agree when they did the same at every step, so the hash runs over every command and
    every event, in order. A row is first summed: each of its words times an odd constant of its
    own, modulo 2**64, which takes no turn waiting for another. The sum S is then folded into the
    hash H: H = (H xor S) * FOLD_PRIME; H = H xor (H >> 32). A change of one word always changes S,
    and a change of S always changes H. It finds mistakes, not forgers: against those stands the
    chain hash of the command log. Trade ids are left out and trade numbers are in, because the
    epoch in a trade id is the operator's, not the market's.

    A command that has terms is folded a second time, with those words, so that plain commands
    of all versions give one hash.

    Words of a command: sequence, engine time, order id, trader id, price, quantity, and
    instrument | kind << 32 | side << 40 | order type << 48 | time in force << 56.
    Words of its terms: flags | trigger source << 8 | self-trade << 16, trigger, worst, display, quote,
    expires, activation, callback.
    Words of an event: order id, trader id, maker order id, maker trader id, price, quantity, left,
    maker left, level lots, trade number, and index | kind << 32 | side << 40 | reason << 48.
    The constants are the output of SplitMix64 from seed 0, made odd.
    Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, figure 16.
"""

from typing import Final

import numpy as np

MASK: Final = (1 << 64) - 1


def _split_mix(count: int) -> tuple[int, ...]:
    """Return `count` odd 64-bit constants."""
    constants = []
    state = 0
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & MASK
        constants.append((mixed ^ (mixed >> 31)) | 1)
    return tuple(constants)


COMMAND_WORDS: Final = 7
EVENT_WORDS: Final = 11
TERM_WORDS: Final = 8
_CONSTANTS: Final = _split_mix(COMMAND_WORDS + EVENT_WORDS + 1 + TERM_WORDS)
COMMAND_CONSTANTS: Final = _CONSTANTS[:COMMAND_WORDS]
EVENT_CONSTANTS: Final = _CONSTANTS[COMMAND_WORDS : COMMAND_WORDS + EVENT_WORDS]
FOLD_PRIME: Final = _CONSTANTS[COMMAND_WORDS + EVENT_WORDS]
TERM_CONSTANTS: Final = _CONSTANTS[-TERM_WORDS:]


def weighted_sum(words: tuple[int, ...], constants: tuple[int, ...]) -> int:
    """Sum a row's words, each times its constant, modulo 2**64: plain Python, for the reference."""
    return sum((word & MASK) * constant for word, constant in zip(words, constants, strict=True)) & MASK


def fold(state_hash: int, total: int) -> int:
    """Fold a row's sum into the running hash: plain Python, for the reference."""
    state_hash = ((state_hash ^ total) * FOLD_PRIME) & MASK
    return state_hash ^ (state_hash >> 32)


C0, C1, C2, C3, C4, C5, C6 = (np.uint64(constant) for constant in COMMAND_CONSTANTS)
E0, E1, E2, E3, E4, E5, E6, E7, E8, E9, E10 = (np.uint64(constant) for constant in EVENT_CONSTANTS)
T0, T1, T2, T3, T4, T5, T6, T7 = (np.uint64(constant) for constant in TERM_CONSTANTS)
FOLD: Final = np.uint64(FOLD_PRIME)
HALF: Final = np.uint64(32)
