"""Statements in a real browser: the slider, explanations, from a figure to its trade, and pages without script."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from exchange.demo.catalogue import DEMO_PASSWORD
from exchange.tests.browser.terminal_page import fill_with_wide_content, wait_until, wider_than_the_window
from exchange.web.browser import find_chromium

DESK = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
PAGES = (
    "statements",
    "balance-sheet?compare=2026-01-01",
    "trial-balance",
    "general-ledger?code=1010&asset=USDT",
    "general-ledger/accounts?code=1010&asset=USDT",
    "income-statement",
    "cash-flow",
    "fee-report",
    "account-statement?owner=alice",
    "trace?id=entry:1",
    "customers",
    "custody",
    "deposits",
    "withdrawals",
    "reconciliation",
    "reserves",
)
SPOT_TRADE = re.compile(r"^trade:\d+$")
ACCOUNT_PAGES = ("", "/statement", "/deposit", "/withdraw", "/addresses", "/notices", "/security")

pytestmark = pytest.mark.skipif(
    find_chromium() is None, reason="no Chromium on this machine: install it (Debian: apt-get install chromium)"
)


def sign_in(page: Page, name: str, following: str) -> None:
    page.goto(f"/login?next={following}")
    page.locator("[name=username]").fill(name)
    page.locator("[name=password]").fill(DEMO_PASSWORD)
    page.locator("main form button").first.click()
    page.wait_for_url(f"**{following}")


def open_sheet(page: Page, asset: str = "USDT") -> None:
    page.goto(f"/admin/finance/balance-sheet?asset={asset}")
    expect(page.locator("#slider-at")).to_be_visible()


def test_the_slider_moves_the_sheet_through_the_life_of_the_books(open_context) -> None:
    page = open_context(viewport=DESK)
    sign_in(page, "accountant", "/admin/finance/statements")
    open_sheet(page)
    latest = int(re.sub(r"\D", "", page.locator("#slider-now").inner_text()))

    page.locator("#slider-at").focus()
    page.keyboard.press("Home")
    page.wait_for_url("**at=20*")
    expect(page.locator("#slider-now")).to_have_text(re.compile(r"As of 20\d\d-.* UTC, entry \d+"))
    expect(page.locator("#slider-at")).to_be_focused()
    expect(page.locator(".t-form .equation.good")).to_have_count(2)
    early = int(page.locator("#slider-now").inner_text().rpartition(" ")[2].replace(",", ""))
    assert 0 < early < latest

    page.locator("#slider-latest").click()
    expect(page.locator("#slider-now")).to_have_text(re.compile(r"Latest, entry [\d,]+"))
    expect(page.locator("form.asked [name=at]")).to_have_value("")


def test_terms_explain_themselves_to_the_mouse_and_to_the_keyboard(open_context) -> None:
    page = open_context(viewport=DESK)
    sign_in(page, "accountant", "/admin/finance/statements")
    open_sheet(page)
    term = page.locator(".t-form .term", has_text="Custody").first
    meaning = term.locator("[role=tooltip]")
    expect(meaning).to_be_hidden()

    term.hover()
    expect(meaning).to_be_visible()
    expect(meaning).to_be_in_viewport()
    page.mouse.move(0, 0)
    expect(meaning).to_be_hidden()
    term.focus()
    expect(meaning).to_be_visible()
    expect(term).to_have_attribute("aria-describedby", str(meaning.get_attribute("id")))
    page.keyboard.press("Escape")
    expect(meaning).to_be_hidden()


def _is_in_a_past_sheet(page: Page, row: Locator) -> bool:
    """Open the sheet as of a second before the last entry; tell whether the row is there."""
    open_sheet(page)
    page.locator("#slider-at").focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_url("**at=20*")
    expect(page.locator("#slider-now")).to_have_text(re.compile("As of"))
    return row.count() > 0


def _leads_to_a_spot_trade(page: Page, row: Locator) -> bool:
    """Follow the row's figure, as of a past moment, to its last lines; tell whether a spot trade is among them."""
    if not _is_in_a_past_sheet(page, row):
        return False
    figure = row.first.locator("a")
    shown = figure.inner_text()
    figure.click()
    page.wait_for_url("**/general-ledger?*")
    while (following := page.locator("a[rel=next]")).count():  # the figure is the total of all pages
        page.goto(following.evaluate("link => link.href"))
    expect(page.locator("tr.row-total").last).to_contain_text(shown)
    return page.locator("td a", has_text=SPOT_TRADE).count() > 0


def test_a_figure_is_followed_to_its_lines_its_entry_and_its_trade(open_context) -> None:
    page = open_context(viewport=DESK)
    sign_in(page, "auditor", "/admin/finance/statements")
    traded = page.locator(".t-form tr", has_text="4110")
    # The market goes on; that moment stays. A young market may have had trades of contracts only.
    wait_until(page, lambda: _leads_to_a_spot_trade(page, traded))

    page.locator("td a", has_text=SPOT_TRADE).first.click()
    expect(page.locator("dt", has_text="order_type")).to_be_visible()
    page.go_back()
    page.locator("td a", has_text=re.compile(r"^#\d+\.\d+ Trade$")).first.click()
    expect(page.get_by_role("heading", name="Platform's journal")).to_be_visible()


def test_choices_swap_the_statement_in_place_and_files_come_down(open_context) -> None:
    page = open_context(viewport=DESK)
    sign_in(page, "accountant", "/admin/finance/statements")
    open_sheet(page)
    page.evaluate("window.stillHere = true")

    page.locator("form.asked [name=scope]").select_option("consolidated")
    page.wait_for_url("**scope=consolidated*")
    expect(page.locator(".apart summary")).to_be_visible()
    assert page.evaluate("window.stillHere")
    with page.expect_download() as download:
        page.get_by_role("link", name="PDF").click()
    assert download.value.suggested_filename == "balance-sheet.pdf"
    assert download.value.path().read_bytes().startswith(b"%PDF")


def test_without_script_the_date_field_does_what_the_slider_does(open_context) -> None:
    page = open_context(viewport=DESK, java_script_enabled=False)
    sign_in(page, "accountant", "/admin/finance/statements")
    page.goto("/admin/finance/balance-sheet?asset=USDT")
    expect(page.locator("#slider-at")).to_be_hidden()

    page.locator("form.asked [name=at]").fill("2020-01-01T00:00:00")
    page.get_by_role("button", name="Show").click()

    expect(page.locator("#statement")).to_contain_text("There were no books at that moment.")


def test_no_statement_scrolls_the_page_sideways_on_a_phone_however_wide_its_content(open_context) -> None:
    page = open_context(viewport=PHONE)
    sign_in(page, "accountant", "/admin/finance/statements")

    for name in PAGES:
        page.goto(f"/admin/finance/{name}")
        assert wider_than_the_window(page) == [], name
        assert fill_with_wide_content(page) > 0
        assert wider_than_the_window(page) == [], f"{name}, filled"


def test_no_page_of_an_account_scrolls_sideways_on_a_phone_however_wide_its_content(open_context) -> None:
    page = open_context(viewport=PHONE)
    sign_in(page, "alice", "/account")

    for part in ACCOUNT_PAGES:
        page.goto(f"/account{part}")
        assert wider_than_the_window(page) == [], part
        assert fill_with_wide_content(page) > 0
        assert wider_than_the_window(page) == [], f"{part}, filled"


def test_a_trader_takes_the_own_statement_and_sees_no_books(open_context) -> None:
    page = open_context(viewport=PHONE)
    sign_in(page, "alice", "/account")
    page.get_by_role("link", name="Account statement").click()

    expect(page.locator("table")).to_contain_text("Closing balance")
    assert wider_than_the_window(page) == []
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert "alice" in download.value.path().read_text(encoding="utf-8-sig")
    assert page.request.get("/admin/finance/balance-sheet").status == 403
