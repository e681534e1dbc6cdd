"""The matching worker's process: gives a shard its threads, and ends when any of them cannot go on.

    log -> [match] journal (fsync) beside engine -> publish -> Redis
                                                 -> [settle] -> PostgreSQL
           [lease] renews every 300 ms           [http] /health and /metrics

Nothing is published or settled before its batch is durable in the WAL. A thread that fails ends the process at once:
whatever was not settled is settled by the next one, from the WAL and the log.
"""

import os
import queue
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import structlog
from django.db import connections

from exchange.kernel.clock import utc_now
from exchange.kernel.errors import require
from exchange.observability import metrics
from marketdata import selectors as instruments
from marketdata.services.publish import Publisher
from matching_worker.health import HEALTHY, HealthServer
from matching_worker.protocol import CommandKind, EventKind, Reason, Rows
from matching_worker.shard import Batch, Shard, join
from trading.services import command_log, lease

logger = structlog.get_logger(__name__)

WAKE_SECONDS = 0.02
"""How long a sleeping worker waits for a NOTIFY before it looks at the log by itself."""

SETTLE_QUEUE_MAX = 256
"""Batches matched ahead of settlement; the match thread waits beyond it."""

BATCHES_JOINED_MAX = 64
"""Batches that one settlement may take together."""

SLEEP_AFTER_EMPTY_READS = 3
LEASE_WAIT_SECONDS = 5.0


class WorkerProcess:
    """One shard's worker, until `stop` is called or something cannot go on."""

    def __init__(self, number: int, *, wal_dir: Path, redis_url: str, http_port: int) -> None:
        self.number = number
        self._redis_url = redis_url
        self._http_port = http_port
        self._wal_dir = wal_dir
        self._stopping = threading.Event()
        self._finished = threading.Event()
        self._to_settle: queue.Queue[Batch | None] = queue.Queue(SETTLE_QUEUE_MAX)
        self._journal = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._counted = (time.monotonic(), 0)
        self._leased_at = time.monotonic()
        self._is_recovered = False

    def stop(self) -> None:
        """Ask for a clean stop; safe in a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Recover, then work until stopped; returns after a clean stop."""
        self.shard = self._take_shard()
        renewing = self._thread("lease", self._renew)
        health = HealthServer(self._http_port, self._health)
        started = time.monotonic()
        replayed = self.shard.recover(now=utc_now())
        logger.info(
            "recovered",
            shard=self.number,
            epoch=self.shard.epoch,
            replayed=replayed,
            sequence=self.shard.engine.sequence,
            seconds=round(time.monotonic() - started, 3),
        )
        self.publisher = Publisher(self._redis_url, epoch=self.shard.epoch)
        self._reset_feed()
        settling = self._thread("settle", self._settle)
        self._is_recovered = True
        try:
            self._match()
        except BaseException:
            logger.exception("worker_failed", shard=self.number)
            os._exit(1)
        self._to_settle.put(None)
        settling.join()
        self._finished.set()
        renewing.join()
        self.publisher.close()
        self._journal.shutdown()
        self.shard.close()
        health.close()
        connections.close_all()

    def _take_shard(self) -> Shard:
        """Take the lease, waiting for that of a worker that has just died."""
        owner = f"{socket.gethostname()}:{os.getpid()}"
        deadline = time.monotonic() + LEASE_WAIT_SECONDS
        while True:
            self._leased_at = time.monotonic()
            try:
                return Shard(self.number, wal_dir=self._wal_dir, owner=owner)
            except lease.LeaseHeldError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(lease.RENEW_SECONDS)

    def _thread(self, name: str, work: Callable[[], None]) -> threading.Thread:
        """Start a thread whose failure ends the process."""

        def guarded() -> None:
            try:
                work()
            except BaseException:
                logger.exception("worker_thread_failed", thread=name, shard=self.number)
                os._exit(1)
            finally:
                connections.close_all()

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        return thread

    # --- threads --------------------------------------------------------------------------------------------
    def _renew(self) -> None:
        """Keep the lease until everything is settled."""
        while not self._finished.wait(lease.RENEW_SECONDS):
            asked_at = time.monotonic()
            lease.renew(self.number, self.shard.epoch)
            self._leased_at = asked_at

    def _await_lease(self) -> None:
        """Return once the lease is certainly this worker's.

        A process that was stopped for longer than its lease may have a successor, whose WAL continues where this one's
        ended: it must write nothing more. Its next renewal says so and ends it.
        """
        while time.monotonic() - self._leased_at > lease.LEASE_SECONDS:
            time.sleep(WAKE_SECONDS)

    def _match(self) -> None:
        """Read, journal beside matching, publish, hand over to settlement; sleep when there is nothing."""
        command_log.listen(self.number)
        empty_reads = 0
        asleep = False
        while not self._stopping.is_set():
            started = time.perf_counter()
            got = self.shard.read()
            if got is None:
                empty_reads += 1
                if empty_reads == SLEEP_AFTER_EMPTY_READS and not asleep:
                    command_log.set_asleep(self.number, asleep=True)
                    metrics.MATCHING_THROUGHPUT.labels(self.number).set(0)
                    asleep = True
                elif asleep:
                    command_log.wait(WAKE_SECONDS)
                continue
            metrics.STAGE_SECONDS.labels("read").observe(time.perf_counter() - started)
            if asleep and empty_reads == 0:
                command_log.set_asleep(self.number, asleep=False)
                asleep = False
            empty_reads = 0
            self._one_batch(*got)
            require(not self.publisher.fenced, f"shard {self.number}: a later worker publishes; the lease is lost")

    def _one_batch(self, commands: Rows, chain_hash: bytes) -> None:
        """Make a batch durable while it is matched; when both are done, let its events out."""
        durable = self._journal.submit(self._write_ahead, commands, chain_hash)
        started = time.perf_counter()
        batch = self.shard.match(commands)
        matched = time.perf_counter()
        durable.result()
        require(self.publisher.is_running, "the feed's thread has ended")
        self.publisher.publish(batch.events)
        self._to_settle.put(batch)
        _count(self.number, batch, matched - started)
        self._count_throughput(len(commands))

    def _count_throughput(self, commands: int) -> None:
        """Tell the rate of the last second or more."""
        since, done = self._counted
        seconds, done = time.monotonic() - since, done + commands
        self._counted = (since, done)
        if seconds >= 1:
            metrics.MATCHING_THROUGHPUT.labels(self.number).set(done / seconds)
            self._counted = (time.monotonic(), 0)

    def _write_ahead(self, commands: Rows, chain_hash: bytes) -> None:
        """Append and sync one batch."""
        self._await_lease()
        started = time.perf_counter()
        self.shard.journal(commands, chain_hash)
        metrics.FSYNC_SECONDS.observe(time.perf_counter() - started)

    def _settle(self) -> None:
        """Settle what waits, several batches at once when they have piled up."""
        while (batch := self._to_settle.get()) is not None:
            waiting = [batch]
            ended = False
            while len(waiting) < BATCHES_JOINED_MAX and not ended:
                try:
                    more = self._to_settle.get_nowait()
                except queue.Empty:
                    break
                ended = more is None
                if more is not None:
                    waiting.append(more)
            started = time.perf_counter()
            self.shard.settle(join(waiting), now=utc_now())
            metrics.STAGE_SECONDS.labels("settlement").observe(time.perf_counter() - started)
            metrics.SETTLEMENT_LAG.labels(self.number).set(self.shard.engine.sequence - self.shard.settled)
            if ended:
                return

    # --- what others see ----------------------------------------------------------------------------------
    def _reset_feed(self) -> None:
        """Give the publisher the recovered books."""
        engine = self.shard.engine
        specs = [spec for spec in instruments.instruments() if spec.shard == self.number]
        self.publisher.reset(
            specs,
            {spec.id: engine.levels(spec.id) for spec in specs},
            engine.sequence,
            trades={spec.id: (engine.trade_number(spec.id), engine.last_price_ticks(spec.id)) for spec in specs},
            minutes={spec.id: instruments.minutes(spec, utc_now()) for spec in specs},
        )

    def _health(self) -> dict[str, object]:
        """Return what /health of the worker says."""
        return {
            "status": HEALTHY if self._is_recovered else "recovering",
            "shard": self.number,
            "epoch": self.shard.epoch,
            "sequence": self.shard.engine.sequence,
            "settled": self.shard.settled,
            "open_orders": self.shard.engine.open_order_count,
        }


def _count(shard: int, batch: Batch, seconds: float) -> None:
    """Feed the metrics that the mission names, once a batch."""
    commands, events = batch.commands, batch.events
    metrics.STAGE_SECONDS.labels("engine").observe(seconds)
    metrics.MATCHING_LATENCY.labels(shard).observe(seconds * 1e6 / len(commands))
    for instrument_id in np.unique(commands["instrument_id"]).tolist():
        symbol = instruments.instrument_by_id(instrument_id).symbol
        own = events[events["instrument_id"] == instrument_id]
        fills = own[own["kind"] == EventKind.FILL]
        placed = commands[(commands["instrument_id"] == instrument_id) & (commands["kind"] == CommandKind.PLACE)]
        cancelled = own[(own["kind"] == EventKind.CANCELLED) & (own["reason"] == Reason.USER)]
        metrics.ORDERS_PROCESSED.labels(symbol).inc(len(placed))
        metrics.ORDERS_CANCELLED.labels(symbol).inc(len(cancelled))
        metrics.TRADES_EXECUTED.labels(symbol).inc(len(fills))
        lot = instruments.instrument_by_id(instrument_id).lot_size
        metrics.TRADE_VOLUME.labels(symbol).inc(float(lot) * int(fills["qty_lots"].sum()))
