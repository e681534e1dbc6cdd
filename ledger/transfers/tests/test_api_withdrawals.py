"""Withdrawals and addresses over REST: who may, what is refused, and that a refusal leaves no trace."""

import time
from decimal import Decimal

import pytest
from django_otp.oath import TOTP
from django_otp.plugins.otp_totp.models import TOTPDevice

from exchange.kernel.clock import utc_now
from ledger.models import Withdrawal, WithdrawalAddress
from ledger.transfers import decisions, payouts, stops
from ledger.transfers.tests.conftest import OTHER_TRON, TRON

pytestmark = pytest.mark.usefixtures("books", "transfers_audited")
PASSWORD = {"password": "correct horse battery"}
SAVE = {"asset": "USDT", "network": "TRON", "address": TRON, "label": "my wallet", **PASSWORD}


@pytest.fixture
def alice(customer, desk):
    return customer("alice", USDT=1000)


@pytest.fixture
def client(api, alice):
    return api.as_user(alice.user)


@pytest.fixture
def body(desk, alice) -> dict:
    return {"address_id": desk.address(alice).pk, "amount": "100", **PASSWORD}


def test_a_withdrawal_is_requested_read_listed_and_cancelled(client, alice, body) -> None:
    made = client.post("/withdrawals", {**body, "client_withdrawal_id": "mine-1"})

    assert made.status == 201
    assert {name: made.data[name] for name in ("amount", "fee", "arrives", "status", "can_cancel", "address")} == {
        "amount": "100",
        "fee": "1",
        "arrives": "99",
        "status": "requested",
        "can_cancel": True,
        "address": TRON,
    }
    number = made.data["withdrawal_id"]
    assert client.get(f"/withdrawals/{number}").data == made.data
    assert client.get("/withdrawals?asset=USDT&status=requested").data == {"items": [made.data], "next_cursor": None}
    assert client.get("/withdrawals?status=settled").data["items"] == []
    assert alice.balance("USDT", "withdraw_hold") == 100

    cancelled = client.delete(f"/withdrawals/{number}")
    assert (cancelled.status, cancelled.data["status"]) == (202, "cancelling")
    payouts.release(utc_now())
    again = client.delete(f"/withdrawals/{number}")
    assert (again.status, again.data["status"]) == (200, "cancelled")
    assert alice.balance("USDT", "withdraw_hold") == 0


def test_a_retry_answers_the_first_request(client, body) -> None:
    first = client.post("/withdrawals", {**body, "client_withdrawal_id": "mine-1"})
    again = client.post("/withdrawals", {**body, "client_withdrawal_id": "mine-1"})
    other = client.post("/withdrawals", {**body, "amount": "101", "client_withdrawal_id": "mine-1"})

    assert (again.status, again.data["withdrawal_id"]) == (200, first.data["withdrawal_id"])
    assert (other.status, other.code) == (409, 4111)
    assert Withdrawal.objects.count() == 1


BAD = [
    ({"amount": 100}, 400, "INVALID_FIELDS"),
    ({"amount": 100.5}, 400, "INVALID_FIELDS"),
    ({"amount": "-1"}, 400, "INVALID_FIELDS"),
    ({"amount": "0"}, 400, "INVALID_FIELDS"),
    ({"amount": "1e3"}, 400, "INVALID_FIELDS"),
    ({"amount": "NaN"}, 400, "INVALID_FIELDS"),
    ({"amount": None}, 400, "INVALID_FIELDS"),
    ({"amount": "9"}, 422, "WITHDRAWAL_TOO_SMALL"),
    ({"amount": "10.000000001"}, 422, "TOO_MANY_DECIMALS"),
    ({"amount": "1001"}, 422, "WITHDRAWAL_LIMIT"),
    ({"address_id": 0}, 400, "INVALID_FIELDS"),
    ({"address_id": "1"}, 400, "INVALID_FIELDS"),
    ({"address_id": 2**53}, 400, "INVALID_FIELDS"),
    ({"address_id": 2**53 - 1}, 404, "ADDRESS_NOT_FOUND"),
    ({"client_withdrawal_id": "with space"}, 400, "INVALID_FIELDS"),
    ({"client_withdrawal_id": "x" * 65}, 400, "INVALID_FIELDS"),
    ({"surprise": 1}, 400, "INVALID_FIELDS"),
    ({"password": ""}, 400, "INVALID_FIELDS"),
    ({"password": "wrong"}, 403, "CONFIRMATION_WRONG"),
    ({"password": 5}, 400, "INVALID_FIELDS"),
]


@pytest.mark.parametrize(("change", "status", "error"), BAD)
def test_bad_input_changes_nothing(client, body, counted, change, status, error) -> None:
    before = counted()

    answer = client.post("/withdrawals", {**body, **change})

    assert (answer.status, answer.error) == (status, error)
    assert counted() == before


def test_without_a_confirmation_nothing_is_withdrawn(client, body, counted) -> None:
    before = counted()

    answer = client.post("/withdrawals", {name: value for name, value in body.items() if name != "password"})

    assert (answer.status, answer.code, answer.data["method"]) == (403, 4118, "password")
    assert counted() == before


def test_who_has_a_device_confirms_with_its_code_once_and_not_with_the_password(client, alice, body, counted) -> None:
    device = TOTPDevice.objects.create(user=alice.user, name="phone", confirmed=True)
    totp = TOTP(device.bin_key, device.step, device.t0, device.digits)
    totp.time = time.time()
    code = f"{totp.token():06d}"
    bare = {name: value for name, value in body.items() if name != "password"}
    before = counted()

    by_password = client.post("/withdrawals", body)
    wrong = client.post("/withdrawals", {**bare, "otp": "000000" if code != "000000" else "111111"})
    assert (by_password.error, by_password.data["method"]) == ("CONFIRMATION_REQUIRED", "otp")
    assert wrong.error == "CONFIRMATION_WRONG"
    assert counted() == before

    TOTPDevice.objects.update(throttling_failure_count=0, throttling_failure_timestamp=None)
    assert client.post("/withdrawals", {**bare, "otp": code}).status == 201
    assert client.post("/withdrawals", {**bare, "otp": code}).error == "CONFIRMATION_WRONG"


def test_wrong_passwords_are_limited(client, body, counted) -> None:
    before = counted()
    for _ in range(5):
        assert client.post("/withdrawals", {**body, "password": "wrong"}).status == 403

    assert client.post("/withdrawals", body).error == "TOO_MANY_REQUESTS"
    assert counted() == before


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/withdrawals"),
        ("POST", "/withdrawals"),
        ("GET", "/withdrawals/options"),
        ("GET", "/withdrawals/1"),
        ("DELETE", "/withdrawals/1"),
        ("GET", "/addresses"),
        ("POST", "/addresses"),
        ("DELETE", "/addresses/1"),
    ],
)
def test_nobody_who_is_not_signed_in_gets_an_answer(api, desk, method, path) -> None:
    assert api.send(method, path, {} if method == "POST" else None).status == 401


def test_another_customers_withdrawals_and_addresses_do_not_exist(
    api, customer, client, desk, alice, body, counted
) -> None:
    number = client.post("/withdrawals", body).data["withdrawal_id"]
    mallory = api.as_user(customer("mallory", USDT=1000).user)
    staff = api.as_user(desk.accountant)
    before = counted()

    for other in (mallory, staff):
        assert other.get("/withdrawals").data["items"] == []
        assert other.get(f"/withdrawals/{number}").error == "WITHDRAWAL_NOT_FOUND"
        assert other.delete(f"/withdrawals/{number}").error == "WITHDRAWAL_NOT_FOUND"
        assert other.delete(f"/addresses/{body['address_id']}").error == "ADDRESS_NOT_FOUND"
        assert other.post("/withdrawals", body).error == "ADDRESS_NOT_FOUND"

    assert counted() == before
    assert client.get(f"/withdrawals/{2**60}").error == "WITHDRAWAL_NOT_FOUND"


def test_an_approved_withdrawal_is_not_cancelled(client, desk, alice) -> None:
    made = desk.to_approved(alice, 100)

    refused = client.delete(f"/withdrawals/{made.pk}")

    assert (refused.status, refused.error, refused.data["state"]) == (409, "WITHDRAWAL_MOVED_ON", "APPROVED")
    assert decisions.find(made.pk).version == made.version


def test_options_tell_fees_limits_and_how_to_confirm(client, body) -> None:
    client.post("/withdrawals", body)

    answer = client.get("/withdrawals/options").data

    assert answer["confirm_with"] == "password"
    [route] = answer["routes"]
    assert {name: route[name] for name in ("asset", "fee", "minimum", "available", "open", "limit_day", "left")} == {
        "asset": "USDT",
        "fee": "1",
        "minimum": "10",
        "available": "900",
        "open": True,
        "limit_day": "1000",
        "left": "900",
    }
    stops.stop("USDT", reason="a break", by=None, now=utc_now())
    assert client.get("/withdrawals/options").data["routes"][0]["open"] is False
    assert client.post("/withdrawals", body).code == 4100


def test_an_address_is_saved_listed_waits_and_is_removed(client, counted) -> None:
    saved = client.post("/addresses", SAVE)

    assert (saved.status, saved.data["address"], saved.data["label"]) == (201, TRON, "my wallet")
    number = saved.data["address_id"]
    row = WithdrawalAddress.objects.get(pk=number)
    assert (row.usable_from - row.created_at).total_seconds() == 24 * 3600
    assert client.get("/addresses?asset=USDT").data == [saved.data]
    assert client.get("/addresses?asset=BTC").data == []

    before = counted()
    early = client.post("/withdrawals", {"address_id": number, "amount": "100", **PASSWORD})
    assert (early.status, early.code) == (409, 4128)
    assert client.post("/addresses", SAVE).error == "ADDRESS_KNOWN"
    assert counted() == before

    assert client.delete(f"/addresses/{number}").status == 200
    assert client.delete(f"/addresses/{number}").status == 404
    assert client.get("/addresses").data == []
    assert client.post("/withdrawals", {"address_id": number, "amount": "100", **PASSWORD}).status == 404


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"address": TRON[:-1] + "u"}, 422, "ADDRESS_INVALID"),
        ({"address": ""}, 400, "INVALID_FIELDS"),
        ({"address": "x" * 129}, 400, "INVALID_FIELDS"),
        ({"network": "BITCOIN"}, 422, "ROUTE_CLOSED"),
        ({"network": "tron"}, 400, "INVALID_FIELDS"),
        ({"asset": "NOSUCH"}, 422, "ROUTE_CLOSED"),
        ({"label": ""}, 400, "INVALID_FIELDS"),
        ({"label": "x" * 51}, 400, "INVALID_FIELDS"),
        ({"memo": "備註"}, 422, "ADDRESS_INVALID"),
        ({"password": "wrong"}, 403, "CONFIRMATION_WRONG"),
        ({"surprise": 1}, 400, "INVALID_FIELDS"),
    ],
)
def test_a_bad_address_changes_nothing(client, counted, change, status, error) -> None:
    before = counted()

    answer = client.post("/addresses", {**SAVE, **change})

    assert (answer.status, answer.error) == (status, error)
    assert counted() == before


def test_the_book_has_an_end(client, alice, desk, monkeypatch) -> None:
    monkeypatch.setattr("ledger.transfers.addresses.ADDRESSES_MAX", 1)
    desk.address(alice, OTHER_TRON)

    assert client.post("/addresses", SAVE).error == "TOO_MANY_ADDRESSES"


def test_pages_follow_one_another(client, desk, alice, body) -> None:
    ids = [client.post("/withdrawals", {**body, "amount": "10"}).data["withdrawal_id"] for _ in range(3)]

    first = client.get("/withdrawals?limit=2").data
    second = client.get(f"/withdrawals?limit=2&cursor={first['next_cursor']}").data

    assert [row["withdrawal_id"] for row in first["items"] + second["items"]] == ids[::-1]
    assert second["next_cursor"] is None
    assert client.get("/withdrawals?cursor=nonsense").error == "INVALID_CURSOR"
    assert client.get("/withdrawals?status=nosuch").error == "INVALID_FIELDS"
    assert Decimal(10) == Withdrawal.objects.first().amount  # type: ignore[union-attr]
