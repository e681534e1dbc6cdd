"""When snapshots are taken: the only place that decides it, writes them beside matching, and applies retention after.

A thread looks every `LOOK_SECONDS` whether one is due. If so it holds the engine for as long as copying its state takes
(Note [Snapshot pause] in `snapshot.py`), and does the rest while matching goes on. A snapshot that cannot be written
does not stop matching: the WAL is whole and the older ones stay. It is logged as an error, told in `failure`, and tried
again when the next one is due.

Note [Asking for a snapshot]
    Another process asks by making `snapshots/take.request` with a word of its own in it; the worker's thread finds it,
    removes it, and answers in `snapshots/<word>.answer`, which the asker removes.
"""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson
import structlog

from matching_worker import retention, snapshot
from matching_worker.engine import Engine
from matching_worker.segments import sync_directory
from matching_worker.snapshot import Capturer

logger = structlog.get_logger(__name__)

REQUEST: Final = "take.request"
LOOK_SECONDS: Final = 0.2
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
        engine_held: AbstractContextManager[Any],
        chain_hash_at: Callable[[int], bytes | None],
        settled: Callable[[], int],
        clock_ns: Callable[[], int],
    ) -> None:
        """Prepare; nothing is copied or written before `start`.

        Args:
            wal_dir: The shard's folder; snapshots go into a folder in it.
            epoch: The writer's lease epoch.
            rules: When, and how much to keep.
            engine_held: A lock; while it is held, no command is applied.
            chain_hash_at: The command log's chain hash at a sequence.
            settled: The settlement cursor.
            clock_ns: The time, for the header and for the age of segments.
        """
        self._wal_dir = wal_dir
        self._directory = retention.snapshots_of(wal_dir)
        self._epoch = epoch
        self._rules = rules
        self._engine_held = engine_held
        self._chain_hash_at = chain_hash_at
        self._settled = settled
        self._clock_ns = clock_ns
        self._capturer = Capturer()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._sequence = 0
        self._since = 0.0
        self.last: Written | None = None
        self.failure = ""

    def start(self, engine: Engine) -> None:
        """Watch a recovered engine from here on, after making ready the memory that captures need."""
        snapshot.remove_unfinished(self._directory)
        self._capturer.capture(engine)
        self._sequence, self._since = engine.sequence, time.monotonic()
        self._thread = threading.Thread(target=self._watch, args=(engine,), name="snapshot", daemon=True)
        self._thread.start()

    def _watch(self, engine: Engine) -> None:
        """Take snapshots when they are due or asked for, until closed."""
        while not self._stopping.wait(LOOK_SECONDS):
            asked = self._asked()
            if asked or self._is_due(engine.sequence):
                self.take(engine, asked=asked)

    def _is_due(self, sequence: int) -> bool:
        """Tell whether the rules want a snapshot now."""
        commands, seconds = sequence - self._sequence, time.monotonic() - self._since
        return commands >= self._rules.commands or (commands > 0 and seconds >= self._rules.seconds)

    def _asked(self) -> str:
        """Return the word of another process that wants a snapshot, or nothing; the request is gone then."""
        request = self._directory / REQUEST
        try:
            word = request.read_text(encoding="ascii").strip()
            request.unlink()
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            logger.error("snapshot_request_unreadable", path=str(request), detail=str(error))  # noqa: TRY400
            return ""
        return word

    def take(self, engine: Engine, *, asked: str = "") -> bool:
        """Take a snapshot now, apply retention, answer who asked; tell whether the snapshot is there."""
        with self._engine_held:
            started = time.monotonic()
            capture = self._capturer.capture(engine)
            pause_seconds = time.monotonic() - started
        self._sequence, self._since = capture.sequence, time.monotonic()
        answer: dict[str, Any] = {"sequence": capture.sequence, "pause_seconds": pause_seconds}
        try:
            path = self._write_one(capture)
            self.last, self.failure = Written(path, capture.sequence, pause_seconds), ""
            answer["path"] = str(path)
            logger.info("snapshot_taken", path=str(path), pause_ms=round(1000 * pause_seconds, 3))
            self._retain()
            if asked:
                self._answer(asked, answer)
        except Exception as error:  # noqa: BLE001 -- whatever it is, matching goes on, and it is told
            self.failure = answer["error"] = f"{type(error).__name__}: {error}"
            logger.error("snapshot_failed", sequence=capture.sequence, detail=self.failure)  # noqa: TRY400 -- in words
            if asked:
                self._tell_failure(asked, answer)
        return not self.failure

    def _write_one(self, capture: snapshot.Capture) -> Path:
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

    def _tell_failure(self, word: str, answer: dict[str, Any]) -> None:
        """Tell who asked that it failed, if the disk takes as much as that."""
        try:
            self._answer(word, answer)
        except OSError as error:
            logger.error("snapshot_answer_failed", detail=str(error))  # noqa: TRY400 -- the failure itself is logged

    def describe(self) -> dict[str, Any]:
        """Return what /health says of snapshots; `failure` is empty when the last one was written."""
        last = self.last
        return {
            "sequence": last.sequence if last else 0,
            "pause_ms": round(1000 * last.pause_seconds, 3) if last else 0,
            "failure": self.failure,
        }

    def close(self) -> None:
        """Stop watching, after a snapshot that is being written is there."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()


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
        time.sleep(LOOK_SECONDS / 4)
    request.unlink(missing_ok=True)
    return None
