"""The write-ahead log of one shard: the worker's verified copy of the command log, and its commit point.

What stands on the disk, and how a torn end differs from damage, is told in `frames.py`.

Note [Sync policy]
    `always`, the default: `sync` returns when the disk has what was appended. `interval:<ms>`: `sync` returns when the
    system has it, and a thread makes it durable every so many milliseconds. A crash of the process alone loses
    nothing then; a power cut may lose what was published in the last interval. The command log still has those
    commands, and gives them again; but between power cut and restart the promise "published means durable" does not
    hold on this machine. It is therefore for development, and refused without DEBUG unless explicitly allowed.
"""

import os
import threading
import time
from collections import deque
from pathlib import Path
from typing import Final, NamedTuple, Self

import numpy as np

from exchange.kernel.errors import require
from matching_worker.frames import (
    CHAIN_HASH_BYTES,
    NO_CHAIN_HASH,
    SEGMENT_HEADER_BYTES,
    SegmentReader,
    Tail,
    WalDamagedError,
    WalError,
    WalVersionError,
    pack_frame,
    pack_segment_header,
)
from matching_worker.protocol import Rows
from matching_worker.segments import read, read_segments, segment_path, set_aside, sync_directory

__all__ = [
    "NO_CHAIN_HASH",
    "SyncPolicy",
    "Tail",
    "Torn",
    "Wal",
    "WalDamagedError",
    "WalError",
    "WalVersionError",
    "read",
]

SEGMENT_BYTES_MAX: Final = 64 * 1024 * 1024
FRAME_COMMANDS_MAX: Final = 1 << 16
SYNC_INTERVAL_MS_MAX: Final = 60_000
TAILS_REMEMBERED: Final = 4096
"""Ends of the last syncs whose chain hashes `hash_when_durable` can tell."""


class SyncPolicy(NamedTuple):
    """When what was appended is made durable: Note [Sync policy].

    Attributes:
        interval_ms: 0 for `always`.
    """

    interval_ms: int = 0

    @classmethod
    def parse(cls, text: str, *, loss_allowed: bool) -> Self:
        """Read a policy as it is configured: `always` or `interval:<milliseconds>`.

        Args:
            loss_allowed: Whether losing the last interval in a power cut has been accepted.

        Raises:
            WalError: It is neither, or it loses the guarantee and that was not allowed.
        """
        name, _, number = text.partition(":")
        if name == "always" and not number:
            return cls()
        if name != "interval" or not number.isdecimal() or not 0 < int(number) <= SYNC_INTERVAL_MS_MAX:
            raise WalError(
                f"WAL sync policy {text!r}: it must be `always` or `interval:<1 to {SYNC_INTERVAL_MS_MAX}>`, in ms"
            )
        if not loss_allowed:
            raise WalError(
                f"WAL sync policy {text!r} may lose published trades in a power cut. It is refused without "
                "DEBUG unless WAL_SYNC_LOSS_ALLOWED is set."
            )
        return cls(int(number))


class Torn(NamedTuple):
    """What `open` cut off: the unsynced end of the last segment."""

    path: Path
    offset: int
    byte_count: int

    def __str__(self) -> str:
        return f"{self.path}: cut {self.byte_count} bytes of an unfinished write at offset {self.offset}"


class Wal:
    """The WAL open for writing: `append` gathers frames, `sync` writes them and makes them durable.

    After a failed write nothing is known of the file, so every later call fails too; the caller ends
    the process and a new one recovers.

    Attributes:
        tail: The last command appended, durable or not.
        torn: What was cut when the WAL was opened, or None.
    """

    def __init__(self, directory: Path, shard: int, epoch: int, *, segment_bytes_max: int, policy: SyncPolicy) -> None:
        self.directory = directory
        self.shard = shard
        self.epoch = epoch
        self.tail = Tail(0, NO_CHAIN_HASH)
        self.torn: Torn | None = None
        self._segment_bytes_max = segment_bytes_max
        self._policy = policy
        self._descriptor: int | None = None
        self._written_bytes = 0
        self._durable_bytes = 0
        self._pending: list[bytes] = []
        self._failed = False
        self._written = deque([self.tail], TAILS_REMEMBERED)
        self._durable_sequence = 0
        self._syncing = threading.Lock()
        self._closing = threading.Event()
        self._sync_error: OSError | None = None
        self._syncer: threading.Thread | None = None

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        shard: int,
        epoch: int,
        after: int = 0,
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
        policy: SyncPolicy = SyncPolicy(),  # noqa: B008 -- a constant
    ) -> Self:
        """Open a shard's WAL for writing, after checking it and cutting a torn end.

        Args:
            directory: Made if it does not exist.
            shard: Must be the one that wrote what is there.
            epoch: The writer's; never below that of the newest segment. A new epoch takes the newest
                segment over into one of its own, so that a fenced-off writer cannot touch what it
                writes: Note [Void segments] in `segments.py`.
            after: Segments that hold only commands up to this sequence are not checked: a snapshot
                stands for them.
            segment_bytes_max: A segment this large is followed by a new one.
            policy: When `sync` makes durable what was appended.

        Raises:
            WalDamagedError: Synced bytes are not what was written. Nothing was changed.
            WalVersionError: A newer program wrote it. Nothing was changed.
            WalError: The folder cannot be used, or a newer epoch has written.
        """
        wal = cls(directory, shard, epoch, segment_bytes_max=segment_bytes_max, policy=policy)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            wal._recover(after)
        except OSError as error:
            raise WalError(f"{directory}: cannot be used as a WAL: {error.strerror}") from error
        if policy.interval_ms:
            wal._syncer = threading.Thread(target=wal._sync_now_and_then, name="wal-sync", daemon=True)
            wal._syncer.start()
        return wal

    def start_at(self, tail: Tail) -> None:
        """Let an empty WAL begin after a command, because a snapshot stands for what came before.

        Raises:
            InvariantViolationError: The WAL is not empty.
        """
        require(self.tail.sequence == 0 and self._descriptor is None, f"{self.directory}: this WAL is not empty")
        self.tail = tail
        self._written.append(tail)
        self._durable_sequence = tail.sequence

    def _recover(self, after: int) -> None:
        """Check the segments, leave out a torn end, and get ready to append."""
        last: SegmentReader | None = None
        newest: SegmentReader | None = None
        for last in read_segments(self.directory, self.shard, after=after):
            last.skim()
            if last.before is not None:
                newest = last
        if newest is not None and newest.epoch > self.epoch:
            raise WalError(f"{self.directory}: epoch {newest.epoch} has written here; epoch {self.epoch} may not")
        set_aside(self.directory)
        if last is None:
            return
        if last.before is None or last.good_bytes < len(last.content):
            self.torn = Torn(last.path, last.good_bytes, len(last.content) - last.good_bytes)
        if last.before is None:
            last.path.unlink(missing_ok=True)
            sync_directory(self.directory)
        if newest is None or newest.tail is None:
            return
        if newest.epoch == self.epoch:
            self._go_on_in(newest)
        else:
            self._take_over(newest)
        self.tail = newest.tail
        self._written.append(self.tail)
        self._durable_sequence = self.tail.sequence

    def _go_on_in(self, reader: SegmentReader) -> None:
        """Append to this epoch's own segment, after making durable what was written and perhaps not synced."""
        if reader.good_bytes < len(reader.content):
            os.truncate(reader.path, reader.good_bytes)
        descriptor = os.open(reader.path, os.O_WRONLY | os.O_APPEND)
        os.fdatasync(descriptor)
        sync_directory(self.directory)
        self._descriptor = descriptor
        self._written_bytes = self._durable_bytes = reader.good_bytes

    def _take_over(self, reader: SegmentReader) -> None:
        """Copy what is good of an earlier epoch's segment into one of this epoch: Note [Void segments]."""
        before: Tail = reader.before  # type: ignore[assignment]  # only such readers come here
        path = segment_path(self.directory, self.epoch, before.sequence + 1)
        unfinished = path.with_suffix(".unfinished")
        unfinished.unlink(missing_ok=True)
        self._descriptor = os.open(unfinished, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o640)
        self._write(pack_segment_header(self.shard, self.epoch, before))
        self._write(memoryview(reader.content)[SEGMENT_HEADER_BYTES : reader.good_bytes])
        os.fdatasync(self._descriptor)
        unfinished.rename(path)
        sync_directory(self.directory)
        reader.path.unlink(missing_ok=True)
        sync_directory(self.directory)
        self._written_bytes = self._durable_bytes = reader.good_bytes

    def append(self, commands: Rows, chain_hash: bytes) -> None:
        """Add a frame to the next `sync`.

        Args:
            commands: (command_count,) COMMAND_DTYPE, continuing the tail densely, not empty.
            chain_hash: The command log's chain hash at the last of them.

        Raises:
            InvariantViolationError: The commands do not continue the tail.
        """
        self._require_usable()
        require(0 < len(commands) <= FRAME_COMMANDS_MAX, f"a frame of {len(commands)} commands")
        require(len(chain_hash) == CHAIN_HASH_BYTES, f"a chain hash of {len(chain_hash)} bytes")
        due = np.arange(self.tail.sequence + 1, self.tail.sequence + 1 + len(commands))
        require(
            bool(np.array_equal(commands["sequence"], due)),
            f"{self.directory}: commands from {commands['sequence'][0]} do not continue {self.tail.sequence}",
        )
        if not self._pending and (self._descriptor is None or self._written_bytes >= self._segment_bytes_max):
            self._start_segment()
        self._pending.append(pack_frame(self.shard, self.epoch, commands, chain_hash, self._durable_bytes))
        self.tail = Tail(int(commands["sequence"][-1]), chain_hash)

    def _require_usable(self) -> None:
        """Refuse to go on after a failed write, also one that failed on the thread of the sync policy."""
        if self._sync_error is not None:
            self._failed = True
            raise self._sync_error
        require(not self._failed, f"{self.directory}: this WAL is closed, or a write to it failed")

    def _start_segment(self) -> None:
        """Begin a new segment after the tail; everything before it is durable."""
        self._failed = True
        with self._syncing:
            if self._descriptor is not None:
                self._make_durable()
                os.close(self._descriptor)
                self._descriptor = None
            path = segment_path(self.directory, self.epoch, self.tail.sequence + 1)
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o640)
            self._write(pack_segment_header(self.shard, self.epoch, self.tail))
            os.fdatasync(self._descriptor)
            sync_directory(self.directory)
            self._written_bytes = self._durable_bytes = SEGMENT_HEADER_BYTES
        self._failed = False

    def sync(self) -> None:
        """Write what was appended and wait until the disk has it, unless the policy says otherwise.

        Raises:
            OSError: The disk refused. The WAL is then unusable: end the process.
        """
        self._require_usable()
        if not self._pending:
            return
        self._failed = True
        whole = b"".join(self._pending) if len(self._pending) > 1 else self._pending[0]
        self._write(whole)
        self._written_bytes += len(whole)
        self._written.append(self.tail)  # after the bytes: what a syncing thread finds here has been written
        if not self._policy.interval_ms:
            self._make_durable()
        self._pending.clear()
        self._failed = False

    def _make_durable(self) -> None:
        """Wait until the disk has all that was written."""
        sequence = self._written[-1].sequence  # read first: the thread of an interval may lag, and must not run ahead
        written = self._written_bytes
        if written > self._durable_bytes:
            os.fdatasync(self._descriptor)  # type: ignore[arg-type]
            self._durable_bytes, self._durable_sequence = written, sequence

    def hash_when_durable(self, sequence: int, *, wait_seconds: float) -> bytes | None:
        """Wait until a command is durable; safe on another thread than the one that writes.

        Returns:
            The chain hash at it, if a sync of the last ones ended there.

        Raises:
            WalError: It did not become durable in time.
        """
        deadline = time.monotonic() + wait_seconds
        while self._durable_sequence < sequence:
            if time.monotonic() > deadline:
                raise WalError(f"{self.directory}: command {sequence} is not durable after {wait_seconds} s")
            time.sleep(0.001)
        return next((tail.chain_hash for tail in list(self._written) if tail.sequence == sequence), None)

    def _sync_now_and_then(self) -> None:
        """Make durable what was written, every interval, until the WAL is closed or the disk refuses."""
        while not self._closing.wait(self._policy.interval_ms / 1000):
            with self._syncing:
                try:
                    self._make_durable()
                except OSError as error:
                    self._sync_error = error
                    return

    def _write(self, content: bytes | memoryview) -> None:
        """Write all of `content`; the system may take it in pieces."""
        view = memoryview(content)
        while view:
            written = os.write(self._descriptor, view)  # type: ignore[arg-type]
            view = view[written:]

    def close(self) -> None:
        """Make durable what was appended, and close; does nothing when closed already or after a failed write.

        Raises:
            OSError: The disk refused.
        """
        self._closing.set()
        if self._syncer is not None:
            self._syncer.join()
            self._syncer = None
        if self._descriptor is None:
            self._failed = True
            return
        descriptor, usable = self._descriptor, not self._failed
        try:
            if usable:
                self.sync()
                self._make_durable()
        finally:
            self._failed = True
            self._descriptor = None
            os.close(descriptor)
