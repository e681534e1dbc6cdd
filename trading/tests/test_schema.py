"""The command log in PostgreSQL: dense, chained, append-only."""

import hashlib

import pytest
from django.db import IntegrityError, connection

from exchange.kernel.clock import utc_now

pytestmark = pytest.mark.django_db


def _append(*payloads: bytes) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT append_commands(0::smallint, %s, %s)", [list(payloads), utc_now()])
        return cursor.fetchone()[0]


def test_sequences_are_dense_and_the_chain_covers_every_payload() -> None:
    first = _append(b"a", b"b")
    second = _append(b"c")

    with connection.cursor() as cursor:
        cursor.execute("SELECT sequence, chain_hash FROM commands ORDER BY sequence")
        rows = cursor.fetchall()
    expected = hashlib.sha256(b"shard 0").digest()
    hashes = []
    for payload in (b"a", b"b", b"c"):
        expected = hashlib.sha256(expected + payload).digest()
        hashes.append(expected)
    assert (first, second) == (1, 3)
    assert [(row[0], bytes(row[1])) for row in rows] == [(1, hashes[0]), (2, hashes[1]), (3, hashes[2])]


@pytest.mark.parametrize("attack", ["UPDATE commands SET payload = ''", "DELETE FROM commands", "TRUNCATE commands"])
def test_the_log_cannot_be_rewritten(attack: str) -> None:
    _append(b"a")

    with pytest.raises(IntegrityError, match="append-only"), connection.cursor() as cursor:
        cursor.execute(attack)
