from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission

from ledger.admin import EstimatedPaginator
from ledger.models import Account, Asset, DepositNotice, JournalEntry
from ledger.services import journal
from ledger.tests.factories import NOW, freeze

pytestmark = [
    pytest.mark.usefixtures("books"),
    pytest.mark.filterwarnings("ignore:No directory at:UserWarning"),  # whitenoise: static files are not collected
]
READ_ONLY = ("account", "journalentry", "depositnotice")


@pytest.fixture
def funded(customer):
    alice = customer("alice", USDT=100)
    journal.post([freeze("order-1", alice.id, 30)], NOW)
    return alice


@pytest.mark.parametrize("name", ["asset", *READ_ONLY])
def test_lists_open(admin_client, funded, name) -> None:
    page = admin_client.get(f"/admin/ledger/{name}/")

    assert page.status_code == 200


def test_an_entrys_page_shows_its_lines_in_both_views(admin_client, funded) -> None:
    entry = JournalEntry.objects.get(key="order-1")

    text = admin_client.get(f"/admin/ledger/journalentry/{entry.pk}/change/").content.decode()

    for shown in (
        "wallet.order_hold",
        "wallet.available",
        "user.order_hold",
        "user.available",
        bytes(entry.hash).hex(),
    ):
        assert shown in text


def test_an_accounts_page_leads_to_its_entries(admin_client, funded) -> None:
    account = Account.objects.get(code="1020")
    entry = JournalEntry.objects.get(key="order-1")

    text = admin_client.get(f"/admin/ledger/account/{account.pk}/change/").content.decode()

    assert f'href="/admin/ledger/journalentry/{entry.pk}/change/"' in text


def test_a_deposits_page_shows_the_money(admin_client, funded) -> None:
    notice = DepositNotice.objects.get()

    text = admin_client.get(f"/admin/ledger/depositnotice/{notice.pk}/change/").content.decode()

    assert "100 USDT" in text


@pytest.mark.parametrize("name", READ_ONLY)
def test_nobody_can_add_change_or_delete_by_direct_request(admin_client, funded, name) -> None:
    model: Any = {"account": Account, "journalentry": JournalEntry, "depositnotice": DepositNotice}[name]
    row = model.objects.order_by("pk").first()
    base = f"/admin/ledger/{name}/"

    statuses = [
        admin_client.get(f"{base}add/").status_code,
        admin_client.post(f"{base}add/", {"kind": "FORGED", "balance": "5"}).status_code,
        admin_client.post(f"{base}{row.pk}/change/", {"kind": "FORGED", "balance": "5"}).status_code,
        admin_client.get(f"{base}{row.pk}/delete/").status_code,
        admin_client.post(f"{base}{row.pk}/delete/", {"post": "yes"}).status_code,
    ]
    admin_client.post(base, {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"})

    assert statuses == [403, 403, 403, 403, 403]
    assert model.objects.get(pk=row.pk) == row


def test_staff_without_the_permission_see_nothing(client, funded) -> None:
    staff = get_user_model().objects.create_user("staff", password="x", is_staff=True)
    client.force_login(staff)

    assert client.get("/admin/ledger/journalentry/").status_code == 403

    staff.user_permissions.add(Permission.objects.get(codename="view_journalentry"))
    assert client.get("/admin/ledger/journalentry/").status_code == 200


@pytest.mark.parametrize(
    ("term", "found"), [("order-1", 1), ("#2", 1), ("2", 1), ("trace-1", 1), ("nothing", 0), ("9" * 40, 0)]
)
def test_entries_are_found_by_number_key_or_trace(admin_client, funded, term, found) -> None:
    page = admin_client.get("/admin/ledger/journalentry/", {"q": term})

    assert page.context["cl"].result_count == found


def test_accounts_are_found_by_user(admin_client, funded) -> None:
    mine = admin_client.get("/admin/ledger/account/", {"q": str(funded.id)})
    none = admin_client.get("/admin/ledger/account/", {"q": "alice"})

    assert {account.owner_id for account in mine.context["cl"].result_list} == {funded.id}
    assert none.context["cl"].result_count == 0


def test_entries_are_filtered_by_kind(admin_client, funded) -> None:
    page = admin_client.get("/admin/ledger/journalentry/", {"kind": "ORDER_FREEZE"})

    assert [entry.key for entry in page.context["cl"].result_list] == ["order-1"]


def test_an_asset_in_use_keeps_its_code_and_decimals_in_the_form(admin_client, funded) -> None:
    admin_client.post("/admin/ledger/asset/USDT/change/", {"name": "Tether", "kind": "CRYPTO", "decimals": "2"})

    asset = Asset.objects.get(pk="USDT")
    assert (asset.name, asset.decimals) == ("Tether", 8)


def test_a_large_table_is_estimated_and_a_small_one_counted(funded, monkeypatch) -> None:
    entries = JournalEntry.objects.order_by("-id")

    assert EstimatedPaginator(entries, 100).count == 2
    monkeypatch.setattr("ledger.selectors.estimated_rows", lambda _table: 12_345_678)
    assert EstimatedPaginator(entries, 100).count == 12_345_678
    assert EstimatedPaginator(entries.filter(kind="DEPOSIT"), 100).count == 1
