"""Pages: who may see what, sign-up and sign-in with their refusals, languages, and the content policy."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.conf import settings
from django.core.cache import cache
from django.urls import reverse

from exchange.api import throttling
from exchange.users import services
from exchange.users.models import User
from ledger.models import Asset, JournalEntry
from ledger.posting_rules import EventKind
from ledger.services import journal
from ledger.tests.factories import event
from ledger.tests.fixtures import make_asset
from marketdata.models import Instrument
from trading import selectors

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 5, 18, 10, 30, tzinfo=UTC)
PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def fresh_limits():
    throttling._client().flushdb()
    cache.clear()


@pytest.fixture
def market() -> Instrument:
    base, _ = Asset.objects.get_or_create(code="BTC", defaults={"name": "Bitcoin", "decimals": 8, "kind": "CRYPTO"})
    quote, _ = Asset.objects.get_or_create(code="USDT", defaults={"name": "Tether", "decimals": 8, "kind": "CRYPTO"})
    found, _ = Instrument.objects.get_or_create(
        symbol="BTCUSDT",
        defaults={
            "name": "Bitcoin / Tether",
            "base": base,
            "quote": quote,
            "tick_size": Decimal("0.01"),
            "lot_size": Decimal("0.0001"),
            "min_notional": Decimal(5),
            "reference_price": Decimal(60000),
        },
    )
    return found


@pytest.fixture
def alice() -> User:
    return services.register(username="alice", password=PASSWORD, now=NOW)


def test_everyone_sees_the_markets_and_the_terminal(client, market) -> None:
    assert "BTCUSDT" in client.get("/").content.decode()
    page = client.get("/trade/BTCUSDT")

    assert page.status_code == 200
    assert "Sign up to trade" in page.content.decode()


def test_an_unknown_market_is_not_found(client, market) -> None:
    assert client.get("/trade/NOSUCH").status_code == 404


def test_the_trade_link_leads_back_to_the_market_seen_last(client, market) -> None:
    client.get("/trade/BTCUSDT")

    assert client.get("/trade").headers["Location"] == "/trade/BTCUSDT"


def test_signing_up_makes_a_user_with_a_gate_and_signs_them_in(client) -> None:
    answer = client.post("/signup", {"username": "Bob.1", "password": PASSWORD})

    assert answer.headers["Location"] == reverse("web:account")
    assert User.objects.get(username="bob.1").pk == int(client.session["_auth_user_id"])


@pytest.mark.parametrize(
    ("username", "password", "reason"),
    [
        ("a", PASSWORD, "3 to 30 letters"),
        ("1abc", PASSWORD, "begin with a letter"),
        ("carol", "12345678", "entirely numeric"),
        ("carol", "", "required"),
    ],
)
def test_a_sign_up_against_the_rules_says_why_and_makes_nobody(client, username, password, reason) -> None:
    answer = client.post("/signup", {"username": username, "password": password})

    assert reason in answer.content.decode()
    assert User.objects.count() == 0


def test_a_taken_name_is_refused_beside_the_field_whatever_its_case(client, alice) -> None:
    answer = client.post("/signup", {"username": "ALICE", "password": PASSWORD})

    assert 'id="id_username_error">The user name alice is taken.' in answer.content.decode()
    assert User.objects.count() == 1


def test_signing_in_goes_where_the_user_wanted_but_never_to_another_site(client, alice) -> None:
    own = client.post("/login", {"username": "alice", "password": PASSWORD, "next": "/trade/BTCUSDT"})
    foreign = client.post("/login", {"username": "alice", "password": PASSWORD, "next": "https://evil.example/"})

    assert own.headers["Location"] == "/trade/BTCUSDT"
    assert foreign.headers["Location"] == "/account"


def test_wrong_passwords_are_limited_as_on_the_api(client, alice) -> None:
    wrong = {"username": "alice", "password": "wrong"}
    answers = [client.post("/login", wrong).status_code for _ in range(settings.LOGINS_FAILED_PER_MINUTE_AND_IP + 1)]

    assert answers == [200] * settings.LOGINS_FAILED_PER_MINUTE_AND_IP + [429]
    assert client.post("/login", {"username": "alice", "password": PASSWORD}).status_code == 429
    assert "_auth_user_id" not in client.session


def test_the_account_page_asks_for_a_sign_in(client) -> None:
    assert client.get("/account").headers["Location"] == "/login?next=/account"


def test_demo_funds_arrive_in_the_balances(client, alice, market) -> None:
    client.force_login(alice)

    panel = client.post("/account/faucet", headers={"HX-Request": "true"})

    [btc] = [held for held in selectors.account(alice.pk, NOW.date()).balances if held.asset == "BTC"]
    assert btc.balance == 1
    assert panel.content.decode().count("<html") == 0
    assert '<td>BTC</td><td class="number">1</td>' in panel.content.decode()


def test_demo_funds_end_after_the_days_helpings_and_say_so(client, alice, market) -> None:
    client.force_login(alice)

    answers = [client.post("/account/faucet").content.decode() for _ in range(6)]

    assert ["come back tomorrow" in answer for answer in answers] == [False] * 5 + [True]


def test_the_account_page_tells_a_debtor_what_is_owed_and_by_when(client, alice) -> None:
    make_asset("USDT")
    journal.post([event(EventKind.DEBT_CHARGE, "c", alice.pk, 30)], NOW)
    began = JournalEntry.objects.latest("id").recorded_at
    client.force_login(alice)

    page = client.get("/account").content.decode()

    due = f"{began + timedelta(days=7):%Y-%m-%d %H:%M}"
    assert f"You owe 30 USDT, due by {due} UTC." in page
    assert '<td class="number bad">-30</td>' in page


def test_one_click_makes_a_demo_account_with_funds(client, market) -> None:
    client.post("/demo-account", {"next": "/trade/BTCUSDT"})

    user = User.objects.get(pk=client.session["_auth_user_id"])
    assert user.is_demo is True
    assert {held.asset: held.balance for held in selectors.account(user.pk, NOW.date()).balances}["BTC"] == 1


def test_an_exchange_that_is_no_demo_has_no_demo_accounts_and_no_faucet(client, settings, alice) -> None:
    settings.DEMO = False
    client.force_login(alice)

    assert client.post("/demo-account").status_code == 404
    assert "Get demo funds" not in client.get("/account").content.decode()
    assert "This exchange gives no demo funds." in client.post("/account/faucet").content.decode()


def test_the_language_switch_is_remembered(client) -> None:
    client.post("/language", {"language": "zh-hant", "next": "/login"})

    assert client.get("/login", HTTP_ACCEPT_LANGUAGE="en").headers["Content-Language"] == "zh-hant"


def test_dark_is_the_default_and_the_light_theme_is_remembered(client) -> None:
    dark = client.get("/login").content.decode()
    client.cookies["theme"] = "light"

    assert 'data-theme="dark"' in dark
    assert 'data-theme="light"' in client.get("/login").content.decode()


def test_rising_prices_may_be_red(client) -> None:
    plain = client.get("/login").content.decode()
    client.cookies["up"] = "red"

    assert 'data-up="green"' in plain
    assert 'data-up="red"' in client.get("/login").content.decode()


def test_pages_allow_no_inline_script_and_no_foreign_source(client, market) -> None:
    policy = client.get("/trade/BTCUSDT").headers["Content-Security-Policy"]

    assert "unsafe" not in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
