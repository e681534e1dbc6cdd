"""Damage to synced bytes is found wherever it is, named, and left as it is."""

from pathlib import Path

import pytest

from matching_worker.frames import SEGMENT_HEADER_BYTES
from matching_worker.tests.wal_files import FRAME_BYTES, SEGMENT_1, SHARD, sequences_in, written
from matching_worker.wal import Wal, WalDamagedError


def test_every_flipped_bit_of_synced_bytes_is_damage_and_nothing_is_changed(tmp_path: Path) -> None:
    written(tmp_path, 1, 1)
    path = tmp_path / SEGMENT_1
    whole = path.read_bytes()
    synced_bytes = SEGMENT_HEADER_BYTES + FRAME_BYTES

    for position in range(synced_bytes):
        for bit in range(8):
            content = bytearray(whole)
            content[position] ^= 1 << bit
            path.write_bytes(content)
            with pytest.raises(WalDamagedError, match=r"damaged at offset \d+") as refusal:
                Wal.open(tmp_path, shard=SHARD, epoch=1)
            assert str(path) in str(refusal.value)
            with pytest.raises(WalDamagedError):
                sequences_in(tmp_path)
            assert path.read_bytes() == bytes(content)


def test_damage_names_the_offset_of_the_bad_frame(tmp_path: Path) -> None:
    written(tmp_path, 1, 1, 1)
    path = tmp_path / SEGMENT_1
    content = bytearray(path.read_bytes())
    second = SEGMENT_HEADER_BYTES + FRAME_BYTES
    content[second + 100] ^= 1
    path.write_bytes(content)

    with pytest.raises(WalDamagedError, match=f"{SEGMENT_1}: damaged at offset {second}: "):
        Wal.open(tmp_path, shard=SHARD, epoch=1)


@pytest.mark.parametrize("keep", [0, 10, SEGMENT_HEADER_BYTES, SEGMENT_HEADER_BYTES + 50])
def test_a_segment_cut_short_before_another_is_damage(tmp_path: Path, keep: int) -> None:
    written(tmp_path, 1, 1, segment_bytes_max=1)
    path = tmp_path / SEGMENT_1
    path.write_bytes(path.read_bytes()[:keep])

    with pytest.raises(WalDamagedError, match=SEGMENT_1 if keep != SEGMENT_HEADER_BYTES else "segment is missing"):
        Wal.open(tmp_path, shard=SHARD, epoch=1)


def test_a_missing_segment_is_damage(tmp_path: Path) -> None:
    written(tmp_path, 1, 1, 1, segment_bytes_max=1)
    (tmp_path / "000001-00000000000000000002.wal").unlink()

    with pytest.raises(WalDamagedError, match="continues command 2, but the WAL before it ends with 1"):
        Wal.open(tmp_path, shard=SHARD, epoch=1)


def test_old_segments_may_be_gone(tmp_path: Path) -> None:
    written(tmp_path, 1, 1, 1, segment_bytes_max=1)
    (tmp_path / SEGMENT_1).unlink()

    assert Wal.open(tmp_path, shard=SHARD, epoch=1).tail.sequence == 3
    assert sequences_in(tmp_path) == [2, 3]
