"""Deposits, deposit addresses, webhooks and notices over REST."""

import hashlib
import hmac
import json
from typing import Any

import pytest

from exchange.kernel.clock import utc_now
from ledger.models import DepositAddress, DepositNotice, Notice, TransferRoute, WebhookDelivery
from ledger.transfers import crediting, deposit_addresses, notices
from ledger.transfers.tests.conftest import OTHER_TRON, TRON

pytestmark = pytest.mark.usefixtures("books", "transfers_audited")
SECRET = "a secret of the provider and of ours"
WHERE = {"asset": "USDT", "network": "TRON"}


@pytest.fixture
def alice(customer, desk):
    return customer("alice")


@pytest.fixture
def client(api, alice):
    return api.as_user(alice.user)


@pytest.fixture
def home(desk, alice) -> str:
    deposit_addresses.stock(desk.custody, [TRON], by=desk.accountant.pk, now=utc_now())
    return deposit_addresses.assign(alice.id, asset="USDT", network="TRON", now=utc_now()).address


@pytest.fixture
def provider(api, settings) -> Any:
    settings.DEPOSIT_WEBHOOK_SECRETS = {"custodian": SECRET}

    def call(body: Any, *, to: str = "custodian", secret: str = SECRET, at: int | None = None, **headers: str):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        moment = str(int(utc_now().timestamp()) if at is None else at)
        signature = hmac.new(secret.encode(), f"{moment}.".encode() + content, hashlib.sha256).hexdigest()
        given = {"X-Timestamp": moment, "X-Signature": signature, **headers}
        return api.send("POST", f"/webhooks/deposits/{to}", raw=content, headers=given)

    return call


def told(address: str = TRON, **changes: Any) -> dict[str, Any]:
    return {
        "reference": "6f2c:0",
        "asset": "USDT",
        "network": "TRON",
        "amount": "150.5",
        "address": address,
        "memo": "",
        "confirmations": 3,
        "occurred_at": "2026-03-01T09:30:00Z",
        **changes,
    }


def test_a_customer_gets_an_address_once_and_keeps_it(client, desk) -> None:
    assert client.post("/deposits/address", WHERE).error == "NO_DEPOSIT_ADDRESS"
    deposit_addresses.stock(desk.custody, [TRON, OTHER_TRON], by=desk.accountant.pk, now=utc_now())

    first = client.post("/deposits/address", WHERE)

    assert first.data == {**WHERE, "address": TRON, "memo": "", "confirmations": 3}
    assert client.post("/deposits/address", WHERE).data == first.data
    assert DepositAddress.objects.filter(owner__isnull=False).count() == 1


def test_a_bank_gives_a_code_instead(client, desk) -> None:
    type(desk.custody).objects.update(kind="BANK")

    answer = client.post("/deposits/address", WHERE).data

    assert answer["address"] == OTHER_TRON
    assert deposit_addresses.codes_in(f"words {answer['memo']} words") == [answer["memo"]]
    assert client.post("/deposits/address", WHERE).data == answer


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"asset": "BTC", "network": "TRON"}, 422, "ROUTE_CLOSED"),
        ({"asset": "USDT", "network": "nosuch"}, 400, "INVALID_FIELDS"),
        ({"asset": "USDT"}, 400, "INVALID_FIELDS"),
        ({**WHERE, "surprise": 1}, 400, "INVALID_FIELDS"),
    ],
)
def test_where_nothing_comes_in_there_is_no_address(client, body, status, error) -> None:
    answer = client.post("/deposits/address", body)

    assert (answer.status, answer.error) == (status, error)
    assert not DepositAddress.objects.filter(owner__isnull=False).exists()


def test_a_closed_route_gives_no_address(client, desk) -> None:
    TransferRoute.objects.update(deposits_open=False)

    assert client.post("/deposits/address", WHERE).error == "ROUTE_CLOSED"


def test_a_signed_call_is_kept_and_its_deposit_credited(provider, client, alice, home) -> None:
    answer = provider(told(home))
    assert (answer.status, answer.data["status"], answer.data["repeated"]) == (200, "confirmed", False)

    crediting.credit(utc_now())

    delivery = WebhookDelivery.objects.get()
    assert (json.loads(bytes(delivery.body)), delivery.outcome, delivery.provider) == (
        told(home),
        "accepted",
        "custodian",
    )
    assert alice.balance("USDT") == WebhookDelivery.objects.get().deposit.amount.amount  # type: ignore[union-attr]
    [row] = client.get("/deposits").data["items"]
    assert {name: row[name] for name in ("asset", "amount", "status", "source", "confirmations_needed")} == {
        "asset": "USDT",
        "amount": "150.5",
        "status": "credited",
        "source": "webhook",
        "confirmations_needed": 3,
    }


def test_more_confirmations_of_the_same_reference_credit_it_once(provider, alice, home) -> None:
    for confirmations, status in ((0, "announced"), (2, "announced"), (3, "confirmed"), (9, "credited")):
        assert provider(told(home, confirmations=confirmations)).data["status"] == status
        crediting.credit(utc_now())

    assert DepositNotice.objects.count() == 1
    assert str(alice.balance("USDT").normalize()) == "150.5"


def test_the_very_same_call_again_has_no_effect(provider, home) -> None:
    moment = int(utc_now().timestamp())

    first = provider(told(home), at=moment)
    again = provider(told(home), at=moment)

    assert (first.data["repeated"], again.data) == (False, {**first.data, "repeated": True})
    assert (DepositNotice.objects.count(), WebhookDelivery.objects.count()) == (1, 1)


def test_a_recorded_call_is_refused_later(provider, home, counted) -> None:
    before = counted()

    moment = int(utc_now().timestamp())
    late = provider(told(home), at=moment - 302)

    assert (late.status, late.error, late.data["seconds"]) == (401, "WEBHOOK_STALE", 300)
    assert provider(told(home), at=moment + 302).error == "WEBHOOK_STALE"
    assert counted() == before
    assert not WebhookDelivery.objects.exists()


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Signature": ""},
        {"X-Signature": "0" * 64},
        {"X-Signature": "café"},
        {"X-Timestamp": ""},
        {"X-Timestamp": "now"},
        {"X-Timestamp": "-5"},
    ],
)
def test_a_call_that_is_not_signed_rightly_is_refused(provider, home, counted, headers) -> None:
    before = counted()

    answer = provider(told(home), **headers)

    assert (answer.status, answer.error) == (401, "WEBHOOK_SIGNATURE")
    assert counted() == before
    assert not WebhookDelivery.objects.exists()


def test_another_secret_another_provider_or_none_is_refused(provider, home, settings) -> None:
    assert provider(told(home), secret="another").status == 401
    assert provider(told(home), to="somebody").status == 404
    settings.DEPOSIT_WEBHOOK_SECRETS = {}
    assert provider(told(home)).status == 404


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"amount": 150.5}, 400, "INVALID_FIELDS"),
        ({"amount": "-1"}, 400, "INVALID_FIELDS"),
        ({"amount": "0.000000001"}, 422, "TOO_MANY_DECIMALS"),
        ({"amount": "99999999999999999999"}, 422, "DEPOSIT_AMOUNT"),
        ({"asset": "NOSUCH"}, 422, "CUSTODY_UNKNOWN"),
        ({"network": "BITCOIN"}, 422, "CUSTODY_UNKNOWN"),
        ({"confirmations": -1}, 400, "INVALID_FIELDS"),
        ({"confirmations": "3"}, 400, "INVALID_FIELDS"),
        ({"reference": ""}, 400, "INVALID_FIELDS"),
        ({"occurred_at": "yesterday"}, 400, "INVALID_FIELDS"),
        ({"occurred_at": "2026-03-01T09:30:00"}, 400, "INVALID_FIELDS"),
        ({"surprise": 1}, 400, "INVALID_FIELDS"),
    ],
)
def test_a_signed_call_that_makes_no_sense_is_kept_and_changes_nothing(
    provider, home, counted, change, status, error
) -> None:
    before = counted()

    answer = provider(told(home, **change))

    assert (answer.status, answer.error) == (status, error)
    assert counted() == before
    assert WebhookDelivery.objects.get().outcome == error


def test_a_call_that_was_refused_must_be_signed_anew(provider, home) -> None:
    moment = int(utc_now().timestamp())
    assert provider(told(home, amount="-1"), at=moment).status == 400

    again = provider(told(home, amount="-1"), at=moment)

    assert (again.status, again.error, again.data["outcome"]) == (409, "WEBHOOK_REPEATED", "INVALID_FIELDS")
    assert WebhookDelivery.objects.count() == 1


def test_a_known_reference_with_another_amount_is_refused(provider, home) -> None:
    provider(told(home))

    assert provider(told(home, amount="151")).error == "DEPOSIT_KNOWN"


def test_a_body_that_is_not_json_is_refused_and_kept(provider) -> None:
    assert provider(b"{broken").error == "MALFORMED_JSON"

    assert bytes(WebhookDelivery.objects.get().body) == b"{broken"


def test_money_for_an_unknown_address_is_taken_in_for_nobody(provider, desk) -> None:
    answer = provider(told("TLa2f6VPqDgRE67v1736s7bJ8Ray5wYjU7"))

    assert answer.data["status"] == "confirmed"
    assert DepositNotice.objects.get().owner_id is None


def test_notices_are_listed_in_words_counted_and_marked(client, alice, desk) -> None:
    given = notices.give(
        [
            (alice.id, "DEPOSIT_CREDITED", {"amount": "5", "asset": "USDT"}),
            (alice.id, "WITHDRAWAL_REJECTED", {"id": "7", "amount": "5", "asset": "USDT", "reason": "too late"}),
        ],
        now=utc_now(),
    )

    page = client.get("/notices?limit=1").data
    assert (page["unread"], page["items"][0]["title"]) == (2, "Withdrawal rejected")
    assert page["items"][0]["text"] == "Withdrawal 7 was rejected: too late. 5 USDT are available again."
    chinese = client.get(f"/notices?cursor={page['next_cursor']}", accept_language="zh-hant").data
    assert chinese["items"][0]["text"] == "5 USDT 已存入您的帳戶。"

    assert client.post("/notices/read", {"up_to_id": given[0].pk}).data == {"count": 1, "unread": 1}
    assert client.post("/notices/read", {"up_to_id": given[0].pk}).data == {"count": 0, "unread": 1}
    assert client.post("/notices/read", {"up_to_id": "x"}).error == "INVALID_FIELDS"


def test_another_customers_deposits_and_notices_do_not_exist(
    api, customer, client, alice, desk, provider, home
) -> None:
    provider(told(home))
    crediting.credit(utc_now())
    mallory = api.as_user(customer("mallory").user)

    assert len(client.get("/deposits").data["items"]) == 1
    assert mallory.get("/deposits").data["items"] == []
    assert mallory.get("/notices").data["items"] == []
    assert mallory.post("/notices/read", {"up_to_id": 2**53 - 1}).data["count"] == 0
    assert Notice.objects.filter(read_at__isnull=True).exists()


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/deposits"), ("POST", "/deposits/address"), ("GET", "/notices"), ("POST", "/notices/read")],
)
def test_nobody_who_is_not_signed_in_gets_an_answer(api, desk, method, path) -> None:
    assert api.send(method, path, {} if method == "POST" else None).status == 401
