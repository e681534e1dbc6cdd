"""Reads of traders' private event streams; always of one user, in order."""

from typing import Any, NamedTuple

import orjson
from django.db import connection

_BOUNDS = """
SELECT
    coalesce((SELECT sequence - cardinality(channels) + 1 FROM private_messages WHERE user_id = %s
              ORDER BY sequence LIMIT 1), 0),
    coalesce((SELECT max(sequence) FROM private_messages WHERE user_id = %s), 0)
"""
"""A look at either end of the key: the least of a sum would have to be found among all that the user has."""
_AFTER = """
SELECT m.sequence - cardinality(m.channels) + f.place, m.channels[f.place], f.payload::text
FROM private_messages m CROSS JOIN LATERAL json_array_elements(m.payloads::json) WITH ORDINALITY AS f(payload, place)
WHERE m.user_id = %s AND m.sequence > %s AND m.sequence - cardinality(m.channels) + f.place > %s
ORDER BY m.sequence, f.place LIMIT %s
"""
"""As the view `private_events`, which knows no bounds of a message's facts and would read all that the user has."""


class Bounds(NamedTuple):
    """The first and last sequence kept for a user; both 0 before the first event."""

    first: int
    last: int


def bounds(user_id: int) -> Bounds:
    """Return where a user's stream begins and ends, with one statement."""
    with connection.cursor() as cursor:
        cursor.execute(_BOUNDS, [user_id, user_id])
        return Bounds(*cursor.fetchone())


def after(user_id: int, sequence: int, limit: int) -> list[tuple[int, str, dict[str, Any]]]:
    """Return a user's next events after a sequence: (sequence, channel, payload)."""
    with connection.cursor() as cursor:
        cursor.execute(_AFTER, [user_id, sequence, sequence, limit])
        return [(number, channel, orjson.loads(payload)) for number, channel, payload in cursor]
