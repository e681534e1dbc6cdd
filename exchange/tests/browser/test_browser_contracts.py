"""How traders open, watch, secure and close a position in a contract, in a real browser."""

import re
from decimal import Decimal

import pytest
from playwright.sync_api import Locator, Page, expect

from exchange.tests.browser.terminal_page import (
    fill,
    open_demo_account,
    open_terminal,
    wait_until,
    wider_than_the_window,
)
from exchange.web.browser import find_chromium

DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
SYMBOL = "BTC-PERP"
NOTHING = "\u2013"
FIGURE = re.compile(r"^\d[\d,]*(\.\d+)?")
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
    expect(page.locator("#preview-effect")).to_have_text("Opens 0.05 BTC")
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
    expect(page.locator("#preview-effect")).to_have_text("Closes 0.02 BTC")
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
    expect(page.locator("#close-facts")).to_contain_text("多\u00a00.02\u00a0BTC")
    assert wider_than_the_window(page) == []
    page.locator("#close-yes").tap()
    expect(_cells(page)).to_have_count(0)


def _mark(page: Page) -> float:
    return float(page.locator("#mark-price").inner_text().replace(",", ""))


def _set_exits(page: Page, **prices: float) -> None:
    """Type a take profit or a stop loss at the position, and send them."""
    page.locator("#pane-positions .exits-button").click()
    for kind, price in prices.items():
        page.locator(f"#exit-{kind}").fill(f"{price:.1f}")
    page.locator("#exits-yes").click()


def test_take_profit_and_stop_loss_are_set_changed_removed_and_said_to_be_idle_without_a_position(page) -> None:
    _open_long(page)
    mark = _mark(page)
    above, higher, below = mark * 1.3, mark * 1.4, mark * 0.95
    button, lines, orders = (
        page.locator(name) for name in ("#pane-positions .exits-button", "#chart-lines", "#pane-open tbody tr")
    )
    _set_exits(page, profit=below, loss=above)
    expect(page.locator("#exit-profit-error")).to_contain_text("This must be above")
    expect(page.locator("#exit-loss-error")).to_contain_text("This must be below")
    expect(page.locator("#exit-profit")).to_be_focused()

    page.locator("#exit-profit").fill(f"{above:.1f}")
    page.locator("#exit-loss").fill(f"{below:.1f}")
    page.locator("#exit-loss-by").select_option("last")
    expect(page.locator("#exit-profit-note")).to_have_text(re.compile(r"^At that price about \+\d+\.\d\d USDT \(\+"))
    page.locator("#exits-yes").click()
    expect(page.locator("#exits-dialog")).to_be_hidden()
    expect(button).to_have_text(f"TP {above:,.1f}SL {below:,.1f}")
    expect(lines).to_contain_text(f"Take profit {above:,.1f}")
    expect(lines).to_contain_text(f"Stop loss {below:,.1f}")
    page.locator("#tab-open").click()
    expect(orders.filter(has_text="Untriggered")).to_have_count(2)
    expect(orders.filter(has_text="IOC \u00b7 by mark price \u00b7 Closes the position")).to_have_count(1)

    page.locator("#tab-positions").click()
    _set_exits(page, profit=higher)
    expect(button).to_have_text(f"TP {higher:,.1f}SL {below:,.1f}")
    expect(page.locator("#open-count")).to_have_text("2")  # the new one is there, the old one is gone
    button.click()
    page.get_by_role("button", name="Remove the stop loss").click()
    page.locator("#exits-yes").click()
    expect(button).to_have_text(f"TP {higher:,.1f}SL \u2013")
    expect(lines).not_to_contain_text("Stop loss")

    expect(page.locator("#exits-dialog")).to_be_hidden()  # keys are off while it is open
    page.locator("#tab-positions").press("Shift+C")
    page.locator("#confirm-yes").click()
    expect(_cells(page)).to_have_count(0)
    expect(page.locator("#pane-log")).to_contain_text("has no position to close any more")
    page.locator("#tab-open").click()
    expect(orders).to_contain_text("nothing to close now")


def test_a_position_is_closed_in_parts_at_a_limit_and_at_the_market_and_takes_its_stop_loss_along(page) -> None:
    _open_long(page)
    _set_exits(page, loss=_mark(page) * 0.95)
    expect(page.locator("#open-count")).to_have_text("1")
    close = page.get_by_role("button", name="Close the position in BTC-PERP")

    close.click()
    page.locator("#close-dialog").get_by_role("radio", name="Limit").check()
    page.locator("#close-price").fill(f"{_mark(page) * 1.1:.1f}")
    page.locator("#close-dialog").get_by_role("button", name="50%").click()
    expect(page.locator("#close-quantity")).to_have_value("0.025")
    expect(page.locator("#close-left")).to_have_text("0.025 BTC")
    expect(page.locator("#close-result")).to_have_text(re.compile(r"^\+\d+\.\d\d USDT"))
    page.locator("#close-yes").click()
    expect(page.locator("#pane-log")).to_contain_text("The limit order that closes BTC-PERP stands.")
    expect(page.locator("#pane-open tbody tr").filter(has_text="Reduce-only")).to_contain_text("0.025")

    close.click()
    page.locator("#close-quantity").fill("9")
    page.locator("#close-yes").click()
    expect(page.locator("#close-quantity-error")).to_have_text("The position is 0.05 BTC.")
    page.locator("#close-dialog").get_by_role("button", name="50%").click()
    page.locator("#close-yes").click()
    expect(_cells(page).nth(SIZE)).to_have_text("0.025 BTC")
    expect(page.locator("#open-count")).to_have_text("2")

    close.click()
    expect(page.locator("#close-exits")).to_be_checked()
    page.locator("#close-yes").click()
    expect(_cells(page)).to_have_count(0)
    expect(page.locator("#pane-log")).to_contain_text("Take profit and stop loss of BTC-PERP are cancelled.")


def test_all_positions_are_listed_closed_and_told_of_and_the_dialog_keeps_the_focus(page, open_context) -> None:
    open_context.forgiven += ["409"]
    _open_long(page)
    refused = {"code": 3031, "message": "It is being liquidated.", "data": {}}
    page.route("**/positions/BTC-PERP/close", lambda route: route.fulfill(status=409, json=refused), times=1)
    button, dialog = page.locator("#close-all"), page.get_by_role("dialog", name="Close all positions?")

    button.click()
    for key in ("Tab", "Tab", "Tab", "Shift+Tab", "Shift+Tab"):
        page.keyboard.press(key)
        expect(dialog.locator(":focus")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(button).to_be_focused()

    button.click()
    line = dialog.get_by_role("listitem")
    expect(line).to_contain_text("Long 0.05 BTC")
    expect(line).to_contain_text(re.compile(r"[+-]?\d+\.\d\d USDT \([+-]?\d+\.\d\d%\)"))
    dialog.get_by_role("button", name="Close all").click()
    expect(line).to_contain_text("It is being liquidated.")
    dialog.get_by_role("button", name="Done").click()
    expect(_cells(page).nth(1)).to_have_text("Long")

    button.click()
    dialog.get_by_role("button", name="Close all").click()
    expect(line).to_contain_text("Closed")
    expect(_cells(page)).to_have_count(0)
    dialog.get_by_role("button", name="Done").click()
    expect(dialog).to_be_hidden()
    expect(button).to_be_disabled()


def test_the_ticket_says_what_a_reversal_a_reduction_and_too_much_would_do(page) -> None:
    _open_long(page)
    effect, reserved, refusal = (page.locator(f"#preview-{name}") for name in ("effect", "reserved", "refusal"))
    page.locator("input[name=type][value=limit]").check()
    page.locator("input[name=side][value=sell]").check()
    page.locator("#quantity").fill("0.08")
    expect(effect).to_have_text("Reverses: closes 0.05 BTC, opens 0.03 BTC")
    expect(reserved).to_have_text("0.05 BTC")
    expect(page.locator("#preview-result")).to_have_text(re.compile(r"^[+-]?\d+\.\d\d USDT$"))
    expect(page.locator("#preview-liquidation")).to_have_text(FIGURE)
    expect(page.locator("#preview-margin")).to_have_text(FIGURE)

    page.locator("#reduce-only").check()
    expect(effect).to_have_text("Closes 0.05 BTC")
    expect(reserved).to_have_text("none (reduce-only)")
    expect(page.locator("#preview-total")).to_have_text("0 USDT")
    page.locator("input[name=side][value=buy]").check()
    expect(refusal).to_have_text("There is no position in BTC-PERP that this order could reduce.")
    expect(reserved).to_be_hidden()

    page.locator("#reduce-only").uncheck()
    page.locator("#quantity").fill("20")
    expect(refusal).to_have_text(re.compile(r"^The order needs [\d.]+ USDT; available are [\d.]+\.$"))

    page.locator("input[name=type][value=market]").check()
    page.locator("#quantity").fill("8")  # more than the demo's makers quote
    expect(page.locator("#preview-note")).to_contain_text("The book of this moment would fill")


def test_what_an_answer_tells_late_does_not_undo_what_the_channel_told_of_the_same_moment(page) -> None:
    status = page.evaluate("""async () => {
        const { Own } = await import("/static/js/terminal/own.js");
        const own = new Own({ balancesChanged() {} }, () => {});
        const order = { order_id: 1, status: "new", updated_at: "2026-01-01T00:00:00.000000Z" };
        own.receive({ type: "order", sequence: 1, data: { ...order, status: "untriggered" } });
        own.take(order);
        return own.orders.get(1).status;
    }""")

    assert status == "untriggered"


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
