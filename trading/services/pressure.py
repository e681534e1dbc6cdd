"""How much was accepted that is not in the books yet; beyond a limit new orders are refused until it has shrunk.

Note [Who passes]
    What makes the books smaller always passes: cancels (one at a time for each order), reductions, and orders that only
    close a position. New orders and amends wait. Each of them is refused alone, with a code and the seconds after
    which to come again; the rest of its batch goes on. Nothing has to be set right by hand afterwards: the limits look
    at the distance between log and books, and that shrinks by itself.

Note [A trader's own share]
    No trader may fill the shard's queue alone. Counting what waits of each trader costs something, so it is done only
    while the queue is longer than one trader's share: before that no trader can have more. What waits of a trader are
    orders of which matching has told nothing, given since the oldest command that waits: one that came to rest tells
    nothing either, and would count for as long as it rests.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.conf import settings

from exchange import database
from exchange.kernel.errors import DomainError, gettext_noop
from exchange.observability import metrics

RETRY_SECONDS_MAX = 10

_WHAT_WAITS = """
WITH shards AS (
    SELECT shard, s.sequence - c.sequence AS lag, c.sequence AS settled
    FROM command_stream s JOIN settlement_cursor c USING (shard)
)
SELECT false, shard, lag, settled FROM shards
UNION ALL
SELECT true, given.id, (
    SELECT count(*) FROM (
        SELECT FROM orders o
        WHERE o.user_id = given.id AND o.status = 'new' AND o.sequence = 0 AND o.created_at >= (
            SELECT min(c.created_at) FROM settlement_cursor s
            CROSS JOIN LATERAL (
                SELECT created_at FROM commands WHERE shard = s.shard AND sequence = s.sequence + 1 OFFSET 0) c
        ) LIMIT %s
    ) unsettled
), 0
FROM unnest(%s::bigint[]) AS given(id)
WHERE (SELECT max(lag) FROM shards) >= %s
"""


class ShardBusyError(DomainError):
    """The books are too far behind the log of this market."""

    code = 3046
    name = "SHARD_BUSY"
    status = 429
    message = gettext_noop(
        "This market has more orders waiting than it takes at once; try again in %(retry_after)s seconds."
        " Cancels and orders that only close a position are taken all the same."
    )


class TraderBusyError(DomainError):
    """Too many of the trader's own orders wait to be matched."""

    code = 3047
    name = "TRADER_BUSY"
    status = 429
    message = gettext_noop(
        "%(waiting)s of your orders wait to be matched, and no more may; try again in %(retry_after)s seconds."
        " Cancels and orders that only close a position are taken all the same."
    )


@dataclass(slots=True)
class Pressure:
    """What waits, by shard and by trader; a batch adds to it what it accepts.

    Attributes:
        lags: Commands in a shard's log that are not in the books.
        waiting: A trader's orders among them, up to the limit; empty while no trader can be at the limit.
        settled: A shard's last command that is in the books.
        shard_max: How many commands of a shard may wait.
        trader_max: How many orders of a trader may wait.
    """

    lags: dict[int, int] = field(default_factory=dict)
    waiting: dict[int, int] = field(default_factory=dict)
    settled: dict[int, int] = field(default_factory=dict)
    shard_max: int = field(default_factory=lambda: settings.SHARD_LAG_MAX)
    trader_max: int = field(default_factory=lambda: settings.TRADER_LAG_MAX)

    def require_room(self, trader_id: int, shard: int) -> None:
        """Refuse one more order of a trader.

        Raises:
            ShardBusyError: The shard has no room, for anybody.
            TraderBusyError: The trader has no room.
        """
        lag, waiting = self.lags.get(shard, 0), self.waiting.get(trader_id, 0)
        if lag >= self.shard_max:
            metrics.ORDERS_HELD_OFF.labels("shard").inc()
            raise ShardBusyError(retry_after=_retry_after(lag, self.shard_max))
        if waiting >= self.trader_max:
            metrics.ORDERS_HELD_OFF.labels("trader").inc()
            raise TraderBusyError(waiting=waiting, retry_after=_retry_after(lag, self.trader_max))

    def add(self, trader_id: int, shard: int) -> None:
        """Count a command that was accepted."""
        self.lags[shard] = self.lags.get(shard, 0) + 1
        self.waiting[trader_id] = self.waiting.get(trader_id, 0) + 1


def _retry_after(lag: int, most: int) -> int:
    """Return the seconds after which to come again: the longer the queue, the later."""
    return min(RETRY_SECONDS_MAX, max(1, lag // max(1, most)))


def statement(trader_ids: Sequence[int]) -> database.Statement:
    """Return the statement that reads what waits, for a caller who pipelines it: Note [A trader's own share]."""
    most = settings.TRADER_LAG_MAX
    return _WHAT_WAITS, (most, database.array(trader_ids), most)


def from_rows(rows: Iterable[tuple[bool, int, int, int]]) -> Pressure:
    """Return what waits, from the rows of `statement`."""
    found = Pressure()
    for is_trader, number, waiting, settled in rows:
        if is_trader:
            found.waiting[number] = waiting
        else:
            found.lags[number] = waiting
            found.settled[number] = settled
    return found
