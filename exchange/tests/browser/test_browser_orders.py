"""What traders see of halts and auctions, and how they change their orders, in a real browser."""

import re

import pytest
from playwright.sync_api import Route, expect

from exchange.tests.browser.terminal_page import (
    fill,
    open_demo_account,
    open_terminal,
    shown_asset,
    wait_until,
    wider_than_the_window,
)
from exchange.web.browser import find_chromium

DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
NOTHING = "\u2013"

pytestmark = pytest.mark.skipif(
    find_chromium() is None, reason="no Chromium on this machine: install it (Debian: apt-get install chromium)"
)


def _figure(text: str) -> float:
    return float(text.replace(",", "").split()[0])


def test_an_auction_is_shown_with_its_price_and_the_levels_that_would_trade(open_context, set_state) -> None:
    page = open_context(viewport=DESKTOP)
    open_demo_account(page)
    open_terminal(page, "AAPL")
    expect(page.locator("#market-state")).to_have_text("Trading")
    expect(page.locator("#auction")).to_be_hidden()
    expect(page.locator("#mark-price")).to_have_text(NOTHING)

    set_state("AAPL", "auction")
    expect(page.locator("#market-state")).to_have_text("Auction")
    expect(page.locator("#pane-log")).to_contain_text("AAPL is now in the state: Auction.")
    expect(page.locator("#state-note")).to_contain_text("they trade together at one price when it ends")
    best_ask = _figure(page.locator("#asks tr[data-price]").last.get_attribute("data-price"))
    fill(page, price=f"{best_ask * 1.02:.2f}", quantity="20")
    page.get_by_role("button", name="Buy AAPL").click()

    expect(page.locator("#auction-quantity")).to_contain_text("AAPL")
    expect(page.locator("#spread-label")).to_have_text("Crossed by")
    expect(page.locator("#bids tr[data-trades]").first).to_have_attribute("data-own", "")
    expect(page.locator("#asks tr[data-trades]")).not_to_have_count(0)
    price = _figure(page.locator("#auction-price").inner_text())
    assert best_ask * 0.95 < price < best_ask * 1.05
    assert _figure(page.locator("#auction-quantity").inner_text()) >= 20
    expect(page.locator("#pane-open tbody tr")).to_contain_text("0 / 20")

    set_state("AAPL", "trading")
    expect(page.locator("#market-state")).to_have_text("Trading")
    expect(page.locator("#auction")).to_be_hidden()
    expect(page.locator("#state-note")).to_be_hidden()
    expect(page.locator("#pane-log")).to_contain_text("Bought 20 AAPL at")
    expect(page.locator("#spread-label")).to_have_text("Spread")


def test_the_ticket_says_which_orders_an_auction_and_a_halt_do_not_take(open_context, set_state) -> None:
    page = open_context(viewport=DESKTOP)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method) if request.url.endswith("/orders") else None)
    open_demo_account(page)
    open_terminal(page, "AAPL")
    set_state("AAPL", "auction")
    expect(page.locator("#market-state")).to_have_text("Auction")
    fill(page, price=page.locator("#price").input_value(), quantity="1")
    buy = page.get_by_role("button", name="Buy AAPL")

    page.locator("#time-in-force").select_option("ioc")
    buy.click()
    expect(page.locator("#time-in-force-error")).to_contain_text("cannot rest")
    page.locator("#time-in-force").select_option("gtc")
    page.keyboard.press("Escape")
    fill(page, price=page.locator("#price").input_value(), quantity="1")
    page.get_by_text("Advanced", exact=True).click()
    page.locator("#post-only").check()
    buy.click()
    expect(page.locator("#post-only-error")).to_contain_text("not taken before the market opens")
    page.locator("#post-only").uncheck()
    page.get_by_role("radio", name="Market", exact=True).check()
    expect(page.locator("#type-note")).to_contain_text("A market order cannot rest")
    buy.click()
    expect(page.locator("#ticket-error")).to_contain_text("A market order cannot rest")

    set_state("AAPL", "halted")
    expect(page.locator("#market-state")).to_have_text("Halted")
    expect(page.locator("#ticket-error")).to_have_text("")
    expect(page.locator("#state-note")).to_contain_text("new orders are refused")
    page.get_by_role("radio", name="Limit", exact=True).check()
    buy.click()
    expect(page.locator("#ticket-error")).to_contain_text("The market is halted")
    assert "POST" not in sent


def test_the_market_list_tells_what_is_not_trading_as_usual(open_context, set_state) -> None:
    page = open_context(viewport=PHONE, locale="zh-TW")
    page.goto("/")
    row = page.locator("tr[data-symbol='AAPL']")
    expect(row.locator("[data-field=last]")).not_to_have_text(NOTHING)
    expect(row.locator(".market-state")).to_be_hidden()

    set_state("AAPL", "closed")

    expect(row.locator(".market-state")).to_have_text("已收市")
    expect(page.locator("tr[data-symbol='BTCUSDT'] .market-state")).to_be_hidden()
    page.goto("/trade/AAPL")
    expect(page.locator("#market-state")).to_have_text("已收市")


def _open_order(page, *, symbol: str = "BTCUSDT", share: float = 0.9, quantity: str = "0.02") -> float:
    """Leave a buy order in the book, far below the market; return its price."""
    price = round(float(page.locator("#price").input_value()) * share)
    fill(page, price=f"{price}", quantity=quantity)
    page.locator("#send").click()
    expect(page.locator("#quantity")).to_have_value("")
    expect(page.locator("#pane-open tbody tr", has_text=symbol).first).to_be_visible()
    return price


def test_price_and_quantity_of_an_open_order_are_changed_where_they_stand(open_context) -> None:
    page = open_context(viewport=DESKTOP)
    open_demo_account(page)
    open_terminal(page)
    price = _open_order(page)
    row = page.locator("#pane-open tbody tr")
    in_orders = page.locator("#assets tr").nth(1).locator("td").nth(2)
    expect(in_orders).not_to_have_text("0")
    held = in_orders.inner_text()

    row.get_by_role("button", name="Change price").click()
    page.keyboard.type(f"{price + 10}")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(row.locator("td").nth(4)).to_have_text(f"{price + 10:,}.01")
    expect(page.locator("#pane-log")).to_contain_text("order amended")
    expect(row.get_by_role("button", name="Change price")).to_be_focused()
    expect(in_orders).not_to_have_text(held)

    page.locator("#quantity").blur()
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("e")
    expect(row.get_by_role("textbox", name="New price")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(row.get_by_role("textbox", name="New quantity")).to_have_value("0.0200")
    page.keyboard.type("0.03")
    page.keyboard.press("Enter")
    expect(row.locator("td").nth(5)).to_have_text("0.0000 / 0.0300")
    expect(page.locator("#bids tr[data-own]")).to_have_count(0)  # far below what is shown
    assert page.locator("#pane-history tbody tr").count() == 0


def test_a_change_is_pending_until_it_is_answered_and_a_refusal_snaps_back_in_words(open_context) -> None:
    page = open_context(viewport=DESKTOP)
    open_context.forgiven += ["422", "ERR_FAILED"]
    open_demo_account(page)
    open_terminal(page)
    price = _open_order(page)
    cell = page.locator("#pane-open tbody tr td").nth(4)
    field, figure = cell.get_by_role("textbox"), cell.locator(".amend-value")
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(re.compile(r"/api/v1/orders/\d+$"), hold)

    figure.click()
    field.fill("12.345")
    page.keyboard.press("Enter")
    expect(cell.get_by_role("alert")).to_have_text("This must be a multiple of 0.01.")
    expect(field).to_have_attribute("aria-invalid", "true")
    assert held == []
    field.fill("100")
    page.keyboard.press("Enter")
    wait_until(page, lambda: len(held) == 1)
    expect(figure).to_have_text("100")
    expect(figure).to_have_attribute("aria-disabled", "true")
    figure.click(force=True)
    expect(field).to_be_hidden()
    held[0].continue_()

    expect(cell.get_by_role("alert")).to_contain_text("The price must be between")
    expect(figure).to_have_text(f"{price:,}.00")
    expect(figure).to_have_attribute("aria-disabled", "false")
    expect(figure).to_be_focused()
    page.keyboard.press("Enter")
    expect(cell.get_by_role("alert")).to_have_text("")
    page.keyboard.press("Escape")
    figure.click()
    field.fill(f"{price + 1}")
    page.keyboard.press("Enter")
    wait_until(page, lambda: len(held) == 2)
    held[1].abort()
    expect(cell.get_by_role("alert")).to_have_text("The exchange cannot be reached.")
    expect(figure).to_have_text(f"{price:,}.00")


def test_a_change_that_the_engine_has_not_answered_stays_pending_until_the_order_tells(open_context) -> None:
    page = open_context(viewport=DESKTOP)
    open_demo_account(page)
    open_terminal(page)
    price = _open_order(page)
    row = page.locator("#pane-open tbody tr")
    path = f"/api/v1/orders/{row.get_attribute('data-id')}"
    order = page.request.get(path).json()["data"]
    answer = {"code": 0, "message": "amend pending", "data": order}
    page.route(f"**{path}", lambda route: route.fulfill(status=202, json=answer))
    figure = row.locator("td").nth(4).locator(".amend-value")

    figure.click()
    page.keyboard.type(f"{price + 5}")
    page.keyboard.press("Enter")
    expect(page.locator("#pane-log")).to_contain_text("amend pending")
    expect(figure).to_have_attribute("aria-disabled", "true")
    expect(figure).to_have_text(f"{price + 5:,}")
    token = next(cookie["value"] for cookie in page.context.cookies() if cookie["name"] == "csrftoken")
    sent = page.request.put(path, data={"price": f"{price + 5}"}, headers={"X-CSRFToken": token})
    assert sent.status == 200, sent.text()

    expect(figure).to_have_attribute("aria-disabled", "false")
    expect(figure).to_have_text(f"{price + 5:,}.00")


def test_on_a_phone_a_card_of_an_order_is_changed_by_touch_in_chinese(open_context) -> None:
    page = open_context(viewport=PHONE, has_touch=True, locale="zh-TW")
    open_demo_account(page)
    page.goto("/trade/BTCUSDT")
    page.wait_for_selector("html[data-ready=yes]")
    page.get_by_role("tab", name="交易", exact=True).tap()
    expect(page.locator("#price")).not_to_have_value("")
    price = round(float(page.locator("#price").input_value()) * 0.9)
    fill(page, price=f"{price}", quantity="0.02")
    page.locator("#send").tap()
    page.get_by_role("tab", name="委託", exact=True).tap()
    row = page.locator("#pane-open tbody tr")
    expect(row).to_have_count(1)

    row.get_by_role("button", name="修改數量").tap()
    row.get_by_role("textbox", name="新的數量").fill("0.05")
    row.get_by_role("button", name="不修改").tap()
    expect(row.locator("td").nth(5)).to_contain_text("0.0000 / 0.0200")
    row.get_by_role("button", name="修改數量").tap()
    assert wider_than_the_window(page) == []
    row.get_by_role("textbox", name="新的數量").fill("0.05")
    row.get_by_role("button", name="修改", exact=True).tap()

    expect(row.locator("td").nth(5)).to_contain_text("0.0000 / 0.0500")
    expect(page.locator("#toasts")).to_contain_text("訂單已修改")


def test_cancel_all_takes_one_market_or_all_and_says_which(open_context) -> None:
    page = open_context(viewport=DESKTOP)
    open_demo_account(page)
    open_terminal(page, "AAPL")
    _open_order(page, symbol="AAPL", quantity="1")
    open_terminal(page)
    _open_order(page, share=0.9)
    _open_order(page, share=0.91)
    expect(page.locator("#open-count")).to_have_text("3")

    page.locator("#this-symbol").check()
    page.get_by_role("button", name="Cancel all BTCUSDT").click()
    expect(page.locator("#confirm-dialog")).to_contain_text("Cancel 2 open orders of BTCUSDT?")
    page.get_by_role("button", name="Confirm").click()
    expect(page.locator("#open-count")).to_have_text("0")
    page.locator("#this-symbol").uncheck()
    expect(page.locator("#pane-open tbody tr")).to_have_count(1)
    expect(page.locator("#pane-open tbody tr")).to_contain_text("AAPL")
    page.get_by_role("button", name="Cancel all", exact=True).click()
    expect(page.locator("#confirm-dialog")).to_contain_text("Cancel 1 open order, in all markets?")
    page.get_by_role("button", name="Confirm").click()
    expect(page.locator("#pane-open tbody tr")).to_have_count(0)


def test_a_market_buy_by_amount_spends_no_more_than_that(open_context) -> None:
    page = open_context(viewport=DESKTOP)
    bodies: list[dict[str, object]] = []
    page.on(
        "request", lambda request: bodies.append(request.post_data_json) if request.url.endswith("/orders") else None
    )
    open_demo_account(page)
    open_terminal(page)
    size = page.locator("#quantity")
    expect(page.get_by_label("Size given in")).to_be_hidden()
    page.get_by_role("radio", name="Market", exact=True).check()
    size.fill("0.5")

    page.get_by_label("Size given in").select_option("quote")
    expect(size).to_have_value("")
    expect(page.locator("#quantity-label")).to_have_text("Amount to spend, fee included")
    size.fill("1000")
    expect(page.locator("#preview-total")).to_have_text("1,000 USDT")
    bought = page.locator("#preview-notional").inner_text()
    assert 0 < _figure(bought) < 1000 / 50_000
    page.get_by_role("radio", name="Sell").check()
    expect(size).to_have_value("")
    page.get_by_role("radio", name="Buy").check()
    size.fill("1000")
    page.locator("#send").click()
    expect(page.locator("#confirm-dialog")).to_contain_text("Buy for 1,000 USDT at the best prices in the book.")
    page.get_by_role("button", name="Confirm").click()

    expect(page.locator("#pane-log")).to_contain_text("Buy order for 1,000 USDT accepted.")
    expect(page.locator("#pane-log")).to_contain_text("Bought")
    page.get_by_role("tab", name="Order history").click()
    expect(page.locator("#pane-history tbody tr td").nth(6)).to_contain_text("/ 1,000 USDT")
    expect(shown_asset(page, "USDT", 1)).to_have_text(re.compile(r"^99,00\d(\.\d+)?$"))
    assert [(body.get("quote_quantity"), body.get("quantity")) for body in bodies if body] == [("1000", None)]


def test_an_order_watches_the_mark_price_and_its_stop_price_can_be_moved(open_context, operate) -> None:
    page = open_context(viewport=DESKTOP)
    open_demo_account(page)
    open_terminal(page, "2330.TW")
    page.get_by_role("radio", name="Stop", exact=True).check()
    expect(page.locator("#trigger-by-mark")).to_be_disabled()

    operate("set_mark_price", "2330.TW", "600")
    expect(page.locator("#mark-price")).to_have_text("600")
    page.get_by_label("Watches").select_option("mark")
    page.locator("#stop-price").fill("590")
    page.locator("#quantity").fill("2")
    expect(page.locator("#type-note")).to_contain_text("The mark price is past the stop price already")
    page.locator("#stop-price").fill("640")
    page.locator("#send").click()
    row = page.locator("#pane-open tbody tr")
    expect(row).to_contain_text("IOC · by mark price")
    in_orders = page.locator("#assets tr").nth(1).locator("td").nth(2)
    expect(in_orders).not_to_have_text("0")
    held = in_orders.inner_text()

    row.get_by_role("button", name="Change stop price").click()
    page.keyboard.type("650")
    page.keyboard.press("Enter")
    expect(row.locator("td").nth(6)).to_have_text("≥ 650")
    expect(in_orders).not_to_have_text(held)
    operate("set_mark_price", "2330.TW", "645")
    expect(page.locator("#mark-price")).to_have_text("645")
    expect(row).to_contain_text("Untriggered")
    operate("set_mark_price", "2330.TW", "650")

    expect(page.locator("#pane-log")).to_contain_text("Stop order woke: its stop price was reached.")
    expect(row).to_have_count(0)
    page.reload()
    expect(page.locator("#mark-price")).to_have_text("650")
