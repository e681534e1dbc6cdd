"""Background work: idempotent, and nothing is lost."""

from datetime import timedelta

import pytest
from django.db import connection

from exchange.kernel.clock import utc_now
from trading import tasks
from trading.models import PrivateEvent
from trading.tests.road import limit, make_instrument, place

pytestmark = pytest.mark.django_db


def _partitions(table: str) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass", [table])
        return {row[0] for row in cursor.fetchall()}


def test_partitions_are_made_once_for_the_months_ahead() -> None:
    tasks.make_partitions()
    first = _partitions("orders"), _partitions("trades")
    tasks.make_partitions()

    month = utc_now()
    assert (_partitions("orders"), _partitions("trades")) == first
    assert f"orders_{month:%Y_%m}" in first[0]
    assert f"trades_{month:%Y_%m}" in first[1]


def test_old_private_events_go_but_the_last_one_keeps_the_numbering(customer) -> None:
    make_instrument()
    alice = customer("alice", USDT=1000)
    place(alice.id, limit("BTCUSDT", "buy", "0.0010", "50000"))
    place(alice.id, limit("BTCUSDT", "buy", "0.0010", "50000"))
    last = PrivateEvent.objects.filter(user_id=alice.id).count()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE private_messages SET created_at = %s", [utc_now() - timedelta(days=3)])

    tasks.prune_private_events()

    kept = PrivateEvent.objects.filter(user_id=alice.id).order_by("sequence").values_list("sequence", flat=True)
    assert list(kept) == [last - 1, last]  # what the last order told: the order, the balance


def test_orders_of_a_new_month_too_have_room_for_their_next_version() -> None:
    tasks.make_partitions()

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT reloptions FROM pg_class JOIN pg_inherits ON inhrelid = oid"
            " WHERE inhparent = 'orders'::regclass"
        )
        assert cursor.fetchall() == [(["fillfactor=60"],)]
