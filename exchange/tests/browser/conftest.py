"""A real exchange and a real browser, for the tests in this folder: both are started once, for all of them.

A start takes a minute on two processors. So a test works on accounts of its own, and leaves markets as they were.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from exchange.tests.browser.terminal_page import LIVE_MS_MAX
from exchange.tests.ports import free_port
from exchange.web.browser import find_chromium, launch

START_SECONDS_MAX = 300
STOP_SECONDS_MAX = 60
COMMAND_SECONDS_MAX = 120


def _has_a_book(address: str) -> bool:
    """Tell whether the demo's makers have quoted both sides."""
    try:
        with urllib.request.urlopen(f"{address}/api/v1/depth/BTCUSDT?limit=5", timeout=5) as answer:  # noqa: S310
            body = answer.read().decode()
    except (urllib.error.URLError, OSError):
        return False
    return '"bids":[["' in body and '"asks":[["' in body


def _environment() -> dict[str, str]:
    """Return what a process of an exchange of its own inherits: nothing of the tests'."""
    dropped = ("DJANGO_SETTINGS_MODULE", "EXCHANGE_DATA_DIR", "EXCHANGE_DB_ROLE", "EXCHANGE_WORKER_PORT", "SECRET_KEY")
    return {name: value for name, value in os.environ.items() if name not in dropped}


@pytest.fixture(scope="package")
def folder() -> Iterator[Path]:
    """A new folder for one exchange; removed when the exchange has stopped."""
    folder = Path(tempfile.mkdtemp(prefix="exchange-browser-"))
    folder.chmod(0o711)  # run by root, the servers' account walks through it: nothing is left outside
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="package")
def address(folder: Path) -> Iterator[str]:
    """Start the whole exchange; stop it at the end."""
    port = free_port()
    with (folder / "up.log").open("w") as log:
        up = subprocess.Popen(
            [sys.executable, "manage.py", "up", "--port", str(port), "--data-dir", str(folder / "data")],
            cwd=settings.BASE_DIR,
            env=_environment(),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + START_SECONDS_MAX
        while not _has_a_book(f"http://127.0.0.1:{port}"):
            if up.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"`up` did not serve a live book:\n{(folder / 'up.log').read_text()[-6000:]}")
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        up.send_signal(signal.SIGTERM)
        up.wait(STOP_SECONDS_MAX)


@pytest.fixture
def operate(folder: Path, address: str) -> Callable[..., None]:
    """Return what operators of the exchange do: `manage.py` with a command of theirs."""

    def run(*words: str) -> None:
        environment = _environment() | {"EXCHANGE_DATA_DIR": str(folder / "data")}
        command = [sys.executable, "manage.py", *words]
        subprocess.run(command, cwd=settings.BASE_DIR, env=environment, check=True, timeout=COMMAND_SECONDS_MAX)

    return run


@pytest.fixture
def set_state(operate: Callable[..., None]) -> Iterator[Callable[[str, str], None]]:
    """Return a function that halts or auctions a market; every market that was touched is opened again."""
    touched: set[str] = set()

    def change(symbol: str, state: str) -> None:
        touched.add(symbol)
        operate("set_trading_state", symbol, state)

    yield change
    for symbol in touched:
        change(symbol, "trading")


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = launch(playwright, str(find_chromium()))
        yield browser
        browser.close()


@pytest.fixture
def open_context(browser: Browser, address: str):
    """Return a function that opens a new browser session; none of them may log an error.

    What a test brings about itself, and the browser reports as an error, is named in `open_context.forgiven`.
    """
    contexts: list[BrowserContext] = []
    faults: list[str] = []
    forgiven: list[str] = []

    def note_errors(message: ConsoleMessage) -> None:
        if message.type == "error":
            faults.append(message.text)

    def open_one(**options) -> Page:
        context = browser.new_context(base_url=address, **{"locale": "en-US", **options})
        context.set_default_timeout(LIVE_MS_MAX)
        contexts.append(context)
        page = context.new_page()
        page.on("console", note_errors)
        page.on("pageerror", lambda error: faults.append(str(error)))
        return page

    open_one.forgiven = forgiven  # type: ignore[attr-defined]
    expect.set_options(timeout=LIVE_MS_MAX)
    yield open_one
    for context in contexts:
        context.close()
    assert [fault for fault in faults if not any(words in fault for words in forgiven)] == []
