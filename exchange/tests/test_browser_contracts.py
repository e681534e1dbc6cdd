"""How traders open, watch, secure and close a position in a contract, in a real browser."""

import re
from decimal import Decimal

import pytest
from playwright.sync_api import Locator, Page, expect

from exchange.tests.terminal_page import fill, open_demo_account, open_terminal, wait_until, wider_than_the_window
from exchange.web.browser import find_chromium

DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
SYMBOL = "BTC-PERP"
NOTHING = "\u2013"
FIGURE = re.compile(r"^[\d,]+\.\d+")
SIZE, ENTRY, MARK, LIQUIDATION, MARGIN, UNREALISED, REALISED = range(2, 9)

pytestmark = pytest.mark.skipif(
    find_chromium() is None, reason="no Chromium on this machine: install it (Debian: apt-get install chromium)"
)


@pytest.fixture
def page(open_context) -> Page:
    """A trader's page of the contract."""
    page = open_context(viewport=DESKTOP)
    open_demo_account(page)
    open_terminal(page, SYMBOL)
    return page


def _figure(cell: Locator) -> Decimal:
    found = FIGURE.match(cell.inner_text())
    assert found, cell.inner_text()
    return Decimal(found[0].replace(",", ""))


def _cells(page: Page) -> Locator:
    return page.locator(f"#pane-positions tr[data-id='{SYMBOL}'] td")


def _open_long(page: Page, quantity: str = "0.05") -> None:
    page.locator("input[name=type][value=market]").check()
    page.locator("#quantity").fill(quantity)
    expect(page.locator("#preview-liquidation")).to_have_text(FIGURE)
    page.locator("#send").click()
    page.locator("#confirm-yes").click()
    page.locator("#tab-positions").click()
    expect(_cells(page).nth(LIQUIDATION)).to_have_text(FIGURE)


def _ask(page: Page, button: str, figure: str) -> None:
    page.get_by_role("button", name=button).click()
    page.locator("#position-figure").fill(figure)
    page.locator("#position-yes").click()


def test_a_long_is_previewed_opened_watched_secured_turned_round_and_closed(page) -> None:
    page.locator("input[name=type][value=market]").check()
    page.locator("#quantity").fill("0.05")
    expect(page.locator("#preview-liquidation")).to_have_text(FIGURE)
    expect(page.locator("#preview-effect")).to_have_text("Opens")
    expect(page.locator("#size-unit")).to_be_hidden()
    margin, hold = _figure(page.locator("#preview-margin")), _figure(page.locator("#preview-total"))
    assert 0 < margin < hold < _figure(page.locator("#preview-notional"))
    foreseen = _figure(page.locator("#preview-liquidation"))

    page.get_by_role("button", name="Buy / Long BTC").click()
    page.get_by_role("button", name="Confirm").click()
    page.get_by_role("tab", name="Positions").click()

    cells = _cells(page)
    expect(cells.nth(1)).to_have_text("Long")
    expect(cells.nth(SIZE)).to_have_text("0.050 BTC")
    expect(page.locator("#positions-count")).to_have_text("1")
    expect(page.locator("#pane-positions tr[data-id=BTCUSDT]")).to_contain_text("Spot")
    expect(cells.nth(UNREALISED)).to_have_text(re.compile(r"^[+-]?\d+\.\d\d \([+-]?\d+\.\d\d%\)$"))
    liquidation, entry = _figure(cells.nth(LIQUIDATION)), _figure(cells.nth(ENTRY))
    assert liquidation < entry
    assert abs(liquidation - foreseen) < entry / 100
    seen = cells.nth(MARK).inner_text()
    expect(cells.nth(MARK)).not_to_have_text(seen)  # it follows the live mark

    before = _figure(cells.nth(MARGIN))
    _ask(page, "Add margin to BTC-PERP", "100")
    expect(page.locator("#pane-log")).to_contain_text("100 USDT added to the margin of BTC-PERP.")
    expect(page.locator("#position-dialog")).to_be_hidden()
    expect(cells.nth(MARGIN)).to_contain_text(f"{before + 100}")
    assert _figure(cells.nth(LIQUIDATION)) < liquidation - 1000
    _ask(page, "Take margin out of BTC-PERP", "40")
    expect(cells.nth(MARGIN)).to_contain_text(f"{before + 60}")

    page.get_by_role("button", name="Reverse the position in BTC-PERP").click()
    page.get_by_role("button", name="Confirm").click()
    expect(cells.nth(1)).to_have_text("Short")
    expect(cells.nth(REALISED)).to_have_text(re.compile(r"^[+-]?\d+\.\d\d$"))
    expect(cells.nth(SIZE)).to_have_text("0.050 BTC")
    page.get_by_role("button", name="Close the position in BTC-PERP").click()
    page.get_by_role("button", name="Confirm").click()
    expect(cells).to_have_count(0)
    expect(page.locator("#positions-count")).to_have_text("0")
    page.get_by_role("tab", name="Order history").click()
    closing = page.locator("#pane-history tbody tr").first
    expect(closing).to_contain_text("0.050 / all")
    expect(closing).to_contain_text("Closes the position")


def test_the_leverage_is_refused_beside_its_figure_while_orders_are_open_and_changed_after(page, open_context) -> None:
    open_context.forgiven += ["400", "409", "422"]
    _open_long(page)
    page.locator("input[name=type][value=limit]").check()
    price = round(float(page.locator("#price").input_value()) * 1.1)
    page.locator("input[name=side][value=sell]").check()
    fill(page, price=f"{price}", quantity="0.02")
    page.locator("#reduce-only").check()
    expect(page.locator("#preview-effect")).to_have_text("Reduces")
    page.get_by_role("button", name="Sell / Short BTC").click()
    page.get_by_role("tab", name="Open orders").click()
    order = page.locator("#pane-open tbody tr")
    expect(order).to_contain_text("Reduces · Reduce-only")

    page.get_by_role("tab", name="Positions").click()
    _ask(page, "Leverage of BTC-PERP", "3")
    expect(page.locator("#position-error")).to_have_text(
        "Cancel your open orders in BTC-PERP before you change the leverage."
    )
    expect(page.locator("#position-figure")).to_be_focused()
    page.locator("#position-figure").fill("1.5")
    expect(page.locator("#position-error")).to_have_text("")
    page.locator("#position-yes").click()
    expect(page.locator("#position-error")).not_to_have_text("")
    page.locator("#position-back").click()
    page.get_by_role("tab", name="Open orders").click()
    order.get_by_role("button", name="Cancel the sell order").click()
    expect(order).to_have_count(0)

    page.get_by_role("tab", name="Positions").click()
    before = _figure(_cells(page).nth(MARGIN))
    _ask(page, "Leverage of BTC-PERP", "3")
    expect(page.locator("#leverage-button")).to_have_text("3\u00d7")
    expect(page.locator("#position-dialog")).to_be_hidden()
    wait_until(page, lambda: _figure(_cells(page).nth(MARGIN)) > before * 2)

    _ask(page, "Add margin to BTC-PERP", "99999999")
    expect(page.locator("#position-error")).to_contain_text("99999999")
    page.keyboard.press("Escape")
    expect(page.locator("#position-dialog")).to_be_hidden()


def test_on_a_phone_in_chinese_the_position_is_a_card_and_closes_by_touch(open_context) -> None:
    page = open_context(viewport=PHONE, has_touch=True, locale="zh-TW")
    open_demo_account(page)
    page.goto(f"/trade/{SYMBOL}")
    page.wait_for_selector("html[data-ready=yes]")
    page.get_by_role("button", name="買進做多", exact=True).tap()
    page.locator("input[name=type][value=market]").check()
    page.locator("#quantity").fill("0.02")
    expect(page.locator("#preview-liquidation")).to_have_text(FIGURE)
    page.get_by_role("button", name="買進做多 BTC").tap()
    page.locator("#confirm-yes").tap()
    page.locator(".phone-tabs [data-panel=orders]").tap()
    page.get_by_role("tab", name="持倉").tap()

    expect(_cells(page).nth(1)).to_have_text("多")
    expect(_cells(page).nth(LIQUIDATION)).to_have_text(FIGURE)
    expect(_cells(page).nth(LIQUIDATION)).to_have_attribute("data-label", "強平價格")
    assert wider_than_the_window(page) == []
    page.get_by_role("button", name="BTC-PERP 的槓桿").tap()
    expect(page.locator("#position-text")).to_contain_text("逐倉保證金")
    page.locator("#position-back").tap()
    page.get_by_role("button", name="平掉 BTC-PERP 的倉位").tap()
    page.locator("#confirm-yes").tap()
    expect(_cells(page)).to_have_count(0)


def test_visitors_see_a_contract_market_without_leverage_and_spot_tickets_stay_as_they_were(open_context) -> None:
    page = open_context(viewport=DESKTOP)
    open_terminal(page, SYMBOL)
    page.locator("#quantity").fill("0.01")
    expect(page.locator("#preview-notional")).to_contain_text("USDT")
    expect(page.locator("#preview-liquidation")).to_have_text(NOTHING)
    expect(page.locator("#leverage-button")).to_have_count(0)

    open_terminal(page, "BTCUSDT")
    expect(page.locator("#reduce-only-field")).to_be_hidden()
    expect(page.locator("#preview-margin")).to_have_count(0)
