"""Words for WAL tests: write some frames, read what is there."""

from pathlib import Path

import numpy as np

from matching_worker import protocol, wal
from matching_worker.frames import FRAME_HEADER_BYTES
from matching_worker.protocol import COMMAND_BYTES, Rows
from matching_worker.wal import Tail, Wal

SHARD = 3
FRAME_BYTES = FRAME_HEADER_BYTES + COMMAND_BYTES
"""A frame of one command."""

SEGMENT_1 = "000001-00000000000000000001.wal"


def commands_from(first: int, count: int) -> Rows:
    sequences = np.arange(first, first + count)
    return protocol.encode(kind=2, instrument_id=1, order_id=sequences * 7, sequence=sequences)


def chain_hash(sequence: int) -> bytes:
    return sequence.to_bytes(32, "big")


def written(directory: Path, *batches: int, epoch: int = 1, segment_bytes_max: int = 1 << 20) -> Tail:
    """Append one frame for each number in `batches`, syncing after each, and close."""
    log = Wal.open(directory, shard=SHARD, epoch=epoch, segment_bytes_max=segment_bytes_max)
    for count in batches:
        log.append(commands_from(log.tail.sequence + 1, count), chain_hash(log.tail.sequence + count))
        log.sync()
    log.close()
    return log.tail


def sequences_in(directory: Path, *, after: int = 0) -> list[int]:
    return [int(sequence) for commands, _ in wal.read(directory, after=after) for sequence in commands["sequence"]]


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}
