"""What the browser tests do on the terminal's pages, in their users' words."""

import time

from playwright.sync_api import Locator, Page, expect

LIVE_MS_MAX = 60_000
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
    expect(page.locator("#price")).not_to_have_value("")  # that of the last trade: a new market has to have one first


def fill(page: Page, *, price: str, quantity: str) -> None:
    page.locator("#price").fill(price)
    page.locator("#quantity").fill(quantity)


def shown_asset(page: Page, asset: str, column: int) -> Locator:
    row = page.locator("#assets tr").filter(has=page.get_by_role("cell", name=asset, exact=True))
    return row.locator("td").nth(column)


def wider_than_the_window(page: Page) -> list[str]:
    """Return what makes the page scroll sideways. Until its style sheets are there, any page does."""
    page.wait_for_load_state("load")
    return page.evaluate(
        """async () => {
          await document.fonts.ready;
          const root = document.documentElement;
          if (root.scrollWidth <= innerWidth) return [];
          const right = (one) => Math.ceil(one.getBoundingClientRect().right);
          const scrolls = (box) => getComputedStyle(box).overflowX !== "visible";
          const isCut = (box) => box !== null && (scrolls(box) || isCut(box.parentElement));
          const all = [...document.querySelectorAll("body *")];
          const wide = all.filter((one) => right(one) > innerWidth && !isCut(one.parentElement));
          const names = wide.map((one) => `${one.localName}#${one.id}.${one.className} to ${right(one)}`);
          return [`${root.scrollWidth} of ${innerWidth} px`, ...names];
        }"""
    )


def fill_with_wide_content(page: Page) -> int:
    """Put the longest figure, or a word without a break, wherever the page may show such; return in how many places."""
    return page.evaluate(
        """() => {
          let filled = 0;
          const [figure, word] = ["-99,999,999,999,999,999,999.123456789012345678", "w".repeat(80)];
          const places = "h1, h2, h3, p, td, th, dd, li, caption";
          const inside = (area) => places.split(", ").map((place) => `${area} ${place}`).join(", ");
          for (const place of document.querySelectorAll(`${inside("main")}, ${inside(".finance")}`)) {
            const walker = document.createTreeWalker(place, NodeFilter.SHOW_TEXT);
            for (let text = walker.nextNode(); text; text = walker.nextNode()) {
              if (!text.data.trim() || text.parentElement.closest("button, select, nav, label")) continue;
              text.data = /[0-9]/.test(text.data) ? figure : `${text.data} ${word}`;
              filled += 1;
            }
          }
          return filled;
        }"""
    )


def wait_until(page: Page, condition) -> None:
    """Wait for something that happens in this process while the page lives."""
    deadline = time.monotonic() + LIVE_MS_MAX / 1000
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        page.wait_for_timeout(50)
