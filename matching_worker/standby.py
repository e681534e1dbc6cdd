"""Beside a shard's worker: a second one that has replayed already, and takes over when the first dies or stalls.

Note [Warm standby]
    The command log is the truth, and the engine is deterministic: whoever applies the log has the books. A follower
    does so with an engine of its own. It touches nothing that the worker writes: no WAL, no snapshot, no feed. It keeps
    the events from the settlement cursor on, for that is what the books may lack when the worker dies, and compares its
    state hash with the books' at the cursor.

    When the lease is free (its owner's session has ended, or it was not renewed for `lease.LEASE_SECONDS`), it takes
    it, opens the WAL, and brings three things to one command. The engine goes on from the log until it has all that
    the WAL and the books have. The WAL gets what it lacks of what the engine has, from the log. The books get what
    they lack, from what was kept. Then it is the worker.

    The folder of the WAL may be another disk's. Where it is empty, a snapshot is taken once all is settled, and the new
    WAL begins after it: `Wal.start_at`. Until that snapshot is there the folder stays empty, which recovery knows.

    What was followed is of no use if the log is another one than it was: restored to an older moment, or of a new epoch
    after `wal cut`. Then the shard recovers as a worker does that was just started.
"""

import time
from collections import deque
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from matching_worker import recovery
from matching_worker.health import REPLAYING, STANDBY
from matching_worker.protocol import Rows
from matching_worker.shard import READ_MAX, Batch, LogMismatchError, Shard, join, objection
from matching_worker.wal import NO_CHAIN_HASH, Tail, WalError
from trading.services import command_log, lease

logger = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 0.1
"""How often a follower looks at lease and cursor."""

TELL_SECONDS: Final = 1.0
"""How often it tells others how far it has come."""

AHEAD_MAX: Final = 100_000
"""A follower waits when it is so many commands ahead of the settlement cursor: it keeps their events."""

WARM_COMMANDS_MAX: Final = 2 * READ_MAX
"""So near to the log's head it has replayed enough to be ready."""


class Follower:
    """A shard's log, replayed beside its worker: Note [Warm standby].

    Attributes:
        engine: Has applied all commands up to `tail`.
        tail: The last command applied, and the log's chain hash at it.
        standing: How the shard stood when it was last looked at.
    """

    def __init__(self, number: int, *, wal_dir: Path) -> None:
        """Begin with the newest good snapshot that settlement has passed, if the folder has one."""
        self.number = number
        self.standing = lease.look(number)
        found = recovery.start(
            wal_dir,
            shard=number,
            stream_epoch=self.standing.stream_epoch,
            at_most=self.standing.settled,
            objection=partial(objection, number),
        )
        for reason in found.refused:
            logger.warning("snapshot_unusable", shard=number, detail=reason)
        self.engine = found.engine
        chain_hash = found.header.chain_hash if found.header else NO_CHAIN_HASH
        self.tail = Tail(self.engine.sequence, chain_hash)
        self._kept: deque[Batch] = deque()
        self._looked_at = self._told_at = -TELL_SECONDS

    @property
    def behind(self) -> int:
        """Return how many commands of the log it had not applied when it last looked."""
        return max(0, self.standing.head - self.engine.sequence)

    @property
    def is_warm(self) -> bool:
        """Tell whether it could take over at once."""
        return self.behind <= WARM_COMMANDS_MAX or self.engine.sequence >= self.standing.settled + AHEAD_MAX

    def describe(self) -> dict[str, object]:
        """Return what /health says of it."""
        return {
            "status": STANDBY if self.is_warm else REPLAYING,
            "sequence": self.engine.sequence,
            "behind": self.behind,
            "settled": self.standing.settled,
            "worker": self.standing.owner,
        }

    def follow(self) -> int:
        """Apply the log's next commands, and keep what the books lack; return how many there were.

        Raises:
            LogMismatchError: The replay is not what was settled.
        """
        if self.engine.sequence >= self.standing.settled + AHEAD_MAX:
            return 0
        commands, hashes = command_log.read(self.number, self.engine.sequence, READ_MAX)
        if hashes:
            self._apply(commands, hashes[-1])
        return len(commands)

    def _apply(self, commands: Rows, chain_hash: bytes) -> None:
        """Apply commands of the log, and keep their events."""
        batch = Batch(commands, self.engine.apply(commands))
        self.tail = Tail(int(commands["sequence"][-1]), chain_hash)
        self._kept.append(batch)
        if int(commands["sequence"][0]) <= self.standing.settled:
            self._pass()

    def look(self, owner: str) -> bool:
        """Look at lease and cursor, now and then; tell whether the lease is free.

        Args:
            owner: Who follows, for others to see.

        Raises:
            LogMismatchError: The replay is not what was settled.
        """
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS:
            return False
        self._looked_at = now
        self.standing = lease.look(self.number)
        self._pass()
        if now - self._told_at >= TELL_SECONDS:
            self._told_at = now
            lease.tell_standby(self.number, owner, self.engine.sequence, self.behind)
        return self.standing.is_free

    def _pass(self) -> None:
        """Drop what the books have, comparing the hash at the cursor."""
        settled, state_hash = self.standing.settled, self.standing.state_hash
        while self._kept and int(self._kept[0].commands["sequence"][0]) <= settled:
            batch = self._kept.popleft()
            if int(batch.commands["sequence"][-1]) >= settled:
                found = int(batch.events["state_hash"][batch.events["sequence"] <= settled][-1])
                if found != state_hash:
                    raise LogMismatchError(
                        f"shard {self.number}: replay reached hash {found:016x} at command {settled}, where the books"
                        f" were settled at {state_hash:016x}"
                    )
            rest = batch.after(settled)
            if rest is not None:
                self._kept.appendleft(rest)

    def is_usable(self, shard: Shard) -> bool:
        """Tell whether the log is still the one that was followed."""
        if self.standing.stream_epoch != shard.stream_epoch:
            return False
        sequence, chain_hash = self.tail
        return sequence == 0 or command_log.chain_hash(self.number, sequence) == chain_hash

    def reach(self, sequence: int, *, settled: int, state_hash: int) -> None:
        """Apply the log up to a command at least.

        Args:
            sequence: What WAL or books have.
            settled: The settlement cursor, where it stays from now on.
            state_hash: The engine's there.

        Raises:
            LogMismatchError: The replay is not what was settled, or the log has no such command.
        """
        self.standing = self.standing._replace(settled=settled, state_hash=state_hash)
        self._pass()
        while self.engine.sequence < sequence:
            missing = sequence - self.engine.sequence
            commands, hashes = command_log.read(self.number, self.engine.sequence, min(READ_MAX, missing))
            if not hashes:
                raise LogMismatchError(
                    f"shard {self.number}: the command log ends at {self.engine.sequence}, but WAL or books have"
                    f" command {sequence}. The log may have been restored to an older moment."
                )
            self._apply(commands, hashes[-1])

    def unsettled(self) -> list[Batch]:
        """Return what the books lack of what was applied, and keep it no more."""
        kept, self._kept = list(self._kept), deque()
        return kept


def take_over(shard: Shard, follower: Follower, *, now: datetime) -> None:
    """Make a follower's engine that of a shard whose lease was just taken: Note [Warm standby].

    Raises:
        LogMismatchError: WAL, log and books do not agree.
        WalError: The WAL is empty, and no snapshot can be written for it to begin after.
    """
    if not follower.is_usable(shard):
        logger.warning("standby_log_changed", shard=shard.number, sequence=follower.tail.sequence)
        shard.recover(now=now)
        return
    shard.require_wal_follows_log()
    wal = shard.wal
    follower.reach(max(shard.settled, wal.tail.sequence), settled=shard.settled, state_hash=shard.settled_hash)
    engine = shard.engine = follower.engine
    is_empty = wal.tail.sequence == 0
    while not is_empty and wal.tail.sequence < engine.sequence:
        missing = engine.sequence - wal.tail.sequence
        commands, hashes = command_log.read(shard.number, wal.tail.sequence, min(READ_MAX, missing))
        shard.journal(commands, hashes[-1])
    unsettled = follower.unsettled()
    if unsettled:
        shard.settle(join(unsettled), now=now)  # as one: a transaction for each of many small batches takes seconds
    if is_empty and engine.sequence > 0:
        wal.start_at(follower.tail)
        if not shard.snapshotter.take(engine):
            raise WalError(f"{wal.directory}: no WAL can begin here without a snapshot: {shard.snapshotter.failure}")
    shard.snapshotter.start(engine)
