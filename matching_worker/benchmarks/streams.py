"""Long streams of random commands, made fast: for comparing the books, and for tests that need much to happen."""
# ruff: noqa: PLR2004 - what the numbers say stands in `protocol.py`; the others are shares

from typing import Final

import numpy as np
import numpy.typing as npt

from matching_worker import protocol
from matching_worker.protocol import PRICE_TICKS_MAX, CommandKind, Rows

Prices = npt.NDArray[np.int64]

STEP_NS: Final = 10
"""Time between two commands of a stream of all types."""

PART: Final = 25_000
SHAPES: Final = ((3, 8, 1), (1, 3, 0), (2, 40, 2), (20, 15, 5))
"""Instruments, spread and contracts of the parts of a changing stream, in turn."""


def tenfold(count: int, middle: int = 10_000) -> Prices:
    """Return prices that rise tenfold, fall to a tenth of where they began, and come back."""
    return (middle * 10 ** np.sin(np.arange(count) / count * 6.3)).astype(np.int64)


def random_stream(seed: int, count: int, *, instruments: int, open_ids: int, spread: int) -> Rows:
    """Return a long stream, made fast: mostly sensible, around a price that moves tenfold both ways.

    Args:
        seed: Same seed, same stream.
        count: Number of commands.
        instruments: Number of instruments, from 0.
        open_ids: Order ids are drawn from as many numbers, so that they collide with live ones.
        spread: Distance of limit prices from the middle, in ticks.
    """
    random = np.random.default_rng(seed)
    price = np.maximum(1, tenfold(count) + random.integers(-spread, spread + 1, count))
    far = random.random(count) < 0.02
    price[far] = random.integers(1, PRICE_TICKS_MAX, np.count_nonzero(far))
    scattered = random.integers(1, open_ids + 1, count) * 0x1E3779B97F4A7C15  # wraps: any 64-bit id
    return protocol.encode(
        kind=random.choice([1, 2, 3, 4, 7], count, p=[0.62, 0.2, 0.08, 0.099, 0.001]),
        instrument_id=random.integers(0, instruments, count),
        order_id=scattered,
        trader_id=random.integers(1, 50, count),
        side=random.integers(1, 3, count),
        order_type=random.choice([1, 2], count, p=[0.95, 0.05]),
        time_in_force=random.choice([1, 2], count, p=[0.9, 0.1]),
        price_ticks=price,
        qty_lots=random.integers(0, 100, count),
        timestamp_ns=random.integers(0, 10_000, count) + np.arange(count),
        sequence=np.arange(1, count + 1),
    )


def special_stream(
    seed: int,
    count: int,
    *,
    instruments: int = 3,
    spread: int = 8,
    contracts: int = 1,
    middle: Prices | None = None,
) -> Rows:
    """Return a stream of every kind of command and every type of order, around a price that wanders.

    Args:
        seed: Same seed, same stream.
        count: Number of commands.
        instruments: Number of instruments, from 1.
        spread: Distance of limit prices from the middle, in ticks.
        contracts: The first so many instruments become contracts.
        middle: (count,) the prices that it happens around, if they shall not wander.
    """
    random = np.random.default_rng(seed)

    def some(share: float, values: np.ndarray) -> np.ndarray:
        return np.where(random.random(count) < share, values, 0)

    def near(width: int) -> np.ndarray:
        return np.maximum(1, around + random.integers(-width, width + 1, count))

    wandering = 500 + np.cumsum(random.integers(-1, 2, count)) // 4
    around = wandering if middle is None else middle
    kind = random.choice(
        [*range(1, 13), 200],
        count,
        p=[0.66, 0.12, 0.05, 0.07, 0.002, 0.012, 0.012, 0.02, 0.012, 0.015, 0.001, 0.024, 0.002],
    )
    kind[np.flatnonzero(kind == CommandKind.LAST_PRICE)[::4]] = CommandKind.TRADE_NUMBER
    instrument = random.integers(1, instruments + 1, count)
    order_type = random.choice([1, 2, 3, 4, 5, 6, 7, 8], count, p=[0.64, 0.1, 0.06, 0.06, 0.05, 0.04, 0.048, 0.002])
    time_in_force = random.choice([1, 2, 3, 4, 5, 6], count, p=[0.66, 0.12, 0.08, 0.08, 0.058, 0.002])
    waits = (order_type >= 3) & (order_type <= 6)
    trails, ends = order_type == 7, (time_in_force == 4) | (time_in_force == 5)
    qty = random.integers(0, 60, count)
    state = random.choice([2, 6, 1, 3, 4, 5, 0, 7], count, p=[0.62, 0.2, 0.08, 0.02, 0.02, 0.02, 0.02, 0.02])
    is_state = (kind == 6) | (kind == 12)
    adjusted, numbered = random.integers(-80, 81, count), np.arange(count) // 4
    qty = np.select([is_state, kind == 10, kind == 11, kind == 13], [state, adjusted, 2, numbered], qty)
    rests = np.isin(order_type, [1, 4, 6]) & np.isin(time_in_force, [1, 4, 5])
    flags = random.choice([0, 1, 2, 4], count, p=[0.6, 0.15, 0.15, 0.1])
    fits = [
        rests & (order_type == 1),
        instrument <= contracts,
        ~np.isin(order_type, [1, 4, 6]) & (instrument <= contracts),
    ]
    flags = np.where(
        np.select([flags == 1, flags == 2, flags == 4], fits, True) | (random.random(count) < 0.01), flags, 0
    )
    flags = np.where(is_state, 8 * ((instrument <= contracts) & (random.random(count) < 0.9)), flags)
    # New orders take new ids, changes name recent ones; some do neither.
    ids = np.arange(count) - np.where(kind == 1, 0, random.geometric(0.08, count))
    ids = np.where(random.random(count) < 0.03, random.integers(1, count + 1, count), ids)
    time_ns = np.arange(count) * STEP_NS
    is_quote = (order_type == 2) & (random.random(count) < 0.4)
    commands = protocol.encode(
        kind=kind,
        instrument_id=np.where((kind == 5) & (random.random(count) < 0.3), 0, instrument),
        order_id=ids * 0x1E3779B97F4A7C15,
        trader_id=np.where((kind != 1) & (random.random(count) < 0.7), 0, random.integers(1, 6, count)),
        side=random.integers(1, 3, count),
        order_type=order_type,
        time_in_force=time_in_force,
        price_ticks=np.where(is_state, some(0.3, near(spread)), near(spread)),
        qty_lots=np.where(is_quote & (random.random(count) < 0.7), 0, qty),
        timestamp_ns=time_ns,
        sequence=np.arange(1, count + 1),
        flags=flags,
        trigger_source=random.choice([0, 1, 2], count, p=[0.7, 0.295, 0.005]),
        stp=random.choice([0, 1, 2, 3, 4, 5], count, p=[0.5, 0.12, 0.12, 0.1, 0.158, 0.002]),
        trigger_ticks=np.where(
            waits | ((kind == 4) & (random.random(count) < 0.3)), near(spread), some(0.002, near(9))
        ),
        worst_ticks=some(0.15, near(spread)),
        display_lots=np.where(rests, some(0.2, random.integers(1, 20, count)), some(0.002, near(9))),
        quote_lots=np.where(is_quote, random.integers(1, 4_000, count), some(0.002, near(9))),
        expires_ns=np.where(ends, time_ns + random.integers(0, 5_000, count), some(0.002, near(9))),
        callback_ppm=np.where(trails, random.integers(0, 20_000, count), 0),
        activation_ticks=np.where(trails, some(0.5, near(spread)), 0),
    )
    plain = (random.random(count) < 0.3) & (kind <= 4)
    commands["has_terms"][plain] = 0
    commands["version"][random.random(count) < 0.01] = 1
    for number in range(min(contracts, count)):
        commands[number] = protocol.encode(
            kind=CommandKind.SET_STATE, instrument_id=number + 1, order_id=0, qty_lots=2, flags=8, sequence=number + 1
        )[0]
    return commands


def changing_stream(seed: int, count: int) -> Rows:
    """Return a stream of every kind of command and every type of order, in markets that differ from part to part.

    Args:
        seed: Same seed, same stream.
        count: Number of commands.
    """
    parts = []
    for number, start in enumerate(range(0, count, PART)):
        instruments, spread, contracts = SHAPES[number % len(SHAPES)]
        part = special_stream(
            seed * count + number,
            min(PART, count - start),
            instruments=instruments,
            spread=spread,
            contracts=contracts,
        )
        part["sequence"] += start
        part["order_id"] += np.array([start]) * 0x1E3779B97F4A7C15  # an array wraps
        part["timestamp_ns"] += start * STEP_NS
        part["expires_ns"] += np.where(part["expires_ns"] > 0, start * STEP_NS, 0)
        parts.append(part)
    return np.concatenate(parts)
