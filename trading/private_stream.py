"""Reads of traders' private event streams; always of one user, in order."""

from typing import Any, NamedTuple

from django.db import connection

from trading.models import PrivateEvent


class Bounds(NamedTuple):
    """The first and last sequence kept for a user; both 0 before the first event."""

    first: int
    last: int


def bounds(user_id: int) -> Bounds:
    """Return where a user's stream begins and ends, with one statement."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(min(sequence), 0), coalesce(max(sequence), 0) FROM private_events WHERE user_id = %s",
            [user_id],
        )
        return Bounds(*cursor.fetchone())


def after(user_id: int, sequence: int, limit: int) -> list[tuple[int, str, dict[str, Any]]]:
    """Return a user's next events after a sequence: (sequence, channel, payload)."""
    rows = PrivateEvent.objects.filter(user_id=user_id, sequence__gt=sequence).order_by("sequence")
    return list(rows.values_list("sequence", "channel", "payload")[:limit])
