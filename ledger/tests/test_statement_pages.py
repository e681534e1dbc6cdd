"""The finance pages of statements: who sees which, what the log keeps, and that every figure leads to its lines."""

import re
from html import unescape

import pytest
from django.test import Client

from ledger.access import Role
from ledger.models import Account, FinanceLog, JournalEntry
from ledger.reports import sources
from ledger.reports.wording import MINUS
from ledger.tests import history

PAGES = {
    "/admin/finance/statements": "statements.view",
    "/admin/finance/balance-sheet": "balance_sheet.view",
    "/admin/finance/trial-balance": "trial_balance.view",
    "/admin/finance/general-ledger": "general_ledger.view",
    "/admin/finance/general-ledger/accounts": "accounts.view",
    "/admin/finance/income-statement": "income_statement.view",
    "/admin/finance/cash-flow": "cash_flow.view",
    "/admin/finance/fee-report": "fee_report.view",
    "/admin/finance/account-statement": "account_statement.view",
}
BOOKS = [page for page in PAGES if page != "/admin/finance/account-statement"]

pytestmark = [
    pytest.mark.usefixtures("books"),
    pytest.mark.filterwarnings("ignore:No directory at:UserWarning"),  # whitenoise: static files are not collected
]


def text(client: Client, path: str, **asked: str) -> str:
    response = client.get(path, asked)
    assert response.status_code == 200, path
    return unescape(response.content.decode())


def cells(page: str, row_title: str) -> list[str]:
    """Return the cells of the row of an account: its amounts as they are shown."""
    row = next(row for row in re.findall(r"<tr.*?</tr>", page, re.DOTALL) if row_title in row)
    return [re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<td.*?</td>", row, re.DOTALL)]


@pytest.mark.parametrize("role", [Role.ACCOUNTANT, Role.APPROVER, Role.AUDITOR])
def test_who_may_see_the_books_sees_every_statement_and_each_visit_is_logged(people, signed_in, role) -> None:
    client = signed_in(role)

    for page in PAGES:
        assert client.get(page).status_code == 200, page

    assert [row.action for row in FinanceLog.objects.order_by("id")] == list(PAGES.values())


def test_support_sees_a_customers_statement_and_no_books(people, signed_in) -> None:
    client = signed_in(Role.SUPPORT)

    page = text(client, "/admin/finance/account-statement", owner="alice")

    assert "deposit:late" in page
    assert "/admin/finance/balance-sheet" not in page
    assert [client.get(page).status_code for page in BOOKS] == [403] * len(BOOKS)


def test_staff_without_a_role_and_traders_see_nothing(people, signed_in, client) -> None:
    alice, _ = people
    client.force_login(alice.user)

    for visitor in (signed_in(None), client):
        assert [visitor.get(page).status_code for page in PAGES] == [403] * len(PAGES)


def test_who_is_not_signed_in_is_sent_to_the_sign_in_page(client, db) -> None:
    answer = client.get("/admin/finance/balance-sheet?asset=USDT")

    assert (answer.status_code, answer["Location"]) == (
        302,
        "/login?next=/admin/finance/balance-sheet%3Fasset%3DUSDT",
    )


def test_one_users_figures_need_the_right_to_see_customers(people, signed_in) -> None:
    client = signed_in(None, "view_books")

    assert client.get("/admin/finance/balance-sheet").status_code == 200
    assert client.get("/admin/finance/balance-sheet", {"owner": "alice"}).status_code == 403
    assert client.get("/admin/finance/general-ledger", {"owner": "alice", "code": "1010"}).status_code == 403


def test_the_balance_sheet_is_a_t_with_both_identities(people, signed_in) -> None:
    page = text(signed_in(Role.AUDITOR), "/admin/finance/balance-sheet", asset="USDT")

    assert cells(page, "Customers' available funds") == ["8,798.00000000"]
    assert page.count('class="t-side"') == 2
    assert "10,105.00000000 =" in page
    assert "10,103.00000000 =" in page
    assert "every entry has equal debits and credits." in page


def test_two_moments_are_compared_with_their_change(people, signed_in) -> None:
    page = text(
        signed_in(Role.AUDITOR), "/admin/finance/balance-sheet", asset="USDT", at="2026-03-04", compare="2026-03-01"
    )

    assert cells(page, "1110</span> Custody") == ["10,103.00000000", "11,000.00000000", f"{MINUS}897.00000000"]
    assert "As of 2026-03-04 UTC, entry 8" in page


def test_the_slider_spans_the_life_of_the_books(people, signed_in) -> None:
    page = text(signed_in(Role.AUDITOR), "/admin/finance/balance-sheet")

    first, last = (int(history.march(day, hour).timestamp()) for day, hour in ((1, 8), (6, 12)))
    assert f'data-first="{first}" data-last="{last}"' in page


def test_every_figure_leads_to_lines_that_add_up_to_it(people, signed_in) -> None:
    client = signed_in(Role.AUDITOR)
    sheet = text(client, "/admin/finance/balance-sheet", asset="USDT", at="2026-03-04")
    links = re.findall(r'href="(/admin/finance/general-ledger\?[^"]*)">([^<]+)<', sheet)

    assert len(links) >= 7
    for link, shown in links:
        page = text(client, link)
        closing = cells(page, "Closing balance")[-1]
        assert closing.removeprefix(MINUS) == shown.removeprefix(MINUS), link


def test_lines_lead_to_their_entry_and_to_what_made_it(people, signed_in) -> None:
    client = signed_in(Role.AUDITOR)
    page = text(client, "/admin/finance/general-ledger", code="4110", asset="USDT")
    entry = JournalEntry.objects.get(key="trade:1")

    assert f'href="/admin/ledger/journalentry/{entry.pk}/change/"' in page
    assert 'href="/admin/trading/trade/1/change/"' in page
    assert client.get(f"/admin/ledger/journalentry/{entry.pk}/change/").status_code == 200


def test_a_key_leads_to_its_source_only_when_somebody_knows_it() -> None:
    found = sources.source("order:17:freeze")
    assert found is not None
    assert found.url == "/admin/trading/order/17/change/"
    assert [sources.source(key) for key in ("order:x", "order", "unknown:1", "trade:" + "9" * 40)] == [None] * 4


def test_late_lines_are_pointed_out(people, signed_in) -> None:
    page = text(signed_in(Role.AUDITOR), "/admin/finance/general-ledger", code="1110", asset="USDT", to="2026-03-03")

    assert cells(page, "deposit:late")[3] == "late"
    assert cells(page, "Closing balance")[-1] == "10,103.00000000"


def test_lines_come_page_by_page_and_carry_the_balance(people, signed_in, monkeypatch) -> None:
    monkeypatch.setattr("ledger.views_statements.PAGE_LINES", 2)
    client = signed_in(Role.AUDITOR)
    place, seen = "?code=1110&asset=USDT", []
    while place:
        page = text(client, f"/admin/finance/general-ledger{place}")
        seen += re.findall(r"(capital|deposit:[a-z]+|withdrawal:1:settle)</td>", page)
        following = re.search(r'href="(\?[^"]*after=[^"]*)" rel="next"', page)
        place = following[1] if following else ""

    assert seen == ["capital", "deposit:alice", "withdrawal:1:settle", "withdrawal:1:settle", "deposit:late"]


def test_a_figure_leads_to_the_accounts_behind_it(people, signed_in) -> None:
    _, bob = people
    client = signed_in(Role.AUDITOR)

    page = text(client, "/admin/finance/general-ledger/accounts", code="1010", asset="USDT")

    assert f"{MINUS}4,799.00000000" in page
    assert f"{MINUS}3,999.00000000" in page
    account = Account.objects.get(owner_id=bob.id, code="1010", asset_id="USDT")
    lines = text(client, "/admin/finance/general-ledger", account=str(account.pk))
    assert "trade:1" in lines
    assert "deposit:alice" not in lines


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"at": "yesterday"}, "Enter a date"),
        ({"at": "9999-12-31"}, "Enter a date"),
        ({"owner": "nobody"}, "There is no such user."),
        ({"owner": "9" * 30}, "There is no such user."),
        ({"asset": "XYZ"}, "Asset"),
        ({"scope": "mine"}, "Whose"),
    ],
)
def test_what_makes_no_sense_is_told_and_nothing_is_shown(people, signed_in, asked, words) -> None:
    page = text(signed_in(Role.AUDITOR), "/admin/finance/balance-sheet", **asked)

    assert words in page
    assert 'class="t-form' not in page


def test_a_period_backwards_is_told_beside_the_form(people, signed_in) -> None:
    page = text(signed_in(Role.AUDITOR), "/admin/finance/trial-balance", **{"from": "2026-03-05", "to": "2026-03-01"})

    assert "The period ends before it begins." in page


def test_too_many_steps_are_told_beside_the_form(people, signed_in) -> None:
    page = text(signed_in(Role.AUDITOR), "/admin/finance/fee-report", **{"from": "2020-01-01", "to": "2026-03-01"})

    assert "A report shows at most 62 rows" in page


def test_a_broken_identity_is_an_alarm_on_the_page(people, signed_in, monkeypatch) -> None:
    monkeypatch.setattr("ledger.reports.sheet.Identity.differences", property(lambda _self: (1,)))

    page = text(signed_in(Role.AUDITOR), "/admin/finance/balance-sheet", asset="USDT")

    assert "This statement does not add up." in page
    assert 'class="t-form is-broken"' in page


def test_names_are_in_the_readers_language(people, signed_in) -> None:
    client = signed_in(Role.AUDITOR)

    page = client.get("/admin/finance/balance-sheet", HTTP_ACCEPT_LANGUAGE="zh-TW").content.decode()

    assert "資產負債表" in page
    assert "客戶可用資金" in page
    assert "Customers' available funds" not in unescape(page)


def test_texts_of_others_are_escaped(people, signed_in) -> None:
    alice, _ = people
    alice.user.username = "<b>alice</b>"
    alice.user.save(update_fields=["username"])

    page = signed_in(Role.AUDITOR).get("/admin/finance/account-statement", {"owner": str(alice.id)}).content.decode()

    assert "&lt;b&gt;alice" in page
    assert "<b>alice" not in page


def test_a_page_is_a_constant_number_of_statements(people, signed_in, django_assert_max_num_queries) -> None:
    client = signed_in(Role.AUDITOR)
    client.get("/admin/finance/balance-sheet")

    for page in PAGES:
        with django_assert_max_num_queries(24):
            client.get(page, {"owner": "alice"})


def test_the_fee_report_shows_the_last_thirty_days_of_the_books_unless_asked(people, signed_in) -> None:
    page = text(signed_in(Role.AUDITOR), "/admin/finance/fee-report")

    assert "From 2026-02-05 to 2026-03-06, UTC" in page
    assert cells(page, "2026-03-02") == [
        "2026-03-02",
        "2.00000000",
        "0.00000000",
        "0.00000000",
        "0.00000000",
        "2.00000000",
    ]
    assert "2026-03-04" not in page  # nothing was charged on that day
