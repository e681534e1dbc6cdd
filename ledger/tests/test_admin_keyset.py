"""Long lists of the admin: every page costs the same, skips and counts nothing, and no row is lost or shown twice."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ledger import keyset
from ledger.models import Account, JournalEntry
from ledger.posting_rules import EventKind
from ledger.services import journal
from ledger.tests.factories import NOW, event, freeze

pytestmark = [
    pytest.mark.usefixtures("books"),
    pytest.mark.filterwarnings("ignore:No directory at:UserWarning"),  # whitenoise: static files are not collected
]
LISTS: dict[str, Any] = {"journalentry": JournalEntry, "account": Account}


@pytest.fixture
def alice(customer, monkeypatch):
    """Seven entries and pages of three."""
    monkeypatch.setattr("ledger.admin.JournalEntryAdmin.list_per_page", 3)
    monkeypatch.setattr("ledger.admin.AccountAdmin.list_per_page", 2)
    made = customer("alice", USDT=100, BTC=1)
    journal.post([freeze(f"order-{n}", made.id, 1) for n in range(5)], NOW)
    return made


def walked(client, name: str, query: str, way: str) -> list[int]:
    """Follow the links to one end and return the ids seen."""
    found: list[int] = []
    while True:
        shown = client.get(f"/admin/ledger/{name}/{query}").context["cl"]
        ids = [row.pk for row in shown.result_list]
        found = found + ids if way == "older" else ids + found
        query = getattr(shown.paginator.page_shown, way)
        if not query:
            return found


@pytest.mark.parametrize("name", LISTS)
def test_the_pages_are_the_list_in_both_directions(admin_client, alice, name) -> None:
    ids = list(LISTS[name].objects.order_by("-id").values_list("id", flat=True))

    assert walked(admin_client, name, "", "older") == ids
    assert walked(admin_client, name, "?after=0", "newer") == ids


def test_a_filter_stays_from_page_to_page_and_starts_at_the_first(admin_client, alice) -> None:
    found = walked(admin_client, "journalentry", "?kind=ORDER_FREEZE", "older")
    page = admin_client.get("/admin/ledger/journalentry/?kind=ORDER_FREEZE&before=6").context["cl"]

    assert len(found) == 5
    assert set(JournalEntry.objects.filter(pk__in=found).values_list("kind", flat=True)) == {"ORDER_FREEZE"}
    assert "before" not in page.get_query_string({"late": "1"})


@pytest.mark.parametrize(
    "path",
    [
        "journalentry/",
        "journalentry/?before=5",
        "journalentry/?after=2",
        "journalentry/?kind=DEPOSIT",
        "journalentry/?late=1&kind=DEPOSIT",
        "journalentry/?q=trace-1",
        "journalentry/?q=order-1",
        "journalentry/?q=%232",
        "journalentry/?p=3",
        "journalentry/?before=nonsense",
        "account/",
        "account/?before=5",
        "account/?after=1",
        "account/?face=BOTH",
        "account/?code=1010",
        "account/?asset__code__exact=USDT",
        "account/?q=7",
    ],
)
def test_no_page_skips_or_counts_rows_or_reads_more_than_itself(admin_client, alice, path) -> None:
    with CaptureQueriesContext(connection) as queries:
        status = admin_client.get(f"/admin/ledger/{path}").status_code

    asked = [query["sql"] for query in queries if "ledger_entry" in query["sql"] or "ledger_account" in query["sql"]]
    assert status == 200
    assert asked
    for statement in asked:
        assert "OFFSET" not in statement
        assert "COUNT(" not in statement.upper()
        assert "DISTINCT" not in statement
        assert " LIMIT " in statement or "pg_class" in statement, statement


@pytest.fixture
def late_deposit(alice) -> JournalEntry:
    """A deposit that became known two days after it happened."""
    draft = event(EventKind.DEPOSIT, "late-deposit", alice.id, 5)
    journal.post([replace(draft, effective_at=NOW - timedelta(days=2))], NOW)
    return JournalEntry.objects.get(key="late-deposit")


def test_late_entries_are_listed_alone_and_by_kind(admin_client, late_deposit) -> None:
    late = list(JournalEntry.objects.filter(late=True).order_by("-id").values_list("id", flat=True))

    assert 0 < len(late) < JournalEntry.objects.count()
    assert walked(admin_client, "journalentry", "?late=1", "older") == late
    assert walked(admin_client, "journalentry", "?late=1&kind=DEPOSIT", "older") == [late_deposit.pk]


@pytest.mark.parametrize(
    ("narrowed", "index"), [({}, "ledger_entry_late_id"), ({"kind": "SPOT_FILL"}, "ledger_entry_late_kind")]
)
def test_late_entries_are_found_by_an_index_of_theirs(alice, narrowed, index) -> None:
    rows = JournalEntry.objects.filter(late=True, **narrowed).order_by("-pk")[:51]

    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
        plan = rows.explain()

    assert index in plan


def test_a_long_table_is_estimated_and_a_filtered_list_of_many_pages_is_not_counted(
    admin_client, alice, monkeypatch
) -> None:
    monkeypatch.setattr("ledger.selectors.estimated_rows", lambda _table: 12_345_678)

    assert "about 12345678 journal entries" in admin_client.get("/admin/ledger/journalentry/").content.decode()
    assert "about" not in admin_client.get("/admin/ledger/journalentry/?kind=ORDER_FREEZE").content.decode()
    assert "1 journal entries" in admin_client.get("/admin/ledger/journalentry/?q=order-1").content.decode()


def test_a_page_beside_nothing_leads_back_to_the_first(alice) -> None:
    page = keyset.page(JournalEntry.objects.all(), {"before": "1", "kind": "x"}, 3)

    assert (page.rows, page.newer, page.older) == ([], "?kind=x", "")
