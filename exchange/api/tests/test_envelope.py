import io
import json

import psycopg
import pytest
from django.db import InternalError, OperationalError
from django.http import Http404
from django.test import Client, RequestFactory

from exchange.api import errors
from exchange.api.envelope import as_refusal, internal_error
from exchange.api.middleware import ApiGuard
from exchange.api.requests import StrictJsonParser
from exchange.api.schema import error_rows
from exchange.api.tests.fixtures import Api
from exchange.kernel.errors import error_table


def test_an_unknown_address_is_enveloped_whatever_the_method(api: Api) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        answer = api.send(method, "/no-such-call")

        assert (answer.status, answer.code, answer.error) == (404, 1005, "NOT_FOUND")


def test_an_unknown_address_in_debug_is_enveloped_too(api: Api, settings) -> None:
    settings.DEBUG = True

    assert api.get("/no-such-call").code == 1005


def test_a_method_that_an_address_does_not_know_is_named(api: Api) -> None:
    answer = api.send("PATCH", "/errors")

    assert (answer.status, answer.code, answer.error) == (405, 1006, "METHOD_NOT_ALLOWED")
    assert answer.body["message"] == "This address does not answer PATCH."


def test_a_body_of_ten_megabytes_is_refused_by_its_declared_length(api: Api) -> None:
    answer = api.send("POST", "/auth/token", raw=b'{"a":"' + b"x" * 10_000_000 + b'"}')

    assert (answer.status, answer.code, answer.error) == (413, 1002, "BODY_TOO_LARGE")


def test_a_body_that_hides_its_length_is_refused(api: Api) -> None:
    answer = api.send("POST", "/auth/token", headers={"transfer-encoding": "chunked"})

    assert (answer.status, answer.code, answer.error) == (411, 1013, "LENGTH_REQUIRED")


def test_a_body_longer_than_its_declared_length_is_refused_while_it_is_read(settings) -> None:
    settings.REQUEST_BODY_BYTES_MAX = 10

    with pytest.raises(errors.BodyTooLargeError):
        StrictJsonParser().parse(io.BytesIO(b'{"abcdefg":1}'))


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_another_content_type_than_json_is_refused(api: Api, content_type: str) -> None:
    answer = api.send("POST", "/auth/token", raw=b'{"a": 1}', content_type=content_type)

    assert (answer.status, answer.code, answer.error) == (415, 1003, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize("raw", [b"{", b'{"username":"a","username":"b"}', b'{"username":NaN}', b"\xff"])
def test_malformed_json_is_refused_with_the_reason(api: Api, raw: bytes) -> None:
    answer = api.send("POST", "/auth/token", raw=raw)

    assert (answer.status, answer.code, answer.error) == (400, 1001, "MALFORMED_JSON")
    assert answer.data["reason"] in answer.body["message"]


@pytest.mark.parametrize("raw", [b"[]", b"1", b'"text"', b"null", b"true"])
def test_json_that_is_no_object_is_refused(api: Api, raw: bytes) -> None:
    answer = api.send("POST", "/auth/token", raw=raw)

    assert (answer.status, answer.code) == (400, 1004)


def test_missing_unknown_and_wrong_fields_are_all_named_at_once(api: Api) -> None:
    answer = api.post("/auth/token", {"username": 5, "pasword": "x"})

    assert (answer.status, answer.code, answer.error) == (400, 1004, "INVALID_FIELDS")
    assert answer.data["fields"] == {
        "username": ["Not a valid string."],
        "password": ["This field is required."],
        "pasword": ["Unknown field."],
    }


@pytest.mark.parametrize("language", ["zh-TW", "zh-Hant", "zh-HK", "zh-hant-tw", "zh-TW,zh;q=0.9,en;q=0.5"])
def test_browsers_in_taiwan_are_answered_in_traditional_chinese(api: Api, language: str) -> None:
    assert api.get("/no-such-call", accept_language=language).headers["Content-Language"] == "zh-hant"


def test_others_are_answered_in_english(api: Api) -> None:
    assert api.get("/no-such-call", accept_language="fr").headers["Content-Language"] == "en"


def test_a_call_without_sign_in_is_refused_as_such(api: Api) -> None:
    answer = api.get("/users/me")

    assert (answer.status, answer.code, answer.error) == (401, 2001, "NOT_AUTHENTICATED")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_fault_of_ours_tells_nothing_of_its_inside(settings) -> None:
    request = RequestFactory().get("/api/v1/orders")

    response = internal_error(request, ValueError("a secret of ours"))

    assert response.status_code == 500
    assert json.loads(response.content)["code"] == 9000
    assert b"secret" not in response.content


def test_a_database_that_is_away_is_no_fault_of_ours_but_a_busy_exchange() -> None:
    request = RequestFactory().get("/api/v1/orders")

    response = ApiGuard(lambda _: None).process_exception(request, OperationalError("gone"))  # type: ignore[arg-type, return-value]

    assert response is not None
    assert (response.status_code, response["Retry-After"]) == (503, "1")
    assert json.loads(response.content)["data"] == {"error": "UNAVAILABLE"}


@pytest.mark.parametrize(("state", "refusal"), [("25P04", errors.UnavailableError()), ("XX000", None)])
def test_a_transaction_that_took_too_long_is_undone_and_may_be_tried_again(
    state: str, refusal: errors.UnavailableError | None
) -> None:
    cause = psycopg.InternalError("ended by the server")
    cause.sqlstate = state
    raised = InternalError("ended by the server")
    raised.__cause__ = cause

    assert as_refusal(raised) == refusal


def test_pages_outside_the_api_keep_djangos_own_answers() -> None:
    response = Client().get("/no-such-page")

    assert response.status_code == 404
    assert response["Content-Type"].startswith("text/html")


def test_what_django_raises_has_a_refusal() -> None:
    assert as_refusal(Http404()) == errors.NotFoundError()
    assert as_refusal(ZeroDivisionError()) is None


def test_codes_and_names_of_refusals_are_unique_and_well_formed() -> None:
    table = [cls for cls in error_table() if cls.__module__.partition(".")[0] != "tests"]

    assert len({cls.code for cls in table}) == len(table)
    assert len({cls.name for cls in table}) == len(table)
    assert all(cls.name == cls.name.upper() and 400 <= cls.status < 600 for cls in table)


def test_the_error_table_is_published(api: Api) -> None:
    answer = api.get("/errors")

    assert answer.status == 200
    assert answer.body["message"] == "success"
    assert answer.data == error_rows()
    assert {
        "code": 1007,
        "error": "TOO_MANY_REQUESTS",
        "status": 429,
        "message": "Too many requests; try again in {retry_after} seconds.",
        "meaning": "The caller asks faster than the limit; `retry_after` is in seconds.",
    } in answer.data
