"""Whoever looks at the books in the administration is in the finance log, as on the finance pages."""

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME

from ledger.access import Role
from ledger.admin_log import CHOSEN_MAX
from ledger.models import Account, FinanceLog, JournalEntry
from ledger.tests.factories import staff

pytestmark = [
    pytest.mark.usefixtures("books"),
    pytest.mark.filterwarnings("ignore:No directory at:UserWarning"),  # whitenoise: static files are not collected
]


@pytest.fixture
def alice(customer):
    return customer("alice", USDT=100)


@pytest.fixture
def auditor(client):
    """A browser of someone who may see the books and do nothing."""
    client.force_login(staff(Role.AUDITOR))
    return client


@pytest.mark.parametrize(
    ("path", "action"),
    [
        ("ledger/journalentry/?q=1", "journal_entry.list"),
        ("ledger/account/?q=1", "account.list"),
        ("ledger/depositnotice/?q=1", "deposit_notice.list"),
        ("ledger/custodyaccount/?q=1", "custodyaccount.list"),
    ],
)
def test_a_visit_to_a_list_is_logged_with_what_was_asked(auditor, alice, path, action) -> None:
    auditor.get(f"/admin/{path}")

    [row] = FinanceLog.objects.values_list("action", "user__username", "subject", "detail")
    assert row == (action, "the-auditor", "", {"method": "GET", "query": "q=1"})


def test_a_visit_to_a_row_is_logged_once_and_by_name(auditor, alice) -> None:
    account, entry = Account.objects.get(owner_id=alice.id, code="1010"), JournalEntry.objects.get()

    auditor.get(f"/admin/ledger/account/{account.pk}/change/")
    auditor.get(f"/admin/ledger/journalentry/{entry.pk}/change/")

    assert list(FinanceLog.objects.order_by("id").values_list("action", "subject")) == [
        ("account.view", str(account.pk)),
        ("journal_entry.view", str(entry.pk)),
    ]


def test_what_is_done_to_rows_of_a_list_is_logged_with_the_rows(admin_client, alice) -> None:
    rows = [str(number) for number in range(CHOSEN_MAX + 5)]

    admin_client.post("/admin/ledger/depositnotice/", {"action": "approve", ACTION_CHECKBOX_NAME: rows})

    [row] = FinanceLog.objects.filter(action="deposit_notice.act")
    assert row.detail == {"method": "POST", "asked": "approve", "rows": rows[:CHOSEN_MAX], "count": CHOSEN_MAX + 5}


def test_who_is_refused_saw_nothing(client, alice) -> None:
    client.force_login(staff(Role.SUPPORT))
    entry = JournalEntry.objects.get()

    statuses = [
        client.get(f"/admin/ledger/{path}").status_code
        for path in ("journalentry/", f"journalentry/{entry.pk}/change/", "account/")
    ]

    assert statuses == [403, 403, 403]
    assert not FinanceLog.objects.exists()


def test_an_address_that_is_no_number_does_not_break_the_log(auditor, alice) -> None:
    auditor.get(f"/admin/ledger/account/{'9' * 300}/change/")

    assert FinanceLog.objects.get().subject == "9" * 128
