"""A full disk and a read-only one, for real: the system refuses, the outcome is an error in words, nothing is lost."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from matching_worker import recovery
from matching_worker.retention import snapshots_of
from matching_worker.tests.storage_files import hash_after, history, worked
from matching_worker.tests.wal_files import SHARD, contents, sequences_in, written
from matching_worker.wal import Wal


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that others than its owner can reach: root may write everywhere, so another user tries it."""
    made = Path(mkdtemp())
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def run(case: str, folder: Path) -> list[str]:
    result = subprocess.run(
        [sys.executable, "-m", "matching_worker.tests.full_disk", case, str(folder)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_a_full_disk_stops_the_wal_and_every_durable_command_is_recovered(folder: Path) -> None:
    refusal, after = run("wal", folder)

    durable, _, words = refusal.partition(" ")
    assert words == "File too large"
    assert "a write to it failed" in after
    assert int(durable) > 0
    log = Wal.open(folder, shard=SHARD, epoch=2)
    assert log.torn is not None
    assert log.tail.sequence == int(durable)
    log.close()
    assert recovery.rebuild(folder, shard=SHARD).engine.state_hash == hash_after(history()[: int(durable)])


def test_a_full_disk_leaves_no_half_snapshot_and_the_older_ones(folder: Path) -> None:
    worked(folder, history(), 1000)
    before = contents(snapshots_of(folder))

    assert run("snapshot", folder) == ["File too large"]

    assert contents(snapshots_of(folder)) == before


def test_a_read_only_folder_is_refused_in_words_and_left_as_it_is(folder: Path) -> None:
    written(folder, 3)
    snapshots_of(folder).mkdir()
    before = {path: path.read_bytes() for path in folder.glob("*.wal")}

    wal_refusal, snapshot_refusal = run("read-only", folder)

    assert wal_refusal == f"{folder}: cannot be used as a WAL: Permission denied"
    assert snapshot_refusal.startswith("[Errno 13] Permission denied")
    assert {path: path.read_bytes() for path in folder.glob("*.wal")} == before
    assert list(snapshots_of(folder).iterdir()) == []
    assert sequences_in(folder) == [1, 2, 3]


def test_an_empty_read_only_folder_is_refused_when_the_first_segment_is_made(folder: Path) -> None:
    wal_refusal, _ = run("read-only", folder)

    assert wal_refusal.startswith("[Errno 13] Permission denied")
    assert list(folder.iterdir()) == []
