"""Helpers for tests of the sweeper: orders that left something behind, and a sweep by a clock that is far ahead."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from exchange.kernel.clock import utc_now
from risk.models import ReviewLimit
from trading import audit
from trading.models import Order
from trading.services import sweeper
from trading.tests.road import limit, place

LATER = timedelta(hours=1)
"""By when everything that was asked for is long overdue."""


def later() -> datetime:
    return utc_now() + LATER


def sweep(**options: Any) -> list[tuple[int, str, str]]:
    """Sweep as if an hour had passed; return orders, causes and steps."""
    return [(item.order_id, item.cause, str(item.step)) for item in sweeper.sweep(now=later(), **options)]


def broken() -> list[str]:
    return [item.name for item in audit.invariants() if not item.ok]


@contextmanager
def acting_as(role: str) -> Iterator[None]:
    """Have only a role's rights."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET ROLE {role}")
        yield
        cursor.execute("RESET ROLE")


def unasked_cancel(order: Order) -> None:
    """Let an order have been cancelled by its owner, without a command in the log."""
    Order.objects.filter(id=order.id).update(cancel_requested_at=utc_now())


def wait_in_review(owner: Any) -> Order:
    """Place an order that waits for a person, and ends by itself: a buy that holds 505.101 USDT."""
    ReviewLimit.objects.create(tier_id="STANDARD", asset_id="USDT", notional=500)
    until = utc_now() + timedelta(minutes=1)
    [order] = place(owner.id, limit("BTCUSDT", "buy", "0.0101", "50000", time_in_force="gtd", expires_at=until))
    assert order.status == "pending_review"
    return order


def keep_beyond_the_end(owner: Any) -> Order:
    """Return an order that has ended and holds 40.008 USDT still, where the constraint against it is lost."""
    [order] = place(owner.id, limit("BTCUSDT", "buy", "0.0010", "40000"))
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE orders DROP CONSTRAINT orders_final_holds_nothing")
    Order.objects.filter(id=order.id).update(status="cancelled", reason="USER")
    return order
