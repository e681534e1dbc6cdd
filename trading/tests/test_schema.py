"""The command log in PostgreSQL: dense, chained, append-only."""

import hashlib

import pytest
from django.db import DataError, IntegrityError, connection, transaction

from exchange.kernel.clock import utc_now

pytestmark = pytest.mark.django_db


def _append(payloads: bytes, size: int = 1) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT append_commands(0::smallint, %s, %s, %s)", [payloads, size, utc_now()])
        return cursor.fetchone()[0]


def test_sequences_are_dense_and_the_chain_covers_every_payload() -> None:
    first = _append(b"ab")
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


@pytest.mark.parametrize("payloads", [b"", b"abc", b"a"])
def test_what_is_no_whole_number_of_commands_is_not_appended(payloads: bytes) -> None:
    with pytest.raises(DataError, match="are no commands of 2 each"), transaction.atomic():
        _append(payloads, size=2)

    with connection.cursor() as cursor:
        cursor.execute("SELECT (SELECT count(*) FROM commands), (SELECT sequence FROM command_stream)")
        assert cursor.fetchone() == (0, 0)


@pytest.mark.parametrize("attack", ["UPDATE commands SET payload = ''", "DELETE FROM commands", "TRUNCATE commands"])
def test_the_log_cannot_be_rewritten(attack: str) -> None:
    _append(b"a")

    with pytest.raises(IntegrityError, match="append-only"), connection.cursor() as cursor:
        cursor.execute(attack)
