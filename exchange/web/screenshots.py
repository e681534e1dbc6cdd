"""Takes the pictures of the README from a running demo: `python -m exchange.web.screenshots [ADDRESS]`."""

import argparse
import sys
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, Page, sync_playwright

from exchange.web.browser import find_chromium, launch

FOLDER = Path(__file__).parent / "screenshots"
DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
TIMEOUT_MS = 20_000
DEMO_PASSWORD = "let-me-trade-2330"  # noqa: S105 -- of the demo, shown to everyone; importing it would need Django


def main() -> None:
    """Read the command line and take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", nargs="?", default="http://127.0.0.1:8000", help="of a running `manage.py up`")
    parser.add_argument("--symbol", default="BTCUSDT", help="the market to show")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the pictures go")
    parser.add_argument("--finance-only", action="store_true", help="only the pages of finance people")
    options = parser.parse_args()
    chromium = find_chromium()
    if chromium is None:
        sys.exit("No Chromium found: install it (Debian: apt-get install chromium).")
    options.folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = launch(playwright, chromium)
        if not options.finance_only:
            take(browser, options.address, options.symbol, options.folder)
        take_finance(browser, options.address, options.folder)
        browser.close()


def take(browser: Browser, address: str, symbol: str, folder: Path) -> None:
    """Take the pictures with a fresh demo account that has traded a little, so that no panel is empty."""
    context = browser.new_context(base_url=address, viewport=DESKTOP, locale="en-US")  # type: ignore[arg-type]
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    page.goto("/signup")
    page.get_by_role("button", name="Try with a demo account").click()
    page.wait_for_url("**/account")
    open_terminal(page, symbol)
    trade_a_little(page)
    page.wait_for_selector(".toast", state="detached")
    picture(page, folder / "terminal.png")
    page.get_by_role("button", name="Switch between dark and light").click()
    picture(page, folder / "terminal-light.png")
    page.get_by_role("button", name="Switch between dark and light").click()
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    picture(page, folder / "phone.png")
    page.get_by_label("Language").select_option("zh-hant")
    page.set_viewport_size(DESKTOP)  # type: ignore[arg-type]
    ready(page)
    picture(page, folder / "terminal-zh-hant.png")


def take_finance(browser: Browser, address: str, folder: Path) -> None:
    """Take the pictures of what finance people see: the balance sheet in both themes and languages, and the journal."""
    looks: tuple[tuple[str, str, Literal["light", "dark"]], ...] = (
        ("balance-sheet.png", "en-US", "light"),
        ("balance-sheet-zh-hant.png", "zh-TW", "dark"),
    )
    for name, locale, theme in looks:
        viewport: Any = DESKTOP
        context = browser.new_context(base_url=address, viewport=viewport, locale=locale, color_scheme=theme)
        context.set_default_timeout(TIMEOUT_MS)
        page = context.new_page()
        page.goto("/login?next=/admin/finance/statements")
        page.locator("[name=username]").fill("accountant")
        page.locator("[name=password]").fill(DEMO_PASSWORD)
        page.locator("main form button").first.click()
        page.goto("/admin/finance/balance-sheet?asset=USDT")
        page.locator("#slider-at").focus()
        page.keyboard.press("PageDown")
        page.wait_for_url("**at=20*")
        page.wait_for_selector("#slider-latest:not([aria-pressed])")
        picture(page, folder / name)
        if theme == "light":
            page.goto("/admin/ledger/journalentry/")
            picture(page, folder / "journal.png")
        context.close()


def open_terminal(page: Page, symbol: str) -> None:
    """Open a market and wait until its book is live."""
    page.goto(f"/trade/{symbol}")
    ready(page)


def ready(page: Page) -> None:
    """Wait until the page has read everything and the book has arrived."""
    page.wait_for_selector("html[data-ready=yes]")
    page.wait_for_selector("#bids tr[data-price]")


def trade_a_little(page: Page) -> None:
    """Buy at the best ask, then leave a few orders in the book, and one in the ticket."""
    for side, position in (("asks", -1), ("bids", 3), ("bids", 6), ("asks", 2)):
        page.locator("#ticket input[name=side]").nth(1 if (side, position) == ("asks", 2) else 0).check()
        page.locator(f"#{side} tr[data-price]").nth(position).click()
        page.locator("#quantity").fill("0.05" if position < 0 else "0.02")
        page.locator("#send").click()
        page.wait_for_function("() => document.getElementById('quantity').value === ''")  # it has been accepted
    page.wait_for_selector("#pane-open tbody tr")
    page.locator("#quantity").fill("0.1")


def picture(page: Page, path: Path) -> None:
    """Save what the window shows, after the chart has drawn."""
    page.wait_for_timeout(500)
    page.screenshot(path=path)
    print(path)  # noqa: T201 -- a command


if __name__ == "__main__":
    main()
