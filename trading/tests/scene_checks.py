"""What must hold in a scene after every step, and how every order of its steps is tried."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

from exchange.kernel.money import from_quanta
from ledger.entries import AccountKey
from trading.models import OrderStatus
from trading.order_parts import Part, PartKind, PartState
from trading.position_state import PositionState
from trading.sweeping import UNFINISHED
from trading.tests import scene_sweep
from trading.tests.scene_actions import Action
from trading.tests.scenes import QUOTE, World


def check(world: World) -> None:
    """Look at everything that must hold between two steps."""
    decimals = world.spec.quote_decimals
    positions = [world.positions[one, world.spec.id] for one in world.traders]
    assert sum(one.lots for one in positions) == 0, "positions do not add up to nothing"
    cost = from_quanta(sum(one.cost for one in positions), decimals)
    cleared = world.ledger[AccountKey(None, "2110", QUOTE, world.spec.symbol)]
    assert cleared == cost, f"clearing is {cleared}, signed open cost {cost}"
    matched = world.log.at(world.settled).positions
    for one in positions:
        assert one.lots == matched.get((one.user_id, world.spec.id), 0), f"{one.user_id} has {one.lots}: {matched}"
        _check_position(world, one)
        _check_history(world, one)
        _check_wallets(world, one)
    for order_id in world.orders:
        _check_order(world, order_id)


def _check_position(world: World, position: PositionState) -> None:
    """A position's numbers agree in their signs, and what is reserved of it is what its orders reserve."""
    assert min(position.margin, position.margin_missing, position.reserved) >= 0
    assert (position.cost > 0) == (position.lots > 0)
    assert (position.cost < 0) == (position.lots < 0)
    if not position.lots:
        assert (position.margin, position.margin_missing) == (0, 0), "a closed position keeps something"
    reserved = 0
    for order_id, parts in world.parts.items():
        order, part = world.orders[order_id], parts.get(PartKind.REDUCE)
        if order.user_id == position.user_id and part is not None and part.left:
            assert position.closable(is_buy=order.side == "buy"), f"order {order_id} reserves on its own side"
            reserved += part.left
    assert position.reserved == reserved, f"{position.reserved} reserved, by orders {reserved}"
    assert reserved <= position.size, f"{reserved} reserved of {position.size}"


def _check_history(world: World, position: PositionState) -> None:
    """Adding up a position's steps gives the position."""
    steps = world.history[position.user_id]
    assert [step.version for step in steps] == list(range(1, position.version + 1))
    for name, value in (
        ("lots", position.lots),
        ("cost", position.cost),
        ("margin", position.margin),
        ("result", position.realised),
    ):
        assert sum(getattr(step, name) for step in steps) == value, f"the history's {name} is another"


def _check_wallets(world: World, position: PositionState) -> None:
    """A trader's accounts are what orders and the position say; nothing is negative but debt."""
    one, wallets = position.user_id, world.wallets[position.user_id, QUOTE]
    held = sum((order.hold_remaining for order in world.orders.values() if order.user_id == one), Decimal(0))
    assert wallets["order_hold"] == held, f"{wallets['order_hold']} in hold, by orders {held}"
    for name, code in (("available", "1010"), ("order_hold", "1020")):
        assert wallets[name] >= 0, f"{name} is {wallets[name]}"
        assert wallets[name] == world.ledger[AccountKey(one, code, QUOTE)]
    margin = from_quanta(position.margin, world.spec.quote_decimals)
    assert world.ledger[AccountKey(one, "1040", QUOTE, world.spec.symbol)] == margin
    debt = world.debts.of(one, QUOTE)
    assert debt == -world.ledger[AccountKey(one, "2010", QUOTE)]
    assert debt >= 0
    assert not debt or not wallets["available"], "there is debt, and something to pay it from"


def _check_order(world: World, order_id: int) -> None:
    """An order's parts are its open lots and its hold; one that has ended keeps nothing."""
    order, parts = world.orders[order_id], world.parts.get(order_id, {})
    left = sum(part.left for part in parts.values())
    funds = from_quanta(sum(part.funds for part in parts.values()), world.spec.quote_decimals)
    assert order.hold_remaining == funds + order.amend_hold, f"order {order_id} holds {order.hold_remaining}"
    for part in parts.values():
        _check_part(order_id, part)
    if order.status == OrderStatus.PENDING_REVIEW:
        assert left == order.quantity, f"order {order_id} has {left} in parts"
    elif not order.is_open:
        assert (left, order.hold_remaining, order.amend_hold) == (0, 0, 0), f"order {order_id} ended with something"
        assert all(part.state != PartState.TRIED for part in parts.values()), f"order {order_id} has a live part"
    elif parts:
        assert left == order.quantity - order.filled_quantity, f"order {order_id} has {left} in parts"


def _check_part(order_id: int, part: Part) -> None:
    """A part that has ended keeps nothing, and none has more left than it ever had."""
    assert 0 <= part.left <= part.lots
    assert part.funds >= 0
    if part.state != PartState.TRIED:
        assert (part.left, part.funds) == (0, 0), f"part {part.kind} of {order_id} is {part.state} with something"


class Ending(NamedTuple):
    """One order of commands and settlements, and the world at its end."""

    schedule: tuple[int, ...]
    world: World


Scripts = dict[int, Sequence[Action]]
"""What each trader does, in that trader's order."""

SETTLE = -1
"""In a schedule: one command is settled. Any other number is the trader who acts."""


def endings(world: World, scripts: Scripts, schedule: tuple[int, ...] = ()) -> Iterator[Ending]:
    """Try every order in which the traders act and settlement follows; check after every step.

    Wherever commands wait, settling them one after the other must give the same books as settling them together. The
    sweeper looks after every step, and changes nothing; in scenes that have something for it, it acts in its turns.
    """
    leaves_nothing = all(action.kind != "sweep" for script in scripts.values() for action in script)
    done = {one: schedule.count(one) for one in scripts}
    acting = [one for one in scripts if done[one] < len(scripts[one])]
    if not acting:
        world.finish()
        check(world)
        check_end(world)
        yield Ending(schedule, world)
        return
    for step in [*acting, *([SETTLE] if world.pending else [])]:
        then = world.copy()
        try:
            if step == SETTLE:
                then.settle(1)
            else:
                then.act(step, scripts[step][done[step]])
            check(then)
            if step != SETTLE:
                check_cuts(then)
            if leaves_nothing:
                check_swept(then)
        except Exception as error:
            error.add_note(f"schedule {(*schedule, step)}")
            raise
        yield from endings(then, scripts, (*schedule, step))


def check_cuts(world: World) -> None:
    """Settle what waits in transactions of one command, and in transactions of two, three and so on: same books."""
    one_by_one = world.copy()
    for count in range(1, world.pending + 1):
        one_by_one.settle(1)
        if count > 1:
            together = world.copy()
            together.settle(count)
            assert together.books() == one_by_one.books(), f"{count} commands settle otherwise together"


IDLE = {"NOTE", "WAIT", "CLOSE"}
"""Steps of the sweeper that change nothing but what it remembers."""


def check_swept(world: World) -> None:
    """Let the sweeper look at what is under way: it writes down what it sees, and that is all."""
    before, waiting = world.books(), world.pending
    steps = scene_sweep.sweep(world)
    assert set(steps) <= IDLE, f"the sweeper did {dict(steps)}"
    assert (world.books(), world.pending) == (before, waiting), "the sweeper changed something"


def check_end(world: World) -> None:
    """When everything is cancelled and settled, nothing is held or reserved, and the engine has no order."""
    assert not world.log.open_orders
    assert all(not wallets["order_hold"] for wallets in world.wallets.values())
    assert all(not position.reserved for position in world.positions.values())
    assert all(not order.is_open for order in world.orders.values())
    assert all(order.status != OrderStatus.PENDING_REVIEW for order in world.orders.values())
    assert not scene_sweep.sweep(world)["BREAK"]
    assert all(noted.state not in UNFINISHED for noted, _ in world.swept.values())
