"""From files to an engine: the newest good snapshot, then the WAL after it. What is passed over is always told.

Knows no database: `shard.py` adds the command log before, between and after.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from matching_worker import snapshot
from matching_worker.engine import Engine
from matching_worker.frames import Tail, WalDamagedError, segment_start
from matching_worker.protocol import Rows
from matching_worker.retention import snapshots_of
from matching_worker.segments import read, segment_paths
from matching_worker.snapshot import SnapshotError, SnapshotHeader

REPLAY_COMMANDS: Final = 4096
"""Small frames are joined to calls of at least this size, if there are so many commands."""


class Start(NamedTuple):
    """Where a replay starts.

    Attributes:
        engine: New and empty when there was no usable snapshot.
        header: Of the snapshot it was loaded from, or None.
        refused: Why newer snapshots were passed over, in words.
    """

    engine: Engine
    header: SnapshotHeader | None
    refused: list[str]


def newest_sequence(wal_dir: Path, *, at_most: int) -> int:
    """Return the sequence of the newest snapshot by name up to `at_most`, good or not; 0 when there is none."""
    names = (path.name.partition("-")[0] for path in snapshot.paths(snapshots_of(wal_dir)))
    return max((int(name) for name in names if name.isdecimal() and int(name) <= at_most), default=0)


def start(
    wal_dir: Path,
    *,
    shard: int,
    stream_epoch: int | None,
    at_most: int,
    objection: Callable[[SnapshotHeader], str] = lambda _: "",
) -> Start:
    """Load the newest good snapshot at or before a sequence.

    Args:
        wal_dir: The shard's folder.
        shard: Whose it must be.
        stream_epoch: The command log's epoch; None takes the snapshot's, or 0 without one.
        at_most: Snapshots of later commands are of no use.
        objection: Says why a good snapshot may not be used; nothing when it may.
    """
    refused = []
    for path in snapshot.paths(snapshots_of(wal_dir)):
        try:
            header = snapshot.read_header(path)
            if header.sequence > at_most:
                continue
            if reason := objection(header):
                refused.append(f"{path}: {reason}")
                continue
            return Start(*snapshot.load(path, shard=shard, stream_epoch=stream_epoch), refused)
        except SnapshotError as error:
            refused.append(str(error))
    return Start(Engine(shard, stream_epoch or 0), None, refused)


def wal_start(wal_dir: Path) -> int:
    """Return the sequence before the first command that the WAL still has; 0 for an empty WAL.

    Raises:
        WalError: The first segment's header cannot be read.
    """
    for path in segment_paths(wal_dir)[:1]:
        first = segment_start(path)
        return 0 if first is None else first.before.sequence
    return 0


def blocks(wal_dir: Path, *, after: int) -> Iterator[tuple[Rows, bytes]]:
    """Yield what the WAL holds after a sequence, in blocks that are worth a call of the engine.

    A block ends with its segment, however small it is.

    Yields:
        (command_count,) COMMAND_DTYPE and the chain hash at its last command.

    Raises:
        WalDamagedError: Synced bytes are not what was written, or commands are missing.
        WalVersionError: A newer program wrote it.
    """
    yield from read(wal_dir, after=after, at_least=REPLAY_COMMANDS)


class Rebuilt(NamedTuple):
    """An engine made from files alone, and the log's chain hash where it stands."""

    engine: Engine
    tail: Tail
    replayed: int
    refused: list[str]


def rebuild(wal_dir: Path, *, shard: int, stream_epoch: int | None = None, at_most: int = (1 << 63) - 1) -> Rebuilt:
    """Make an engine from the newest good snapshot and the WAL after it.

    Args:
        wal_dir: The shard's folder.
        shard: Whose it must be.
        stream_epoch: See `start`.
        at_most: Stop after this command.

    Raises:
        WalDamagedError: The WAL is damaged, or does not reach back to the snapshot.
        WalVersionError: A newer program wrote it.
    """
    found = start(wal_dir, shard=shard, stream_epoch=stream_epoch, at_most=at_most)
    engine = found.engine
    tail = Tail(engine.sequence, found.header.chain_hash if found.header else bytes(32))
    if wal_start(wal_dir) > engine.sequence:
        raise WalDamagedError(
            f"{wal_dir}: begins after command {wal_start(wal_dir)}, and the newest usable snapshot is of command "
            f"{engine.sequence}: only the command log has what is between"
        )
    replayed = 0
    for commands, chain_hash in blocks(wal_dir, after=engine.sequence):
        kept = commands[: max(0, at_most - engine.sequence)]
        engine.apply(kept)
        replayed += len(kept)
        tail = Tail(engine.sequence, chain_hash if len(kept) == len(commands) else b"")
        if engine.sequence >= at_most:
            break
    return Rebuilt(engine, tail, replayed, found.refused)
