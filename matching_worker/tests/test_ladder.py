"""Any price works, however far the market moves, and nothing is left behind."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matching_worker import protocol
from matching_worker.engine import Engine
from matching_worker.protocol import PRICE_TICKS_MAX, Rows
from matching_worker.tests.factories import BTC, numbered


def limits(side: int, prices: np.ndarray, *, first_id: int = 1) -> Rows:
    return protocol.encode(
        kind=1,
        instrument_id=BTC,
        order_id=np.arange(first_id, first_id + len(prices)),
        side=side,
        order_type=1,
        time_in_force=1,
        price_ticks=prices,
        qty_lots=3,
    )


def cancels(order_ids: np.ndarray) -> Rows:
    return protocol.encode(kind=2, instrument_id=BTC, order_id=order_ids)


def counts(engine: Engine) -> tuple[int, int, int]:
    state = engine._arrays.state[0]
    return int(state["order_count"]), int(state["level_count"]), int(state["node_count"])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, PRICE_TICKS_MAX), min_size=1, max_size=60), st.integers(1, 2), st.randoms())
def test_levels_come_in_order_of_preference_whatever_the_prices(prices: list[int], side: int, random: object) -> None:
    engine = Engine(0, 0)
    engine.apply(numbered([limits(side, np.array(prices))]))

    engine.check()
    levels = engine.levels(BTC)[side - 1]
    assert levels[:, 0].tolist() == sorted(set(prices), reverse=side == 1)

    order_ids = np.array(random.sample(range(1, len(prices) + 1), len(prices)))  # type: ignore[attr-defined]
    half = len(prices) // 2
    engine.apply(numbered([cancels(order_ids[:half])], first=engine.sequence + 1))
    engine.check()
    left = {price for order_id, price in enumerate(prices, start=1) if order_id in order_ids[half:]}
    assert engine.levels(BTC)[side - 1][:, 0].tolist() == sorted(left, reverse=side == 1)

    engine.apply(numbered([cancels(order_ids[half:])], first=engine.sequence + 1))
    engine.check()
    assert counts(engine) == (0, 0, 0)


@pytest.mark.parametrize("side", [1, 2])
@pytest.mark.parametrize(("start", "end"), [(10_000, 100_000), (100_000, 10_000), (1, PRICE_TICKS_MAX)])
def test_a_market_that_moves_far_leaves_no_nodes_behind(side: int, start: int, end: int) -> None:
    engine = Engine(0, 0)
    middle = np.linspace(start, end, 5_000).astype(np.int64)

    for step, price in enumerate(middle, start=1):
        commands = [limits(side, np.array([price]), first_id=step)]
        if step > 20:
            commands.append(cancels(np.array([step - 20])))
        engine.apply(numbered(commands, first=engine.sequence + 1))

    engine.check()
    orders, levels, nodes = counts(engine)
    assert orders == 20
    assert levels <= 20
    assert nodes <= 20 * 7
    assert len(engine._arrays.nodes) == 256


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=200))
def test_ids_that_collide_are_found_and_removed(steps: list[tuple[bool, int]]) -> None:
    """Ids are chosen so that they meet in a few places of the table."""
    pool = _colliding_ids(41)
    engine = Engine(0, 0)
    live: set[int] = set()
    for place, number in steps:
        order_id = pool[number]
        commands = limits(1, np.array([100]), first_id=0) if place else cancels(np.array([0]))
        commands["order_id"] = order_id
        engine.apply(numbered([commands], first=engine.sequence + 1))
        live = live | {order_id} if place else live - {order_id}
        engine.check()

    assert {order_id for order_id in pool if engine.order(order_id)} == live


def _colliding_ids(count: int) -> list[int]:
    """Return ids whose home is among the last or first three places of a new engine's table."""
    size = 1 << 13
    ids = np.arange(1, 300_000, dtype=np.uint64)
    mixed = (ids ^ (ids >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    mixed = (mixed ^ (mixed >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    home = (mixed >> np.uint64(32)) & np.uint64(size - 1)
    near = ids[(home < 3) | (home >= size - 3)]
    return [int(order_id) for order_id in near[:count]]
