"""The check in a real browser: a proof that holds is proven there, and one with anything changed is refused."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from exchange.web.browser import find_chromium, launch
from ledger.reserves import proofs, verify
from ledger.reserves.tests.test_tree import OWED, TAMPERED, changed, proof, sign_text

WAIT_MS_MAX = 60_000

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        find_chromium() is None, reason="no Chromium on this machine: install it (Debian: apt-get install chromium)"
    ),
]


@pytest.fixture
def visit(live_server, client):
    """Return a function that opens the page as a user and hands it to a test; no error may be logged."""

    def open_page(user, use, *, locale: str = "en-US") -> None:
        if user is not None:
            client.force_login(user)
        cookies = client.cookies.items()
        faults: list[str] = []
        with sync_playwright() as playwright:
            browser = launch(playwright, str(find_chromium()))
            context = browser.new_context(base_url=live_server.url, locale=locale)
            context.set_default_timeout(WAIT_MS_MAX)
            context.add_cookies(
                [{"name": name, "value": cookie.value, "url": live_server.url} for name, cookie in cookies]
            )
            page = context.new_page()
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
            page.goto("/reserves")
            use(page)
            browser.close()
        assert faults == []

    return open_page


def check_file(page: Page, path: Path) -> str:
    """Give a proof file to the page; return its verdict."""
    page.set_input_files("#check-file", path)
    page.wait_for_selector(".verdict.proven, .verdict.refused")
    found = page.locator("#verdict").get_attribute("class") or ""
    page.evaluate("document.getElementById('verdict').className = 'verdict'")
    return found.split()[-1]


def test_a_user_is_proven_to_be_counted_step_by_step(customer, publish, visit) -> None:
    alice = customer("alice", USDT=100, BTC="0.5")
    customer("bob", USDT=7)
    publish()

    def use(page: Page) -> None:
        page.get_by_role("button", name="Check my balance").click()
        expect(page.locator("#verdict")).to_have_text("Proven: your balances are counted.")
        steps = page.locator("#steps > li")
        expect(steps).to_have_count(4)
        expect(steps.nth(0)).to_contain_text("The statement is signed with the key ")
        expect(steps.nth(3)).to_contain_text("USDT: your 100 are in the 107 that the exchange says it owes.")
        steps.nth(3).locator("summary").click()
        expect(steps.nth(3).locator("table").nth(0).locator("tr")).to_have_count(1 + 2)

    visit(alice.user, use)


def test_the_downloaded_proof_is_the_one_that_any_verifier_accepts(customer, publish, visit, tmp_path) -> None:
    alice = customer("alice", USDT=100)
    publication = publish()
    expected = proofs.proof(publication.pk, alice.id)
    path = tmp_path / "proof.json"

    def use(page: Page) -> None:
        with page.expect_download() as download:
            page.get_by_role("link", name="Download my proof").click()
        download.value.save_as(path)
        assert check_file(page, path) == "proven"

    visit(alice.user, use)
    assert json.loads(path.read_text()) == expected
    assert list(verify.steps(expected))


def test_a_proof_with_anything_changed_is_refused_in_the_browser_too(customer, publish, visit, tmp_path) -> None:
    customer("alice", USDT=100)
    publish()
    path = tmp_path / "proof.json"
    verdicts: dict[str, str] = {}

    def use(page: Page) -> None:
        for what, change in {**TAMPERED, "a name twice in the statement": None, "no JSON": None}.items():
            if change is not None:
                path.write_text(json.dumps(changed(*change)))
            else:
                path.write_text("{" if what == "no JSON" else json.dumps(_ambiguous()))
            verdicts[what] = check_file(page, path)
        path.write_text(json.dumps(proof(OWED, 3)))
        verdicts["nothing"] = check_file(page, path)

    visit(None, use)
    assert verdicts.pop("nothing") == "proven"
    assert {what for what, verdict in verdicts.items() if verdict != "refused"} == set()


def _ambiguous() -> dict:
    """Return a proof whose statement, rightly signed, two readers would understand differently."""
    found = proof(OWED, 3)
    return {**found, **sign_text(found["statement"].replace('"publication":3', '"publication":1,"publication":3'))}


def test_the_page_speaks_chinese(customer, publish, visit) -> None:
    alice = customer("alice", USDT=100)
    publish()

    def use(page: Page) -> None:
        page.get_by_role("button", name="檢查我的餘額").click()
        expect(page.locator("#verdict")).to_contain_text("您的餘額已被計入")

    visit(alice.user, use, locale="zh-TW")
