"""Demo funds, by REST: a deposit in the books, a few times a day, never twice for one request."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from exchange.api.tests.fixtures import Api
from exchange.kernel.clock import utc_now
from exchange.users import faucet
from exchange.users.models import FaucetGrant
from ledger.models import JournalEntry
from ledger.tests.fixtures import make_asset

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]


@pytest.fixture
def alice(customer: Any) -> Any:
    make_asset("USDT")
    make_asset("BTC")
    return customer("alice")


def test_a_helping_is_a_deposit_of_every_asset(api: Api, alice: Any) -> None:
    answer = api.as_user(alice.user).post("/faucet", {"request_key": "first"})

    assert answer.status == 200
    assert answer.data["request_key"] == "first"
    assert answer.data["amounts"]["USDT"] == "100000"
    assert answer.data["left_today"] == 4
    assert alice.balance("USDT") == Decimal(100_000)
    assert alice.balance("BTC") == Decimal(1)


def test_a_repeated_request_gives_nothing_twice(api: Api, alice: Any) -> None:
    client = api.as_user(alice.user)
    client.post("/faucet", {"request_key": "first"})
    entries = JournalEntry.objects.count()

    answer = client.post("/faucet", {"request_key": "first"})

    assert (answer.status, answer.data["left_today"]) == (200, 4)
    assert alice.balance("USDT") == Decimal(100_000)
    assert JournalEntry.objects.count() == entries


def test_the_helpings_of_a_day_are_limited_and_the_next_day_has_new_ones(api: Api, alice: Any) -> None:
    client = api.as_user(alice.user)
    for _ in range(faucet.HELPINGS_PER_DAY):
        assert client.post("/faucet").status == 200

    refused = client.post("/faucet")

    assert (refused.status, refused.code, refused.error) == (429, 2010, "FAUCET_EMPTY")
    assert alice.balance("BTC") == Decimal(5)
    assert FaucetGrant.objects.count() == 5
    FaucetGrant.objects.update(granted_date=utc_now().date() - timedelta(days=1))  # the books take nothing of tomorrow
    assert faucet.give(alice.id, request_key=None, now=utc_now()).left_today == 4


def test_an_exchange_that_is_no_demo_gives_nothing(api: Api, alice: Any, settings: Any) -> None:
    settings.DEMO = False

    answer = api.as_user(alice.user).post("/faucet")

    assert (answer.status, answer.code, answer.error) == (404, 2009, "FAUCET_CLOSED")
    assert alice.balance("USDT") == 0
    assert not FaucetGrant.objects.exists()


def test_nobody_is_given_anything_without_sign_in(api: Api, alice: Any) -> None:
    assert api.post("/faucet").code == 2001
    assert not JournalEntry.objects.exists()


@pytest.mark.parametrize("body", [{"request_key": ""}, {"request_key": 5}, {"amount": "1"}, {"request_key": "a b"}])
def test_a_faulty_request_gives_nothing(api: Api, alice: Any, body: dict[str, Any]) -> None:
    answer = api.as_user(alice.user).post("/faucet", body)

    assert (answer.status, answer.code) == (400, 1004)
    assert not JournalEntry.objects.exists()
