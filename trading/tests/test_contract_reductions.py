"""What a trader and the system take off the same order adds up, and ends alike whichever comes first in the log."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from exchange.kernel.clock import utc_now
from trading import audit
from trading.models import Order, OrderPart, Position
from trading.services import orders
from trading.services.requests import ReduceOrder, Submission
from trading.tests.contracts import Desk, desk, make_contract

pytestmark = pytest.mark.django_db

RESTING, ROBBED = 10, 6


def reduce(order: Order, lots: int) -> None:
    """Let its owner take lots off an order."""
    [result] = orders.submit([Submission(order.user_id, ReduceOrder(order.id, Decimal(lots)))], now=utc_now())
    assert isinstance(result, Order), result


def rob(at: Desk, alice: Any, maker: Any) -> Order:
    """Queue fills that take away what a resting order has reserved; available does not reach for a hold instead."""
    at.trade(alice, maker, 10, 100)
    resting = at.order(alice, "sell", RESTING, 190)
    at.settle()
    at.order(maker, "buy", ROBBED, 85)
    at.order(alice, "sell", ROBBED, 85)
    return resting


def ending(at: Desk, alice: Any, resting: Order) -> tuple[Any, ...]:
    """Settle everything; return the order, its parts, the reservation and the wallets."""
    at.settle()
    order = Order.objects.get(id=resting.id)
    parts = OrderPart.objects.filter(order_id=resting.id).order_by("kind")
    assert [item for item in audit.invariants() if not item.ok] == []
    return (
        (order.status, order.quantity, order.hold_remaining),
        [(part.kind, part.quantity_left, part.quantity_going, part.funds_left, part.state) for part in parts],
        Position.objects.get(user_id=alice.id).reserved,
        alice.balances("USDT"),
    )


@pytest.mark.parametrize("lots", [1, 3, 4, 5, 8])
@pytest.mark.parametrize("owner_first", [True, False], ids=["owner first", "system first"])
def test_a_reduction_by_the_owner_and_one_by_the_system_add_up_in_either_order(
    customer, tmp_path: Path, lots: int, *, owner_first: bool
) -> None:
    alice, maker = customer("alice", USDT=241), customer("maker", USDT=100_000)
    make_contract()
    left = max(0, RESTING - ROBBED - lots)
    with desk(tmp_path) as at:
        resting = rob(at, alice, maker)
        if not owner_first:
            at.shard.step(now=utc_now())  # settlement has asked for the robbed lots to be taken off
        reduce(resting, lots)
        order, parts, reserved, wallets = ending(at, alice, resting)

    ended = ("cancelled", Decimal(RESTING - lots if owner_first else RESTING - ROBBED), 0)
    assert order == (("new", Decimal(left), 0) if left else ended)
    assert [part[:4] for part in parts] == [("INCREASE", 0, 0, 0), ("REDUCE", left, 0, 0)]
    assert reserved == left
    assert wallets == {"available": Decimal(241 - 90 - 40), "order_hold": Decimal(0)}
