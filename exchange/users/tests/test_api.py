"""Sign-up, sign-in, refresh, sign-out, by REST."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from exchange.api.tests.fixtures import Api
from exchange.users.models import User
from ledger.models import Gate

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"


def _register(api: Api, **changes: Any) -> Any:
    return api.post("/auth/register", {"username": "alice", "password": PASSWORD, **changes})


def test_sign_up_makes_a_user_who_can_trade_and_is_signed_in(api: Api) -> None:
    answer = _register(api, email="alice@example.com")

    user = User.objects.get()
    assert answer.status == 201
    assert answer.data["user_id"] == user.pk
    assert answer.data["username"] == user.username == "alice"
    assert answer.data["access_expires_in"] == 900
    assert Gate.objects.filter(owner_id=user.pk).exists()
    me = api.get("/users/me", authorization=f"Bearer {answer.data['access']}")
    assert (me.status, me.data["username"], me.data["email"]) == (200, "alice", "alice@example.com")


def test_passwords_are_not_kept(api: Api) -> None:
    _register(api)

    assert PASSWORD not in User.objects.get().password


def test_a_name_is_taken_whatever_its_case(api: Api) -> None:
    _register(api)

    answer = _register(api, username="ALICE")

    assert (answer.status, answer.code, answer.error) == (409, 2006, "USERNAME_TAKEN")
    assert User.objects.count() == 1


@pytest.mark.parametrize("password", ["short", "password1234", "12345678901234", "alice567"])
def test_an_easy_password_is_refused_with_reasons(api: Api, password: str) -> None:
    answer = _register(api, password=password)

    assert (answer.status, answer.code, answer.error) == (422, 2007, "PASSWORD_REFUSED")
    assert answer.data["fields"]["password"]
    assert not User.objects.exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("username", ""),
        ("username", "ab"),
        ("username", "1abc"),
        ("username", "a" * 31),
        ("username", "al ice"),
        ("username", "аlice"),  # noqa: RUF001 -- a Cyrillic letter that looks like ours
        ("username", 7),
        ("username", None),
        ("password", 12345678),
        ("password", "x" * 129),
        ("email", "nowhere"),
        ("email", ["a@example.com"]),
        ("is_staff", True),
        ("id", 1),
    ],
)
def test_a_faulty_field_is_named_and_no_user_is_made(api: Api, field: str, value: Any) -> None:
    answer = _register(api, **{field: value})

    assert (answer.status, answer.code) == (400, 1004)
    assert list(answer.data["fields"]) == [field]
    assert not User.objects.exists()


def test_sign_ups_are_limited_by_address(api: Api, settings: Any) -> None:
    settings.REGISTRATIONS_PER_MINUTE_AND_IP = 1
    _register(api)

    answer = _register(api, username="bob")

    assert (answer.status, answer.code) == (429, 1007)
    assert answer.headers["Retry-After"]
    assert User.objects.count() == 1


def test_a_user_signs_in_with_name_and_password_in_any_case_of_the_name(api: Api) -> None:
    _register(api)

    answer = api.post("/auth/token", {"username": "Alice", "password": PASSWORD})

    assert answer.status == 200
    assert api.get("/users/me", authorization=f"Bearer {answer.data['access']}").data["username"] == "alice"


@pytest.mark.parametrize("credentials", [("alice", "wrong"), ("nobody", PASSWORD)])
def test_a_wrong_name_and_a_wrong_password_are_answered_alike(api: Api, credentials: tuple[str, str]) -> None:
    _register(api)

    answer = api.post("/auth/token", {"username": credentials[0], "password": credentials[1]})

    assert (answer.status, answer.code, answer.error) == (401, 2004, "WRONG_CREDENTIALS")
    assert answer.data == {"error": "WRONG_CREDENTIALS"}


def test_a_user_who_is_switched_off_can_neither_sign_in_nor_go_on(api: Api) -> None:
    tokens = _register(api).data
    User.objects.update(is_active=False)

    assert api.post("/auth/token", {"username": "alice", "password": PASSWORD}).code == 2004
    assert api.get("/users/me", authorization=f"Bearer {tokens['access']}").code == 2003
    assert api.post("/auth/token/refresh", {"refresh": tokens["refresh"]}).code == 2003


def test_failures_to_sign_in_are_limited_and_successes_are_not_counted(api: Api, settings: Any) -> None:
    settings.LOGINS_FAILED_PER_MINUTE_AND_IP = 2
    _register(api)
    good, bad = {"username": "alice", "password": PASSWORD}, {"username": "alice", "password": "wrong"}

    codes = [api.post("/auth/token", body).code for body in (good, good, good, bad, bad, bad, good)]

    assert codes == [0, 0, 0, 2004, 2004, 1007, 1007]


def test_failures_against_one_name_are_limited_over_all_addresses(api: Api, settings: Any) -> None:
    settings.LOGINS_FAILED_PER_QUARTER_HOUR_AND_USER = 2
    name = "mallory-is-after-me"
    bad = {"username": name, "password": "wrong"}

    assert [Api().post("/auth/token", bad).code for _ in range(3)] == [2004, 2004, 1007]
    assert Api().post("/auth/token", {**bad, "username": name.upper()}).code == 1007


def test_the_admins_sign_in_has_the_same_limits(api: Api, settings: Any) -> None:
    settings.LOGINS_FAILED_PER_MINUTE_AND_IP = 2
    User.objects.create_superuser("root", password=PASSWORD)

    def sign_in(password: str) -> int:
        form = {"username": "root", "password": password, "next": "/admin/"}
        return Client().post("/admin/login/", form, REMOTE_ADDR=api.address).status_code

    assert [sign_in(word) for word in (PASSWORD, PASSWORD, PASSWORD, "wrong", "wrong", "wrong", PASSWORD)] == [
        *[302] * 3,
        *[200] * 2,
        *[429] * 2,
    ]


def test_an_answer_of_the_api_stays_in_no_cache(api: Api) -> None:
    assert _register(api).headers["Cache-Control"] == "no-store"
    assert api.get("/no-such-call").headers["Cache-Control"] == "no-store"


def test_an_expired_token_has_a_code_of_its_own(api: Api) -> None:
    _register(api)
    token = AccessToken.for_user(User.objects.get())
    token.set_exp(lifetime=-timedelta(seconds=1))

    answer = api.get("/users/me", authorization=f"Bearer {token}")

    assert (answer.status, answer.code, answer.error) == (401, 2002, "TOKEN_EXPIRED")


@pytest.mark.parametrize("header", ["Bearer x", "Bearer a.b.c", "Bearer a b", "Bearer é", "Bearer"])
def test_a_broken_token_is_refused(api: Api, header: str) -> None:
    answer = api.get("/users/me", authorization=header)

    assert (answer.status, answer.code, answer.error) == (401, 2003, "TOKEN_INVALID")


def test_a_refresh_token_is_no_access_token_and_the_other_way_round(api: Api) -> None:
    tokens = _register(api).data

    assert api.get("/users/me", authorization=f"Bearer {tokens['refresh']}").code == 2003
    assert api.post("/auth/token/refresh", {"refresh": tokens["access"]}).code == 2003


def test_a_token_signed_by_somebody_else_is_refused(api: Api) -> None:
    import jwt

    _register(api)
    payload = AccessToken.for_user(User.objects.get()).payload
    forged = jwt.encode(payload, "another key, long enough for the algorithm", algorithm="HS256")
    unsigned = jwt.encode(payload, "", algorithm="none")

    assert api.get("/users/me", authorization=f"Bearer {forged}").code == 2003
    assert api.get("/users/me", authorization=f"Bearer {unsigned}").code == 2003


def test_a_refresh_token_works_once(api: Api) -> None:
    first = _register(api).data["refresh"]

    second = api.post("/auth/token/refresh", {"refresh": first})

    assert second.status == 200
    assert second.data["refresh"] != first
    again = api.post("/auth/token/refresh", {"refresh": first})
    assert (again.status, again.code) == (401, 2003)
    assert api.post("/auth/token/refresh", {"refresh": second.data["refresh"]}).status == 200


def test_a_refresh_token_expires(api: Api) -> None:
    _register(api)
    token = RefreshToken.for_user(User.objects.get())
    token.set_exp(lifetime=-timedelta(seconds=1))

    assert api.post("/auth/token/refresh", {"refresh": str(token)}).code == 2002


def test_sign_out_takes_back_the_refresh_token(api: Api) -> None:
    refresh = _register(api).data["refresh"]

    answer = api.post("/auth/logout", {"refresh": refresh})

    assert (answer.status, answer.code, answer.data) == (200, 0, None)
    assert api.post("/auth/token/refresh", {"refresh": refresh}).code == 2003


def test_a_new_password_ends_every_token(api: Api) -> None:
    tokens = _register(api).data
    user = User.objects.get()
    user.set_password("another horse battery")
    user.save()

    assert api.get("/users/me", authorization=f"Bearer {tokens['access']}").code == 2003
    assert api.post("/auth/token/refresh", {"refresh": tokens["refresh"]}).code == 2003


def test_a_session_reads_freely_and_writes_only_with_the_csrf_token(api: Api) -> None:
    _register(api)
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.get())
    assert Session.objects.count() == 1

    read = client.get("/api/v1/users/me")
    refused = client.post("/api/v1/faucet", b"{}", content_type="application/json")

    assert (read.status_code, read.json()["data"]["username"]) == (200, "alice")
    assert (refused.status_code, json.loads(refused.content)["code"]) == (403, 2005)
    assert refused.json()["data"] == {"error": "CSRF_FAILED"}
