"""POSTING.md is posted from its first block to its last; both journals must show what it prints."""

import pytest
from django.db import connection

from ledger import journal_text
from ledger.posting_rules import EventKind
from ledger.services import grants
from ledger.tests import worked
from ledger.tests.fixtures import make_asset

pytestmark = pytest.mark.usefixtures("books")
PEOPLE = ("alice", "bob", "carol", "dave", "erin")


@pytest.fixture
def people(customer) -> dict[str, int]:
    return {name: customer(name).id for name in PEOPLE}


def test_every_worked_example_posts_as_written(people) -> None:
    make_asset("USDT")
    make_asset("BTC")
    number = 0
    for is_printed, events, text in worked.blocks():
        for event in events:
            number += 1
            entry_id = worked.post(event, people, f"example:{number}")
        if is_printed:
            head, _, _ = text.partition("\n\n")
            assert f"{head}\n{journal_text.printed(entry_id, people)}\n" == text
    assert worked.CLOSING.findall(worked.POSTING.read_text()) == [worked.closing_balances() + "\n"]


def test_every_kind_has_a_worked_example() -> None:
    shown = {event.kind for is_printed, events, _ in worked.blocks() if is_printed for event in events}

    assert shown == set(EventKind)


@pytest.mark.django_db
def test_the_page_says_who_may_post_what() -> None:
    grants.grant(connection, demo=False)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT role, string_agg(kind, ' ' ORDER BY kind COLLATE \"C\") FROM ledger_posting_right GROUP BY role"
        )
        rights = dict(cursor.fetchall())

    page = worked.POSTING.read_text()
    assert set(rights) == set(grants.ROLES)
    for role, kinds in rights.items():
        assert f"| `{role}` | {kinds}" in page
