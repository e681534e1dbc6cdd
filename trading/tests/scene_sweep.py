"""The sweeper in scenes: the real judgement and the real desk, over the rows of a world."""

import dataclasses
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from trading.order_parts import PartKind
from trading.services.sweep_books import SweepBook
from trading.services.sweep_desk import SweepDesk
from trading.sweeping import Cause, Noted, SweepState

if TYPE_CHECKING:
    from trading.tests.scenes import World

LATER = timedelta(hours=1)
"""How far the sweeper's clock is ahead."""


def sweep(world: "World") -> Counter[str]:
    """Let the sweeper look at every order, by a clock by which all that is under way is long overdue."""
    desk = SweepDesk(_book(world), world.now + LATER)
    for _, order in sorted(world.orders.items()):
        desk.decide(order)
    world.post(desk.decisions.entries)
    for state in desk.decisions.contract_orders:
        world.keep_parts(state)
    for position in world.positions.values():
        world.keep_position(position)
    for row in desk.rows:
        noted = Noted(Cause(row.cause), row.since, SweepState(row.state), row.log_head, why=row.why)
        world.swept[row.order_id] = noted, row.before + 1
    for shard, rows in desk.asked.items():
        for order_id, place in desk.places[shard].items():
            noted, version = world.swept[order_id]
            sequence = world.log.length + 1 + place
            world.swept[order_id] = dataclasses.replace(noted, command_sequence=sequence), version
        world.append(rows)
    steps = Counter(str(item.step) for item in desk.done)
    world.steps += steps
    return steps


def _book(world: "World") -> SweepBook:
    """Return what the sweeper reads under the gates."""
    held: dict[tuple[int, str], Decimal] = defaultdict(Decimal)
    reserved: dict[tuple[int, int], Decimal] = defaultdict(Decimal)
    going: dict[int, datetime] = {}
    for order in world.orders.values():
        held[order.user_id, order.hold_asset] += order.hold_remaining
        for part in world.parts.get(order.id, {}).values():
            if part.kind == PartKind.REDUCE:
                reserved[order.user_id, world.spec.id] += world.spec.lots_to_qty(part.left)
            if part.going:
                going[order.id] = order.created_at + timedelta(microseconds=part.version)
    return SweepBook(
        orders=world.book(),
        noted=dict(world.swept),
        shards={world.spec.shard: (world.log.length, world.settled)},
        logged=world.log.placed,
        going=going,
        held=held,
        reserved=reserved,
    )
