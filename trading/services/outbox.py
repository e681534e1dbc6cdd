"""The only writer of domain events: in the transaction of what they tell, as its last statement.

Their ids are given in commit order: Note [Exactly in commit order] in trading/events/relay.py.
"""

from collections.abc import Sequence
from datetime import datetime

from exchange import database

DomainEvent = tuple[str, str, str, dict[str, object]]
"""Aggregate type, aggregate id, event type, payload: what Debezium's outbox router reads. EVENTS.md."""

_STORE = f"SELECT store_outbox(%s::text[], %s::text[], %s::text[], {database.DOCUMENTS}, %s)"


def store(events: Sequence[DomainEvent], now: datetime) -> None:
    """Queue the statement that stores events. It takes the last lock of all, so nothing may follow but COMMIT."""
    if events:
        sql, params = statement(events, now)
        database.execute(sql, *params)


def statement(events: Sequence[DomainEvent], now: datetime) -> database.Statement:
    """Return the statement of `store` for some events, for a caller who makes it before its turn."""
    kinds, keys, names, payloads = zip(*events, strict=True)
    arrays = [database.array(column) for column in (kinds, keys, names)]
    return _STORE, (*arrays, database.documents(payloads), now)
