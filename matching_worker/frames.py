"""The bytes of the WAL: the only place that packs and checks them.

A WAL is a folder of segments. A segment is a header and frames; a frame is what one `append` was
given. Numbers are little-endian; checksums are CRC32C over everything of the header or frame but its
magic and the checksum itself, and for the segment header its magic too.

    segment header, 64 bytes: magic, version u2, shard u2, epoch u4, sequence before i8, chain hash
        before 32 bytes, reserved u4, checksum u4
    frame header, 80 bytes: magic, checksum u4, version u2, shard u2, epoch u4, first sequence i8, last
        sequence i8, durable offset i8, payload length u4, row bytes u4, chain hash 32 bytes
    payload: rows of commands, each of `row bytes` as the protocol of the writer had them

Version 1 had 64-byte rows and a zero in the place of `row bytes`. It stays readable: `protocol.decode` turns old rows
into those of today, and replaying them gives the state hash that they gave then (`tests/golden/wal_v1`). Version 2 had
frames of the segment's own epoch only; since then a segment begins with those of earlier epochs that its writer has
taken over as they were (Note [Void segments] in `segments.py`).

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

from matching_worker.protocol import COMMAND_BYTES, COMMAND_DTYPE, PROTOCOL_VERSION, Rows, decode

WAL_VERSION: Final = 3
ROW_BYTES_OF_VERSION_1: Final = 64
CHAIN_HASH_BYTES: Final = 32
NO_CHAIN_HASH: Final = bytes(CHAIN_HASH_BYTES)

_SEGMENT_MAGIC: Final = b"EXWALSEG"
_FRAME_MAGIC: Final = b"EXFR"
_SEGMENT_HEADER: Final = struct.Struct("<8sHHIq32sII")
_FRAME_HEADER: Final = struct.Struct("<4sIHHIqqqII32s")
_CHECKSUM: Final = struct.Struct("<I")
_FRAME_CHECKED_FROM: Final = 8
SEGMENT_HEADER_BYTES: Final = _SEGMENT_HEADER.size
FRAME_HEADER_BYTES: Final = _FRAME_HEADER.size


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


class SegmentStart(NamedTuple):
    """A segment's header."""

    version: int
    shard: int
    epoch: int
    before: Tail


class _Frame(NamedTuple):
    """A frame that has passed its checksum."""

    epoch: int
    first_sequence: int
    last_sequence: int
    durable_offset: int
    row_bytes: int
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
        COMMAND_BYTES,
        chain_hash,
    )
    checked = header[_FRAME_CHECKED_FROM:]
    checksum = google_crc32c.extend(google_crc32c.value(checked), payload)
    return b"".join((_FRAME_MAGIC, _CHECKSUM.pack(checksum), checked, payload))


def _frame_at(path: Path, content: bytes, offset: int, shard: int) -> _Frame | None:
    """Return the frame that starts at `offset`, or None when no whole, correct frame does."""
    payload_start = offset + _FRAME_HEADER.size
    if payload_start > len(content):
        return None
    magic, checksum, version, frame_shard, epoch, first, last, durable, length, row_bytes, chain_hash = (
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
    if version == 1:
        row_bytes = ROW_BYTES_OF_VERSION_1
    if length != (last - first + 1) * row_bytes:
        raise WalDamagedError(f"{path}: frame at offset {offset} has {length} bytes for commands {first} to {last}")
    return _Frame(epoch, first, last, durable, row_bytes, chain_hash, payload_start, end)


def _commands(path: Path, content: bytes, frames: "list[_Frame]") -> Rows:
    """Return the commands of frames that follow each other, as rows of today, owned by the caller.

    All of the frames have rows of one size. They are joined as bytes: NumPy joins structured rows field by field.
    """
    first, last, row_bytes = frames[0].first_sequence, frames[-1].last_sequence, frames[0].row_bytes
    if row_bytes == COMMAND_BYTES:
        view = memoryview(content)
        joined = bytearray().join([view[frame.payload_start : frame.end] for frame in frames])
        commands = np.frombuffer(joined, COMMAND_DTYPE)
        if commands["version"].max() > PROTOCOL_VERSION:
            raise WalVersionError(
                f"{path}: commands {first} to {last} have version {commands['version'].max()}; "
                f"this program reads {PROTOCOL_VERSION}"
            )
        return commands
    starts = [start for frame in frames for start in range(frame.payload_start, frame.end, row_bytes)]
    return decode(np.arange(first, last + 1), [content[start : start + row_bytes] for start in starts])


def segment_start(path: Path) -> "SegmentStart | None":
    """Return what a segment's header says, without reading the rest; None when there is no whole, correct header.

    Raises:
        WalError: The file cannot be read, or a newer program wrote it.
    """
    try:
        with path.open("rb") as file:
            head = file.read(SEGMENT_HEADER_BYTES)
    except OSError as error:
        raise WalError(f"{path}: cannot be read: {error.strerror}") from error
    return _unpack_segment_header(path, head)


def _unpack_segment_header(path: Path, content: bytes) -> "SegmentStart | None":
    """Return a segment's header, or None when it is not whole and correct."""
    if len(content) < SEGMENT_HEADER_BYTES:
        return None
    magic, version, shard, epoch, sequence, chain_hash, _, checksum = _SEGMENT_HEADER.unpack_from(content)
    checked = content[: SEGMENT_HEADER_BYTES - _CHECKSUM.size]
    if magic != _SEGMENT_MAGIC or google_crc32c.value(checked) != checksum:
        return None
    if version > WAL_VERSION:
        raise WalVersionError(f"{path}: the segment has version {version}; this program reads {WAL_VERSION}")
    return SegmentStart(version, shard, epoch, Tail(sequence, chain_hash))


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
    """Reads one segment from start to end, checking everything it hands out.

    Attributes:
        before: Where the segment continues, or None when there is no whole, correct header.
        tail: The last command handed out so far.
        good_bytes: Up to here everything is whole and correct.
        frame_count: Frames handed out so far.
    """

    def __init__(self, path: Path, shard: int | None) -> None:
        self.path = path
        try:
            self.content = path.read_bytes()
        except OSError as error:
            raise WalError(f"{path}: cannot be read: {error.strerror}") from error
        self.version = 0
        self.epoch = 0
        self.shard = shard
        self.frame_count = 0
        self.before = self._read_header()
        self.tail = self.before
        self.good_bytes = 0 if self.before is None else SEGMENT_HEADER_BYTES

    def _read_header(self) -> Tail | None:
        """Return the tail before this segment, or None when there is no whole, correct header."""
        start = _unpack_segment_header(self.path, self.content)
        if start is None:
            return None
        if self.shard is not None and start.shard != self.shard:
            raise WalDamagedError(f"{self.path}: the segment belongs to shard {start.shard}, not {self.shard}")
        self.version, self.shard, self.epoch = start.version, start.shard, start.epoch
        return start.before

    def frames(self, *, at_least: int = 1) -> Iterator[tuple[Rows, bytes]]:
        """Yield commands and chain hash of each frame up to the first bad byte; moves `tail` along.

        Args:
            at_least: Frames are joined until they have so many commands, or end.

        Raises:
            WalDamagedError: A frame has the right checksum and yet does not continue the one before.
            WalVersionError: A newer program wrote a frame, or a command in it.
        """
        gathered: list[_Frame] = []
        for frame in self._walk():
            if gathered and gathered[0].row_bytes != frame.row_bytes:
                yield _commands(self.path, self.content, gathered), gathered[-1].chain_hash
                gathered = []
            gathered.append(frame)
            if frame.last_sequence - gathered[0].first_sequence + 1 >= at_least:
                yield _commands(self.path, self.content, gathered), frame.chain_hash
                gathered = []
        if gathered:
            yield _commands(self.path, self.content, gathered), gathered[-1].chain_hash

    def skim(self) -> None:
        """Check all that `frames` would yield, without making arrays of it."""
        for _ in self._walk():
            pass

    def _walk(self) -> Iterator[_Frame]:
        """Yield each whole, correct frame; moves `tail` along."""
        if self.tail is None or self.shard is None:
            return
        epoch = 0
        while (frame := _frame_at(self.path, self.content, self.good_bytes, self.shard)) is not None:
            if frame.first_sequence != self.tail.sequence + 1 or not epoch <= frame.epoch <= self.epoch:
                raise WalDamagedError(
                    f"{self.path}: frame at offset {self.good_bytes} starts with command {frame.first_sequence} "
                    f"of epoch {frame.epoch} where {self.tail.sequence + 1} of epoch {epoch} to {self.epoch} was due"
                )
            epoch = frame.epoch
            self.good_bytes = frame.end
            self.tail = Tail(frame.last_sequence, frame.chain_hash)
            self.frame_count += 1
            yield frame

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
