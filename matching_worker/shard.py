"""One shard's matching, without threads: recover, then read, journal, match, settle. `process.py` gives it threads.

Django is allowed here (the log and the settlement are in PostgreSQL); the engine and the WAL below know nothing of it.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np
import structlog
from django.conf import settings
from django.db import InternalError, OperationalError, connection

from exchange import database
from exchange.kernel.clock import now_ns
from exchange.kernel.errors import InvariantViolationError, require
from matching_worker import recovery
from matching_worker.engine import Engine
from matching_worker.engine_held import EngineHeld
from matching_worker.protocol import Rows
from matching_worker.snapshot import SnapshotHeader
from matching_worker.snapshotter import Rules, Snapshotter
from matching_worker.wal import SyncPolicy, Tail, Wal
from trading.services import command_log, lease, settlement, suspense
from trading.services.turnstile import Turnstile

logger = structlog.get_logger(__name__)

READ_MAX = 2_000
"""Commands in one batch: one WAL write, one call of the engine."""

SETTLE_MAX = 1_000
"""Commands in one settlement transaction, at most."""

SETTLE_EVENTS_FIRST = 200
SETTLE_EVENTS_LITTLE = 500
SETTLE_EVENTS_MAX = 1_000
DOOR_SECONDS_AIM = 0.02
DOOR_SECONDS_LONG = 0.025
SETTLE_SECONDS_LONG = 0.75
"""Note [Settlement in small parts]"""

SETTLE_ATTEMPTS_MAX = 30
"""How often one part is tried while others keep its traders' gates, each attempt waiting for `lock_timeout`; and how
often a lone command that takes longer than a transaction may."""

DURABLE_WAIT_SECONDS = 10.0
"""How long a snapshot waits for the WAL to have its last command."""


class LogMismatchError(Exception):
    """The WAL and the command log tell different stories: the database went back in time, or a WAL is not its own."""


class TooSlowError(Exception):
    """The database ended a settlement that took longer than a transaction may; nothing of it is in the books."""


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


def _rules() -> Rules:
    """Return when snapshots are taken and what is kept, as configured."""
    return Rules(
        commands=settings.SNAPSHOT_COMMANDS,
        seconds=settings.SNAPSHOT_SECONDS,
        snapshots_kept=settings.SNAPSHOTS_KEPT,
        wal_seconds=settings.WAL_RETENTION_DAYS * 24 * 3600,
    )


def objection(shard: int, header: SnapshotHeader) -> str:
    """Say why a whole snapshot may not be used: its commands are not the log's."""
    if command_log.chain_hash(shard, header.sequence) == header.chain_hash:
        return ""
    return f"has another history than the command log at command {header.sequence}"


class Shard:
    """The state of one shard's worker between two steps."""

    def __init__(
        self, number: int, *, wal_dir: Path, owner: str, on_lease: Callable[[int], None] = lambda _: None
    ) -> None:
        """Take the lease and open the WAL.

        Args:
            on_lease: Called with the epoch, before what may take longer than the lease lasts.

        Raises:
            LeaseHeldError: Another worker is alive.
            WalDamagedError: The WAL was changed after it was written.
        """
        self.number = number
        policy = SyncPolicy.parse(
            settings.WAL_SYNC_POLICY, loss_allowed=settings.DEBUG or settings.WAL_SYNC_LOSS_ALLOWED
        )
        lease.open_shard(number)
        self.epoch, self.settled, self.settled_hash = lease.take(number, owner)
        on_lease(self.epoch)
        self._wal_dir = wal_dir
        self.stream_epoch, self.head_at_start = command_log.stream_head(number)
        newest = recovery.newest_sequence(wal_dir, at_most=self.settled)
        self.wal = Wal.open(wal_dir, shard=number, epoch=self.epoch, after=newest, policy=policy)
        if self.wal.torn is not None:
            logger.warning("wal_torn_tail_cut", detail=str(self.wal.torn))
        self.engine = Engine(number, self.stream_epoch)
        self.engine_held = EngineHeld()
        self.snapshotter = Snapshotter(
            wal_dir,
            epoch=self.epoch,
            rules=_rules(),
            engine_held=self.engine_held,
            chain_hash_at=self._chain_hash_at,
            settled=lambda: self.settled,
            clock_ns=now_ns,
        )
        self._settle_events = SETTLE_EVENTS_FIRST
        self._turnstile: Turnstile | None = None

    def _chain_hash_at(self, sequence: int) -> bytes | None:
        """Return the log's chain hash at a command, once the WAL has it; runs on the thread that writes snapshots.

        A snapshot is thus never ahead of the WAL. The WAL remembers the hashes at the ends of its last frames; for a
        command inside a frame the log is asked, on this thread's own connection.
        """
        found = self.wal.hash_when_durable(sequence, wait_seconds=DURABLE_WAIT_SECONDS)
        if found is not None:
            return found
        try:
            return command_log.chain_hash(self.number, sequence)
        finally:
            connection.close()

    def keep_step(self) -> None:
        """Let admission keep step with what one thread settles from now on: its connection has the locks.

        Recovery settles without it, on a connection that outlives it and would keep what it closed.
        """
        self._turnstile = Turnstile(self.number, lambda last: self.engine.sequence > last)

    # --- recovery -----------------------------------------------------------------------------------------
    def recover(self, *, now: datetime) -> int:
        """Load a snapshot, replay the WAL after it, settle what the books lack; return how many commands were replayed.

        What the WAL lacks is made good from the log: before it, where retention removed segments that a snapshot
        stood for which is now unusable; after it, where its disk was lost. What was settled may have been published,
        and must not be published as if it were new.

        Raises:
            LogMismatchError: The WAL does not agree with the log, or the replay with the books.
            WalDamagedError: The WAL was changed after it was written.
        """
        self.require_wal_follows_log()
        self._load_snapshot()
        replayed = self._replay_log_before_wal(now=now)
        for commands, _ in recovery.blocks(self._wal_dir, after=self.engine.sequence):
            self._replay(commands, now=now)
            replayed += len(commands)
        if self.engine.sequence < self.settled:
            logger.warning("wal_ends_before_books", shard=self.number, wal=self.engine.sequence, books=self.settled)
        while self.engine.sequence < self.settled:
            done = self.step(now=now)
            if not done:
                raise LogMismatchError(
                    f"shard {self.number}: the command log ends at {self.engine.sequence}, but the books are settled to"
                    f" {self.settled}. The log may have been restored to an older moment."
                )
            replayed += done
        self.snapshotter.start(self.engine)
        return replayed

    def _load_snapshot(self) -> None:
        """Take the newest good snapshot that settlement and the WAL have passed; say why newer ones were not taken.

        Settlement starts at its cursor and needs the events from there on, so a later snapshot is of no use. With a
        WAL that is lost, the new one begins where the snapshot ends.
        """
        tail = self.wal.tail.sequence
        found = recovery.start(
            self._wal_dir,
            shard=self.number,
            stream_epoch=self.stream_epoch,
            at_most=min(self.settled, tail) if tail else self.settled,
            objection=partial(objection, self.number),
        )
        for reason in found.refused:
            logger.error("snapshot_unusable", shard=self.number, detail=reason)
        if found.header is None:
            return
        header = found.header
        logger.info("snapshot_loaded", shard=self.number, path=str(header.path), sequence=header.sequence)
        if header.sequence == self.settled and header.state_hash != self.settled_hash:
            raise LogMismatchError(
                f"shard {self.number}: {header.path} has hash {header.state_hash:016x} at command {self.settled}, where"
                f" the books were settled at {self.settled_hash:016x}"
            )
        self.engine = found.engine
        if not tail:
            self.wal.start_at(Tail(header.sequence, header.chain_hash))

    def _replay_log_before_wal(self, *, now: datetime) -> int:
        """Replay from the log what lies between the engine and the first command of the WAL."""
        replayed = 0
        before = recovery.wal_start(self._wal_dir)
        if before > self.engine.sequence:
            logger.warning("replaying_log_before_wal", shard=self.number, after=self.engine.sequence, up_to=before)
        while self.engine.sequence < before:
            commands, _ = command_log.read(
                self.number, self.engine.sequence, min(READ_MAX, before - self.engine.sequence)
            )
            if not len(commands):
                raise LogMismatchError(
                    f"shard {self.number}: the command log ends at {self.engine.sequence}, but the WAL in"
                    f" {self._wal_dir} begins after {before}, and no usable snapshot stands for what is between."
                )
            self._replay(commands, now=now)
            replayed += len(commands)
        return replayed

    def _replay(self, commands: Rows, *, now: datetime) -> None:
        """Apply commands that are durable already, and settle what the books lack of them."""
        unsettled = self._match(commands).after(self.settled)
        if unsettled is not None:
            self.settle(unsettled, now=now)

    def require_wal_follows_log(self) -> None:
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
        with self.engine_held:
            batch = Batch(commands, self.engine.apply(commands))
        first, last = int(commands["sequence"][0]), int(commands["sequence"][-1])
        if first <= self.settled <= last:
            at_cursor = batch.events["sequence"] <= self.settled
            found = int(batch.events["state_hash"][at_cursor][-1])
            if found != self.settled_hash:
                raise LogMismatchError(
                    f"shard {self.number}: replay reached hash {found:016x} at command {self.settled}, where the books"
                    f" were settled at {self.settled_hash:016x}"
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
        """Apply a batch to the books in memory, without the match stage's loop."""
        return self._match(commands)

    def settle(self, batch: Batch, *, now: datetime) -> None:
        """Put a batch into the books, in transactions of a bounded number of commands and events.

        Note [Settlement in small parts]
            What a transaction costs follows its events: one order can sweep a thousand others, and the database ends a
            transaction that takes too long. Each part is therefore cut by events too, beginning small. Up to
            SETTLE_EVENTS_LITTLE parts grow whatever they cost, unless a whole transaction comes near to what the
            database allows: most of its time may have been waiting for gates, and smaller parts would wait for them
            more often. Beyond, others pay for a large part by waiting for the ledger's door, so the time for which it
            was kept decides. It does not below: with busy processors even a small part keeps the door for long, and
            parts that shrank for that would settle nothing any more (seen: 10 orders each, and the lag grew). A part
            that were too much for the database would otherwise be too much for the next worker as well, for ever.
        """
        pending = batch.after(self.settled)
        while pending is not None:
            part = pending.first(SETTLE_MAX, self._settle_events)
            started = time.perf_counter()
            door_seconds = self._settle_part(part, now)
            self._adapt(door_seconds, time.perf_counter() - started)
            self.settled = int(part.commands["sequence"][-1])
            pending = pending.after(self.settled)

    def _settle_part(self, part: Batch, now: datetime) -> float:
        """Settle one part; what the database refuses of it is halved until one command is left: Note [Suspense].

        So is a part that takes longer than a transaction may, for this machine or that database may be slow just now.
        Each half is a transaction of its own, with its own move of the cursor: whoever is killed between two goes on
        after the last that was committed.

        Returns:
            For how many seconds a transaction kept the ledger's door, at most.

        Raises:
            TooSlowError: A lone command was too slow again and again.
        """
        try:
            return self._with_patience(settlement.settle, part, now)
        except TooSlowError:
            if len(part.commands) == 1:
                raise
        except Exception as error:
            if not database.is_refusal(error):
                raise
            logger.exception("settlement_refused", shard=self.number, commands=len(part.commands))
            if len(part.commands) == 1:
                return self._with_patience(suspense.settle, part, now)
        first = part.first(len(part.commands) // 2, len(part.events))
        door_seconds = self._settle_part(first, now)
        rest = part.after(int(first.commands["sequence"][-1]))
        require(rest is not None, "half of a part of several commands is all of it")
        return max(door_seconds, self._settle_part(rest, now))  # type: ignore[arg-type]  # required above

    def _with_patience(self, settle: Callable[..., float], part: Batch, now: datetime) -> float:
        """Settle; a lock that did not come in time undid the transaction, so that it is simply tried again.

        Raises:
            TooSlowError: It was, and nothing of it is in the books. A lone command is tried again first.
        """
        for attempt in range(1, SETTLE_ATTEMPTS_MAX + 1):
            is_last = attempt == SETTLE_ATTEMPTS_MAX
            started = time.perf_counter()
            try:
                return settle(self.number, self.epoch, part.commands, part.events, now=now, turnstile=self._turnstile)
            except (OperationalError, InternalError) as error:
                seconds = time.perf_counter() - started
                if database.is_undone(error) and not is_last:
                    logger.warning("settlement_waits_for_locks", shard=self.number, attempt=attempt, error=str(error))
                    continue
                if not database.was_too_slow(error, seconds):
                    raise
                if self._is_in_books(part):
                    return seconds
                logger.warning("settlement_too_slow", shard=self.number, attempt=attempt, commands=len(part.commands))
                if len(part.commands) > 1 or is_last:
                    raise TooSlowError(
                        f"shard {self.number}: {len(part.commands)} commands took {seconds:.1f} s"
                    ) from error
        raise InvariantViolationError("the last attempt to settle returns or raises")

    def _is_in_books(self, part: Batch) -> bool:
        """Tell, over a new connection, whether a part was committed before the old connection was lost."""
        connection.close_if_unusable_or_obsolete()
        return settlement.cursor(self.number, self.epoch) >= int(part.commands["sequence"][-1])

    def _adapt(self, door_seconds: float, seconds: float) -> None:
        """Choose the size of the next settlement: Note [Settlement in small parts].

        Args:
            door_seconds: For how long the last one kept the ledger's door.
            seconds: How long it took altogether.
        """
        events = self._settle_events
        if seconds > SETTLE_SECONDS_LONG:
            self._settle_events = max(1, events // 2)
        elif events < SETTLE_EVENTS_LITTLE:
            if seconds < SETTLE_SECONDS_LONG / 2:
                self._settle_events = min(SETTLE_EVENTS_MAX, 2 * events)
        elif door_seconds > DOOR_SECONDS_LONG:
            self._settle_events = max(SETTLE_EVENTS_LITTLE, events // 2)
        elif door_seconds < DOOR_SECONDS_AIM:
            self._settle_events = min(SETTLE_EVENTS_MAX, math.ceil(events * min(2.0, DOOR_SECONDS_AIM / door_seconds)))

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
        """Stop cleanly: finish a snapshot, sync the WAL and give the lease back."""
        self.snapshotter.close()
        self.wal.close()
        require(self.wal.tail.sequence == self.engine.sequence, "the WAL and the engine stopped at different commands")
        lease.give_back(self.number, self.epoch)
