"""What the browser tests do on the terminal's pages, in their users' words."""

import time

from playwright.sync_api import Page

LIVE_MS_MAX = 30_000
"""How long anything live may take to show."""


def open_demo_account(page: Page) -> None:
    page.goto("/signup")
    page.locator("form[action='/demo-account'] button").click()
    page.wait_for_url("**/account")


def open_terminal(page: Page, symbol: str = "BTCUSDT") -> None:
    page.goto(f"/trade/{symbol}")
    page.wait_for_selector("html[data-ready=yes]")
    page.wait_for_selector("#asks tr[data-price]")
    page.wait_for_selector("#bids tr[data-price]")


def fill(page: Page, *, price: str, quantity: str) -> None:
    page.locator("#price").fill(price)
    page.locator("#quantity").fill(quantity)


def shown_asset(page: Page, asset: str, column: int) -> str:
    row = page.locator("#assets tr").filter(has=page.get_by_role("cell", name=asset, exact=True))
    return row.locator("td").nth(column).inner_text()


def wait_until(page: Page, condition) -> None:
    """Wait for something that happens in this process while the page lives."""
    deadline = time.monotonic() + LIVE_MS_MAX / 1000
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        page.wait_for_timeout(50)
