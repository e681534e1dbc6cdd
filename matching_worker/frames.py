"""The bytes of the WAL: the only place that packs and checks them.

A WAL is a folder of segments. A segment is a header and frames; a frame is what one `append` was
given. Numbers are little-endian; checksums are CRC32C over everything of the header or frame but its
magic and the checksum itself, and for the segment header its magic too.

    segment header, 64 bytes: magic, version u2, shard u2, epoch u4, sequence before i8, chain hash
        before 32 bytes, reserved u4, checksum u4
    frame header, 80 bytes: magic, checksum u4, version u2, shard u2, epoch u4, first sequence i8, last
        sequence i8, durable offset i8, payload length u4, reserved u4, chain hash 32 bytes
    payload: COMMAND_DTYPE rows

Note [Torn or damaged]
    A crash may leave the frames of the last, unsynced write in any state: the disk is free to keep
    a later page and lose an earlier one. Nothing was promised for them, so they are cut, and the
    worker takes those commands from the command log again. A bad frame that had been synced is
    something else: the disk lost what it had promised. Every frame therefore says up to which
    offset its file was durable when it was written. Bad bytes below such an offset, or in any
    segment but the last, are damage, and nothing is cut then.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import google_crc32c
import numpy as np

from matching_worker.protocol import COMMAND_BYTES, COMMAND_DTYPE, Rows

WAL_VERSION: Final = 1
CHAIN_HASH_BYTES: Final = 32
NO_CHAIN_HASH: Final = bytes(CHAIN_HASH_BYTES)

_SEGMENT_MAGIC: Final = b"EXWALSEG"
_FRAME_MAGIC: Final = b"EXFR"
_SEGMENT_HEADER: Final = struct.Struct("<8sHHIq32sII")
_FRAME_HEADER: Final = struct.Struct("<4sIHHIqqqII32s")
_CHECKSUM: Final = struct.Struct("<I")
_FRAME_CHECKED_FROM: Final = 8
SEGMENT_HEADER_BYTES: Final = _SEGMENT_HEADER.size


class WalError(Exception):
    """The WAL cannot be used as it is; the message says which file, where, and why."""


class WalDamagedError(WalError):
    """Bytes that had been synced are not what was written."""


class WalVersionError(WalError):
    """The WAL was written by a newer version of this program."""


class Tail(NamedTuple):
    """The last command in the WAL; sequence 0 and a zero hash when there is none."""

    sequence: int
    chain_hash: bytes


class _Frame(NamedTuple):
    """A frame that has passed its checksum."""

    epoch: int
    first_sequence: int
    last_sequence: int
    durable_offset: int
    chain_hash: bytes
    payload_start: int
    end: int


def pack_segment_header(shard: int, epoch: int, before: Tail) -> bytes:
    """Return a segment's header."""
    checked = _SEGMENT_HEADER.pack(_SEGMENT_MAGIC, WAL_VERSION, shard, epoch, before.sequence, before.chain_hash, 0, 0)[
        : -_CHECKSUM.size
    ]
    return checked + _CHECKSUM.pack(google_crc32c.value(checked))


def pack_frame(shard: int, epoch: int, commands: Rows, chain_hash: bytes, durable_offset: int) -> bytes:
    """Return a frame's bytes."""
    payload = commands.tobytes()
    header = _FRAME_HEADER.pack(
        _FRAME_MAGIC,
        0,
        WAL_VERSION,
        shard,
        epoch,
        int(commands["sequence"][0]),
        int(commands["sequence"][-1]),
        durable_offset,
        len(payload),
        0,
        chain_hash,
    )
    checked = header[_FRAME_CHECKED_FROM:] + payload
    return _FRAME_MAGIC + _CHECKSUM.pack(google_crc32c.value(checked)) + checked


def _frame_at(path: Path, content: bytes, offset: int, shard: int) -> _Frame | None:
    """Return the frame that starts at `offset`, or None when no whole, correct frame does."""
    payload_start = offset + _FRAME_HEADER.size
    if payload_start > len(content):
        return None
    magic, checksum, version, frame_shard, epoch, first, last, durable, length, _, chain_hash = (
        _FRAME_HEADER.unpack_from(content, offset)
    )
    end = payload_start + length
    if magic != _FRAME_MAGIC or end > len(content):
        return None
    if google_crc32c.value(content[offset + _FRAME_CHECKED_FROM : end]) != checksum:
        return None
    if version > WAL_VERSION:
        raise WalVersionError(
            f"{path}: frame at offset {offset} has version {version}; this program reads {WAL_VERSION}"
        )
    if frame_shard != shard:
        raise WalDamagedError(f"{path}: frame at offset {offset} belongs to shard {frame_shard}, not {shard}")
    if length != (last - first + 1) * COMMAND_BYTES:
        raise WalDamagedError(f"{path}: frame at offset {offset} has {length} bytes for commands {first} to {last}")
    return _Frame(epoch, first, last, durable, chain_hash, payload_start, end)


def _was_durable(path: Path, content: bytes, offset: int, shard: int) -> bool:
    """Tell whether a later frame says that the bytes at `offset` had been synced; Note [Torn or damaged]."""
    found = content.find(_FRAME_MAGIC, offset + 1)
    while found != -1:
        frame = _frame_at(path, content, found, shard)
        if frame is not None and frame.durable_offset > offset:
            return True
        found = content.find(_FRAME_MAGIC, found + 1)
    return False


class SegmentReader:
    """Reads one segment from start to end, checking everything it hands out."""

    def __init__(self, path: Path, shard: int | None) -> None:
        self.path = path
        try:
            self.content = path.read_bytes()
        except OSError as error:
            raise WalError(f"{path}: cannot be read: {error.strerror}") from error
        self.epoch = 0
        self.shard = shard
        self.before = self._read_header()
        self.tail = self.before
        self.good_bytes = 0 if self.before is None else SEGMENT_HEADER_BYTES

    def _read_header(self) -> Tail | None:
        """Return the tail before this segment, or None when there is no whole, correct header."""
        if len(self.content) < SEGMENT_HEADER_BYTES:
            return None
        magic, version, shard, epoch, sequence, chain_hash, _, checksum = _SEGMENT_HEADER.unpack_from(self.content)
        checked = self.content[: SEGMENT_HEADER_BYTES - _CHECKSUM.size]
        if magic != _SEGMENT_MAGIC or google_crc32c.value(checked) != checksum:
            return None
        if version > WAL_VERSION:
            raise WalVersionError(f"{self.path}: the segment has version {version}; this program reads {WAL_VERSION}")
        if self.shard is not None and shard != self.shard:
            raise WalDamagedError(f"{self.path}: the segment belongs to shard {shard}, not {self.shard}")
        self.shard, self.epoch = shard, epoch
        return Tail(sequence, chain_hash)

    def frames(self) -> Iterator[tuple[Rows, bytes]]:
        """Yield commands and chain hash of each frame up to the first bad byte; moves `tail` along.

        Raises:
            WalDamagedError: A frame has the right checksum and yet does not continue the one before.
        """
        if self.tail is None or self.shard is None:
            return
        while (frame := _frame_at(self.path, self.content, self.good_bytes, self.shard)) is not None:
            if frame.first_sequence != self.tail.sequence + 1 or frame.epoch != self.epoch:
                raise WalDamagedError(
                    f"{self.path}: frame at offset {self.good_bytes} starts with command {frame.first_sequence} "
                    f"of epoch {frame.epoch} where {self.tail.sequence + 1} of epoch {self.epoch} was due"
                )
            self.good_bytes = frame.end
            self.tail = Tail(frame.last_sequence, frame.chain_hash)
            payload = bytearray(self.content[frame.payload_start : frame.end])
            yield np.frombuffer(payload, COMMAND_DTYPE), frame.chain_hash

    def require_only_torn(self, *, is_last: bool) -> None:
        """Refuse what stands after the last good frame unless it is an unsynced write.

        Raises:
            WalDamagedError: The bytes had been synced.
        """
        if self.good_bytes == len(self.content) and self.before is not None:
            return
        shard = self.shard if self.shard is not None else 0
        if not is_last or _was_durable(self.path, self.content, self.good_bytes, shard):
            raise WalDamagedError(
                f"{self.path}: damaged at offset {self.good_bytes}: the bytes there were synced and fail their checksum"
            )
