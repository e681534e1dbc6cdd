"""What one instrument's channels are owed, and the messages that settle it. No Redis, no threads."""

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from marketdata import feed
from marketdata.levels import ASKS, BIDS
from marketdata.mirror import Book, Step
from marketdata.services.transport import Mode, Outcome, Pair, Write

DEPTH_SECONDS: Final = 0.1
TICKER_SECONDS: Final = 0.25
KLINE_SECONDS: Final = 0.25
AUCTION_SECONDS: Final = 0.1
BEAT_SECONDS: Final = 1.0
"""How often a quiet book's consumers hear where the stream stands: how long a loss can stay unseen."""
TRADES_KEPT_MAX: Final = 10_000
"""Trade messages kept while Redis is away; older ones are lost to the feed, not to REST."""
CONFLATED: Final = {
    "depth": DEPTH_SECONDS,
    "ticker": TICKER_SECONDS,
    "kline": KLINE_SECONDS,
    "auction": AUCTION_SECONDS,
}


class Stream:
    """One instrument's feed: the book, what was sent, what is still to be sent."""

    def __init__(self, book: Book, *, epoch: int) -> None:
        self.book = book
        self.rewrite: Mode | None = Mode.START
        """How Redis' copy of the book must be rewritten; None while it is in step."""
        self._epoch = epoch
        self._trades: deque[tuple[int, str]] = deque(maxlen=TRADES_KEPT_MAX)
        self._sequence_sent = book.sequence
        self._owed: set[str] = set()
        self._due = dict.fromkeys(CONFLATED, 0.0)
        self._beat_due = 0.0

    @property
    def is_finished(self) -> bool:
        """Tell whether nothing waits."""
        return not (self.rewrite or self._trades or self._owed)

    def note(self, step: Step) -> None:
        """Remember what a step owes, apart from its delta."""
        self._trades.extend(step.trades)
        if step.changes or step.trades:
            self._owed |= {"depth", "ticker"}
        if step.trades:
            self._owed.add("kline")
        if step.has_new_auction:
            self._owed |= {"auction", "ticker"}
        if step.has_new_mark:
            self._owed.add("ticker")

    def lose(self) -> None:
        """Note that a delta will not be sent: the whole book must be written before the next."""
        self.rewrite = self.rewrite or Mode.WHOLE

    def owe_conflated(self) -> None:
        """Note that the conflated channels must be sent (again)."""
        self._owed |= set(CONFLATED)

    def due_at(self) -> float:
        """Return the monotonic moment at which there is something to send."""
        if self.rewrite or self._trades:
            return 0.0
        return min([self._beat_due, *(self._due[kind] for kind in self._owed)])

    def write(self, step: Step | None, now: float) -> Write | None:
        """Return what must go to Redis now: the whole book, a delta, trades, a beat, or nothing."""
        if self.rewrite:
            return self._whole(self.rewrite)
        if (step and step.changes) or self._trades or now >= self._beat_due:
            return self._step(step)
        return None

    def settle(self, write: Write, outcome: Outcome, now: float) -> None:
        """Note what became of a write."""
        if outcome is not Outcome.OK:
            self.lose()
            return
        self._beat_due = now + BEAT_SECONDS
        self._sequence_sent = write.sequence
        if write.mode is not Mode.STEP:
            # The book may have moved on while this was on its way; then it is written once more.
            self.rewrite = None if write.sequence == self.book.sequence else Mode.WHOLE
        while self._trades and self._trades[0][0] <= write.trade_number:
            self._trades.popleft()

    def conflated(self, sequence: int, now: float) -> list[Pair]:
        """Return the depth, ticker, candle and auction messages that are owed and due.

        Args:
            sequence: The last command seen; orders these messages.
            now: Monotonic seconds.
        """
        pairs: list[Pair] = []
        for kind in sorted(kind for kind in self._owed if self._due[kind] <= now):
            self._owed.discard(kind)
            self._due[kind] = now + CONFLATED[kind]
            writers = {"depth": self._depth, "ticker": self._ticker, "kline": self._klines, "auction": self._auction}
            texts = writers[kind](sequence)
            pairs += [(name, self._envelope(name, 0, sequence, [text])) for name, text in texts]
        return pairs

    def _step(self, step: Step | None) -> Write:
        """Return the write of a delta and trades; without either, of a beat."""
        book, previous = self.book, self._sequence_sent
        pairs = self._trade_pairs()
        changes = step.changes if step else []
        if changes:
            text = feed.delta_text(
                book.spec,
                changes,
                sequence=book.sequence,
                previous=previous,
                timestamp_ms=book.timestamp_ms,
            )
            pairs.append(self._pair("delta", previous, book.sequence, [text]))
        elif not pairs:
            pairs.append(self._pair("delta", previous, previous, [], feed.Mark.BEAT))
        levels = [(change.side, change.ticks, change.total) for change in changes]
        return self._written(Mode.STEP, levels, pairs)

    def _whole(self, mode: Mode) -> Write:
        """Return the write of the whole book, with the mark that makes consumers take a snapshot."""
        book = self.book
        self.owe_conflated()
        pairs = self._start_marks() if mode is Mode.START else []
        pairs += self._trade_pairs()
        mark = feed.Mark.START if mode is Mode.START else feed.Mark.GAP
        pairs.append(self._pair("delta", 0, book.sequence, [], mark))
        levels = [(side, *level) for side in (BIDS, ASKS) for level in book.sides[side].items()]
        return self._written(mode, levels, pairs)

    def _written(self, mode: Mode, levels: list[tuple[int, int, int]], pairs: list[Pair]) -> Write:
        """Put a write together."""
        book = self.book
        trade_number = self._trades[-1][0] if self._trades else 0
        return Write(
            mode,
            book.spec.symbol,
            self._sequence_sent,
            book.sequence,
            book.timestamp_ms,
            levels,
            pairs,
            trade_number,
        )

    def _start_marks(self) -> list[Pair]:
        """Return the marks that make consumers forget what an earlier writer sent."""
        sent = self._trades[0][0] - 1 if self._trades else self.book.trade_number
        pairs = [self._pair("trade", 0, sent, [], feed.Mark.START)]
        pairs += [self._pair(kind, 0, 0, [], feed.Mark.START) for kind in ("depth", "ticker", "auction")]
        for interval in feed.INTERVALS:
            name = feed.channel("kline", self.book.spec.symbol, interval)
            pairs.append((name, self._envelope(name, 0, 0, [], feed.Mark.START)))
        return pairs

    def _trade_pairs(self) -> list[Pair]:
        """Return the message of the trades that wait."""
        if not self._trades:
            return []
        first, last = self._trades[0][0], self._trades[-1][0]
        return [self._pair("trade", first - 1, last, [text for _, text in self._trades])]

    def _depth(self, _: int) -> list[tuple[str, str]]:
        """Return the top of the book."""
        book = self.book
        message = feed.book_message(
            "depth", book.spec, *book.top(), sequence=book.sequence, timestamp_ms=book.timestamp_ms
        )
        return [(feed.channel("depth", book.spec.symbol), feed.dumps(message))]

    def _ticker(self, sequence: int) -> list[tuple[str, str]]:
        """Return the last 24 hours and the best prices."""
        book = self.book
        message = feed.ticker_message(
            book.spec,
            book.last_day(),
            state=book.auction.state,
            last_ticks=book.last_ticks,
            mark_ticks=book.mark_ticks,
            bid_ticks=book.best(BIDS),
            ask_ticks=book.best(ASKS),
            sequence=sequence,
            timestamp_ms=book.timestamp_ms,
        )
        return [(feed.channel("ticker", book.spec.symbol), feed.dumps(message))]

    def _auction(self, sequence: int) -> list[tuple[str, str]]:
        """Return what the instrument allows, and the price of its auction."""
        book = self.book
        message = feed.auction_message(book.spec, book.auction, sequence=sequence, timestamp_ms=book.timestamp_ms)
        return [(feed.channel("auction", book.spec.symbol), feed.dumps(message))]

    def _klines(self, sequence: int) -> list[tuple[str, str]]:
        """Return the open candle of every interval."""
        spec = self.book.spec
        return [
            (
                feed.channel("kline", spec.symbol, interval),
                feed.kline_text(spec, interval, bar, sequence=sequence),
            )
            for interval, bar in self.book.bars.items()
        ]

    def _pair(self, kind: str, previous: int, sequence: int, texts: Sequence[str], mark: str = feed.Mark.NONE) -> Pair:
        """Wrap texts for one of this instrument's channels."""
        name = feed.channel(kind, self.book.spec.symbol)
        return name, self._envelope(name, previous, sequence, texts, mark)

    def _envelope(
        self, name: str, previous: int, sequence: int, texts: Sequence[str], mark: str = feed.Mark.NONE
    ) -> dict[str, Any]:
        """Wrap texts with this writer's epoch."""
        return feed.envelope(name, epoch=self._epoch, previous=previous, sequence=sequence, texts=texts, mark=mark)
