"""Snapshots of an engine: the only place that knows their bytes, and that copies an engine out of and into memory.

A snapshot stands for all commands up to its sequence. It holds every array of the books as it is, so that loading one
is reading a file. Numbers are little-endian; each checksum is a CRC32C over its header or block but the checksum.

    header, 160 bytes: magic, version u2, shard u2, lease epoch u4, stream epoch u4, block count u4, sequence i8, state
        hash u8, engine time in ns i8, made at in ns i8, file length i8, chain hash of the log 32 bytes, layout digest
        32 bytes, reserved, checksum u4
    block: number u4, array u4, offset in the array i8, length u4, reserved u8, checksum u4; then `length` bytes
    block 0: JSON, name and row count of each array; the others: contents of the arrays, without what is all zeros

Note [Layout digest]
    The arrays mean something only to a program with the same layout. The digest runs over the name and dtype (names,
    formats, offsets) of every array and over every numeric constant of `book/layout.py`. A snapshot of another layout
    is refused in words; recovery then takes an older one or the WAL from its beginning, and, where retention has
    already removed that, the command log.

Note [Snapshot pause]
    `Capturer.capture` copies the rows in use while matching stands still; all else (zeros left out, checksums, writing,
    fsync) happens beside it. The copy is one that keeps the interpreter's lock: giving that up in the middle would let
    any other thread stretch the pause. `python -m matching_worker.benchmarks.storage` measures it.
"""

import hashlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import google_crc32c
import numpy as np
import orjson

from exchange.kernel.errors import require
from matching_worker.book import layout
from matching_worker.book.arrays import BookArrays
from matching_worker.engine import Engine
from matching_worker.protocol import Rows, trade_id_base
from matching_worker.segments import sync_directory

SNAPSHOT_VERSION: Final = 1
BLOCK_BYTES: Final = 1 << 18
SUFFIX: Final = ".snapshot"
_UNFINISHED: Final = ".unfinished"

_MAGIC: Final = b"EXSNAPSH"
_HEADER: Final = struct.Struct("<8sHHIIIqQqqq32s32s20xI")
_BLOCK: Final = struct.Struct("<IIqI8xI")
_CHECKSUM_BYTES: Final = 4
HEADER_BYTES: Final = _HEADER.size
BLOCK_HEADER_BYTES: Final = _BLOCK.size
_DIRECTORY_BLOCK: Final = 0xFFFF_FFFF
_SYNC_BYTES: Final = 1 << 22
"""A snapshot is made durable in pieces of this size, so that the WAL's sync never waits for a whole one."""

_ADDRESSES: Final = "addresses"
"""The one array of `BookArrays` that is not state: where the others are."""

_SAME_SLOTS: Final = {"terms": "orders"}
"""Arrays whose rows are used as far as those of another."""


class SnapshotError(Exception):
    """A snapshot cannot be used; the message says which one and why."""


class SnapshotDamagedError(SnapshotError):
    """Its bytes are not what was written."""


class SnapshotLayoutError(SnapshotError):
    """Another version of this program wrote it."""


class SnapshotHeader(NamedTuple):
    """What a snapshot says of itself."""

    path: Path
    shard: int
    epoch: int
    stream_epoch: int
    block_count: int
    sequence: int
    state_hash: int
    time_ns: int
    made_at_ns: int
    byte_count: int
    chain_hash: bytes
    layout_digest: bytes


class Capture(NamedTuple):
    """An engine's state at one sequence, copied; written by `write`.

    Attributes:
        arrays: By name: the rows in use, as bytes.
        row_counts: By name: how many rows the engine's array has.
    """

    shard: int
    stream_epoch: int
    sequence: int
    state_hash: int
    time_ns: int
    layout_digest: bytes
    arrays: "dict[str, np.ndarray[tuple[int], np.dtype[np.uint8]]]"
    row_counts: dict[str, int]


def _state_arrays(arrays: BookArrays) -> dict[str, Rows]:
    """Return the arrays that are the engine's state, by name, in a fixed order."""
    found = {name: value for name, value in vars(arrays).items() if isinstance(value, np.ndarray)}
    found.pop(_ADDRESSES)
    return dict(sorted(found.items()))


def layout_digest(arrays: BookArrays) -> bytes:
    """Return the digest of Note [Layout digest]."""
    digest = hashlib.sha256()
    for name, rows in _state_arrays(arrays).items():
        fields = (rows.dtype.fields or {}).items()
        described = sorted((field, str(what[0]), what[1]) for field, what in fields)
        digest.update(f"{name} {rows.dtype.itemsize} {rows.dtype.str} {described}\n".encode())
    for name, value in sorted(vars(layout).items()):
        if isinstance(value, int | np.integer):
            digest.update(f"{name}={int(value)}\n".encode())
    return digest.digest()


def _rows_in_use(name: str, rows: Rows, state: Rows) -> int:
    """Return how many rows from the start may differ from zero: `orders` ends at `order_used`, others at their end."""
    counter = f"{_SAME_SLOTS.get(name, name).removesuffix('s')}_used"
    if state.dtype.names is not None and counter in state.dtype.names:
        return min(len(rows), int(state[counter][0]) + 1)
    return len(rows)


class Capturer:
    """Copies an engine's state into memory that it keeps, since new memory costs more than copying.

    A capture is valid until the next one.
    """

    def __init__(self) -> None:
        self._rooms: dict[str, np.ndarray[tuple[int], np.dtype[np.uint8]]] = {}
        self._digest = b""

    def capture(self, engine: Engine) -> Capture:
        """Return a copy of the engine's state; no command may be applied meanwhile: Note [Snapshot pause]."""
        arrays = engine._arrays  # noqa: SLF001 -- this module is the one that takes an engine apart
        self._digest = self._digest or layout_digest(arrays)
        copies, row_counts = {}, {}
        for name, rows in _state_arrays(arrays).items():
            size = _rows_in_use(name, rows, arrays.state) * rows.dtype.itemsize
            room = self._rooms.get(name)
            if room is None or len(room) < size:
                room = self._rooms[name] = np.ones(rows.nbytes, np.uint8)  # ones: memory that is there
            copies[name] = room[:size]
            copies[name].data[:] = rows.view(np.uint8)[:size].data
            row_counts[name] = len(rows)
        return Capture(
            engine.shard,
            engine.epoch,
            engine.sequence,
            engine.state_hash,
            engine.time_ns,
            self._digest,
            copies,
            row_counts,
        )


# --- writing ----------------------------------------------------------------------------------------------------
def _packed_block(number: int, array: int, offset: int, content: bytes) -> bytes:
    """Return a block's bytes."""
    header: bytes = _BLOCK.pack(number, array, offset, len(content), 0)[:-_CHECKSUM_BYTES]
    checksum: int = google_crc32c.extend(google_crc32c.value(header), content)
    return header + checksum.to_bytes(_CHECKSUM_BYTES, "little") + content


def _blocks(capture: Capture) -> list[bytes]:
    """Return all blocks of a snapshot; what is all zeros is left out."""
    table = [{"name": name, "rows": capture.row_counts[name]} for name in capture.arrays]
    blocks = [_packed_block(0, _DIRECTORY_BLOCK, 0, orjson.dumps(table))]
    for array, content in enumerate(capture.arrays.values()):
        for offset in range(0, len(content), BLOCK_BYTES):
            piece = content[offset : offset + BLOCK_BYTES]
            if piece.any():
                blocks.append(_packed_block(len(blocks), array, offset, piece.tobytes()))
    return blocks


def snapshot_path(directory: Path, sequence: int, epoch: int) -> Path:
    """Return the name of a snapshot; names sort by sequence, then by who wrote it."""
    return directory / f"{sequence:020d}-{epoch:06d}{SUFFIX}"


def write(capture: Capture, directory: Path, *, epoch: int, chain_hash: bytes, made_at_ns: int) -> Path:
    """Write a snapshot that is either there and whole, or not there: temporary file, fsync, rename, folder fsync.

    Args:
        directory: Made if it does not exist.
        epoch: The writer's lease epoch.
        chain_hash: The command log's chain hash at the capture's sequence.

    Raises:
        OSError: The disk refused; no snapshot of this name was made or replaced.
    """
    directory.mkdir(parents=True, exist_ok=True)
    blocks = _blocks(capture)
    header = _HEADER.pack(
        _MAGIC,
        SNAPSHOT_VERSION,
        capture.shard,
        epoch,
        capture.stream_epoch,
        len(blocks),
        capture.sequence,
        capture.state_hash,
        capture.time_ns,
        made_at_ns,
        HEADER_BYTES + sum(map(len, blocks)),
        chain_hash,
        capture.layout_digest,
        0,
    )[:-_CHECKSUM_BYTES]
    header += google_crc32c.value(header).to_bytes(_CHECKSUM_BYTES, "little")
    path = snapshot_path(directory, capture.sequence, epoch)
    unfinished = path.with_suffix(_UNFINISHED)
    try:
        _write_durably(unfinished, [header, *blocks])
        os.replace(unfinished, path)  # noqa: PTH105 -- tests kill the process exactly here
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    sync_directory(directory)
    return path


def _write_durably(path: Path, pieces: list[bytes]) -> None:
    """Write a file and wait until the disk has it, some megabytes at a time."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
    try:
        waiting = 0
        for piece in pieces:
            view = memoryview(piece)
            while view:
                view = view[os.write(descriptor, view) :]
            waiting += len(piece)
            if waiting >= _SYNC_BYTES:
                os.fdatasync(descriptor)
                waiting = 0
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_unfinished(directory: Path) -> list[Path]:
    """Remove what writers left that died at it; they were never snapshots. Returns what was removed."""
    found = sorted(directory.glob(f"*{_UNFINISHED}"))
    for path in found:
        path.unlink(missing_ok=True)
    return found


# --- reading ----------------------------------------------------------------------------------------------------
def paths(directory: Path) -> list[Path]:
    """Return a folder's snapshots, newest first."""
    return sorted(directory.glob(f"*{SUFFIX}"), reverse=True)


def read_header(path: Path) -> SnapshotHeader:
    """Return what a snapshot says of itself, without reading the rest.

    Raises:
        SnapshotError: The header cannot be read, is damaged, or is a newer program's.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES)
    except OSError as error:
        raise SnapshotError(f"{path}: cannot be read: {error.strerror}") from error
    return _unpack_header(path, head)


def _unpack_header(path: Path, content: bytes) -> SnapshotHeader:
    """Check and return the header at the start of `content`."""
    if len(content) < HEADER_BYTES:
        raise SnapshotDamagedError(f"{path}: damaged: its header is cut short")
    magic, version, *fields, checksum = _HEADER.unpack_from(content)
    if magic != _MAGIC or google_crc32c.value(content[: HEADER_BYTES - _CHECKSUM_BYTES]) != checksum:
        raise SnapshotDamagedError(f"{path}: damaged: its header fails its checksum")
    if version > SNAPSHOT_VERSION:
        raise SnapshotLayoutError(f"{path}: has version {version}; this program reads {SNAPSHOT_VERSION}")
    return SnapshotHeader(path, *fields)


def check(path: Path) -> SnapshotHeader:
    """Check every byte of a snapshot without making an engine of it; its layout is not judged.

    Raises:
        SnapshotError: It is damaged, or a newer program's.
    """
    header, content = _read(path)
    for _ in _blocks_in(header, content):
        pass
    return header


def load(path: Path, *, shard: int, stream_epoch: int | None = None) -> tuple[Engine, SnapshotHeader]:
    """Return an engine as it was at a snapshot, after checking every byte of it.

    Args:
        path: The file.
        shard: Whose it must be.
        stream_epoch: The command log's epoch now, for trades to come; None keeps the snapshot's.

    Raises:
        SnapshotError: It is damaged, of another layout, version or shard. Nothing was changed.
    """
    header, content = _read(path)
    if header.shard != shard:
        raise SnapshotError(f"{path}: belongs to shard {header.shard}, not {shard}")
    engine = Engine(shard, header.stream_epoch if stream_epoch is None else stream_epoch)
    arrays = engine._arrays  # noqa: SLF001
    if header.layout_digest != layout_digest(arrays):
        raise SnapshotLayoutError(
            f"{path}: another version of this program laid out its arrays; the WAL or the command log must be replayed"
        )
    _restore(header, content, arrays)
    if (engine.sequence, engine.state_hash) != (header.sequence, header.state_hash):
        raise SnapshotDamagedError(f"{path}: damaged: its arrays are at another command than its header")
    arrays.state["trade_id_base"] = trade_id_base(engine.epoch, shard)
    return engine, header


def _read(path: Path) -> tuple[SnapshotHeader, bytes]:
    """Return a snapshot's header, checked, and all its bytes, of the right number."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SnapshotError(f"{path}: cannot be read: {error.strerror}") from error
    header = _unpack_header(path, content)
    if header.byte_count != len(content):
        raise SnapshotDamagedError(f"{path}: damaged: {len(content)} bytes where {header.byte_count} were written")
    return header, content


def _restore(header: SnapshotHeader, content: bytes, arrays: BookArrays) -> None:
    """Replace an engine's arrays by those of a snapshot."""
    known = _state_arrays(arrays)
    blocks = _blocks_in(header, content)
    table = orjson.loads(next(blocks)[2])
    require([entry["name"] for entry in table] == list(known), f"{header.path}: names other arrays than its layout")
    filled = [np.zeros(entry["rows"], known[entry["name"]].dtype) for entry in table]
    for array, start, piece in blocks:
        filled[array].view(np.uint8)[start : start + len(piece)] = np.frombuffer(piece, np.uint8)
    for name, rows in zip(known, filled, strict=True):
        setattr(arrays, name, rows)
    arrays._renew_addresses()  # noqa: SLF001


def _blocks_in(header: SnapshotHeader, content: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield array number, offset in the array and bytes of each block, after checking it."""
    offset = HEADER_BYTES
    for number in range(header.block_count):
        start = offset + BLOCK_HEADER_BYTES
        if start > len(content):
            raise SnapshotDamagedError(f"{header.path}: damaged: block {number} at offset {offset} is missing")
        found, array, at, length, checksum = _BLOCK.unpack_from(content, offset)
        piece = content[start : start + length]
        head = content[offset : start - _CHECKSUM_BYTES]
        if found != number or google_crc32c.extend(google_crc32c.value(head), piece) != checksum:
            raise SnapshotDamagedError(f"{header.path}: damaged: block {number} at offset {offset} fails its checksum")
        yield array, at, piece
        offset = start + length
    if offset != len(content):
        raise SnapshotDamagedError(f"{header.path}: damaged: {len(content) - offset} bytes after its last block")
