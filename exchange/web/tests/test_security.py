"""The page of a second factor: the road from a password to a device and back, and where the secret is told."""

import base64
import time

import pytest
from django.test import Client
from django_otp.oath import TOTP
from django_otp.plugins.otp_totp.models import TOTPDevice

from exchange.api import throttling

pytestmark = pytest.mark.django_db
PAGE = "/account/security"
PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def fresh_limits() -> None:
    throttling._client().flushdb()


@pytest.fixture
def browser(customer) -> Client:
    client = Client()
    client.force_login(customer("alice").user)
    return client


def code_now(secret: str) -> str:
    text = secret.replace(" ", "")
    code = TOTP(base64.b32decode(text + "=" * (-len(text) % 8)))
    code.time = time.time()
    return f"{code.token():06d}"


def test_a_device_is_set_up_and_removed(browser) -> None:
    assert "Set up a device" in browser.get(PAGE).content.decode()

    shown = browser.post(f"{PAGE}/start", {"confirmation": PASSWORD})
    secret = shown.context["secret"]
    assert 'class="qr" role="img"' in shown.content.decode()
    assert browser.post(f"{PAGE}/finish", {"code": code_now(secret)}).status_code == 302
    page = browser.get(PAGE).content.decode()
    assert "Your device was set up on" in page
    assert "Code of your device" in page

    TOTPDevice.objects.update(last_t=-1)
    assert browser.post(f"{PAGE}/remove", {"confirmation": code_now(secret)}).status_code == 302
    assert "Set up a device" in browser.get(PAGE).content.decode()


def test_the_secret_is_in_one_answer_that_nobody_keeps(browser) -> None:
    shown = browser.post(f"{PAGE}/start", {"confirmation": PASSWORD})
    secret = shown.context["secret"]

    later = [browser.get(PAGE), browser.post(f"{PAGE}/finish", {"code": "no code"})]

    assert "no-store" in shown["Cache-Control"]
    assert secret in shown.content.decode()
    for answer in later:
        assert secret not in answer.content.decode()
        assert 'class="qr"' not in answer.content.decode()


def test_refusals_stand_beside_their_field(browser) -> None:
    wrong = browser.post(f"{PAGE}/start", {"confirmation": "guess"})
    assert wrong.context["form"].errors["confirmation"] == ["The code or the password is wrong."]

    early = browser.post(f"{PAGE}/finish", {"code": "123456"})
    assert early.context["form"].non_field_errors() == ["The code was scanned too long ago. Start again."]

    browser.post(f"{PAGE}/start", {"confirmation": PASSWORD})
    bad = browser.post(f"{PAGE}/finish", {"code": "no code"})
    assert bad.context["form"].errors["code"][0].startswith("That is not the code")


def test_only_who_is_signed_in_and_only_by_post(browser) -> None:
    for step in ("start", "finish", "remove"):
        assert browser.get(f"{PAGE}/{step}").status_code == 405
        assert Client().post(f"{PAGE}/{step}").status_code == 302
    assert Client().get(PAGE)["Location"].startswith("/login")
    assert not TOTPDevice.objects.exists()
