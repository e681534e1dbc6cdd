"""The WAL as a folder of segments: their names, their order, which of them are void, and reading them.

Note [Void segments]
    A worker that was stopped (SIGSTOP, a machine that froze) knows nothing of its successor, and no check before a
    write helps: it may be stopped between the two. So what it still writes must not matter. Who opens a WAL with a
    higher epoch (`Wal.open`) copies what is good of the newest segment into a segment of its own epoch that begins at
    the same command, makes the copy durable, and removes the old file: the descriptor that the other one may hold
    leads to a file that no folder lists. What the other one creates by name has its lower epoch, and begins at or
    after that command, because it goes on where it stopped. Hence the rule: a segment is void if one of a higher epoch
    begins at or before it. Nothing of value is lost: its commands are the command log's, which gives them to the
    successor; and of what it wrote nothing was published or settled, for the feed and the settlement cursor obey the
    higher epoch only.

    Readers pass void segments over and say so. `set_aside` moves them into a folder of their own, which nobody reads
    and nobody empties: before a WAL is opened, and before segments are removed, since a void one must not count again
    when the segment that made it void is gone.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import structlog

from matching_worker.frames import SegmentReader, Tail, WalDamagedError, segment_start
from matching_worker.protocol import Rows

logger = structlog.get_logger(__name__)

VOID: Final = "void"
"""Name of the folder for void segments, inside the WAL's."""

_NAME: Final = re.compile(r"(\d+)-(\d+)\.wal")


def segment_path(directory: Path, epoch: int, first_sequence: int) -> Path:
    """Return the name of a segment; names sort in the order of writing."""
    return directory / f"{epoch:06d}-{first_sequence:020d}.wal"


def segment_paths(directory: Path) -> list[Path]:
    """Return the folder's segments in the order of writing, without those that are void."""
    return _divided(directory)[0]


def void_paths(directory: Path) -> list[Path]:
    """Return the folder's void segments: Note [Void segments]."""
    return _divided(directory)[1]


def _divided(directory: Path) -> tuple[list[Path], list[Path]]:
    """Return the segments that count, and those that are void; by their names, for a header may not be whole."""
    counting, void = [], []
    epoch_above, above, here = -1, None, None
    for path in sorted(directory.glob("*.wal"), reverse=True):
        named = _NAME.fullmatch(path.name)
        if named is None:
            counting.append(path)
            continue
        epoch, first = int(named[1]), int(named[2])
        if epoch != epoch_above:
            above, epoch_above = here, epoch
        if above is not None and above <= first:
            void.append(path)
        else:
            counting.append(path)
            here = first if here is None else min(here, first)
    return counting[::-1], void[::-1]


def set_aside(directory: Path) -> list[Path]:
    """Move void segments out of the way, durably; return where they are now. Nothing is destroyed."""
    moved = []
    for path in void_paths(directory):
        folder = directory / VOID
        folder.mkdir(exist_ok=True)
        target = folder / path.name
        while target.exists():
            target = target.with_name(f"{target.name}.again")
        try:
            path.rename(target)
        except FileNotFoundError:  # another one has moved it
            continue
        sync_directory(folder)
        sync_directory(directory)
        logger.warning("wal_segment_set_aside", path=str(target))
        moved.append(target)
    return moved


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
    paths, void = _divided(directory)
    for path in void:
        logger.warning("wal_segment_void", path=str(path))
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
