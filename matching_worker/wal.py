"""The write-ahead log of one shard: the worker's verified copy of the command log, and its commit point.

What stands on the disk, and how a torn end differs from damage, is told in `frames.py`.
"""

import os
from collections.abc import Iterator
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

__all__ = ["NO_CHAIN_HASH", "Tail", "Torn", "Wal", "WalDamagedError", "WalError", "WalVersionError", "read"]

SEGMENT_BYTES_MAX: Final = 64 * 1024 * 1024
FRAME_COMMANDS_MAX: Final = 1 << 16


class Torn(NamedTuple):
    """What `open` cut off: the unsynced end of the last segment."""

    path: Path
    offset: int
    byte_count: int

    def __str__(self) -> str:
        return f"{self.path}: cut {self.byte_count} bytes of an unfinished write at offset {self.offset}"


def _segment_path(directory: Path, epoch: int, first_sequence: int) -> Path:
    """Return the name of a segment; names sort in the order of writing."""
    return directory / f"{epoch:06d}-{first_sequence:020d}.wal"


def _segment_paths(directory: Path) -> list[Path]:
    """Return the folder's segments in the order of writing."""
    return sorted(directory.glob("*.wal"))


def _sync_directory(directory: Path) -> None:
    """Make the folder's list of files durable: a synced file that no folder lists is lost."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_segments(directory: Path, shard: int | None) -> Iterator[tuple[SegmentReader, Iterator[tuple[Rows, bytes]]]]:
    """Yield each segment with its frames, in order, checking that each continues the one before.

    A caller must exhaust a segment's frames before it asks for the next segment.
    """
    paths = _segment_paths(directory)
    tail: Tail | None = None
    epoch = 0
    for number, path in enumerate(paths):
        reader = SegmentReader(path, shard)
        if reader.before is None:
            reader.require_only_torn(is_last=number == len(paths) - 1)
        else:
            if tail is not None and reader.before != tail:
                raise WalDamagedError(
                    f"{path}: continues command {reader.before.sequence}, but the WAL before it ends with "
                    f"{tail.sequence}: a segment is missing or does not belong here"
                )
            if reader.epoch < epoch:
                raise WalDamagedError(f"{path}: epoch {reader.epoch} stands after epoch {epoch}")
        yield reader, reader.frames()
        if reader.before is not None:
            reader.require_only_torn(is_last=number == len(paths) - 1)
            tail, epoch = reader.tail, reader.epoch


def read(directory: Path, *, after: int = 0) -> Iterator[tuple[Rows, bytes]]:
    """Yield what the WAL holds, frame by frame, without changing it.

    An unfinished write at the end is passed over, as `Wal.open` would cut it.

    Args:
        directory: The shard's folder.
        after: Commands up to this sequence are left out.

    Yields:
        (command_count,) COMMAND_DTYPE and the chain hash at its last command.

    Raises:
        WalDamagedError: Synced bytes are not what was written, or commands are missing.
        WalVersionError: A newer program wrote it.
    """
    for _, frames in _read_segments(directory, None):
        for commands, chain_hash in frames:
            kept = commands[max(0, after + 1 - int(commands["sequence"][0])) :]
            if len(kept) > 0:
                yield kept, chain_hash


class Wal:
    """The WAL open for writing: `append` gathers frames, `sync` writes them and makes them durable.

    After a failed write nothing is known of the file, so every later call fails too; the caller ends
    the process and a new one recovers.

    Attributes:
        tail: The last command appended, durable or not.
        torn: What was cut when the WAL was opened, or None.
    """

    def __init__(self, directory: Path, shard: int, epoch: int, *, segment_bytes_max: int) -> None:
        self.directory = directory
        self.shard = shard
        self.epoch = epoch
        self.tail = Tail(0, NO_CHAIN_HASH)
        self.torn: Torn | None = None
        self._segment_bytes_max = segment_bytes_max
        self._descriptor: int | None = None
        self._durable_bytes = 0
        self._pending: list[bytes] = []
        self._before_pending = self.tail
        self._failed = False

    @classmethod
    def open(cls, directory: Path, *, shard: int, epoch: int, segment_bytes_max: int = SEGMENT_BYTES_MAX) -> Self:
        """Open a shard's WAL for writing, after checking all of it and cutting a torn end.

        Args:
            directory: Made if it does not exist.
            shard: Must be the one that wrote what is there.
            epoch: The writer's; never below that of the newest segment. A new epoch starts a new
                segment, so that a fenced-off writer cannot touch what it writes.
            segment_bytes_max: A segment this large is followed by a new one.

        Raises:
            WalDamagedError: Synced bytes are not what was written. Nothing was changed.
            WalVersionError: A newer program wrote it. Nothing was changed.
            WalError: The folder cannot be used, or a newer epoch has written.
        """
        wal = cls(directory, shard, epoch, segment_bytes_max=segment_bytes_max)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            wal._recover()
        except OSError as error:
            raise WalError(f"{directory}: cannot be used as a WAL: {error.strerror}") from error
        return wal

    def _recover(self) -> None:
        """Check every segment, cut a torn end, and get ready to append."""
        last: SegmentReader | None = None
        newest_epoch = 0
        for reader, frames in _read_segments(self.directory, self.shard):
            for _ in frames:
                pass
            last = reader
            if reader.tail is not None:
                self.tail = reader.tail
                newest_epoch = reader.epoch
        if newest_epoch > self.epoch:
            raise WalError(f"{self.directory}: epoch {newest_epoch} has written here; epoch {self.epoch} may not")
        if last is not None and (last.before is None or last.good_bytes < len(last.content)):
            self._cut(last)
        if last is not None and last.before is not None and last.epoch == self.epoch:
            self._descriptor = os.open(last.path, os.O_WRONLY | os.O_APPEND)
            self._durable_bytes = last.good_bytes
        self._before_pending = self.tail

    def _cut(self, reader: SegmentReader) -> None:
        """Cut what follows the last good frame; a segment without a good header goes entirely."""
        self.torn = Torn(reader.path, reader.good_bytes, len(reader.content) - reader.good_bytes)
        if reader.before is None:
            reader.path.unlink()
            _sync_directory(self.directory)
            return
        descriptor = os.open(reader.path, os.O_WRONLY)
        try:
            os.ftruncate(descriptor, reader.good_bytes)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def append(self, commands: Rows, chain_hash: bytes) -> None:
        """Add a frame to the next `sync`.

        Args:
            commands: (command_count,) COMMAND_DTYPE, continuing the tail densely, not empty.
            chain_hash: The command log's chain hash at the last of them.

        Raises:
            InvariantViolationError: The commands do not continue the tail.
        """
        require(not self._failed, f"{self.directory}: this WAL is closed, or a write to it failed")
        require(0 < len(commands) <= FRAME_COMMANDS_MAX, f"a frame of {len(commands)} commands")
        require(len(chain_hash) == CHAIN_HASH_BYTES, f"a chain hash of {len(chain_hash)} bytes")
        due = np.arange(self.tail.sequence + 1, self.tail.sequence + 1 + len(commands))
        require(
            bool(np.array_equal(commands["sequence"], due)),
            f"{self.directory}: commands from {commands['sequence'][0]} do not continue {self.tail.sequence}",
        )
        if not self._pending:
            self._before_pending = self.tail
            if self._descriptor is None or self._durable_bytes >= self._segment_bytes_max:
                self._start_segment()
        self._pending.append(pack_frame(self.shard, self.epoch, commands, chain_hash, self._durable_bytes))
        self.tail = Tail(int(commands["sequence"][-1]), chain_hash)

    def _start_segment(self) -> None:
        """Begin a new segment after the tail; everything before it is durable."""
        self._failed = True
        if self._descriptor is not None:
            os.close(self._descriptor)
        path = _segment_path(self.directory, self.epoch, self.tail.sequence + 1)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o640)
        self._write(pack_segment_header(self.shard, self.epoch, self.tail))
        os.fdatasync(self._descriptor)
        _sync_directory(self.directory)
        self._durable_bytes = SEGMENT_HEADER_BYTES
        self._failed = False

    def sync(self) -> None:
        """Write what was appended and wait until the disk has it.

        Raises:
            OSError: The disk refused. The WAL is then unusable: end the process.
        """
        require(not self._failed, f"{self.directory}: this WAL is closed, or a write to it failed")
        if not self._pending:
            return
        self._failed = True
        whole = b"".join(self._pending)
        self._write(whole)
        os.fdatasync(self._descriptor)  # type: ignore[arg-type]
        self._pending.clear()
        self._durable_bytes += len(whole)
        self._failed = False

    def _write(self, content: bytes) -> None:
        """Write all of `content`; the system may take it in pieces."""
        view = memoryview(content)
        while view:
            written = os.write(self._descriptor, view)  # type: ignore[arg-type]
            view = view[written:]

    def close(self) -> None:
        """Sync and close; does nothing when closed already or after a failed write."""
        if self._descriptor is None:
            self._failed = True
            return
        if not self._failed:
            self.sync()
        os.close(self._descriptor)
        self._descriptor = None
        self._failed = True
