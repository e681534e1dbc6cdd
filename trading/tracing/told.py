"""What others were told of a story's orders and trades: traders' screens, and whoever reads the domain events."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from django.db import connection
from django.db.models import JSONField, Q
from django.db.models.functions import Cast

from exchange.kernel.errors import gettext_noop
from ledger.tracing.story import FACTS_MAX, FOUND_MAX, Fact, Words
from trading.models import Order, Outbox, PrivateEvent, Trade
from trading.tracing import commands

_SETTLED: Final = """
SELECT split_part(key, ':', 2)::bigint, min(recorded_at) FROM ledger_entry WHERE key = ANY(%s) GROUP BY 1
"""
"""When trades were settled: what went to suspense first has an entry of its own from then."""


def private_events(orders: Sequence[Order], trades: Sequence[Trade]) -> list[Fact]:
    """Return what traders were told of orders and trades, as far as it is kept."""
    wanted = Q(pk__in=())
    for order in orders[:FOUND_MAX]:
        wanted |= Q(user_id=order.user_id, told__order_id=order.id)
    for trade in trades[:FOUND_MAX]:
        for user_id in {trade.buyer_id, trade.seller_id}:
            wanted |= Q(user_id=user_id, told__trade_id=trade.id)
    searched = PrivateEvent.objects.annotate(told=Cast("payload", JSONField()))  # stored as text
    rows = searched.filter(wanted) if orders or trades else PrivateEvent.objects.none()
    return [_private_fact(row) for row in rows.order_by("user_id", "sequence")[: FACTS_MAX + 1]]


def _private_fact(row: PrivateEvent) -> Fact:
    details = {"user": row.user_id, "sequence": row.sequence, "channel": str(row.channel), "payload": row.payload}
    return Fact(row.created_at, Words(gettext_noop("user %(user)s, event %(sequence)s: %(channel)s"), details), details)


def outbox(orders: Sequence[Order], trades: Sequence[Trade]) -> list[Fact]:
    """Return the domain events of orders and trades, found near the moments at which they were written."""
    keys = [key for trade in trades for key in (f"trade:{trade.id}", f"trade:{trade.id}:suspense")]
    settled = dict(_rows(_SETTLED, [keys]))
    places = [("order", str(order.id), order.created_at) for order in orders[:FOUND_MAX]]
    places += [("trade", str(t.id), settled.get(t.id, t.executed_at)) for t in trades[:FOUND_MAX]]
    facts = []
    for kind, number, moment in places:
        first, last = _outbox_id_at(moment - commands.NEAR), _outbox_id_at(moment + commands.NEAR)
        rows = Outbox.objects.filter(id__gte=first, id__lt=last, aggregatetype=kind, aggregateid=number).order_by("id")
        facts += [_outbox_fact(row) for row in rows[:FACTS_MAX]]
    return facts


def _outbox_fact(row: Outbox) -> Fact:
    details = {"outbox": row.id, "kind": row.type, "payload": row.payload}
    words = Words(
        gettext_noop("domain event %(outbox)s: %(kind)s of %(of)s"),
        {**details, "of": f"{row.aggregatetype} {row.aggregateid}"},
    )
    return Fact(row.created_at, words, details)


def _rows(statement: str, params: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


def _outbox_id_at(moment: datetime) -> int:
    """Return about the first id written at or after a moment, by halving; ids may have gaps."""
    [(low, high)] = _rows("SELECT coalesce(min(id), 0), coalesce(max(id), 0) + 1 FROM outbox", [])
    while low < high:
        middle = (low + high) // 2
        rows = _rows("SELECT id, created_at FROM outbox WHERE id >= %s ORDER BY id LIMIT 1", [middle])
        if not rows or rows[0][1] >= moment:
            high = middle
        else:
            low = rows[0][0] + 1
    return int(low)
