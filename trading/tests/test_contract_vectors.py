"""The worked examples of positions: reversals, lost reservations and what they leave, to the digit."""

from decimal import Decimal
from pathlib import Path

import pytest

from exchange.kernel.clock import utc_now
from ledger.models import JournalEntry
from trading.models import Order, OrderPart, Outbox
from trading.services import contract_books
from trading.tests.contracts import desk, make_contract, position

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]


@pytest.fixture
def traders(customer):
    """Alice, and the maker whom she trades with."""
    return customer("alice", USDT=100_000), customer("maker", USDT=1_000_000)


def kinds(owner) -> list[str]:
    """Return what kinds of entries a trader's fills made, in order."""
    return list(
        JournalEntry.objects.filter(key__startswith="trade:", lines__account__owner_id=owner.id)
        .distinct()
        .order_by("id")
        .values_list("kind", flat=True)
    )


def test_long_10_sell_15_closes_10_with_its_result_and_opens_short_5(traders, tmp_path: Path) -> None:
    alice, maker = traders
    make_contract()
    with desk(tmp_path) as at:
        at.trade(alice, maker, 10, 100)
        before = alice.balances("USDT")["available"]
        at.order(maker, "buy", 15, 110)
        order = at.order(alice, "sell", 15, 110)
        at.settle()

    assert (order.intent, order.reduce_quantity, order.increase_quantity) == ("reverse", 10, 5)
    assert position(alice) == (-5, Decimal(-550), Decimal(55))
    assert alice.balances("USDT")["available"] == before + 100 + 100 - 55
    assert kinds(alice) == ["OPEN_FILL", "FLIP_CLOSE", "FLIP_OPEN"]


def test_a_reservation_that_another_fill_overtakes_opens_with_what_the_fill_left(traders, tmp_path: Path) -> None:
    alice, maker = traders
    make_contract()
    with desk(tmp_path) as at:
        at.trade(maker, alice, 5, 100)
        resting = at.order(alice, "buy", 3, 100)
        at.settle()
        assert OrderPart.objects.get(order_id=resting.id).kind == "REDUCE"
        at.order(maker, "sell", 10, 101)
        at.order(alice, "buy", 10, 101)
        at.settle()
        assert position(alice)[0] == 5
        at.order(maker, "sell", 3, 100)
        at.settle()

    quantity, cost, _ = position(alice)
    assert (quantity, cost / quantity) == (8, Decimal("100.625"))


def test_the_second_sell_of_a_long_that_the_first_sold_turns_it_short(traders, tmp_path: Path) -> None:
    alice, maker = traders
    make_contract()
    with desk(tmp_path) as at:
        at.trade(alice, maker, 8, 100)
        at.order(alice, "sell", 5, 101)
        at.settle()
        at.order(maker, "buy", 6, 100)
        at.order(alice, "sell", 6, 100)
        at.settle()
        at.order(maker, "buy", 5, 101)
        at.settle()

    assert position(alice)[:2] == (-3, Decimal(-303))
    assert kinds(alice)[-2:] == ["FLIP_CLOSE", "FLIP_OPEN"]
    told = Outbox.objects.get(type="PositionCloseToOpenCompensation")
    assert (told.payload["user_id"], told.payload["quantity"]) == (alice.id, "3")


def test_lots_that_were_meant_to_close_and_open_are_told_as_compensation(traders, tmp_path: Path) -> None:
    alice, maker = traders
    make_contract()
    with desk(tmp_path) as at:
        at.trade(alice, maker, 8, 100)
        at.order(alice, "sell", 5, 101)
        at.settle()
        at.order(maker, "buy", 8, 100)
        at.order(alice, "sell", 8, 100)
        at.settle()
        at.order(maker, "buy", 5, 101)
        at.settle()

    assert kinds(alice) == ["OPEN_FILL", "OPEN_TO_CLOSE", "CLOSE_TO_OPEN"]
    assert position(alice) == (-5, Decimal(-505), Decimal("50.5"))


def test_a_reservation_is_stolen_when_the_position_goes_the_other_way_around(traders, tmp_path: Path) -> None:
    alice, maker = traders
    make_contract()
    with desk(tmp_path) as at:
        at.trade(alice, maker, 10, 100)
        at.order(alice, "buy", 30, 90)
        at.trade(maker, alice, 30, 100)
        assert position(alice)[0] == -20
        closing = at.order(alice, "buy", 10, 89)
        at.settle()
        assert (closing.intent, closing.reduce_quantity) == ("reduce", 10)
        at.order(maker, "sell", 30, 90)
        at.settle()

    assert position(alice)[0] == 10
    assert OrderPart.objects.get(order_id=closing.id, kind="REDUCE").state == "STOLEN"
    assert OrderPart.objects.get(order_id=closing.id, kind="INCREASE").funds_left > 0


def test_a_robbed_order_takes_a_hold_or_is_cancelled_and_funds_cannot_leave_meanwhile(customer, tmp_path: Path) -> None:
    alice, maker = customer("alice", USDT=200), customer("maker", USDT=1_000_000)
    make_contract()
    with desk(tmp_path) as at:
        at.trade(alice, maker, 10, 100)
        far = at.order(alice, "sell", 10, 180)
        at.settle()
        second = at.order(alice, "sell", 10, 100)
        assert (second.intent, second.hold_remaining) == ("increase", 100)
        at.order(maker, "buy", 10, 100)
        at.settle()
        assert position(alice)[0] == 0
        held = OrderPart.objects.get(order_id=far.id, kind="INCREASE")
        assert (held.quantity_left, held.funds_left) == (10, 180)
        assert alice.balances("USDT") == {"available": 20, "order_hold": 180}


def test_a_robbed_order_whose_hold_cannot_be_had_is_cancelled_by_the_system(customer, tmp_path: Path) -> None:
    alice, maker = customer("alice", USDT=380), customer("maker", USDT=1_000_000)
    make_contract()
    with desk(tmp_path) as at:
        at.trade(alice, maker, 10, 100)
        far = at.order(alice, "sell", 10, 185)
        at.settle()
        at.order(alice, "sell", 10, 80)
        at.order(maker, "buy", 10, 80)
        at.settle()

    ended = Order.objects.get(id=far.id)
    assert (ended.status, ended.reason, ended.hold_remaining) == ("cancelled", "RESERVATION_STOLEN", 0)
    assert position(alice)[0] == 0
    assert alice.balances("USDT")["order_hold"] == 0


def test_what_a_debtors_orders_would_open_is_taken_off_once_and_what_they_reduce_stays(traders, tmp_path: Path) -> None:
    alice, maker = traders
    make_contract()
    with desk(tmp_path) as at:
        at.trade(alice, maker, 10, 100)
        opening, mixed = at.order(alice, "buy", 3, 90), at.order(alice, "sell", 15, 120)
        at.settle()

        taken = contract_books.take_off_increases([alice.id], utc_now())

        assert [(item.order_id, item.lots, item.is_whole) for item in taken] == [
            (opening.id, 3, True),
            (mixed.id, 5, False),
        ]
        assert contract_books.take_off_increases([alice.id], utc_now()) == []
