"""The chaos benchmark kills processes of an exchange under load, and says what became of what was acknowledged."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from ledger.tests.fixtures import Customer
from trading.benchmarks.chaos import books, kinds
from trading.benchmarks.chaos.kinds import Kind
from trading.benchmarks.chaos.traders import PREFIX, Asked, Noted
from trading.models import Order
from trading.services.requests import PlaceOrder
from trading.tests.road import make_instrument, place, run_worker_once

ROOT = Path(__file__).parents[2]


@pytest.fixture
def alice(customer: Callable[..., Customer]) -> int:
    """A trader with enough for everything here."""
    return customer("alice", USDT=10_000).id


def test_it_kills_finds_every_acknowledged_order_and_ends_with_its_figures() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("EXCHANGE_", "DJANGO_"))}
    words = ["--kills", "1", "--kinds", "worker", "--traders", "3"]

    done = subprocess.run(
        [sys.executable, "-m", "trading.benchmarks.chaos", "--json", *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found.pop("acknowledged") > 0
    assert found.pop("takeover_seconds_max") > 0
    assert found == {"kills": 1, "lost": 0, "duplicated": 0, "audit_ok": True}
    assert "worker, kill -9" in done.stderr


def test_kinds_come_in_turns_each_as_often_as_the_others() -> None:
    drawn = kinds.drawn(list(Kind), random.Random(7))

    for _ in range(3):
        assert sorted(next(drawn) for _ in Kind) == sorted(Kind)


def _order(owner_id: int, name: str) -> Order:
    """Place an order that rests, with an id of the client's."""
    request = PlaceOrder(
        "BTCUSDT", "buy", "limit", Decimal("0.001"), Decimal(49_000), client_order_id=PREFIX + name, body_hash=b"1"
    )
    [order] = place(owner_id, request)
    return order


def _noted(order: Order, name: str) -> Noted:
    return Noted(order.user_id, PREFIX + name, order.id)


def test_what_is_in_the_books_once_is_neither_lost_nor_duplicated(alice: int) -> None:
    make_instrument()
    order = _order(alice, "1")

    verdict = books.judge(Asked(acknowledged=[_noted(order, "1"), _noted(order, "1")]))

    assert (verdict.acknowledged, verdict.lost, verdict.duplicated) == (2, [], [])


def test_an_acknowledged_order_that_is_not_in_the_books_is_lost(alice: int) -> None:
    verdict = books.judge(Asked(acknowledged=[Noted(alice, PREFIX + "1", 77)]))

    assert verdict.lost == ["order 77 (chaos-1) was acknowledged, and is not in the books"]


def test_an_order_that_outlives_its_acknowledged_cancel_is_lost(alice: int) -> None:
    make_instrument()
    order = _order(alice, "1")
    run_worker_once()

    verdict = books.judge(Asked(acknowledged=[_noted(order, "1")], cancelled=[order.id]))

    assert verdict.lost == [f"the cancel of order {order.id} was acknowledged, and the order is new"]


def test_two_orders_for_one_request_are_duplicates(alice: int) -> None:
    make_instrument()
    first, second = _order(alice, "1"), _order(alice, "2")
    Order.objects.filter(id=second.id).update(client_order_id=PREFIX + "1")

    verdict = books.judge(Asked(acknowledged=[_noted(first, "1")]))

    assert verdict.duplicated == [f"chaos-1 of user {alice} is in the books as orders {[first.id, second.id]}"]


def test_one_order_for_two_requests_is_a_duplicate(alice: int) -> None:
    make_instrument()
    order = _order(alice, "1")

    verdict = books.judge(Asked(acknowledged=[_noted(order, "1"), _noted(order, "2")]))

    assert f"order {order.id} was acknowledged as chaos-2 and as chaos-1" in verdict.duplicated
