"""Requests that arrive together are written together, and each finds its own result."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

from exchange.kernel.clock import utc_now
from ledger.services import accounts
from trading.models import Order
from trading.services import gathering, orders
from trading.services.gathering import Gatherer, Ticket
from trading.services.requests import CancelOrder, Group, ReduceOrder, Submission
from trading.tests.road import empty_road, limit, make_instrument

pytestmark = pytest.mark.django_db(transaction=True)

THREADS = 5
DEADLINE_S = 10


@pytest.fixture(autouse=True)
def _road_emptied(books: None) -> Iterator[None]:
    """Empty the road before the books are."""
    yield
    empty_road()


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record the size of every batch that is written."""
    sizes: list[int] = []
    submit = orders.submit_groups

    def recorded(groups: Sequence[Group], **options: Any) -> Any:
        sizes.append(sum(len(group.submissions) for group in groups))
        return submit(groups, **options)

    monkeypatch.setattr(orders, "submit_groups", recorded)
    return sizes


def _submit_together(gatherer: Gatherer, wanted: Sequence[Submission]) -> list[Any]:
    """Return what each thread got; all of them wait before the first is written."""

    def run(item: Submission) -> Any:
        try:
            [result] = gatherer.submit([item], now=utc_now())
        except Exception as error:  # noqa: BLE001 -- the thread's outcome is what is looked at
            return error
        finally:
            connection.close()
        return result

    with ThreadPoolExecutor(len(wanted)) as pool:
        with gatherer._turn:
            futures = [pool.submit(run, item) for item in wanted]
            deadline = time.monotonic() + DEADLINE_S
            while len(gatherer.waiting) < len(wanted):
                assert time.monotonic() < deadline
                time.sleep(0.001)
        return [future.result() for future in futures]


@pytest.fixture
def wanted(customer: Callable[..., Any]) -> list[Submission]:
    """Return an order of each of several traders, at prices of their own."""
    make_instrument()
    return [
        Submission(customer(f"trader-{number}", USDT=1000).id, limit("BTCUSDT", "buy", "0.001", f"{50000 + number}"))
        for number in range(THREADS)
    ]


def test_alone_a_request_goes_straight_through(wanted: list[Submission], batches: list[int]) -> None:
    [result] = gathering.submit(wanted[:1], now=utc_now())

    assert isinstance(result, Order)
    assert batches == [1]


def test_nothing_to_submit_writes_nothing(batches: list[int]) -> None:
    assert gathering.submit([], now=utc_now()) == []
    assert batches == []


def test_what_waits_together_is_one_transaction_and_each_gets_its_own(
    wanted: list[Submission], batches: list[int]
) -> None:
    results = _submit_together(Gatherer(), wanted)

    assert batches == [THREADS]
    assert [(order.user_id, order.price) for order in results] == [
        (item.owner_id, item.request.price)  # type: ignore[union-attr]
        for item in wanted
    ]
    assert Order.objects.count() == THREADS


def test_a_retry_beside_its_first_request_is_told_apart_from_it(customer: Any, batches: list[int]) -> None:
    make_instrument()
    request = limit("BTCUSDT", "buy", "0.001", "50000", client_order_id="one", body_hash=b"x" * 32)
    item = Submission(customer("alice", USDT=1000).id, request)

    results = _submit_together(Gatherer(), [item, item])

    assert batches == [2]
    assert sorted(order.repeated for order in results) == [False, True]
    assert len({order.id for order in results}) == 1
    assert Order.objects.count() == 1


def test_a_batch_beyond_the_limit_is_written_in_parts(
    wanted: list[Submission], batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "BATCH_MAX", 2)

    results = _submit_together(Gatherer(), wanted)

    assert batches == [2, 2, 1]
    assert all(isinstance(result, Order) for result in results)


def test_what_takes_orders_off_goes_first_and_what_does_not_fit_keeps_its_turn(
    wanted: list[Submission], monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel, reduce = (Submission(wanted[0].owner_id, kind) for kind in (CancelOrder(1), ReduceOrder(1, Decimal(1))))
    close = Submission(wanted[0].owner_id, limit("BTCUSDT", "buy", "0.001", "50000", reduce_only=True))
    gatherer = Gatherer()
    gatherer.waiting = [Ticket([item], utc_now()) for item in (*wanted[:3], cancel, reduce, close)]
    gatherer.waiting.append(Ticket([cancel, wanted[3]], utc_now()))
    monkeypatch.setattr(orders, "BATCH_MAX", 4)

    taken = [[ticket.submissions for ticket in gatherer._taken()] for _ in range(2)]

    assert taken == [[[cancel], [reduce], [close], [wanted[0]]], [[wanted[1]], [wanted[2]], [cancel, wanted[3]]]]
    assert gatherer.waiting == []


def test_transactions_shrink_when_they_are_slow_and_grow_again_when_they_are_quick() -> None:
    gatherer = Gatherer()
    found = []

    for count, seconds in ((800, 0.6), (400, 3.0), (60, 0.6), (50, 0.3), (50, 0.1), (100, 0.1), (1000, 0.1)):
        gatherer.learn(count, seconds)
        found.append(gatherer.orders_max)

    assert found == [400, 200, 50, 50, 100, 200, 1000]


def test_a_fault_stays_with_the_request_that_caused_it(
    wanted: list[Submission], monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = orders.submit_groups

    def failing(groups: Sequence[Group], **options: Any) -> Any:
        if any(wanted[2].owner_id in group.owners for group in groups):
            raise ValueError("a fault of ours")
        return submit(groups, **options)

    monkeypatch.setattr(orders, "submit_groups", failing)

    results = _submit_together(Gatherer(), wanted)

    assert [type(result) for result in results] == [Order, Order, ValueError, Order, Order]
    assert Order.objects.count() == THREADS - 1


def test_after_a_lost_connection_everybody_is_told_and_nothing_is_tried_again(
    wanted: list[Submission], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def lost(groups: Sequence[Group], **_: Any) -> Any:
        calls.append(len(groups))
        raise OperationalError("connection lost")

    monkeypatch.setattr(orders, "submit_groups", lost)

    results = _submit_together(Gatherer(), wanted)

    assert calls == [THREADS]
    assert all(isinstance(result, OperationalError) for result in results)


def test_a_fault_leaves_the_turn_to_the_next(wanted: list[Submission], monkeypatch: pytest.MonkeyPatch) -> None:
    gatherer = Gatherer()
    with monkeypatch.context() as patched:
        patched.setattr(orders, "submit_groups", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            gatherer.submit(wanted[:1], now=utc_now())

    [result] = gatherer.submit(wanted[:1], now=utc_now())

    assert isinstance(result, Order)


def test_a_gate_that_somebody_keeps_delays_only_its_own_trader(customer) -> None:
    make_instrument()
    alice, bob = customer("alice", USDT=100), customer("bob", USDT=100)
    wanted = [Submission(one.id, limit("BTCUSDT", "buy", "0.0010", "50000.00")) for one in (alice, bob)]

    with transaction.atomic():
        accounts.lock([alice.id])
        kept, free = _submit_together(Gatherer(), wanted)

    assert isinstance(kept, OperationalError)
    assert isinstance(free, Order)
    assert list(Order.objects.values_list("user_id", flat=True)) == [bob.id]
