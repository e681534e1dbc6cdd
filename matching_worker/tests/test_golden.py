"""What older versions wrote must replay for ever: a WAL of each version, and what its engine made of it."""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from matching_worker import protocol, wal
from matching_worker.book.reference import ReferenceEngine
from matching_worker.engine import Engine

GOLDEN = Path(__file__).parent / "golden"


def _known(version: int) -> dict[str, Any]:
    return json.loads((GOLDEN / f"version_{version}.json").read_text())


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("kind", [Engine, ReferenceEngine])
def test_a_wal_of_an_older_version_gives_the_events_and_hashes_of_its_day(
    tmp_path: Path, version: int, kind: type[Engine] | type[ReferenceEngine]
) -> None:
    known, folder = _known(version), tmp_path
    content = gzip.decompress((GOLDEN / f"version_{version}.wal.gz").read_bytes())
    (folder / known["file"]).write_bytes(content)
    engine = kind(known["shard"], known["epoch"])
    digest, hashes, event_count, chain_hash = hashlib.sha256(), [], 0, b""

    for commands, chain_hash in wal.read(folder):  # noqa: B007 - the last one is looked at below
        events = engine.apply(commands)
        digest.update(events.tobytes())
        event_count += len(events)
        hashes.append(f"{engine.state_hash:016x}")

    assert (engine.sequence, event_count) == (known["commands"], known["events"])
    assert hashes == known["state_hashes"]
    assert digest.hexdigest() == known["events_sha256"]
    assert chain_hash.hex() == known["chain_hash"]


def test_payloads_of_version_1_give_the_same_as_its_wal() -> None:
    known = _known(1)
    content = gzip.decompress((GOLDEN / "version_1.wal.gz").read_bytes())
    frame_bytes = 80 + 64 * known["frame_commands"]
    stored = [
        bytes(8) + content[row + 8 : row + 64]
        for start in range(64, len(content), frame_bytes)
        for row in range(start + 80, start + frame_bytes, 64)
    ]
    engine = Engine(known["shard"], known["epoch"])

    engine.apply(protocol.decode(range(1, len(stored) + 1), stored))

    assert f"{engine.state_hash:016x}" == known["state_hashes"][-1]
    assert engine.open_order_count == known["open_orders"]
