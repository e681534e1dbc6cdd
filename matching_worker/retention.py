"""How long the WAL and its snapshots are kept: the only place that removes them.

Note [Retention]
    Of the snapshots the newest `snapshots_kept` good ones stay, and always the newest good one that settlement has
    passed, because recovery starts at or before the settlement cursor. A damaged snapshot counts for nothing and is
    left where it is, for whoever looks into it. A segment of the WAL goes when all of this is true: another one
    follows; its last write is older than `wal_seconds`; and the oldest kept snapshot and settlement have passed all
    its commands. Segments go oldest first, so that whatever a crash leaves is a WAL without a gap. Void segments
    (Note [Void segments] in `segments.py`) are set aside before, and kept.
"""

import os
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from matching_worker import snapshot
from matching_worker.frames import segment_start
from matching_worker.segments import segment_paths, set_aside, sync_directory
from matching_worker.snapshot import SnapshotError

WAL_SECONDS: Final = 7 * 24 * 3600
SNAPSHOTS_KEPT: Final = 4
SNAPSHOTS: Final = "snapshots"
"""Name of the folder with a WAL's snapshots, inside the WAL's."""

_NS: Final = 1_000_000_000


class Removed(NamedTuple):
    """What a round of retention did.

    Attributes:
        damaged: Why snapshots were not counted as kept, in words.
    """

    snapshots: list[Path]
    segments: list[Path]
    byte_count: int
    damaged: list[str]


def snapshots_of(wal_dir: Path) -> Path:
    """Return the folder of a WAL's snapshots."""
    return wal_dir / SNAPSHOTS


def apply(
    wal_dir: Path,
    *,
    settled: int,
    now_ns: int,
    snapshots_kept: int = SNAPSHOTS_KEPT,
    wal_seconds: int = WAL_SECONDS,
) -> Removed:
    """Remove what Note [Retention] lets go.

    Args:
        wal_dir: The shard's folder.
        settled: Sequence of the settlement cursor.
        now_ns: The time, against which the segments' last writes are held.
        snapshots_kept: At least 1.
        wal_seconds: Age below which a segment stays.

    Raises:
        OSError: The disk refused; what was removed until then is gone, and what is left has no gap.
    """
    good, damaged = _good_snapshots(snapshots_of(wal_dir))
    passed = next((number for number, (_, sequence) in enumerate(good) if sequence <= settled), len(good))
    kept = max(1, snapshots_kept, passed + 1)
    gone = [path for path, _ in good[kept:]]
    segments: list[Path] = []
    if good:
        oldest = good[:kept][-1][1]
        segments = _old_segments(wal_dir, min(oldest, settled), now_ns - wal_seconds * _NS)
    if segments:
        set_aside(wal_dir)  # first: what a segment makes void must not count again when that one is gone
    byte_count = sum(path.stat().st_size for path in [*gone, *segments])
    _remove(gone)
    _remove(segments)
    return Removed(gone, segments, byte_count, damaged)


def _good_snapshots(directory: Path) -> tuple[list[tuple[Path, int]], list[str]]:
    """Return whole snapshots, newest first, with their sequences; and what is wrong with the others."""
    good, damaged = [], []
    for path in snapshot.paths(directory):
        try:
            good.append((path, snapshot.check(path).sequence))
        except SnapshotError as error:
            damaged.append(str(error))
    return good, damaged


def _old_segments(wal_dir: Path, passed: int, before_ns: int) -> list[Path]:
    """Return the segments, from the oldest on, that are old enough and hold only commands up to `passed`."""
    old = []
    listed = segment_paths(wal_dir)
    for path, following in pairwise(listed):
        start = segment_start(following)
        if start is None or start.before.sequence > passed or path.stat().st_mtime_ns >= before_ns:
            break
        old.append(path)
    return old


def _remove(paths: list[Path]) -> None:
    """Remove files in the order given, each durably before the next, so that a crash leaves no gap."""
    for path in paths:
        os.unlink(path)  # noqa: PTH108 -- tests kill the process exactly here
        sync_directory(path.parent)
