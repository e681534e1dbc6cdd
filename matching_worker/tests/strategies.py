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


def special_stream(seed: int, count: int, *, instruments: int = 3, spread: int = 8, contracts: int = 1) -> Rows:
    """Return a stream of every kind of command and every type of order, around a price that wanders.

    Args:
        seed: Same seed, same stream.
        count: Number of commands.
        instruments: Number of instruments, from 1.
        spread: Distance of limit prices from the middle, in ticks.
        contracts: The first so many instruments become contracts.
    """
    random = np.random.default_rng(seed)

    def some(share: float, values: np.ndarray) -> np.ndarray:
        return np.where(random.random(count) < share, values, 0)

    def near(width: int) -> np.ndarray:
        return np.maximum(1, middle + random.integers(-width, width + 1, count))

    middle = 500 + np.cumsum(random.integers(-1, 2, count)) // 4
    kind = random.choice(
        [*range(1, 13), 200],
        count,
        p=[0.66, 0.12, 0.05, 0.07, 0.002, 0.012, 0.012, 0.02, 0.012, 0.015, 0.001, 0.024, 0.002],
    )
    instrument = random.integers(1, instruments + 1, count)
    order_type = random.choice([1, 2, 3, 4, 5, 6, 7, 8], count, p=[0.64, 0.1, 0.06, 0.06, 0.05, 0.04, 0.048, 0.002])
    time_in_force = random.choice([1, 2, 3, 4, 5, 6], count, p=[0.66, 0.12, 0.08, 0.08, 0.058, 0.002])
    waits = (order_type >= 3) & (order_type <= 6)
    trails, ends = order_type == 7, (time_in_force == 4) | (time_in_force == 5)
    qty = random.integers(0, 60, count)
    state = random.choice([2, 6, 1, 3, 4, 5, 0, 7], count, p=[0.62, 0.2, 0.08, 0.02, 0.02, 0.02, 0.02, 0.02])
    is_state = (kind == 6) | (kind == 12)
    qty = np.select([is_state, kind == 10, kind == 11], [state, random.integers(-80, 81, count), 2], qty)
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
    time_ns = np.arange(count) * 10
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
