"""One shard's matching, without threads: recover, then read, journal, match, settle. `process.py` gives it threads.

Django is allowed here (the log and the settlement are in PostgreSQL); the engine and the WAL below know nothing of it.
"""

import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import structlog
from django.db import OperationalError

from exchange import database
from exchange.kernel.errors import require
from matching_worker import wal
from matching_worker.engine import Engine
from matching_worker.protocol import Rows
from matching_worker.wal import Wal
from trading.services import command_log, lease, settlement

logger = structlog.get_logger(__name__)

READ_MAX = 2_000
"""Commands in one batch: one WAL write, one call of the engine."""

SETTLE_MAX = 500
"""Commands in one settlement transaction, at most."""

SETTLE_EVENTS_FIRST = 200
SETTLE_EVENTS_MAX = 500
SETTLE_SECONDS_SHORT = 0.1
SETTLE_SECONDS_LONG = 0.25
"""Note [Settlement in small parts]"""

SETTLE_ATTEMPTS_MAX = 30
"""How often one part is tried while others keep its traders' gates; each attempt waits for `lock_timeout`."""


class LogMismatchError(Exception):
    """The WAL and the command log tell different stories: the database went back in time, or a WAL is not its own."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Commands and all events of exactly these.

    Attributes:
        commands: (n,) COMMAND_DTYPE, dense in sequence.
        events: (m,) EVENT_DTYPE.
    """

    commands: Rows
    events: Rows

    def after(self, sequence: int) -> "Batch | None":
        """Return the part after a sequence, or None when there is none."""
        if int(self.commands["sequence"][-1]) <= sequence:
            return None
        start = max(0, sequence + 1 - int(self.commands["sequence"][0]))
        return Batch(self.commands[start:], self.events[np.searchsorted(self.events["sequence"], sequence, "right") :])

    def first(self, commands_max: int, events_max: int) -> "Batch":
        """Return the longest start within both limits; a command keeps its events, so at least one command."""
        count = min(commands_max, len(self.commands))
        if len(self.events) > events_max:
            unfinished = int(self.events["sequence"][events_max]) - int(self.commands["sequence"][0])
            count = min(count, max(1, unfinished))
        last = self.commands["sequence"][count - 1]
        return Batch(self.commands[:count], self.events[: np.searchsorted(self.events["sequence"], last, "right")])


def join(batches: list[Batch]) -> Batch:
    """Return several batches as one."""
    if len(batches) == 1:
        return batches[0]
    return Batch(np.concatenate([b.commands for b in batches]), np.concatenate([b.events for b in batches]))


class Shard:
    """The state of one shard's worker between two steps."""

    def __init__(self, number: int, *, wal_dir: Path, owner: str) -> None:
        """Take the lease and open the WAL.

        Raises:
            LeaseHeldError: Another worker is alive.
            WalDamagedError: The WAL was changed after it was written.
        """
        self.number = number
        lease.open_shard(number)
        self.epoch, self.settled, self._settled_hash = lease.take(number, owner)
        self._wal_dir = wal_dir
        self.wal = Wal.open(wal_dir, shard=number, epoch=self.epoch)
        if self.wal.torn is not None:
            logger.warning("wal_torn_tail_cut", detail=str(self.wal.torn))
        stream_epoch, self.head_at_start = command_log.stream_head(number)
        self.engine = Engine(number, stream_epoch)
        self._settle_events = SETTLE_EVENTS_FIRST

    # --- recovery -----------------------------------------------------------------------------------------
    def recover(self, *, now: datetime) -> int:
        """Replay the WAL and settle what the books lack; return how many commands were replayed.

        A WAL that ends before the books do (its disk was lost) is made good from the log: what was settled may have
        been published, and must not be published as if it were new.

        Raises:
            LogMismatchError: The WAL does not agree with the log, or the replay with the books.
        """
        self._require_wal_follows_log()
        replayed = 0
        for commands, _ in wal.read(self._wal_dir):
            batch = self._match(commands)
            replayed += len(commands)
            unsettled = batch.after(self.settled)
            if unsettled is not None:
                self.settle(unsettled, now=now)
        while self.engine.sequence < self.settled:
            done = self.step(now=now)
            if not done:
                raise LogMismatchError(
                    f"shard {self.number}: the command log ends at {self.engine.sequence}, but the books are settled to"
                    f" {self.settled}. The log may have been restored to an older moment."
                )
            replayed += done
        return replayed

    def _require_wal_follows_log(self) -> None:
        """Compare the WAL's last chain hash with the log's: equal hashes mean equal histories."""
        tail = self.wal.tail
        if tail.sequence == 0:
            return
        expected = command_log.chain_hash(self.number, tail.sequence)
        if expected == tail.chain_hash:
            return
        found = "has another history" if expected is not None else f"ends at {self.head_at_start}"
        raise LogMismatchError(
            f"shard {self.number}: the WAL in {self._wal_dir} ends at command {tail.sequence}, but the command log"
            f" {found}. The database may have been restored to an older moment."
        )

    def _match(self, commands: Rows) -> Batch:
        """Apply commands, and hold the engine's hash against the books' where the cursor stands."""
        batch = Batch(commands, self.engine.apply(commands))
        first, last = int(commands["sequence"][0]), int(commands["sequence"][-1])
        if first <= self.settled <= last:
            at_cursor = batch.events["sequence"] <= self.settled
            found = int(batch.events["state_hash"][at_cursor][-1])
            if found != self._settled_hash:
                raise LogMismatchError(
                    f"shard {self.number}: replay reached hash {found:016x} at command {self.settled}, where the books"
                    f" were settled at {self._settled_hash:016x}"
                )
        return batch

    # --- the road ---------------------------------------------------------------------------------------------
    def read(self) -> tuple[Rows, bytes] | None:
        """Return the next commands of the log and the chain hash at the last of them; None when there are none."""
        commands, hashes = command_log.read(self.number, self.engine.sequence, READ_MAX)
        return (commands, hashes[-1]) if hashes else None

    def journal(self, commands: Rows, chain_hash: bytes) -> None:
        """Make a batch durable in the WAL: the commit point of matching. One write, one sync."""
        self.wal.append(commands, chain_hash)
        self.wal.sync()

    def match(self, commands: Rows) -> Batch:
        """Apply a batch to the books in memory; runs beside `journal`, nothing leaves before both are done."""
        return self._match(commands)

    def settle(self, batch: Batch, *, now: datetime) -> None:
        """Put a batch into the books, in transactions of a bounded number of commands and events.

        Note [Settlement in small parts]
            What a transaction costs follows its events: one order can sweep a thousand others, and the database ends a
            transaction that takes too long. Each part is therefore cut by events too, beginning small, twice as many
            after a short transaction and half as many after a long one. A part that were too much for the database
            would otherwise be too much for the next worker as well, for ever.
        """
        pending = batch.after(self.settled)
        while pending is not None:
            part = pending.first(SETTLE_MAX, self._settle_events)
            started = time.perf_counter()
            self._settle_part(part, now)
            self._adapt(time.perf_counter() - started)
            self.settled = int(part.commands["sequence"][-1])
            pending = pending.after(self.settled)

    def _settle_part(self, part: Batch, now: datetime) -> None:
        """Settle one part; a lock that did not come in time undid the transaction, so that it is simply tried again."""
        for attempt in range(1, SETTLE_ATTEMPTS_MAX + 1):
            try:
                settlement.settle(self.number, self.epoch, part.commands, part.events, now=now)
            except OperationalError as error:
                if not database.is_undone(error) or attempt == SETTLE_ATTEMPTS_MAX:
                    raise
                logger.warning("settlement_waits_for_locks", shard=self.number, attempt=attempt, error=str(error))
            else:
                return

    def _adapt(self, seconds: float) -> None:
        """Choose the size of the next settlement by how long the last one took."""
        if seconds > SETTLE_SECONDS_LONG:
            self._settle_events = max(1, self._settle_events // 2)
        elif seconds < SETTLE_SECONDS_SHORT:
            self._settle_events = min(SETTLE_EVENTS_MAX, 2 * self._settle_events)

    def step(self, *, now: datetime) -> int:
        """Do one round without threads: read, journal, match, settle; return how many commands."""
        got = self.read()
        if got is None:
            return 0
        commands, chain_hash = got
        self.journal(commands, chain_hash)
        self.settle(self.match(commands), now=now)
        return len(commands)

    def close(self) -> None:
        """Stop cleanly: sync the WAL and give the lease back."""
        self.wal.close()
        require(self.wal.tail.sequence == self.engine.sequence, "the WAL and the engine stopped at different commands")
        lease.give_back(self.number, self.epoch)
