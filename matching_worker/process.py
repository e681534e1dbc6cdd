"""The matching worker's process: gives a shard its stages, and ends when any of them cannot go on.

    log ─▶ [receive] ─▶ ring ─┬─▶ [journal] WAL, one fsync ─┬─▶ [publish] ─▶ Redis
                              └─▶ [match]   engine ─────────┴─▶ [settle]  ─▶ PostgreSQL
           [lease] renews every 300 ms                          [http] /health and /metrics

Each stage is a thread that follows by sequence (`stages.py`, `ring.py`). Nothing is published or settled before
it is durable in the WAL. A thread that fails ends the process at once: whatever was not settled is settled by the
next one, from the WAL and the log.
"""

import gc
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import structlog
from django.db import OperationalError, connection, connections

from exchange.kernel import garbage
from exchange.kernel.clock import utc_now
from exchange.kernel.errors import InvariantViolationError, require
from exchange.observability import metrics
from marketdata import feed
from marketdata import selectors as instruments
from marketdata.models import Instrument
from marketdata.services.publish import Publisher
from matching_worker import counting, disk, stages
from matching_worker.health import HEALTHY, STARTING, HealthServer
from matching_worker.match_loop import MatchLoop
from matching_worker.outlet import Matched, Release
from matching_worker.protocol import Rows
from matching_worker.receiving import Receiver
from matching_worker.ring import Ring
from matching_worker.shard import READ_MAX, Batch, Shard, join
from matching_worker.stages import Journal, StageThreads
from matching_worker.standby import Follower, take_over
from trading.services import expiry, lease, settlement

logger = structlog.get_logger(__name__)

LOOK_SECONDS = 0.02
"""Between two looks at what another thread, or another process, is to do."""

COMMANDS_JOINED_MAX = 4_000
"""Commands that are published, or settled, together, unless one call of the engine had more."""

CLOCK_SECONDS = 1.0
"""How often it is looked whether an order's time is over."""

LEASE_WAIT_SECONDS = 5.0
DATABASE_WAIT_SECONDS = 30.0
"""How long a start waits for a database that does not take connections: asking again costs less than starting again."""

SILENT_SECONDS_MAX = 10.0
"""A database that has answered no renewal for so long is cut off or hangs, and the process ends."""

WATCH_SECONDS = 0.5
LEASE_LOOKS_MAX = 250
"""How often, at LOOK_SECONDS, it is looked whether the lease is renewed in time; then the process ends."""

HOST_CHARACTERS_MAX = 32
"""Of the owner's name, which must differ from that of any other process, also of one with this number elsewhere."""

NS_PER_MS = 1_000_000
NS_PER_SECOND = 1_000_000_000


class WorkerProcess:
    """One shard's worker, until `stop` is called or something cannot go on."""

    def __init__(
        self,
        number: int,
        *,
        wal_dir: Path,
        redis_url: str,
        http_port: int,
        cores: Mapping[str, int] | None = None,
        standby: bool = False,
    ) -> None:
        """Prepare a worker.

        Args:
            cores: The processor of each stage that shall stay on one: `affinity.py`.
            standby: While another one has the lease, follow it and wait: `standby.py`.
        """
        self.number = number
        self._redis_url = redis_url
        self._http_port = http_port
        self._wal_dir = wal_dir
        self._cores = cores or {}
        self._stopping = threading.Event()
        self._finished = threading.Event()
        self._counted = (time.monotonic(), 0)
        self._leased_at = time.monotonic()
        self._is_recovered = False
        self._standby = standby
        self._follower: Follower | None = None
        self._silent_since = 0.0
        self._keeping: list[threading.Thread] = []
        self._is_watched = False
        self._owner = f"{socket.gethostname()[:HOST_CHARACTERS_MAX]}:{os.getpid()}:{secrets.token_hex(3)}"

    def stop(self) -> None:
        """Ask for a clean stop; safe in a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Recover, then work until stopped; returns after a clean stop."""
        health = HealthServer(self._http_port, self._health)
        try:
            lease.name_sessions(self.number, self._owner)
            _await_database()
            if self._take_shard():
                self._recover()
                self._work()
        finally:
            health.close()
            connections.close_all()

    def _recover(self) -> None:
        """Bring engine, WAL and books to one command."""
        started, follower = time.monotonic(), self._follower
        if follower is None:
            replayed = self.shard.recover(now=utc_now())
        else:
            replayed = max(self.shard.settled, self.shard.wal.tail.sequence) - follower.engine.sequence
            take_over(self.shard, follower, now=utc_now())
            self._follower = None
        logger.info(
            "recovered",
            shard=self.number,
            epoch=self.shard.epoch,
            replayed=max(0, replayed),
            sequence=self.shard.engine.sequence,
            seconds=round(time.monotonic() - started, 3),
        )

    def _work(self) -> None:
        """Run the stages until stopped."""
        self.publisher = Publisher(self._redis_url, epoch=self.shard.epoch, shard=self.number)
        self._reset_feed()
        self.ring = Ring(stages.STAGES, start=self.shard.engine.sequence)
        working = self._stages(self.ring)
        self._is_recovered = True
        ticking = self._thread("clock", self._tick)
        # What recovery has left stays: no collection shall walk through it again while orders wait. Who takes over has
        # collected before it followed; half a second counts then.
        if not self._silent_since:
            gc.collect()
        gc.freeze()
        garbage.search_rarely()
        sys.setswitchinterval(stages.SWITCH_SECONDS)
        self._tell_takeover()
        self.shard.keep_step()
        try:
            working.start()
            stages.pin(stages.RECEIVE, self._cores)
            self._receive()
        except BaseException:
            logger.exception("worker_failed", shard=self.number)
            os._exit(1)
        ticking.join()
        self.ring.close()
        working.join()
        self._finished.set()
        for thread in self._keeping:
            thread.join()
        self.publisher.close()
        self.shard.close()

    def _stages(self, ring: Ring) -> StageThreads:
        """Return the threads that follow the receive stage."""
        match = MatchLoop(ring, self.shard.engine, self.shard.engine_held)
        works: dict[str, stages.Work] = {
            stages.JOURNAL: Journal(ring, self._write_ahead),
            stages.MATCH: match,
            stages.PUBLISH: Release(match.outlet(), self._publish, commands_max=COMMANDS_JOINED_MAX),
            stages.SETTLE: Release(match.outlet(), self._settle, commands_max=COMMANDS_JOINED_MAX),
        }
        return StageThreads(
            ring,
            works,
            on_failure=self._end_process,
            on_end=connections.close_all,
            cores=self._cores,
            spins={stages.MATCH: 0},  # it has looked already
        )

    def _end_process(self, thread: str) -> None:
        """End at once, telling why: nothing may act on what another thread has failed to do."""
        error = sys.exc_info()[1]
        if isinstance(error, (lease.LeaseLostError, settlement.FencedError)):  # no fault of this process
            logger.error("lease_lost", thread=thread, shard=self.number, detail=str(error))
            os._exit(1)
        logger.exception("worker_thread_failed", thread=thread, shard=self.number)  # noqa: LOG004 - called by handlers
        os._exit(1)

    def _take_shard(self) -> bool:
        """Take the lease as soon as it is free; tell whether it came before a stop.

        A worker that stands by follows until then. Another one waits for the lease of one that has just died.

        Raises:
            LeaseHeldError: Another worker lives, and this one does not stand by.
        """
        deadline = time.monotonic() + LEASE_WAIT_SECONDS
        while not self._stopping.is_set():
            self._leased_at = time.monotonic()
            try:
                self.shard = Shard(self.number, wal_dir=self._wal_dir, owner=self._owner, on_lease=self._keep_lease)
            except lease.LeaseHeldError:
                if self._standby:
                    self._follow()
                    continue
                if time.monotonic() > deadline:
                    raise
                time.sleep(lease.RENEW_SECONDS)
            else:
                lease.forget_standby(self.number, self._owner)
                return True
        lease.forget_standby(self.number, self._owner)
        return False

    def _follow(self) -> None:
        """Replay the log beside the worker that has the lease, until the lease is free or this one is stopped."""
        if self._follower is None:
            self._follower = Follower(self.number, wal_dir=self._wal_dir)
            gc.collect()
            gc.freeze()
        follower = self._follower
        self._watch_database()
        while not self._stopping.is_set():
            self._leased_at = time.monotonic()
            if follower.look(self._owner):
                self._silent_since = time.monotonic() - follower.standing.silent_seconds
                return
            metrics.STANDBY_BEHIND.labels(self.number).set(follower.behind)
            if follower.follow() < READ_MAX:
                time.sleep(LOOK_SECONDS)

    def _keep_lease(self, epoch: int) -> None:
        """Renew the lease from here on, on a thread of its own, and watch that it is."""
        self._epoch = epoch
        self._keeping.append(self._thread("lease", self._renew))
        self._watch_database()

    def _watch_database(self) -> None:
        """Watch that the database answers, from here on."""
        if not self._is_watched:
            self._is_watched = True
            self._keeping.append(self._thread("watch", self._watch))

    def _tell_takeover(self) -> None:
        """Tell for how long the shard had no worker: since the last sign of life of the one before."""
        if not self._silent_since:
            return
        seconds = time.monotonic() - self._silent_since
        metrics.STANDBY_BEHIND.labels(self.number).set(0)
        metrics.TAKEOVER_SECONDS.labels(self.number).set(seconds)
        logger.warning("shard_taken_over", shard=self.number, epoch=self._epoch, seconds=round(seconds, 3))

    def _thread(self, name: str, work: Callable[[], None]) -> threading.Thread:
        """Start a thread whose failure ends the process."""

        def guarded() -> None:
            try:
                work()
            except BaseException:  # noqa: BLE001 - logged there
                self._end_process(name)
            finally:
                connections.close_all()

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        return thread

    # --- stages and threads -------------------------------------------------------------------------------------
    def _renew(self) -> None:
        """Keep the lease until everything is settled."""
        while not self._finished.wait(lease.RENEW_SECONDS):
            asked_at = time.monotonic()
            lease.renew(self.number, self._epoch)
            self._leased_at = asked_at

    def _watch(self) -> None:
        """End the process when the database has been silent for long.

        A network may be cut without a word: then every thread waits for an answer that never comes, and nothing fails.
        Looks are counted, not seconds: a process that was stopped and is woken renews first.
        """
        seen, silent_looks = self._leased_at, 0
        while not self._finished.wait(WATCH_SECONDS):
            silent_looks = silent_looks + 1 if self._leased_at == seen else 0
            seen = self._leased_at
            is_silent = silent_looks * WATCH_SECONDS > SILENT_SECONDS_MAX
            require(not is_silent, f"shard {self.number}: the database does not answer")

    def _tick(self) -> None:
        """Put the time into the log when an order's is over."""
        while not self._stopping.wait(CLOCK_SECONDS):
            metrics.WAL_FREE_BYTES.labels(self.number).set(disk.free_bytes(self._wal_dir) or 0)
            expiry.tell_time(self.number, now=utc_now())

    def _await_lease(self) -> None:
        """Return once the lease is certainly this worker's.

        A process that was stopped for longer than its lease may have a successor, whose WAL continues where this one's
        ended: it must write nothing more. Its next renewal says so and ends it.

        Looks are counted, not seconds: a process that was stopped and is woken renews first.

        Raises:
            InvariantViolationError: The database answers so slowly that no renewal is known before it has expired.
        """
        for _ in range(LEASE_LOOKS_MAX):
            if time.monotonic() - self._leased_at <= lease.LEASE_SECONDS:
                return
            time.sleep(LOOK_SECONDS)
        raise InvariantViolationError(f"shard {self.number}: to renew the lease takes longer than it lasts")

    def _receive(self) -> None:
        """Put the log's commands on the ring."""
        receiver = Receiver(self.number)
        receive = self.ring.number(stages.RECEIVE)
        while not self._stopping.is_set():
            commands, chain_hashes = receiver.next(self.ring.sequence(receive))
            if len(commands):
                self.ring.put(commands, chain_hashes)

    def _write_ahead(self, commands: Rows, chain_hash: bytes) -> None:
        """Append and sync what waits."""
        self._await_lease()
        started = time.perf_counter()
        self.shard.journal(commands, chain_hash)
        metrics.FSYNC_SECONDS.observe(time.perf_counter() - started)

    def _publish(self, matched: list[Matched]) -> None:
        """Let events out, and count them."""
        require(self.publisher.is_running, "the feed's thread has ended")
        started = time.perf_counter()
        for piece in matched:
            self.publisher.publish(piece.events, counting.taken_marks(piece))
            self._count_calls(piece)
            counting.count(piece)
            self._count_throughput(len(piece.commands))
        metrics.STAGE_SECONDS.labels("publish").observe(time.perf_counter() - started)
        require(not self.publisher.fenced, f"shard {self.number}: a later worker publishes; the lease is lost")

    def _count_calls(self, matched: Matched) -> None:
        """Tell how long the engine took, for each of its calls."""
        calls = matched.calls
        seconds = (calls["ended_ns"] - calls["started_ns"]) / NS_PER_SECOND
        commands = np.diff(calls["last"], prepend=int(matched.commands["sequence"][0]) - 1)
        for took, count in zip(seconds.tolist(), commands.tolist(), strict=True):
            metrics.STAGE_SECONDS.labels("engine").observe(took)
            metrics.MATCHING_LATENCY.labels(self.number).observe(took * 1e6 / count)

    def _settle(self, matched: list[Matched]) -> None:
        """Put what piled up into the books."""
        started = time.perf_counter()
        self.shard.settle(join([Batch(piece.commands, piece.events) for piece in matched]), now=utc_now())
        metrics.STAGE_SECONDS.labels("settlement").observe(time.perf_counter() - started)
        metrics.SETTLEMENT_LAG.labels(self.number).set(self.shard.engine.sequence - self.shard.settled)

    def _count_throughput(self, commands: int) -> None:
        """Tell the rate of the last second or more."""
        since, done = self._counted
        seconds, done = time.monotonic() - since, done + commands
        self._counted = (since, done)
        if seconds >= 1:
            metrics.MATCHING_THROUGHPUT.labels(self.number).set(done / seconds)
            self._counted = (time.monotonic(), 0)

    # --- what others see ----------------------------------------------------------------------------------
    def _reset_feed(self) -> None:
        """Give the publisher the recovered books."""
        engine = self.shard.engine
        Instrument.revision += 1  # read anew: one may have moved to another shard a moment ago
        specs = [spec for spec in instruments.instruments() if spec.shard == self.number]
        self.publisher.reset(
            specs,
            {spec.id: engine.levels(spec.id) for spec in specs},
            engine.sequence,
            trades={spec.id: (engine.trade_number(spec.id), engine.last_price_ticks(spec.id)) for spec in specs},
            minutes={spec.id: instruments.minutes(spec, utc_now()) for spec in specs},
            auctions={
                spec.id: feed.Auction(engine.trading_state(spec.id), *engine.indication(spec.id)) for spec in specs
            },
            marks={spec.id: engine.mark_price_ticks(spec.id) for spec in specs},
            timestamp_ms=engine.time_ns // NS_PER_MS,
        )

    def _health(self) -> dict[str, object]:
        """Return what /health of the worker says."""
        if not hasattr(self, "shard"):
            following = self._follower.describe() if self._follower else {"status": STARTING}
            return {"shard": self.number, **following}
        return {
            "status": HEALTHY if self._is_recovered else "recovering",
            "shard": self.number,
            "epoch": self.shard.epoch,
            "sequence": self.shard.engine.sequence,
            "settled": self.shard.settled,
            "open_orders": self.shard.engine.open_order_count,
            "stages": self.ring.sequences() if hasattr(self, "ring") else {},
            "wal_free_bytes": disk.free_bytes(self._wal_dir),
            "snapshot": self.shard.snapshotter.describe(),
        }


def _await_database() -> None:
    """Wait until the database takes connections.

    Raises:
        OperationalError: It has not for long.
    """
    deadline = time.monotonic() + DATABASE_WAIT_SECONDS
    while True:
        try:
            connection.ensure_connection()
        except OperationalError as error:
            if time.monotonic() > deadline:
                raise
            logger.warning("worker_waits_for_database", error=str(error).strip())
            time.sleep(lease.RENEW_SECONDS)
        else:
            return
