"""The WAL as a folder of segments: their names, their order, and reading them without changing anything."""

import os
from collections.abc import Iterator
from pathlib import Path

from matching_worker.frames import SegmentReader, Tail, WalDamagedError, segment_start
from matching_worker.protocol import Rows


def segment_path(directory: Path, epoch: int, first_sequence: int) -> Path:
    """Return the name of a segment; names sort in the order of writing."""
    return directory / f"{epoch:06d}-{first_sequence:020d}.wal"


def segment_paths(directory: Path) -> list[Path]:
    """Return the folder's segments in the order of writing."""
    return sorted(directory.glob("*.wal"))


def sync_directory(directory: Path) -> None:
    """Make the folder's list of files durable: a synced file that no folder lists is lost."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _first_needed(paths: list[Path], after: int) -> int:
    """Return the number of the first segment that may hold commands after a sequence; reads headers only."""
    needed = 0
    if after > 0:
        for number, path in enumerate(paths):
            start = segment_start(path)
            if start is not None and start.before.sequence <= after:
                needed = number
    return needed


def read_segments(directory: Path, shard: int | None, *, after: int = 0) -> Iterator[SegmentReader]:
    """Yield each segment, in order, checking that each continues the one before.

    A caller must exhaust a segment (`frames` or `skim`) before it asks for the next one.

    Args:
        directory: The shard's folder.
        shard: Whose segments these must be; None takes the shard of each segment as it is.
        after: Segments that hold only commands up to this sequence are passed over.

    Raises:
        WalDamagedError: Synced bytes are not what was written, or commands are missing.
        WalVersionError: A newer program wrote it.
    """
    paths = segment_paths(directory)
    tail: Tail | None = None
    epoch = 0
    for number in range(_first_needed(paths, after), len(paths)):
        path = paths[number]
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
        yield reader
        if reader.before is not None:
            reader.require_only_torn(is_last=number == len(paths) - 1)
            tail, epoch = reader.tail, reader.epoch


def read(directory: Path, *, after: int = 0, at_least: int = 1) -> Iterator[tuple[Rows, bytes]]:
    """Yield what the WAL holds, frame by frame, without changing it.

    An unfinished write at the end is passed over, as `Wal.open` would cut it.

    Args:
        directory: The shard's folder.
        after: Commands up to this sequence are left out, and segments that hold only such are not read.
        at_least: Frames of a segment are joined until they have so many commands.

    Yields:
        (command_count,) COMMAND_DTYPE and the chain hash at its last command.

    Raises:
        WalDamagedError: Synced bytes are not what was written, or commands are missing.
        WalVersionError: A newer program wrote it.
    """
    for reader in read_segments(directory, None, after=after):
        for commands, chain_hash in reader.frames(at_least=at_least):
            kept = commands[max(0, after + 1 - int(commands["sequence"][0])) :]
            if len(kept) > 0:
                yield kept, chain_hash
