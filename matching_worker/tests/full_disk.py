"""A process whose disk is full, or may not be written: `python -m matching_worker.tests.full_disk CASE FOLDER`.

Prints one line: what happened, or nothing when nothing did. A limit on the size of files stands for the full disk: the
system takes a part of the write that would pass it, and refuses the rest.
"""

import os
import resource
import sys
from pathlib import Path

from exchange.kernel.errors import InvariantViolationError
from matching_worker.engine import Engine
from matching_worker.tests.storage_files import STREAM_EPOCH, history, taken
from matching_worker.tests.wal_files import SHARD, chain_hash
from matching_worker.wal import Wal, WalError

NOBODY = 65_534
LIMIT = 100_000


def fill_wal(folder: Path) -> None:
    """Append until the disk refuses; nothing may be taken after that."""
    log = Wal.open(folder, shard=SHARD, epoch=1)
    commands = history()
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
    durable = 0
    try:
        for start in range(0, len(commands), 100):
            log.append(commands[start : start + 100], chain_hash(start + 100))
            log.sync()
            durable = start + 100
    except OSError as error:
        say(f"{durable} {error.strerror}")
    try:
        log.sync()
    except InvariantViolationError as error:
        say(str(error))


def fill_snapshot(folder: Path) -> None:
    """Write a snapshot that does not fit."""
    engine = Engine(SHARD, STREAM_EPOCH)
    engine.apply(history())
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
    try:
        taken(engine, folder)
    except OSError as error:
        say(str(error.strerror))


def open_read_only(folder: Path) -> None:
    """Open a WAL, and write a snapshot, in a folder that may not be written."""
    engine = Engine(SHARD, STREAM_EPOCH)
    engine.apply(history())
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    if os.getuid() == 0:
        os.setuid(NOBODY)
    try:
        Wal.open(folder, shard=SHARD, epoch=1).append(history()[:100], chain_hash(100))
    except (WalError, OSError) as error:
        say(str(error))
    try:
        taken(engine, folder)
    except OSError as error:
        say(str(error))


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    {"wal": fill_wal, "snapshot": fill_snapshot, "read-only": open_read_only}[sys.argv[1]](Path(sys.argv[2]))
