"""Holds and reservations that were left behind are put right, once, and never ahead of the settlement cursor."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from exchange.kernel.clock import utc_now
from ledger.models import FinanceLog, JournalEntry
from ledger.tests.reconciling import damage, everything, full, look
from matching_worker.shard import Shard
from risk.models import ReviewLimit
from trading.models import Command, Order, OrderPart, Outbox, Position
from trading.services import lease, orders, review, sweeper
from trading.sweep_models import HoldSweep
from trading.sweeping import Cause, Step
from trading.tests.contracts import Desk, desk, make_contract, position
from trading.tests.left_behind import (
    acting_as,
    broken,
    keep_beyond_the_end,
    later,
    sweep,
    unasked_cancel,
    wait_in_review,
)
from trading.tests.road import fresh, limit, make_instrument, market, place, worker
from trading.tests.suspending import drain

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice(customer) -> Any:
    make_instrument()
    return customer("alice", USDT=1000)


@pytest.fixture
def waiting(alice) -> Order:
    """An order in review that ends by itself, of 505.101 USDT."""
    return wait_in_review(alice)


@pytest.fixture
def unlogged(alice) -> Order:
    """An order that is open, and never came into the log."""
    ReviewLimit.objects.create(tier_id="STANDARD", asset_id="USDT", notional=500)
    [order] = place(alice.id, limit("BTCUSDT", "buy", "0.0101", "50000"))
    Order.objects.filter(id=order.id).update(status="new")
    return order


# --- in review ------------------------------------------------------------------------------------------------------
def test_an_order_in_review_whose_time_is_over_gives_its_hold_back_once(alice, waiting) -> None:
    assert sweeper.sweep(now=utc_now()) == []

    with acting_as("exchange_back_office"):
        assert sweep() == [(waiting.id, Cause.REVIEW_EXPIRED, "VOID")]
        assert sweep() == []

    assert (fresh(waiting).status, fresh(waiting).reason) == ("expired", "EXPIRED")
    assert alice.balances("USDT") == {"available": Decimal(1000), "order_hold": Decimal(0)}
    row = HoldSweep.objects.get()
    assert (row.state, row.hold_voided, row.hold_asset, row.version) == ("VOIDED", Decimal("505.101"), "USDT", 1)
    assert JournalEntry.objects.filter(kind="ORDER_UNFREEZE").count() == 1
    told = Outbox.objects.get(type="HoldVoided").payload
    assert (told["order_id"], told["amount"], told["cause"]) == (waiting.id, "505.101", "REVIEW_EXPIRED")
    logged = FinanceLog.objects.get(action="hold.sweep")
    assert (logged.subject, logged.detail["step"], logged.detail["hold"]) == (f"order {waiting.id}", "VOID", "505.101")
    assert review.approve([waiting.id], now=utc_now()) == []
    assert broken() == []
    assert full(*everything()) == set()


def robbed_in_review(at: Desk, alice: Any, maker: Any) -> Order:
    """Let an order wait for a person while a fill takes its position away, and available not cover a hold instead."""
    at.trade(alice, maker, 10, 100)
    ReviewLimit.objects.create(tier_id="STANDARD", asset_id="USDT", notional=1500)
    order = at.order(alice, "sell", 10, 190)
    assert (order.status, order.intent) == ("pending_review", "reduce")
    at.order(maker, "buy", 10, 85)
    at.order(alice, "sell", 10, 85)
    at.settle()
    assert OrderPart.objects.get(order_id=order.id, kind="INCREASE").quantity_going == 10
    return order


@pytest.fixture
def traders(customer) -> tuple[Any, Any]:
    make_contract()
    return customer("alice", USDT=336), customer("maker", USDT=100_000)


def test_an_order_that_was_robbed_in_review_ends_since_the_engine_never_knew_it(traders, tmp_path: Path) -> None:
    alice, maker = traders
    with desk(tmp_path) as at:
        order = robbed_in_review(at, alice, maker)

        assert sweep() == [(order.id, Cause.REVIEW_ROBBED, "VOID")]

    assert (fresh(order).status, fresh(order).reason) == ("cancelled", "RESERVATION_STOLEN")
    assert not OrderPart.objects.filter(state="TRIED").exists()
    assert broken() == []


def test_nobody_can_approve_an_order_that_nothing_covers_any_more(traders, tmp_path: Path) -> None:
    alice, maker = traders
    with desk(tmp_path) as at:
        order = robbed_in_review(at, alice, maker)
        commands = Command.objects.count()

        assert review.approve([order.id], now=utc_now()) == []

    assert (fresh(order).status, fresh(order).reason) == ("cancelled", "RESERVATION_STOLEN")
    assert Command.objects.count() == commands
    assert broken() == []


def test_a_reservation_of_an_order_in_review_comes_back_when_its_time_is_over(customer, tmp_path: Path) -> None:
    alice, maker = customer("alice", USDT=10_000), customer("maker", USDT=100_000)
    make_contract()
    with desk(tmp_path) as at:
        at.trade(alice, maker, 10, 100)
        ReviewLimit.objects.create(tier_id="STANDARD", asset_id="USDT", notional=1000)
        until = utc_now() + timedelta(minutes=1)
        order = at.order(alice, "sell", 15, 110, time_in_force="gtd", expires_at=until)
        assert Position.objects.get(user_id=alice.id).reserved == 10
        before = alice.balances("USDT")["available"] + fresh(order).hold_remaining

        [item] = sweeper.sweep(now=later())

        assert (item.step, item.quantity, item.hold) == (Step.VOID, Decimal(10), order.hold_remaining)
        assert Position.objects.get(user_id=alice.id).reserved == 0
        assert alice.balances("USDT") == {"available": before, "order_hold": 0}
        assert position(alice)[0] == 10
    assert broken() == []


# --- never ahead of the cursor --------------------------------------------------------------------------------------
def everything_open(at: Desk, alice: Any, maker: Any) -> None:
    """Leave an order of every kind that lives: resting, partly filled, waiting, amended, cancelled, on its way."""
    at.trade(alice, maker, 10, 100)
    at.order(alice, "sell", 4, 130)
    at.order(alice, "sell", 9, 131)
    at.order(maker, "buy", 2, 130)
    at.order(alice, "sell", 3, 120, reduce_only=True)
    at.order(alice, "buy", 2, 90, time_in_force="gtd", expires_at=utc_now() + timedelta(days=1))
    at.order(alice, "buy", 2, 110, type="stop_limit", stop_price=Decimal(109))
    at.order(alice, "sell", 2, None, type="stop", stop_price=Decimal(80))
    at.settle()


def test_orders_that_live_are_left_alone_whatever_they_are(customer, tmp_path: Path) -> None:
    alice, maker = customer("alice", USDT=100_000), customer("maker", USDT=100_000)
    make_contract()
    with desk(tmp_path) as at:
        everything_open(at, alice, maker)
        before = list(Order.objects.order_by("id").values()), list(OrderPart.objects.order_by("order_id").values())

        assert sweep(whole=True) == []

        assert list(Order.objects.order_by("id").values()) == before[0]
        assert list(OrderPart.objects.order_by("order_id").values()) == before[1]
    assert not HoldSweep.objects.exists()


def test_nothing_happens_to_what_settlement_has_not_come_to_yet(alice, tmp_path: Path) -> None:
    resting, gone, until = (
        limit("BTCUSDT", "buy", "0.0010", "40000"),
        market("BTCUSDT", "buy", "0.0010"),
        limit("BTCUSDT", "buy", "0.0010", "40001", time_in_force="gtd", expires_at=utc_now() + timedelta(minutes=1)),
    )
    with worker(tmp_path) as shard:
        [cancelled] = place(alice.id, resting)
        shard.step(now=utc_now())
        sweeper_sees = [(cancelled.id, Cause.CANCEL_UNANSWERED)]

        orders.cancel(alice.id, [cancelled.id], now=utc_now())
        [taking, ending] = place(alice.id, gone, until)
        sweeper_sees += [(taking.id, Cause.NEVER_RESTS), (ending.id, Cause.EXPIRY_UNANSWERED)]
        commands = Command.objects.count()

        assert sweep(whole=True) == [(*seen, "NOTE") for seen in sweeper_sees]
        for _ in range(3):
            assert sweep(whole=True) == [(*seen, "WAIT") for seen in sweeper_sees]

        assert Command.objects.count() == commands
        assert set(HoldSweep.objects.values_list("state", "log_head", "version")) == {("NOTED", commands, 1)}
        shard.step(now=utc_now())
        assert [step for *_, step in sweep()] == ["CLOSE", "CLOSE", "ASK"]  # the third is over by the sweeper's clock
        shard.step(now=utc_now())
        assert [step for *_, step in sweep()] == ["CLOSE"]
    assert (fresh(ending).status, fresh(ending).reason) == ("expired", "EXPIRED")
    assert fresh(cancelled).reason == "USER"
    assert alice.balances("USDT") == {"available": Decimal(1000), "order_hold": Decimal(0)}
    assert broken() == []


def test_a_cancel_that_was_lost_is_asked_for_by_the_log_and_the_hold_goes_when_it_is_settled(
    alice, tmp_path: Path
) -> None:
    with worker(tmp_path) as shard:
        [order] = place(alice.id, limit("BTCUSDT", "buy", "0.0010", "40000"))
        shard.step(now=utc_now())
        unasked_cancel(order)

        assert sweeper.sweep(now=utc_now()) == []  # it may be on its way
        assert sweep() == [(order.id, Cause.CANCEL_UNANSWERED, "NOTE")]
        with acting_as("exchange_back_office"):
            assert sweep() == [(order.id, Cause.CANCEL_UNANSWERED, "ASK")]
        assert alice.balances("USDT")["order_hold"] == Decimal("40.008")
        row = HoldSweep.objects.get()
        assert (row.state, row.log_head, row.command_sequence) == ("ASKED", 1, 2)
        assert sweep() == [(order.id, Cause.CANCEL_UNANSWERED, "WAIT")]
        shard.step(now=utc_now())

        assert alice.balances("USDT") == {"available": Decimal(1000), "order_hold": Decimal(0)}
        assert sweep() == [(order.id, Cause.CANCEL_UNANSWERED, "CLOSE")]
        assert sweep() == []
    assert fresh(order).status == "cancelled"
    assert Command.objects.count() == 2
    assert list(Outbox.objects.filter(type__startswith="Hold").values_list("type", flat=True)) == ["HoldSweepRequested"]
    assert broken() == []


@contextmanager
def dying_worker(folder: Path) -> Iterator[Shard]:
    """Run a worker that ends wherever it stands: nothing but its lease is given back."""
    shard = Shard(0, wal_dir=folder, owner="test")
    shard.recover(now=utc_now())
    yield shard
    shard.snapshotter.close()
    shard.wal.close()
    lease.give_back(0, shard.epoch)


def test_a_worker_that_dies_at_any_step_of_the_cancel_settles_it_once(alice, tmp_path: Path) -> None:
    with dying_worker(tmp_path) as shard:
        [order] = place(alice.id, limit("BTCUSDT", "buy", "0.0010", "40000"))
        shard.step(now=utc_now())
        unasked_cancel(order)
        assert sweep() == [(order.id, Cause.CANCEL_UNANSWERED, "NOTE")]
    with dying_worker(tmp_path) as shard:
        assert sweep() == [(order.id, Cause.CANCEL_UNANSWERED, "ASK")]
        shard.journal(*(shard.read() or pytest.fail("there is nothing to read")))
        assert sweep() == [(order.id, Cause.CANCEL_UNANSWERED, "WAIT")]
    with dying_worker(tmp_path):  # recovers, and settles what the WAL has
        assert sweep() == [(order.id, Cause.CANCEL_UNANSWERED, "CLOSE")]

    assert JournalEntry.objects.filter(kind="ORDER_UNFREEZE").count() == 1
    assert broken() == []


def test_the_same_suspicion_of_another_moment_is_noted_anew(alice, tmp_path: Path) -> None:
    with worker(tmp_path) as shard:
        [order] = place(alice.id, limit("BTCUSDT", "buy", "0.0010", "40000"))
        shard.step(now=utc_now())
        unasked_cancel(order)
        sweep()
        unasked_cancel(order)

        assert sweep() == [(order.id, Cause.CANCEL_UNANSWERED, "NOTE")]
        assert HoldSweep.objects.get().version == 2


# --- what never came into the log -----------------------------------------------------------------------------------
def test_an_order_that_never_came_into_the_log_is_found_by_the_whole_log_and_ends_when_its_cancel_is_refused(
    alice, unlogged, tmp_path: Path
) -> None:
    with worker(tmp_path) as shard:
        [resting] = place(alice.id, limit("BTCUSDT", "buy", "0.0010", "40000"))
        shard.step(now=utc_now())

        assert sweep() == []
        assert sweep(whole=True) == [(unlogged.id, Cause.NEVER_LOGGED, "NOTE")]
        assert sweep() == [(unlogged.id, Cause.NEVER_LOGGED, "ASK")]
        assert alice.balances("USDT")["order_hold"] == Decimal("545.109")
        shard.step(now=utc_now())
        assert sweep() == [(unlogged.id, Cause.NEVER_LOGGED, "VOID")]

        assert (fresh(unlogged).status, fresh(unlogged).reason) == ("rejected", "NEVER_LOGGED")
        assert fresh(resting).status == "new"
        assert alice.balances("USDT") == {"available": Decimal("959.992"), "order_hold": Decimal("40.008")}
    assert broken() == []


def test_what_books_and_engine_disagree_about_is_a_break_and_nothing_is_paid(alice, tmp_path: Path) -> None:
    with worker(tmp_path) as shard:
        [order] = place(alice.id, limit("BTCUSDT", "buy", "0.0010", "40000"))
        shard.step(now=utc_now())
        unasked_cancel(order)
        sweep()
        sweep()
        shard.step(now=utc_now())
        Order.objects.filter(id=order.id).update(status="new", reason="")  # as if its end had never been written

        assert sweep() == [(order.id, Cause.CANCEL_UNANSWERED, "BREAK")]
        assert sweep() == [(order.id, Cause.CANCEL_UNANSWERED, "BREAK")]

        row = HoldSweep.objects.get()
        assert (row.state, row.hold_voided, row.why) == (
            "BROKEN",
            Decimal(0),
            "it is open, and command 2, which cancelled it, is settled",
        )
        assert FinanceLog.objects.filter(action="hold.sweep", detail__step="BREAK").count() == 1
        assert look("holds.left_behind") == {("holds.left_behind", f"order {order.id}")}
        assert alice.balances("USDT") == {"available": Decimal(1000), "order_hold": Decimal(0)}
        Order.objects.filter(id=order.id).update(status="cancelled", reason="OPERATOR")
        assert sweep() == [(order.id, Cause.CANCEL_UNANSWERED, "CLOSE")]
        assert look("holds.left_behind") == set()


# --- what its order's end has left ----------------------------------------------------------------------------------
@pytest.fixture
def kept(alice) -> Order:
    """An order that has ended and holds funds still, in a database that has lost the constraint against it."""
    return keep_beyond_the_end(alice)


def test_the_hold_of_an_order_whose_end_is_settled_goes_back(alice, kept) -> None:
    assert sweep() == [(kept.id, Cause.ENDED, "VOID")]
    assert sweep() == []

    assert (fresh(kept).status, fresh(kept).reason, fresh(kept).hold_remaining) == ("cancelled", "USER", 0)
    assert alice.balances("USDT") == {"available": Decimal(1000), "order_hold": Decimal(0)}
    assert JournalEntry.objects.get(kind="ORDER_UNFREEZE").key == f"order:{kept.id}:swept"


def test_the_hold_of_an_order_whose_end_is_beyond_the_cursor_stays(alice, kept) -> None:
    Order.objects.filter(id=kept.id).update(sequence=1)

    assert sweep() == [(kept.id, Cause.ENDED, "WAIT")]

    assert alice.balances("USDT")["order_hold"] == Decimal("40.008")
    assert not HoldSweep.objects.exists()


def test_a_hold_that_the_wallet_does_not_have_is_a_break(alice, kept) -> None:
    drain(alice, "USDT")

    assert sweep() == [(kept.id, Cause.ENDED, "BREAK")]

    assert fresh(kept).hold_remaining == Decimal("40.008")
    assert HoldSweep.objects.get().why == "orders hold 40.008 USDT, the wallet has 0"
    assert not JournalEntry.objects.filter(kind="ORDER_UNFREEZE").exists()


def left_reservation(at: Desk, alice: Any, maker: Any) -> Order:
    """Let an order have ended, and its part be live all the same."""
    at.trade(alice, maker, 10, 100)
    order = at.order(alice, "sell", 10, 150)
    at.settle()

    orders.cancel(alice.id, [order.id], now=utc_now())
    at.settle()
    damage(f"UPDATE order_parts SET state = 'TRIED', quantity_left = 10 WHERE order_id = {order.id}")
    return order


def test_a_reservation_of_an_order_whose_end_is_settled_goes_back(customer, tmp_path: Path) -> None:
    alice, maker = customer("alice", USDT=10_000), customer("maker", USDT=10_000)
    make_contract()
    with desk(tmp_path) as at:
        order = left_reservation(at, alice, maker)
        damage(f"UPDATE positions SET reserved = 10 WHERE user_id = {alice.id}")
        assert broken() != []

        [item] = sweeper.sweep(now=later())

        assert (item.order_id, item.cause, item.step) == (order.id, Cause.ENDED, Step.VOID)
        assert item.quantity == Decimal(10)
    assert OrderPart.objects.get(order_id=order.id).state == "CANCELLED"
    assert broken() == []


def test_a_reservation_that_the_position_does_not_have_is_a_break(customer, tmp_path: Path) -> None:
    alice, maker = customer("alice", USDT=10_000), customer("maker", USDT=10_000)
    make_contract()
    with desk(tmp_path) as at:
        order = left_reservation(at, alice, maker)

        assert sweep() == [(order.id, Cause.ENDED, "BREAK")]

    assert HoldSweep.objects.get().why == "orders reserve 10 lots, the position says 0"
    assert OrderPart.objects.get(order_id=order.id).quantity_left == 10
