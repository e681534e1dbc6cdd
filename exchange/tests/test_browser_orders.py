"""What traders see of halts and auctions, and how they change their orders, in a real browser."""

import pytest
from playwright.sync_api import expect

from exchange.tests.terminal_page import fill, open_demo_account, open_terminal
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
    set_state("AAPL", "auction")
    open_terminal(page, "AAPL")
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
