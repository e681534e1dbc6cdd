"""What the database refuses of publications, whoever asks: changes, and publishing by the web."""

import pytest
from django.db import DatabaseError, connection, transaction

from ledger.reserves import publishing
from ledger.reserves.models import Publication, PublicationState, TreeChunk
from ledger.reserves.tests.conftest import NOW
from ledger.services import grants

pytestmark = pytest.mark.usefixtures("books")

ASK = """
INSERT INTO ledger_publication (state, requested_by_id, requested_at, statement, refusal)
SELECT 'REQUESTED', id, now(), '', '' FROM users_user WHERE username = 'approver'
"""
ADD_CHUNK = """
INSERT INTO ledger_publication_chunk (publication_id, asset_id, part, number, first, top, leaves)
SELECT id, 'USDT', 0, 99, '', '', '' FROM ledger_publication
"""
COPY = """
INSERT INTO ledger_publication (state, requested_by_id, requested_at, published_at, entry_id, secret, statement,
                                signature, public_key, refusal)
SELECT state, requested_by_id, requested_at, published_at, entry_id, secret, statement, signature, public_key, refusal
FROM ledger_publication
"""


def _as(role: str | None, statement: str) -> None:
    """Run a statement as a role; None is the tables' owner."""
    with transaction.atomic(), connection.cursor() as cursor:
        if role is not None:
            cursor.execute(f"SET LOCAL ROLE {role}")
        cursor.execute(statement)
        cursor.execute("RESET ROLE")


def test_the_web_may_ask_and_only_the_back_office_publishes(customer, approver) -> None:
    customer("alice", USDT=100)
    _as(grants.WEB_ROLE, ASK)

    for forged in ("UPDATE ledger_publication SET state = 'REFUSED'", ADD_CHUNK):
        with pytest.raises(DatabaseError, match="may not publish"):
            _as(grants.WEB_ROLE, forged)

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL ROLE {grants.BACK_OFFICE_ROLE}")
        assert publishing.carry_out(NOW) == 1
        cursor.execute("RESET ROLE")
    assert Publication.objects.get().state == PublicationState.PUBLISHED
    assert TreeChunk.objects.count() == 2


@pytest.mark.parametrize("role", [grants.WEB_ROLE, grants.BACK_OFFICE_ROLE, None])
@pytest.mark.parametrize(
    "attack",
    [
        "UPDATE ledger_publication SET statement = '{}'",
        "UPDATE ledger_publication SET state = 'REQUESTED', statement = '', signature = NULL",
        "DELETE FROM ledger_publication",
        "UPDATE ledger_publication_chunk SET leaves = top",
        "DELETE FROM ledger_publication_chunk",
        ADD_CHUNK,
        COPY,
    ],
)
def test_nobody_changes_what_was_published(customer, publish, attack, role) -> None:
    customer("alice", USDT=100)
    publish()
    before = Publication.objects.values().get(), list(TreeChunk.objects.values())

    with pytest.raises(DatabaseError):
        _as(role, attack)

    assert (Publication.objects.values().get(), list(TreeChunk.objects.values())) == before
