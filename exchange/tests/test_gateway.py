"""The API's way in over HTTP: answers as Django's handler gives them, and only so many calls at once."""

import asyncio
import json
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from exchange import gateway
from exchange.gateway import ApiApplication, Lane
from exchange.observability import metrics

CHANGING = {"X-Trace-Id", "RateLimit"}
PLACE = b'{"symbol": "BTCUSDT"}'


class Held(ApiApplication):
    """Answers only when it is told to; says how many it has begun."""

    def __init__(self, lane: Lane, reducing: Lane) -> None:
        super().__init__(lane, reducing)
        self.may_answer = threading.Event()

    def _answer(self, scope: Any, body: bytes) -> HttpResponse:
        self.may_answer.wait(60)
        return HttpResponse(b"done")


def scope(method: str = "GET", path: str = "/api/v1/errors", **headers: str) -> dict[str, Any]:
    """Return what a server says of a request."""
    named = {"host": "testserver", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
        "client": ("10.99.0.1", 5),
        "server": ("testserver", 80),
    }


async def ask(application: Any, scope: dict[str, Any], *pieces: bytes | None) -> Sequence[dict[str, Any]]:
    """Send a request, its body in pieces; return what was sent back."""
    left: list[bytes | None] = list(pieces or (b"",))
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if left[0] is None:
            return {"type": "http.disconnect"}
        piece = left.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(left)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await application(scope, receive, send)
    return sent


def headers_of(start: dict[str, Any]) -> dict[str, str]:
    """Return an answer's headers."""
    return {name.decode(): value.decode() for name, value in start["headers"]}


def test_a_call_is_answered_as_by_djangos_own_handler() -> None:
    start, end = asyncio.run(ask(ApiApplication(), scope()))

    expected = Client(REMOTE_ADDR="10.99.0.1").get("/api/v1/errors")
    found = headers_of(start)
    assert (start["status"], end["body"]) == (expected.status_code, expected.content)
    assert {**found, **dict.fromkeys(CHANGING, "")} == {**expected.headers, **dict.fromkeys(CHANGING, "")}
    assert set(found) >= CHANGING


def test_no_call_inherits_the_language_of_the_one_before_it() -> None:
    application = ApiApplication(Lane(1, 1, 1000))

    _, chinese = asyncio.run(ask(application, scope(path="/api/v1/nowhere", accept_language="zh-hant")))
    _, english = asyncio.run(ask(application, scope(path="/api/v1/nowhere")))

    assert json.loads(english["body"])["message"] == "There is nothing here."
    assert json.loads(chinese["body"])["message"] != "There is nothing here."


def test_a_body_that_is_too_long_is_refused_and_not_kept() -> None:
    piece = b"x" * 600_000

    start, end = asyncio.run(ask(ApiApplication(), scope("POST", content_length="1200000"), piece, piece))

    assert (start["status"], json.loads(end["body"])["data"]["error"]) == (413, "BODY_TOO_LARGE")


def test_an_address_that_is_no_text_is_a_refusal() -> None:
    start, end = asyncio.run(ask(ApiApplication(), {**scope(), "query_string": b"\xff"}))

    assert (start["status"], json.loads(end["body"])["data"]["error"]) == (400, "BAD_REQUEST")


def test_of_a_body_no_more_is_kept_than_tells_that_it_is_too_long(settings) -> None:
    settings.REQUEST_BODY_BYTES_MAX = 5
    pieces = [b"abc", b"defgh", b"ijk"]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    assert asyncio.run(gateway._read(receive)) == b"abcdef"


def test_a_caller_who_leaves_before_the_body_has_come_is_not_answered() -> None:
    assert asyncio.run(ask(ApiApplication(), scope("POST"), None)) == []


@pytest.mark.parametrize(
    ("method", "body"), [("DELETE", b""), ("POST", b'{"reduce_only": true}'), ("POST", b'{"close_position": true}')]
)
def test_who_finds_no_place_is_told_when_to_come_again_and_what_reduces_risk_has_places_of_its_own(
    method, body
) -> None:
    async def run() -> list[Any]:
        application = Held(Lane(1, 1, 1000), Lane(1, 0, 1000))
        waiting = [asyncio.create_task(ask(application, scope("POST"), PLACE)) for _ in range(2)]
        await asyncio.sleep(0)
        refused = await ask(application, scope("POST", accept_language="zh-hant", x_trace_id="a" * 16), PLACE)
        waiting.append(asyncio.create_task(ask(application, scope(method), body)))
        await asyncio.sleep(0)
        refused_too = await ask(application, scope(method), body)
        application.may_answer.set()
        done = await asyncio.gather(*waiting)
        again = await ask(application, scope("POST"), PLACE)
        return [refused, refused_too, *done, again]

    before = metrics.CALLS_HELD_OFF._value.get()
    refused, refused_too, *done = asyncio.run(run())

    assert [sent[0]["status"] for sent in done] == [200, 200, 200, 200]
    assert [refused[0]["status"], refused_too[0]["status"]] == [429, 429]
    told = headers_of(refused[0])
    assert {name: told[name] for name in ("Retry-After", "X-Trace-Id", "Cache-Control")} == {
        "Retry-After": "1",
        "X-Trace-Id": "a" * 16,
        "Cache-Control": "no-store",
    }
    found = json.loads(refused[1]["body"])
    assert (found["code"], found["data"]) == (1014, {"error": "SERVER_BUSY", "retry_after": 1})
    assert found["message"] != json.loads(refused_too[1]["body"])["message"]  # in the caller's language
    assert metrics.CALLS_HELD_OFF._value.get() - before == 2


def test_bytes_that_wait_are_limited_too_and_one_call_is_always_taken() -> None:
    large, small = b"x" * 90, b"x" * 10

    async def run() -> list[Any]:
        application = Held(Lane(4, 4, 80), Lane(1, 0, 80))
        taken = asyncio.create_task(ask(application, scope("POST"), large))
        await asyncio.sleep(0)
        refused = await ask(application, scope("POST"), small)
        application.may_answer.set()
        done = await taken
        return [refused[0]["status"], done[0]["status"], (await ask(application, scope("POST"), small))[0]["status"]]

    assert asyncio.run(run()) == [429, 200, 200]
