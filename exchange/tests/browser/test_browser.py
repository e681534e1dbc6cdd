"""The terminal in a real browser against a real exchange: `manage.py up` with its demo, and Chromium."""

import json
import re
from decimal import Decimal

import pytest
from playwright.sync_api import Route, WebSocketRoute, expect

from exchange.tests.browser.terminal_page import (
    fill,
    open_demo_account,
    open_terminal,
    shown_asset,
    wait_until,
    wider_than_the_window,
)
from exchange.web.browser import find_chromium

PHONE = {"width": 390, "height": 844}
WIDTHS = (390, 768, 1024, 1440)
ODD_QUANTITY = "0.0137"

pytestmark = pytest.mark.skipif(
    find_chromium() is None, reason="no Chromium on this machine: install it (Debian: apt-get install chromium)"
)


def test_a_newcomer_signs_up_takes_funds_trades_and_cancels(open_context) -> None:
    page = open_context(viewport={"width": 1440, "height": 900})
    page.goto("/signup")
    page.get_by_label("User name").fill("newcomer")
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_role("button", name="Create account").click()
    page.wait_for_url("**/account")
    page.get_by_role("button", name="Get demo funds").click()
    expect(page.locator("#balances-card tr", has_text="BTC").locator("td").nth(1)).to_have_text("1")

    open_terminal(page)
    expect(page.locator("#assets")).to_contain_text("100,000")
    best_ask = page.locator("#asks tr[data-price]").last.get_attribute("data-price")
    above_all_asks = f"{float(best_ask) * 1.05:.0f}"
    fill(page, price=above_all_asks, quantity=ODD_QUANTITY)
    page.get_by_role("button", name="Buy BTC").click()

    expect(page.locator("#pane-log")).to_contain_text(f"Bought {ODD_QUANTITY} BTC at")
    expect(page.locator("#assets tr").first).to_contain_text(f"1.{ODD_QUANTITY[2:]}")
    page.get_by_role("tab", name="Trades").click()
    filled = page.locator("#pane-fills tbody tr td:nth-child(5)")  # by one maker's order or by several
    wait_until(page, lambda: sum(map(Decimal, filled.all_inner_texts())) == Decimal(ODD_QUANTITY))
    expect(page.locator("#pane-fills tbody tr").first).to_contain_text("Taker")
    expect(page.locator("#tape tbody")).to_contain_text(filled.first.inner_text())
    expect(shown_asset(page, "USDT", 1)).to_have_text(re.compile(r"^9\d,\d{3}"))
    expect(page.locator("#quantity")).to_have_value("")

    below_all_bids = f"{float(best_ask) * 0.9:.0f}"
    fill(page, price=below_all_bids, quantity="0.01")
    expect(page.locator("#preview-total")).to_contain_text("USDT")
    at_most, _ = page.locator("#preview-total").inner_text().split()
    page.get_by_role("button", name="Buy BTC").dblclick()
    page.get_by_role("tab", name=re.compile("Open orders")).click()
    expect(page.locator("#pane-open tbody tr")).to_have_count(1)
    expect(page.locator("#open-count")).to_have_text("1")
    expect(page.locator("#assets tr").nth(1).locator("td").nth(2)).to_have_text(at_most)

    page.locator("#pane-open button.cancel").click()
    expect(page.locator("#pane-open tbody tr")).to_have_count(0)
    expect(page.locator("#assets tr").nth(1).locator("td").nth(2)).to_have_text("0")
    page.get_by_role("tab", name="Order history").click()
    expect(page.locator("#pane-history tbody tr")).to_have_count(2)
    expect(page.locator("#pane-history tbody tr").nth(0)).to_contain_text("Cancelled")
    expect(page.locator("#pane-history tbody tr").nth(1)).to_contain_text("Filled")


def test_a_market_order_asks_first_and_a_minor_unit_market_trades_in_major_units(open_context) -> None:
    page = open_context(viewport={"width": 1440, "height": 900})
    open_demo_account(page)
    open_terminal(page, "2330.TW")
    expect(page.locator("#assets tr").first).to_contain_text("1,000")
    page.get_by_role("radio", name="Market", exact=True).check()
    page.locator("#quantity").fill("3")
    expect(page.locator("#preview-notional")).to_contain_text("TWD")

    page.get_by_role("button", name="Buy 2330").click()
    page.get_by_role("button", name="Confirm").click()

    expect(page.locator("#assets tr").first).to_contain_text("1,003")
    page.get_by_role("tab", name="Trades").click()
    price = page.locator("#pane-fills tbody tr").first.locator("td").nth(3).inner_text().replace(",", "")
    assert 300 < float(price) < 1200
    expect(page.locator("#quantity")).to_have_value("")

    page.get_by_role("radio", name="Limit", exact=True).check()
    fill(page, price=f"{float(price) * 0.9:.0f}", quantity="2")
    page.get_by_role("button", name="Buy 2330").click()
    page.get_by_role("tab", name="Open orders").click()
    expect(page.locator("#pane-open tbody tr").locator("td").nth(4)).to_have_text(f"{float(price) * 0.9:.0f}")
    expect(page.locator("#pane-open tbody tr").locator("td").nth(5)).to_have_text("0 / 2")


def test_faults_are_told_beside_the_field_and_nothing_is_sent(open_context) -> None:
    page = open_context(viewport={"width": 1440, "height": 900})
    sent: list[str] = []
    page.on("request", lambda request: sent.append(f"{request.method} {request.url.rpartition('/')[2]}"))
    open_demo_account(page)
    open_terminal(page)
    price = page.locator("#price").input_value()

    for typed, quantity, field, words in (
        (f"{price}1", "0.01", "price", "multiple of 0.01"),
        ("1e5", "0.01", "price", "plain number"),
        ("0", "0.01", "price", "above zero"),
        ("1", "0.01", "price", "must lie between"),
        (price, "0.00001", "quantity", "multiple of 0.0001"),
        (price, "", "quantity", "Enter a quantity"),
    ):
        fill(page, price=typed, quantity=quantity)
        page.get_by_role("button", name="Buy BTC").click()
        expect(page.locator(f"#{field}-error")).to_contain_text(words)
        expect(page.locator(f"#{field}")).to_have_attribute("aria-invalid", "true")

    assert "POST orders" not in sent
    assert "GET instruments" in sent


def test_a_refusal_of_the_exchange_is_told_beside_the_field_in_the_readers_language(open_context) -> None:
    page = open_context(viewport={"width": 1440, "height": 900}, locale="zh-TW")
    open_context.forgiven.append("422")  # the refusal itself
    open_demo_account(page)
    open_terminal(page)
    page.locator("#quantity").fill("500")
    page.locator("#send").click()

    expect(page.locator("#quantity-error")).to_have_text(re.compile("[\u4e00-\u9fff]{2}"))
    expect(page.locator("#pane-history tbody tr")).to_have_count(1)


def test_the_page_is_chinese_for_a_chinese_browser(open_context) -> None:
    page = open_context(locale="zh-TW")
    open_terminal(page)

    expect(page.locator("html")).to_have_attribute("lang", "zh-Hant")
    expect(page.locator("#panel-book h2")).to_have_text("委託簿")
    expect(page.locator("#connection-text")).to_have_text(re.compile("即時"))
    page.get_by_label("語言").select_option("en")
    expect(page.locator("#panel-book h2")).to_have_text("Order book")


@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_scrolls_sideways(open_context, width) -> None:
    page = open_context(viewport={"width": width, "height": 844})
    open_demo_account(page)
    for path in ("/", "/account", "/login", "/signup", "/reserves", "/trade/BTCUSDT"):
        page.goto(path)
        assert wider_than_the_window(page) == [], path
    page.wait_for_selector("html[data-ready=yes]")
    for tab in page.locator(".phone-tabs button").all() if width == PHONE["width"] else []:
        tab.click()
        assert wider_than_the_window(page) == []


def test_on_a_phone_the_panels_are_tabs_and_buy_is_within_reach(open_context) -> None:
    page = open_context(viewport=PHONE, has_touch=True)
    open_demo_account(page)
    page.goto("/trade/BTCUSDT")
    page.wait_for_selector("html[data-ready=yes]")
    expect(page.locator("#panel-chart")).to_be_visible()
    expect(page.locator("#panel-book")).to_be_hidden()

    page.get_by_role("tab", name="Book").tap()
    expect(page.locator("#bids tr[data-price]").first).to_be_visible()
    page.locator("#phone-actions button[data-side=sell]").tap()

    expect(page.locator("#panel-ticket")).to_be_visible()
    expect(page.get_by_role("button", name="Sell BTC")).to_be_in_viewport()


def test_keys_work_on_the_page_but_not_while_typing(open_context) -> None:
    page = open_context(viewport={"width": 1440, "height": 900})
    open_demo_account(page)
    open_terminal(page)

    page.keyboard.press("s")
    expect(page.get_by_role("button", name="Sell BTC")).to_be_visible()
    page.locator("#quantity").focus()
    page.keyboard.type("b0.1")
    expect(page.get_by_role("button", name="Sell BTC")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#quantity")).to_have_value("")
    page.locator("#quantity").blur()
    page.keyboard.press("4")
    expect(page.locator("#quantity")).to_have_value("1")
    page.keyboard.press("Shift+?")
    expect(page.locator("#keys-dialog")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.locator("#symbol-search")).to_be_focused()
    page.keyboard.type("tsmc")
    page.keyboard.press("Enter")
    page.wait_for_url("**/trade/2330.TW")


def test_a_lost_delta_is_noticed_and_a_lost_connection_comes_back(open_context) -> None:
    page = open_context(viewport={"width": 1440, "height": 900})
    ways = {"lose a delta": True, "connect": True}
    sockets: list[WebSocketRoute] = []
    dropped: list[int] = []
    joins: list[list[str]] = []
    snapshots: list[list[int]] = []

    def between(route: WebSocketRoute) -> None:
        if not ways["connect"]:
            route.close()
            return
        joined: list[str] = []
        seen: list[int] = []
        sockets.append(route)
        joins.append(joined)
        snapshots.append(seen)
        server = route.connect_to_server()

        def from_page(text) -> None:
            message = json.loads(text)
            if "delta.BTCUSDT" in message.get("channels", []):
                joined.append(message["action"])
            server.send(text)

        def from_server(text) -> None:
            message = json.loads(text)
            if message["type"] == "delta" and ways["lose a delta"]:
                ways["lose a delta"] = False
                dropped.append(message["sequence"])
                return
            if message["type"] == "snapshot":
                seen.append(message["sequence"])
            route.send(text)

        route.on_message(from_page)
        server.on_message(from_server)

    page.route_web_socket("**/ws", between)
    open_terminal(page)
    wait_until(page, lambda: dropped and any(sequence >= dropped[0] for sequence in snapshots[0]))
    assert joins == [["subscribe", "unsubscribe", "subscribe"]]

    ways["connect"] = False
    sockets[0].close()
    expect(page.locator("#banner")).to_be_visible()
    ways["connect"] = True
    expect(page.locator("#banner")).to_be_hidden()
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    wait_until(page, lambda: len(sockets) == 2 and snapshots[1])
    assert joins[1] == ["subscribe"]


def test_an_answer_that_was_lost_and_asked_for_again_places_one_order(open_context) -> None:
    page = open_context(viewport={"width": 1440, "height": 900})
    open_context.forgiven.append("ERR_FAILED")  # the lost answer
    open_demo_account(page)
    open_terminal(page)
    bodies: list[str] = []

    def lose_the_first_answer(route: Route) -> None:
        if route.request.method != "POST":
            route.continue_()
            return
        bodies.append(str(route.request.post_data))
        answer = route.fetch()
        if len(bodies) == 1:
            assert answer.status == 201
            route.abort()
        else:
            assert answer.status == 200
            route.fulfill(response=answer)

    page.route("**/api/v1/orders", lose_the_first_answer)
    fill(page, price=f"{float(page.locator('#price').input_value()) * 0.9:.0f}", quantity="0.02")
    page.get_by_role("button", name="Buy BTC").click()
    expect(page.locator("#ticket-error")).to_have_text("The exchange cannot be reached.")
    page.get_by_role("button", name="Buy BTC").click()
    expect(page.locator("#pane-log")).to_contain_text("Buy order of 0.0200 BTC accepted.")

    assert len(bodies) == 2
    assert bodies[0] == bodies[1]
    expect(page.locator("#pane-open tbody tr")).to_have_count(1)


def test_cancel_all_asks_first_and_leaves_nothing_open(open_context) -> None:
    page = open_context(viewport={"width": 1440, "height": 900})
    open_demo_account(page)
    open_terminal(page)
    price = float(page.locator("#price").input_value())
    for share in (0.90, 0.91, 0.92):
        fill(page, price=f"{price * share:.0f}", quantity="0.01")
        page.get_by_role("button", name="Buy BTC").click()
        expect(page.locator("#quantity")).to_have_value("")
    expect(page.locator("#open-count")).to_have_text("3")
    page.locator("#quantity").blur()

    page.keyboard.press("Shift+X")
    expect(page.locator("#confirm-dialog")).to_contain_text("Cancel 3 open orders, in all markets?")
    page.get_by_role("button", name="Back").click()
    expect(page.locator("#open-count")).to_have_text("3")
    page.keyboard.press("Shift+X")
    page.get_by_role("button", name="Confirm").click()

    expect(page.locator("#open-count")).to_have_text("0")


def test_two_tabs_of_one_account_agree(open_context) -> None:
    first = open_context(viewport={"width": 1440, "height": 900})
    open_demo_account(first)
    open_terminal(first)
    second = first.context.new_page()
    open_terminal(second)

    fill(first, price=f"{float(first.locator('#price').input_value()) * 0.9:.0f}", quantity="0.02")
    first.get_by_role("button", name="Buy BTC").click()

    expect(second.locator("#pane-open tbody tr")).to_have_count(1)
    second.locator("#pane-open button.cancel").click()
    expect(first.locator("#open-count")).to_have_text("0")


def test_a_stop_order_waits_in_sight_with_its_hold_and_can_be_cancelled(open_context) -> None:
    page = open_context(viewport={"width": 1440, "height": 900})
    open_demo_account(page)
    open_terminal(page)
    last = float(page.locator("#price").input_value())
    page.get_by_role("radio", name="Stop", exact=True).check()
    expect(page.locator("#price")).to_be_hidden()
    expect(page.locator("#time-in-force")).to_be_hidden()

    page.get_by_role("button", name="Buy BTC").click()
    expect(page.locator("#stop-price-error")).to_have_text("Enter a stop price.")
    page.locator("#stop-price").fill(f"{last * 1.2:.0f}")
    page.locator("#quantity").fill("0.01")
    expect(page.locator("#preview-bounds")).to_have_text(f"{round(last * 1.2) * 1.05:,.2f} USDT")
    expect(page.locator("#preview-total")).to_contain_text("USDT")
    at_most, _ = page.locator("#preview-total").inner_text().split()
    page.get_by_role("button", name="Buy BTC").click()

    row = page.locator("#pane-open tbody tr")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("Untriggered")
    expect(row.locator("td").nth(6)).to_have_text(f"≥ {round(last * 1.2):,}.00")
    in_orders = page.locator("#assets tr").nth(1).locator("td").nth(2)
    expect(in_orders).to_have_text(at_most)
    row.locator("button.cancel").click()
    expect(row).to_have_count(0)
    expect(in_orders).to_have_text("0")


def test_a_post_only_order_that_would_take_is_rejected_in_words(open_context) -> None:
    page = open_context(viewport={"width": 1440, "height": 900})
    open_demo_account(page)
    open_terminal(page)
    best_ask = page.locator("#asks tr[data-price]").last.get_attribute("data-price")
    page.keyboard.press("p")
    expect(page.locator("#advanced-summary")).to_have_text("Post-only")

    fill(page, price=f"{float(best_ask) * 1.02:.0f}", quantity="0.01")
    page.get_by_role("button", name="Buy BTC").click()

    words = "A post-only order was rejected: it would have traded at once."
    expect(page.locator(".toast", has_text=words)).to_be_visible()
    page.get_by_role("tab", name="Order history").click()
    expect(page.locator("#pane-history tbody tr")).to_contain_text("Rejected: would have traded at once")


def test_an_iceberg_until_a_date_says_so_and_wrong_terms_are_told_where_they_stand(open_context) -> None:
    page = open_context(viewport={"width": 1440, "height": 900}, timezone_id="Asia/Taipei")
    bodies: list[dict[str, object]] = []
    page.on("request", lambda request: bodies.append(request.post_data_json) if request.method == "POST" else None)
    open_demo_account(page)
    open_terminal(page)
    bodies.clear()
    fill(page, price=f"{float(page.locator('#price').input_value()) * 0.9:.0f}", quantity="0.02")
    page.locator("#time-in-force").select_option("gtd")
    page.locator("#expires-at").fill("2020-01-01T08:00")
    page.get_by_text("Advanced", exact=True).click()
    page.locator("#display-quantity").fill("0.03")
    page.get_by_text("Advanced", exact=True).click()

    page.get_by_role("button", name="Buy BTC").click()
    expect(page.locator("#expires-at-error")).to_have_text("This must be in the future.")
    expect(page.locator("#display-quantity-error")).to_have_text("This must not be more than the quantity.")
    assert bodies == []
    page.locator("#expires-at").fill("2099-01-01T08:00")
    page.locator("#display-quantity").fill("0.005")
    page.get_by_role("button", name="Buy BTC").click()

    expect(page.locator("#pane-open tbody tr")).to_contain_text("GTD · until 01/01, 08:00 · Iceberg 0.0050")
    assert [body["expires_at"] for body in bodies] == ["2099-01-01T00:00:00.000Z"]
