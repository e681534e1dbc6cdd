"""Words for snapshot and recovery tests: a shard's files with a known history in them."""

from pathlib import Path

from matching_worker import recovery, snapshot
from matching_worker.benchmarks.streams import random_stream
from matching_worker.engine import Engine
from matching_worker.protocol import COMMAND_BYTES, Rows
from matching_worker.retention import snapshots_of
from matching_worker.tests.wal_files import SHARD, chain_hash
from matching_worker.wal import Wal

STREAM_EPOCH = 1
FRAME = 100
COMMANDS = 2_000


def history(seed: int = 5, count: int = COMMANDS) -> Rows:
    return random_stream(seed, count, instruments=3, open_ids=400, spread=20)


def taken(engine: Engine, wal_dir: Path, *, epoch: int = 1, made_at_ns: int = 7) -> Path:
    """Write a snapshot of an engine, with the chain hash that WAL tests use."""
    return snapshot.write(
        snapshot.Capturer().capture(engine),
        snapshots_of(wal_dir),
        epoch=epoch,
        chain_hash=chain_hash(engine.sequence),
        made_at_ns=made_at_ns,
    )


def worked(
    wal_dir: Path, commands: Rows, *snapshots_at: int, segment_bytes_max: int = 2 * FRAME * COMMAND_BYTES
) -> Engine:
    """Journal and match a stream in frames of FRAME commands, with snapshots after some of them."""
    engine = Engine(SHARD, STREAM_EPOCH)
    log = Wal.open(wal_dir, shard=SHARD, epoch=1, segment_bytes_max=segment_bytes_max)
    for start in range(0, len(commands), FRAME):
        batch = commands[start : start + FRAME]
        log.append(batch, chain_hash(start + len(batch)))
        log.sync()
        engine.apply(batch)
        if engine.sequence in snapshots_at:
            taken(engine, wal_dir)
    log.close()
    return engine


def hash_after(commands: Rows) -> int:
    engine = Engine(SHARD, STREAM_EPOCH)
    engine.apply(commands)
    return engine.state_hash


def flip(path: Path, position: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


def started(wal_dir: Path, *, at_most: int = 1 << 60) -> recovery.Start:
    return recovery.start(wal_dir, shard=SHARD, stream_epoch=STREAM_EPOCH, at_most=at_most)
