"""Tells traders what happened to their positions and reservations without their doing: a consumer of domain events."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import orjson

from exchange.kernel.errors import gettext_noop
from ledger.services import accounts
from ledger.transfers import notices
from ledger.transfers.notices import Words
from trading.events.consumers import Consumer
from trading.events.relay import Event

WORDS: Final[dict[str, Words]] = {
    "POSITION_OPENED_INSTEAD": Words(
        gettext_noop("An order opened a position"),
        gettext_noop(
            "Order %(order_id)s was to close %(quantity)s %(symbol)s, but there was no position left: it opened one at "
            "%(price)s."
        ),
        mailed=False,
    ),
    "POSITION_CLOSED_INSTEAD": Words(
        gettext_noop("An order closed a position"),
        gettext_noop("Order %(order_id)s was to open %(quantity)s %(symbol)s, but closed what you had, at %(price)s."),
        mailed=False,
    ),
    "RESERVATION_HELD": Words(
        gettext_noop("An order holds funds now"),
        gettext_noop(
            "Another fill took away the position that order %(order_id)s was to reduce; %(held)s %(asset)s are held "
            "for %(lots)s %(symbol)s of it."
        ),
        mailed=False,
    ),
    "RESERVATION_CANCELLED": Words(
        gettext_noop("An order is being cancelled"),
        gettext_noop(
            "Another fill took away the position that order %(order_id)s was to reduce, and your balance does not "
            "cover %(lots)s %(symbol)s: they are cancelled."
        ),
        mailed=False,
    ),
    "ACCOUNT_IN_DEBT": Words(
        gettext_noop("Your account owes money"),
        gettext_noop(
            "Order %(order_id)s in %(symbol)s left a debt of %(borrowed)s %(asset)s. Deposits repay it first; until "
            "then you can only reduce positions."
        ),
    ),
}


def _kinds(event: Event, payload: dict[str, Any]) -> list[str]:
    """Return which notices an event is worth."""
    if event.type == "ReservationStolen":
        return ["RESERVATION_CANCELLED" if payload["cancels"] else "RESERVATION_HELD"]
    if event.type == "PositionCloseToOpenCompensation":
        return ["POSITION_OPENED_INSTEAD"]
    if event.type == "PositionOpenToCloseCompensation":
        return ["POSITION_CLOSED_INSTEAD"]
    return ["ACCOUNT_IN_DEBT"] if payload["borrowed"] != "0" else []


def handle(events: Sequence[Event], now: datetime) -> None:
    """Write the notices of these events, under their owners' gates."""
    told = []
    for event in events:
        payload = orjson.loads(event.payload)
        data = {name: str(value) for name, value in payload.items()}
        told += [(payload["user_id"], kind, data) for kind in _kinds(event, payload)]
    if told:
        accounts.lock({owner_id for owner_id, _, _ in told})
        notices.give(told, now=now)


NOTICES: Final = Consumer(
    "notices",
    frozenset(
        {
            "ReservationStolen",
            "PositionCloseToOpenCompensation",
            "PositionOpenToCloseCompensation",
            "TradeMarginSettled",
            "PositionMarginReleased",
        }
    ),
    handle,
)
