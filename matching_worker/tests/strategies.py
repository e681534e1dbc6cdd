"""Hypothesis strategies: streams of commands that meet, collide and go wrong often."""

import numpy as np
from hypothesis import strategies as st

from matching_worker import protocol
from matching_worker.protocol import PRICE_TICKS_MAX, QTY_LOTS_MAX, CommandKind, Rows

NEAR_PRICES = st.integers(95, 105)
FAR_PRICES = st.one_of(
    st.integers(1, PRICE_TICKS_MAX),
    st.sampled_from([1, 63, 64, 65, 4095, 4096, 4097, 1 << 30, PRICE_TICKS_MAX - 1, PRICE_TICKS_MAX]),
)
BAD_PRICES = st.sampled_from([0, -1, PRICE_TICKS_MAX + 1, 1 << 42, (1 << 63) - 1, -(1 << 63)])
QUANTITIES = st.one_of(
    st.integers(1, 20),
    st.integers(1, 20),
    st.sampled_from([0, -1, QTY_LOTS_MAX, QTY_LOTS_MAX + 1, (1 << 63) - 1]),
)
ORDER_IDS = st.one_of(st.integers(1, 12), st.integers(1, 12), st.integers(-(1 << 63), (1 << 63) - 1))
INSTRUMENTS = st.one_of(st.integers(0, 2), st.sampled_from([0, 65_535, 65_536, -1, 1 << 30]))


@st.composite
def command_streams(draw: st.DrawFn, *, max_size: int = 60) -> Rows:
    """Return commands of every kind, some of them senseless, numbered from 1."""
    rows = draw(
        st.lists(
            st.tuples(
                st.one_of(st.sampled_from([1, 1, 1, *CommandKind]), st.integers(0, 255)),
                INSTRUMENTS,
                ORDER_IDS,
                st.integers(1, 4),
                st.one_of(st.integers(1, 2), st.integers(1, 2), st.integers(0, 255)),
                st.one_of(st.just(1), st.integers(1, 2), st.integers(0, 255)),
                st.one_of(st.just(1), st.integers(1, 2), st.integers(0, 255)),
                st.one_of(NEAR_PRICES, NEAR_PRICES, FAR_PRICES, BAD_PRICES),
                QUANTITIES,
                st.integers(0, 1000),
            ),
            max_size=max_size,
        )
    )
    return commands_of(rows)


def commands_of(rows: list[tuple[int, ...]]) -> Rows:
    """Return commands from (kind, instrument, id, trader, side, type, time in force, price, qty, time)."""
    table = np.array(rows, np.int64).reshape(len(rows), 10)
    return protocol.encode(
        kind=table[:, 0],
        instrument_id=table[:, 1],
        order_id=table[:, 2],
        trader_id=table[:, 3],
        side=table[:, 4],
        order_type=table[:, 5],
        time_in_force=table[:, 6],
        price_ticks=table[:, 7],
        qty_lots=table[:, 8],
        timestamp_ns=table[:, 9],
        sequence=np.arange(1, len(rows) + 1),
    )


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
    middle = (10_000 * 10 ** np.sin(np.arange(count) / count * 6.3)).astype(np.int64)
    price = np.maximum(1, middle + random.integers(-spread, spread + 1, count))
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
