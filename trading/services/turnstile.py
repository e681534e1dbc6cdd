"""Keeps admission and settlement in step while the books are behind the log, so that neither waits for the other.

Note [Lockstep]
    A batch of admission (T1) that begins just before a settlement (T2) takes its gates makes that wait for the whole
    batch. One that begins just after finds whose gates are kept, puts these traders off (Note [Put off] in
    `trading.services.orders`), and is done before the next settlement begins. So while settlement is behind, a batch
    waits until the next settlement has its gates. Then both run side by side, and batches are large, for what comes
    while one waits is in it. Nobody polls; two advisory locks tell:

    * The **run**, from where T2 moves the cursor until its COMMIT. Who has written a batch beside a T2 waits for its
      end.
    * The **turnstile**, from a T2's COMMIT until the next one has its gates. Who begins a batch waits for that. It is
      closed inside T2, before COMMIT, so that between the two no moment is free; it stays closed while settlement has
      nothing to do, for the commands of a batch that has just ended come to it a moment later. Who finds it closed
      waits only if the log has commands that are not in the books: those will open it.

    Admission waits while it holds nothing, and each wait is a transaction of its own, so no circle can close. Both
    locks belong to the worker's session: when it is killed the server lets them go. Whoever waits in vain, for WAIT_MS,
    goes on as if nobody were behind until the cursor has moved. Of several shards the one that is most behind sets the
    pace; several web processes begin together.

    Nothing of this is asked while settlement follows: a batch knows from its own reading how much waits.
"""

import time
from collections.abc import Callable
from typing import Final

import structlog
from django.db import DatabaseError, InterfaceError, connection

from exchange import database
from exchange.observability import metrics
from trading.services.pressure import Pressure

logger = structlog.get_logger(__name__)

RUN_SPACE: Final = 9030
TURNSTILE_SPACE: Final = 9031
"""First halves of the advisory locks; the second is the shard."""

BEHIND_MIN: Final = 300
"""Commands that wait for settlement, from which on it is behind: about as many as it takes at once."""
CLOSES_FROM: Final = 64
"""Commands in a settlement that closes the turnstile though it knows of no more; after few, the next may be long in
coming, and needs no room."""
WAIT_MS: Final = 500
"""How long admission waits for either lock; a settlement takes 100 to 250."""
FRESH_SECONDS: Final = 1.0
"""For how long what a batch has read says that settlement is behind."""
IN_TURNS_SECONDS: Final = 1.0
"""For how long batches are not kept in step after one that was put off for the most part."""

HOLD_RUN: Final = f"pg_advisory_xact_lock({RUN_SPACE}, shard::integer)"
"""Holds the run, in a statement about its settlement cursor."""

_CLOSE = f"SELECT pg_try_advisory_lock({TURNSTILE_SPACE}, %s)"
_OPEN = f"SELECT pg_advisory_unlock({TURNSTILE_SPACE}, %s)"
_PATIENCE = "SELECT set_config('lock_timeout', %s, true)"
_CURSOR = "SELECT sequence FROM settlement_cursor WHERE shard = %s"
_RUN_ENDED = f"""
SELECT pg_advisory_xact_lock_shared({RUN_SPACE}, shard::integer)
FROM settlement_cursor WHERE shard = %s AND sequence = %s
"""
_GATES_TAKEN = f"""
SELECT pg_advisory_xact_lock_shared({TURNSTILE_SPACE}, shard::integer)
FROM settlement_cursor c JOIN command_stream s USING (shard) WHERE shard = %s AND c.sequence < s.sequence
"""


class Turnstile:
    """The worker's side, for one shard; used by the thread that settles, on its connection.

    Args:
        shard: Whose.
        is_more: Tells whether there are commands to be settled after a sequence.
    """

    def __init__(self, shard: int, is_more: Callable[[int], bool]) -> None:
        self._shard = shard
        self._is_more = is_more
        self._is_closed = False

    def close(self, last: int, count: int) -> None:
        """Queue the statement that closes it, where the next settlement will come soon; the caller commits at once.

        It never waits, and closes nothing while somebody is just passing.

        Args:
            last: The last command of this settlement, which has `count`.
        """
        if not self._is_closed and (count >= CLOSES_FROM or self._is_more(last)):
            self._is_closed = True
            database.execute(_CLOSE, self._shard)

    def open(self) -> None:
        """Queue the statement that opens it, if it is closed: this settlement has its gates."""
        if self._is_closed:
            self._is_closed = False
            database.execute(_OPEN, self._shard)


class Pace:
    """Admission's side: what one writer knows of settlement, and its waiting for it. The caller has the turn."""

    def __init__(self) -> None:
        self._shard = self._settled = self._lag = 0
        self._read_at = self._in_turns_until = -FRESH_SECONDS
        self._beside = self._given_up = (-1, -1)

    def learn(self, pressure: Pressure) -> None:
        """Remember what a batch has read, which includes its own commands."""
        if pressure.lags:
            self._shard = max(pressure.lags, key=pressure.lags.__getitem__)
            self._lag, self._settled = pressure.lags[self._shard], pressure.settled.get(self._shard, 0)
            self._read_at = time.monotonic()

    def wrote(self, count: int, put_off: int) -> None:
        """Remember that a batch has run beside the settlement after the cursor that it has read.

        When most of it was put off, few traders give many orders, and settlement keeps nearly all of their gates: to
        begin beside it is then of no use, and admission and settlement run in turns.

        Args:
            count: Of its tickets.
            put_off: Those that were.
        """
        self._beside = self._shard, self._settled
        if 2 * put_off > count:
            self._in_turns_until = time.monotonic() + IN_TURNS_SECONDS

    @property
    def is_kept(self) -> bool:
        """Whether settlement is behind, so that the next batch shall wait for its step."""
        now = time.monotonic()
        return (
            self._lag >= BEHIND_MIN
            and now < self._read_at + FRESH_SECONDS
            and now >= self._in_turns_until
            and self._given_up != (self._shard, self._settled)
            and not connection.in_atomic_block
        )

    def is_beside(self) -> bool:
        """Tell whether the settlement beside which the last batch ran has not ended yet."""
        if self._beside != (self._shard, self._settled):
            return False
        try:
            [[row]] = database.fetch((_CURSOR, (self._shard,)))
        except (DatabaseError, InterfaceError) as error:
            self._give_up(error)
            return False
        return bool(row[0] == self._settled)

    def wait(self, *, beside: bool) -> None:
        """Wait until the next settlement has its gates.

        Args:
            beside: Whether that is still the one after that which runs now.
        """
        with metrics.STAGE_SECONDS.labels("turnstile").time():
            try:
                if beside:
                    self._wait_for(_RUN_ENDED, self._shard, self._settled)
                self._wait_for(_GATES_TAKEN, self._shard)
            except (DatabaseError, InterfaceError) as error:
                self._give_up(error)

    def _wait_for(self, lock: str, *params: int) -> None:
        """Wait for a lock, and let it go."""
        with database.pipelined_transaction():
            database.execute(_PATIENCE, str(WAIT_MS))
            database.execute(lock, *params)

    def _give_up(self, error: Exception) -> None:
        """Go on without settlement until the cursor moves; what it is about the connection, the batch itself finds."""
        self._given_up = self._shard, self._settled
        logger.warning("settlement_out_of_step", shard=self._shard, settled=self._settled, error=str(error).strip())
        if not database.is_undone(error):
            connection.close()
