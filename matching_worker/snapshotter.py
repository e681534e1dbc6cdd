"""When snapshots are taken: the only place that decides it, writes them beside matching, and applies retention after.

The match thread calls `offer` between two calls of the engine. Mostly that compares two numbers. When a snapshot is
due it copies the state (Note [Snapshot pause] in `snapshot.py`) and a thread does the rest. A snapshot that cannot be
written does not stop matching: the WAL is whole and the older ones stay. It is logged as an error, told in `failure`,
and tried again when the next one is due.

Note [Asking for a snapshot]
    Another process asks by making `snapshots/take.request` with a word of its own in it; the worker looks for it every
    `REQUEST_SECONDS`, removes it, and answers in `snapshots/<word>.answer`, which the asker removes.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson
import structlog

from matching_worker import retention, snapshot
from matching_worker.engine import Engine
from matching_worker.segments import sync_directory
from matching_worker.snapshot import Capture, Capturer

logger = structlog.get_logger(__name__)

REQUEST: Final = "take.request"
REQUEST_SECONDS: Final = 0.2
_ANSWER: Final = ".answer"


class Rules(NamedTuple):
    """When to take a snapshot, and how much to keep.

    Attributes:
        commands: A snapshot is due after so many commands since the last one;
        seconds: or after so long, if there was any command.
    """

    commands: int = 1_000_000
    seconds: float = 600.0
    snapshots_kept: int = retention.SNAPSHOTS_KEPT
    wal_seconds: int = retention.WAL_SECONDS


class Written(NamedTuple):
    """The last snapshot that was written.

    Attributes:
        pause_seconds: How long matching stood still for it.
    """

    path: Path
    sequence: int
    pause_seconds: float


class Snapshotter:
    """Takes the snapshots of one shard.

    Attributes:
        last: The last one written, or None.
        failure: Why the last attempt failed; empty when it did not.
    """

    def __init__(
        self,
        wal_dir: Path,
        *,
        epoch: int,
        rules: Rules,
        chain_hash_at: Callable[[int], bytes | None],
        settled: Callable[[], int],
        clock_ns: Callable[[], int],
    ) -> None:
        """Prepare; nothing is copied or written before the first `offer`.

        Args:
            wal_dir: The shard's folder; snapshots go into a folder in it.
            epoch: The writer's lease epoch.
            rules: When, and how much to keep.
            chain_hash_at: The command log's chain hash at a sequence; called on the writing thread.
            settled: The settlement cursor; called on the writing thread.
            clock_ns: The time, for the header and for the age of segments.
        """
        self._wal_dir = wal_dir
        self._directory = retention.snapshots_of(wal_dir)
        self._epoch = epoch
        self._rules = rules
        self._chain_hash_at = chain_hash_at
        self._settled = settled
        self._clock_ns = clock_ns
        self._capturer = Capturer()
        self._writer: threading.Thread | None = None
        self._due_sequence = rules.commands
        self._due_at = time.monotonic() + rules.seconds
        self._look_at = 0.0
        self._sequence = 0
        self.last: Written | None = None
        self.failure = ""

    def start(self, engine: Engine) -> None:
        """Take note of where a recovered engine is, and make ready the memory that captures need."""
        snapshot.remove_unfinished(self._directory)
        self._capturer.capture(engine)
        self._next_due(engine.sequence)

    def _next_due(self, sequence: int) -> None:
        """Count from here to the next snapshot."""
        self._sequence = sequence
        self._due_sequence = sequence + self._rules.commands
        self._due_at = time.monotonic() + self._rules.seconds

    def offer(self, engine: Engine) -> bool:
        """Take a snapshot if one is due; tell whether matching stood still for it.

        To be called on the thread that owns the engine, between two of its calls, also while there is nothing to do.
        """
        now = time.monotonic()
        asked = ""
        if engine.sequence < self._due_sequence and (now < self._due_at or engine.sequence == self._sequence):
            if now < self._look_at:
                return False
            self._look_at = now + REQUEST_SECONDS
            asked = self._asked()
            if not asked:
                return False
        if self._writer is not None and self._writer.is_alive():
            return False
        if asked:
            (self._directory / REQUEST).unlink(missing_ok=True)
        capture = self._capturer.capture(engine)
        pause = time.monotonic() - now
        self._next_due(engine.sequence)
        self._writer = threading.Thread(target=self._write, args=(capture, pause, asked), name="snapshot", daemon=True)
        self._writer.start()
        return True

    def _asked(self) -> str:
        """Return the word of another process that wants a snapshot, or nothing."""
        try:
            return (self._directory / REQUEST).read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return ""

    def _write(self, capture: Capture, pause_seconds: float, asked: str) -> None:
        """Write a snapshot, apply retention, answer who asked."""
        answer: dict[str, Any] = {"sequence": capture.sequence, "pause_seconds": pause_seconds}
        try:
            path = self._write_one(capture)
            self.last, self.failure = Written(path, capture.sequence, pause_seconds), ""
            answer["path"] = str(path)
            logger.info("snapshot_taken", path=str(path), pause_ms=round(1000 * pause_seconds, 3))
            self._retain()
        except Exception as error:
            self.failure = answer["error"] = f"{type(error).__name__}: {error}"
            logger.exception("snapshot_failed", sequence=capture.sequence)
        if asked:
            self._answer(asked, answer)

    def _write_one(self, capture: Capture) -> Path:
        """Write a snapshot with the log's chain hash."""
        chain_hash = self._chain_hash_at(capture.sequence)
        if chain_hash is None:
            raise ValueError(f"the command log has no command {capture.sequence}")
        return snapshot.write(
            capture, self._directory, epoch=self._epoch, chain_hash=chain_hash, made_at_ns=self._clock_ns()
        )

    def _retain(self) -> None:
        """Apply retention and say what it did."""
        removed = retention.apply(
            self._wal_dir,
            settled=self._settled(),
            now_ns=self._clock_ns(),
            snapshots_kept=self._rules.snapshots_kept,
            wal_seconds=self._rules.wal_seconds,
        )
        for reason in removed.damaged:
            logger.error("snapshot_unusable", detail=reason)
        if removed.snapshots or removed.segments:
            logger.info(
                "storage_released",
                snapshots=len(removed.snapshots),
                segments=len(removed.segments),
                bytes=removed.byte_count,
            )

    def _answer(self, word: str, answer: dict[str, Any]) -> None:
        """Tell who asked what became of it."""
        path = self._directory / f"{Path(word).name}{_ANSWER}"
        unfinished = path.with_suffix(".part")
        unfinished.write_bytes(orjson.dumps(answer))
        unfinished.replace(path)

    def close(self) -> None:
        """Wait until a snapshot that is being written is there."""
        if self._writer is not None:
            self._writer.join()


def ask(wal_dir: Path, word: str, *, wait_seconds: float) -> dict[str, Any] | None:
    """Ask the worker of a WAL for a snapshot: Note [Asking for a snapshot].

    Returns:
        Its answer (`path` or `error`), or None when none came in time; the request is then taken back.
    """
    directory = retention.snapshots_of(wal_dir)
    directory.mkdir(parents=True, exist_ok=True)
    request = directory / REQUEST
    unfinished = directory / f"{word}.part"
    unfinished.write_text(word, encoding="ascii")
    unfinished.replace(request)
    sync_directory(directory)
    answer = directory / f"{word}{_ANSWER}"
    deadline = time.monotonic() + wait_seconds
    while time.monotonic() < deadline:
        if answer.exists():
            content: dict[str, Any] = orjson.loads(answer.read_bytes())
            answer.unlink()
            return content
        time.sleep(REQUEST_SECONDS / 4)
    request.unlink(missing_ok=True)
    return None
