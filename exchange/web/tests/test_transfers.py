"""The pages of money in and out: what a customer does there, what is refused beside which field, and who sees what."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django_otp.plugins.otp_totp.models import TOTPDevice

from exchange.api import throttling
from exchange.kernel.clock import utc_now
from ledger.models import DepositAddress, Notice, TransferRoute, Withdrawal, WithdrawalAddress, WithdrawalLimit
from ledger.tests.fixtures import make_asset
from ledger.transfers import custody, decisions, notices, payouts, stops
from ledger.transfers.models import Network

pytestmark = pytest.mark.usefixtures("books")
TRON = "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t"
PASSWORD = "correct horse battery"
PAGES = ("deposit", "withdraw", "addresses", "notices")


@pytest.fixture(autouse=True)
def _desk(db: None) -> None:
    throttling._client().flushdb()
    make_asset("USDT")
    TransferRoute.objects.create(asset_id="USDT", network="TRON", withdraw_fee=1, withdraw_min=10)
    WithdrawalLimit.objects.create(tier="STANDARD", asset_id="USDT", per_day=500, per_month=5000)
    custody.open_account(
        "USDT", "main", kind="WALLET", network=Network.TRON, name="Hot wallet", address=TRON, now=utc_now()
    )


@pytest.fixture
def alice(customer):
    return customer("alice", USDT=1000)


@pytest.fixture
def browser(alice) -> Client:
    client = Client()
    client.force_login(alice.user)
    return client


@pytest.fixture
def address(alice) -> WithdrawalAddress:
    now = utc_now() - timedelta(days=2)
    return WithdrawalAddress.objects.create(
        owner_id=alice.id, asset_id="USDT", network="TRON", address=TRON, label="home", created_at=now, usable_from=now
    )


def form(browser: Client, path: str) -> dict[str, Any]:
    """Return what a page's form sends when nothing is typed."""
    return {"request_key": browser.get(path).context["form"]["request_key"].value()}


def said(answer: Any) -> str:
    return [str(message) for message in get_messages(answer.wsgi_request)][-1]


@pytest.mark.parametrize("page", PAGES)
def test_who_is_not_signed_in_is_sent_to_the_sign_in_page(client, page) -> None:
    answer = client.get(f"/account/{page}")

    assert (answer.status_code, answer["Location"].split("?")[0]) == (302, "/login")


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("language", ["en", "zh-hant"])
def test_every_page_can_be_opened_in_both_languages(browser, address, page, language) -> None:
    answer = browser.get(f"/account/{page}", headers={"accept-language": language})

    assert answer.status_code == 200
    assert ("Withdraw" in answer.content.decode()) == (language == "en")


def test_a_withdrawal_is_requested_once_however_often_the_button_is_pressed(browser, alice, address) -> None:
    sent = {**form(browser, "/account/withdraw"), "address": address.pk, "amount": "100", "confirmation": PASSWORD}

    answers = [browser.post("/account/withdraw", sent) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [302, 302]
    assert Withdrawal.objects.count() == 1
    assert alice.balance("USDT", "withdraw_hold") == 100
    page = browser.get("/account/withdraw").content.decode()
    assert "requested" in page
    assert "900" in page


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"amount": "9"}, "amount", "The smallest withdrawal is 10 USDT."),
        ({"amount": "501"}, "amount", "The limit is 500 USDT in 24 hours"),
        ({"amount": "10.123456789"}, "amount", "more than 8 decimals"),
        ({"amount": "much"}, "amount", "Enter a number."),
        ({"amount": "-5"}, "amount", "greater than or equal to 0"),
        ({"confirmation": "wrong"}, "confirmation", "The code or the password is wrong."),
        ({"confirmation": ""}, "confirmation", "This field is required."),
        ({"address": "999"}, "address", "Select a valid choice"),
    ],
)
def test_a_refusal_stands_beside_its_field_and_changes_nothing(browser, alice, address, change, field, words) -> None:
    sent = {**form(browser, "/account/withdraw"), "address": address.pk, "amount": "100", "confirmation": PASSWORD}

    answer = browser.post("/account/withdraw", {**sent, **change})

    assert answer.status_code == 200
    assert words in " ".join(answer.context["form"].errors[field])
    assert not Withdrawal.objects.exists()
    assert alice.balance("USDT") == 1000


def test_a_refusal_of_no_field_stands_above_the_form(browser, address) -> None:
    stops.stop(None, reason="a break", by=None, now=utc_now())
    sent = {**form(browser, "/account/withdraw"), "address": address.pk, "amount": "100", "confirmation": PASSWORD}

    answer = browser.post("/account/withdraw", sent)

    assert answer.context["form"].non_field_errors() == ["Withdrawals of USDT are stopped for now."]
    assert "closed for now" in answer.content.decode()


def test_who_has_a_device_is_asked_for_its_code(browser, alice, address) -> None:
    assert "Your password" in browser.get("/account/withdraw").content.decode()
    TOTPDevice.objects.create(user=alice.user, name="phone", confirmed=True)

    page = browser.get("/account/withdraw").content.decode()

    assert "Code of your device" in page
    sent = {**form(browser, "/account/withdraw"), "address": address.pk, "amount": "100", "confirmation": PASSWORD}
    assert browser.post("/account/withdraw", sent).context["form"].errors["confirmation"]
    assert not Withdrawal.objects.exists()


def test_a_request_is_cancelled_by_its_owner_only(browser, alice, address, customer) -> None:
    sent = {**form(browser, "/account/withdraw"), "address": address.pk, "amount": "100", "confirmation": PASSWORD}
    browser.post("/account/withdraw", sent)
    made = Withdrawal.objects.get()
    mallory = Client()
    mallory.force_login(customer("mallory").user)

    assert said(mallory.post(f"/account/withdraw/{made.pk}/cancel")) == f"There is no withdrawal {made.pk}."
    assert decisions.find(made.pk).state == "REQUESTED"
    assert "is being cancelled" in said(browser.post(f"/account/withdraw/{made.pk}/cancel"))
    payouts.release(utc_now())

    assert (decisions.find(made.pk).state, alice.balance("USDT")) == ("CANCELLED", Decimal(1000))
    assert mallory.get("/account/withdraw").content.decode().count(TRON) == 0


def test_an_address_is_saved_waits_and_is_removed(browser, alice) -> None:
    sent = {"route": "USDT:TRON", "address": f" {TRON} ", "label": "home", "confirmation": PASSWORD}

    assert "has been saved" in said(browser.post("/account/addresses", sent))
    saved = WithdrawalAddress.objects.get()
    page = browser.get("/account/withdraw").content.decode()
    assert "1 address is not usable yet." in page
    assert "Save an address first" in page
    again = browser.post("/account/addresses", sent)
    assert again.context["form"].non_field_errors() == ["This address is saved already."]

    browser.post(f"/account/addresses/{saved.pk}/remove")

    assert WithdrawalAddress.objects.get().removed_at is not None
    assert "No addresses yet." in browser.get("/account/addresses").content.decode()


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"address": TRON[:-1] + "u"}, "address", "its checksum does not fit"),
        ({"memo": "備註"}, "memo", "it has not the form of one"),
        ({"route": "BTC:BITCOIN"}, "route", "Select a valid choice"),
        ({"label": ""}, "label", "This field is required."),
        ({"confirmation": "wrong"}, "confirmation", "The code or the password is wrong."),
    ],
)
def test_a_bad_address_is_refused_beside_its_field(browser, change, field, words) -> None:
    sent = {"route": "USDT:TRON", "address": TRON, "label": "home", "memo": "", "confirmation": PASSWORD, **change}

    answer = browser.post("/account/addresses", sent)

    assert words in " ".join(answer.context["form"].errors[field])
    assert not WithdrawalAddress.objects.exists()


def test_the_deposit_page_says_where_to_send_it(browser, alice) -> None:
    assert not DepositAddress.objects.exists()

    page = browser.post("/account/deposit", {"route": "USDT:TRON"}).content.decode()

    code = DepositAddress.objects.get(owner_id=alice.id).memo
    assert code in page
    assert "Send nothing but USDT" in page
    assert "does not move on" in browser.post("/account/deposit", {"route": "x"}).content.decode()


def test_notices_are_counted_read_and_marked(browser, alice) -> None:
    notices.give([(alice.id, "DEPOSIT_CREDITED", {"amount": "5", "asset": "USDT"})] * 2, now=utc_now())

    page = browser.get("/account/notices").content.decode()
    assert "5 USDT have been credited to your account." in page
    assert '<span class="count">2</span>' in page

    newest = Notice.objects.order_by("-pk").values_list("pk", flat=True)[0]
    browser.post("/account/notices/read", {"up_to_id": newest})
    browser.post("/account/notices/read", {"up_to_id": "nonsense"})

    assert '<span class="count">' not in browser.get("/account/notices").content.decode()
