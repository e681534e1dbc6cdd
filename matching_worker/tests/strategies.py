"""Hypothesis strategies: streams of commands that meet, collide and go wrong often."""

import numpy as np
from hypothesis import strategies as st

from matching_worker import protocol
from matching_worker.protocol import ENGINE_VERSION, PRICE_TICKS_MAX, QTY_LOTS_MAX, CommandKind, Rows

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
    return without_newer_barriers(commands_of(rows))


def without_newer_barriers(commands: Rows) -> Rows:
    """Keep barriers passable: a newer one stops the process, as it must."""
    barriers = commands["kind"] == CommandKind.BARRIER
    commands["qty_lots"][barriers] = np.minimum(commands["qty_lots"][barriers], ENGINE_VERSION)
    return commands


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
