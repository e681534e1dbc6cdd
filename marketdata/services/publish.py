"""Publishes what the engine did: books, trades, candles, tickers, auctions. Runs in the matching worker.

`publish` only hands the events over; a thread of its own keeps the mirror and talks to Redis, so
that a slow or absent Redis never holds up matching. What Redis missed is repaired from the mirror.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import redis
from django.conf import settings

from exchange.kernel.errors import DomainError
from exchange.observability import metrics
from marketdata import feed, selectors
from marketdata.mirror import Book, Mirror, Step
from marketdata.services.streams import BEAT_SECONDS, Stream
from marketdata.services.transport import Outcome, Pair, Transport, Write
from marketdata.units import InstrumentSpec
from matching_worker.protocol import Rows

logger = logging.getLogger(__name__)

EVENTS_QUEUED_MAX: Final = 200_000
"""Events waiting for the thread (26 MB); beyond it the caller folds them into the mirror itself."""
RETRY_SECONDS: Final = 0.25
WRITES_PER_TRIP_MAX: Final = 200
LEVELS_PER_TRIP_MAX: Final = 20_000
"""A trip is one command to Redis, which has nothing else done meanwhile: whole books go by few at a time."""


class Publisher:
    """Owns the feed of one shard.

    Note [Two locks]
        `_mirror_lock` guards books and streams; the thread holds it while it takes events in and
        writes messages, never while it waits for Redis. `_wake` guards the queue, for moments.
        Where both are needed the mirror's comes first. `publish` takes only `_wake`, except when
        the queue is full.

    Args:
        redis_url: Where books and messages go.
        epoch: The writer's lease epoch; consumers and Redis refuse older ones.
        prefix: The channel layer's; by default that of the settings.
        shard: Whose instruments these are; of others, which have moved away, nothing is published. None takes all.
        instrument: Finds the instrument of an id that appeared after `reset`.
    """

    def __init__(
        self,
        redis_url: str,
        *,
        epoch: int = 1,
        prefix: str | None = None,
        shard: int | None = None,
        instrument: Callable[[int], InstrumentSpec] = selectors.instrument_by_id,
    ) -> None:
        layer: dict[str, Any] = settings.CHANNEL_LAYERS["default"]["CONFIG"]  # type: ignore[assignment]
        self._transport = Transport(redis_url, epoch=epoch, prefix=prefix or layer.get("prefix", "asgi"))
        self._epoch = epoch
        self._shard = shard
        self._instrument = instrument
        self._mirror = Mirror()
        self._streams: dict[int, Stream] = {}
        self._mirror_lock = threading.RLock()
        self._queue: deque[tuple[Rows, Rows | None]] = deque()
        self._queued = 0
        self._wake = threading.Condition()
        self._is_sending = False
        self._is_closing = False
        self._is_prodded = False
        self._away_until = 0.0
        self.fenced = False
        """True once Redis held a later epoch: this process has lost its lease."""
        self.overflows = 0
        """How often the queue was full."""
        self.failures = 0
        """How often Redis did not answer."""
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether the thread that sends is alive; without it the feed stands still."""
        return self._thread.is_alive()

    def reset(
        self,
        specs: Iterable[InstrumentSpec],
        levels: Mapping[int, tuple[Rows, Rows]],
        sequence: int,
        *,
        trades: Mapping[int, tuple[int, int]] | None = None,
        minutes: Mapping[int, Sequence[feed.Bar]] | None = None,
        auctions: Mapping[int, feed.Auction] | None = None,
        marks: Mapping[int, int] | None = None,
        timestamp_ms: int = 0,
    ) -> None:
        """Take over the recovered books; Redis is rewritten and clients take new snapshots.

        Args:
            specs: Every instrument of the shard.
            levels: By instrument id, `Engine.levels`: rows of price, lots, orders, best first.
            sequence: `Engine.sequence`: events up to it are in `levels`.
            trades: By instrument id, `Engine.trade_number` and `Engine.last_price_ticks`.
            minutes: By instrument id, the last 24 hours of candles: `selectors.minutes`.
            auctions: By instrument id, `Engine.trading_state` and `Engine.indication`.
            marks: By instrument id, `Engine.mark_price_ticks`.
            timestamp_ms: `Engine.time_ns` in milliseconds: when all this was so.
        """
        with self._mirror_lock, self._wake:
            self._queue.clear()
            self._queued = 0
            self._mirror = Mirror()
            self._mirror.sequence = sequence
            self._streams = {}
            for spec in specs:
                book = Book(spec, sequence=sequence)
                if spec.id in levels:
                    book.load(*levels[spec.id])
                book.remember((minutes or {}).get(spec.id, ()))
                book.trade_number, book.last_ticks = (trades or {}).get(spec.id, (0, 0))
                book.auction = (auctions or {}).get(spec.id, feed.Auction())
                book.mark_ticks = (marks or {}).get(spec.id, 0)
                book.timestamp_ms = timestamp_ms
                self._add(book)
            self._is_prodded = True
            self._wake.notify_all()

    def publish(self, events: Rows, marks: Rows | None = None) -> None:
        """Hand over what the engine did; returns at once.

        Args:
            events: (event_count,) EVENT_DTYPE; whole commands, in order. The publisher keeps the array.
            marks: (mark_count,) COMMAND_DTYPE, those of the kinds `mirror.TOLD` that were not refused; the publisher
                keeps the array.
        """
        if not len(events):
            return
        self._meet(events)
        with self._wake:
            self._queue.append((events, marks))
            self._queued += len(events)
            is_full = self._queued > EVENTS_QUEUED_MAX
            self._is_prodded = True
            self._wake.notify_all()
        if is_full:
            self.overflows += 1
            with self._mirror_lock:
                for step in self._take_in():
                    self._streams[step.book.spec.id].lose()

    def flush(self, seconds: float) -> bool:
        """Wait until everything handed over is in Redis; tell whether it is."""
        deadline = time.monotonic() + seconds
        while self._is_unfinished():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            with self._wake:
                self._wake.wait(min(left, 0.02))
        return True

    def close(self, seconds: float = 2.0) -> None:
        """Send what is left, if Redis lets us, and stop the thread."""
        self.flush(seconds)
        with self._wake:
            self._is_closing = True
            self._wake.notify_all()
        self._thread.join(timeout=seconds)
        self._transport.close()

    def _add(self, book: Book) -> None:
        """Begin an instrument's feed."""
        self._mirror.books[book.spec.id] = book
        self._streams[book.spec.id] = Stream(book, epoch=self._epoch)

    def _meet(self, events: Rows) -> None:
        """Begin the feeds of instruments that were created after `reset`."""
        for instrument_id in set(events["instrument_id"].tolist()) - self._streams.keys():
            try:
                spec = self._instrument(instrument_id)
            except DomainError:  # a refused command for an instrument that does not exist
                continue
            if self._shard not in {None, spec.shard}:
                continue
            with self._mirror_lock:
                self._add(Book(spec, sequence=self._mirror.sequence))

    def _is_unfinished(self) -> bool:
        """Tell whether anything waits for Redis."""
        with self._mirror_lock, self._wake:
            return not self.fenced and (
                self._is_sending
                or bool(self._queue)
                or any(not stream.is_finished for stream in self._streams.values())
            )

    def _run(self) -> None:
        """Send what waits, and what is due, until closed."""
        while True:
            due_at = self._due_at()
            with self._wake:
                self._is_sending = False
                self._wake.notify_all()
                self._wake.wait_for(lambda: self._is_prodded or self._is_closing, max(0.0, due_at - time.monotonic()))
                if self._is_closing:
                    return
                self._is_prodded = False
                self._is_sending = True
            self._send()

    def _due_at(self) -> float:
        """Return the monotonic moment until which the thread may sleep if nothing is handed over."""
        now = time.monotonic()
        if self.fenced:
            return now + BEAT_SECONDS
        if now < self._away_until:
            return self._away_until
        with self._mirror_lock:
            return min((stream.due_at() for stream in self._streams.values()), default=now + BEAT_SECONDS)

    def _send(self) -> None:
        """Take in what waits and send it, then what is due of the conflated channels."""
        writes: list[tuple[Stream, Write]] = []
        with self._mirror_lock:
            steps = self._take_in()
            if self.fenced:
                return
            if time.monotonic() < self._away_until:
                for step in steps:
                    self._streams[step.book.spec.id].lose()
                return
            writes = self._writes(steps)
        try:
            for trip in _trips(writes):
                self._commit(trip)
            self._send_conflated()
        except (redis.exceptions.RedisError, OSError) as error:
            self.failures += 1
            self._away_until = time.monotonic() + RETRY_SECONDS
            logger.warning("feed_redis_away error=%s", error)
            with self._mirror_lock:
                for stream, _ in writes:
                    stream.lose()

    def _take_in(self) -> list[Step]:
        """Take everything that waits into the mirror; the caller holds the mirror's lock."""
        with self._wake:
            waiting = list(self._queue)
            self._queue.clear()
            self._queued = 0
        if not waiting:
            return []
        events = waiting[0][0] if len(waiting) == 1 else np.concatenate([events for events, _ in waiting])
        marks = [marks for _, marks in waiting if marks is not None]
        steps = self._mirror.apply(events, np.concatenate(marks) if marks else None)
        for step in steps:
            self._streams[step.book.spec.id].note(step)
            for side, levels in zip(("bid", "ask"), step.book.sides, strict=True):
                metrics.ORDERBOOK_DEPTH.labels(step.book.spec.symbol, side).set(len(levels))
        return steps

    def _writes(self, steps: Iterable[Step]) -> list[tuple[Stream, Write]]:
        """Return what every stream has for Redis now."""
        now = time.monotonic()
        stepped = {step.book.spec.id: step for step in steps}
        found = [(stream, stream.write(stepped.get(key), now)) for key, stream in self._streams.items()]
        return [(stream, write) for stream, write in found if write is not None]

    def _commit(self, writes: list[tuple[Stream, Write]]) -> None:
        """Send one trip of writes and note what became of each."""
        outcomes = self._transport.commit(write for _, write in writes)
        now = time.monotonic()
        with self._mirror_lock:
            for (stream, write), outcome in zip(writes, outcomes, strict=True):
                stream.settle(write, outcome, now)
                if outcome is Outcome.FENCED and not self.fenced:
                    self.fenced = True
                    logger.critical("feed_fenced epoch=%s symbol=%s", self._epoch, write.symbol)

    def _send_conflated(self) -> None:
        """Send the depth, tickers, candles and auctions that are owed and due."""
        now = time.monotonic()
        pairs: list[Pair] = []
        sent = []
        for stream in list(self._streams.values()):
            with self._mirror_lock:
                added = stream.conflated(self._mirror.sequence, now)
            if added:
                pairs += added
                sent.append(stream)
        if not pairs:
            return
        try:
            self._transport.send_latest(pairs)
        except (redis.exceptions.RedisError, OSError):
            with self._mirror_lock:
                for stream in sent:
                    stream.owe_conflated()
            raise


def _trips(writes: Iterable[tuple[Stream, Write]]) -> Iterator[list[tuple[Stream, Write]]]:
    """Cut writes into trips, each within both limits unless one write alone is beyond them."""
    trip: list[tuple[Stream, Write]] = []
    levels = 0
    for each in writes:
        levels += len(each[1].levels)
        if trip and (len(trip) == WRITES_PER_TRIP_MAX or levels > LEVELS_PER_TRIP_MAX):
            yield trip
            trip, levels = [], len(each[1].levels)
        trip.append(each)
    if trip:
        yield trip
