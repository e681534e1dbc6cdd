"""The page of one's own account statement, and its files."""

import csv
import io
from html import unescape

import pytest

from exchange.api.throttling import Limit
from ledger.tests import history

PAGE = "/account/statement"

pytestmark = [
    pytest.mark.usefixtures("books"),
    pytest.mark.filterwarnings("ignore:No directory at:UserWarning"),  # whitenoise: static files are not collected
]


@pytest.fixture
def alice(client, customer):
    alice, bob = customer("alice"), customer("bob")
    history.write(alice.id, bob.id)
    client.force_login(alice.user)
    return client


def test_the_page_shows_ones_own_movements_from_opening_to_closing(alice) -> None:
    page = unescape(alice.get(PAGE, {"from": "2026-03-02", "asset": "USDT"}).content.decode())

    for shown in ("Opening balance", "10,000.00000000", "trade:1", "deposit:late", "Closing balance", "5,099.00000000"):
        assert shown in page
    assert "deposit:bob" not in page
    assert "withdrawal:1" not in page


def test_an_owner_in_the_address_changes_nothing(alice) -> None:
    page = alice.get(PAGE, {"from": "2026-03-01", "owner": "bob"}).content.decode()

    assert "deposit:alice" in page
    assert "deposit:bob" not in page


def test_without_a_period_the_last_thirty_days_are_shown(alice) -> None:
    page = alice.get(PAGE).content.decode()

    assert "deposit:alice" not in page
    assert "Opening balance" in page


@pytest.mark.parametrize("ending", ["csv", "xlsx", "pdf"])
def test_the_statement_can_be_taken_as_a_file(alice, ending) -> None:
    answer = alice.get(f"{PAGE}.{ending}", {"from": "2026-03-01", "owner": "bob"})

    content = b"".join(answer.streaming_content)
    assert content.startswith({"csv": b"\xef\xbb\xbf", "xlsx": b"PK", "pdf": b"%PDF"}[ending])
    assert answer["Content-Disposition"].startswith('attachment; filename="account-statement-')
    if ending == "csv":
        found = list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))
        assert found[1] == ["alice"]
        assert [row[2] for row in found if row and row[0].startswith("2026")] == [
            "deposit:alice",
            "trade:1",
            "trade:1",
            "deposit:late",
        ]


def test_pages_follow_each_other(alice, monkeypatch) -> None:
    monkeypatch.setattr("exchange.web.statement.PAGE_ENTRIES", 1)

    first = alice.get(PAGE, {"from": "2026-03-01", "asset": "USDT"})
    second = alice.get(PAGE, {"from": "2026-03-01", "asset": "USDT", "after": str(first.context["next"])})

    assert ["deposit:alice" in page.content.decode() for page in (first, second)] == [True, False]
    assert "Carried forward" in second.content.decode()


def test_files_are_limited_by_the_minute(alice, monkeypatch) -> None:
    monkeypatch.setattr("exchange.web.statement.FILES", Limit("own-statement-test", 1, 60))

    assert [alice.get(f"{PAGE}.csv").status_code for _ in range(2)] == [200, 302]


def test_what_makes_no_sense_is_told_beside_its_field(alice) -> None:
    page = alice.get(PAGE, {"from": "yesterday"}).content.decode()

    assert "Enter a date" in page
    assert "<table" not in page


def test_a_visitor_is_sent_to_the_sign_in_page_and_unknown_endings_are_not_found(client, alice) -> None:
    assert alice.get(f"{PAGE}.exe").status_code == 404
    client.logout()
    assert [client.get(path).status_code for path in (PAGE, f"{PAGE}.csv")] == [302, 302]
