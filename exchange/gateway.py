"""Serves the API's calls over HTTP: each in one of a few threads that stay, and no more at once than they can do soon.

Note [One thread a call]
    Django's own ASGI handler makes a thread for each request, and with it a new connection object; its middleware runs
    there, the view in a second thread, and each step between them goes by way of the event loop. For a call whose whole
    chain is synchronous that is most of its time under load, measured. Here a call crosses over once and comes back
    once. What streams, and pages, are Django's handler's: see `exchange.asgi`.

Note [The door of the process]
    Calls that wait take memory and make everybody late, so only so many may wait, and so many bytes of them: a batch of
    orders takes as long as its orders one by one. Who comes then is told at once, by the event loop, to come again: 429
    with Retry-After. That costs a fraction of what a call costs. What makes risk smaller has threads and places of its
    own: cancels, and orders that say that they only reduce or close. Which they are is guessed here from method and
    words, and decided by admission.
"""

import asyncio
import contextvars
import functools
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

from django.conf import settings
from django.core import signals
from django.core.handlers.asgi import ASGIRequest, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix
from django.utils import translation

from exchange.api import errors
from exchange.api.envelope import refusal_outside_views
from exchange.kernel.errors import InvariantViolationError
from exchange.observability import metrics
from exchange.observability.middleware import TRACE_HEADER
from exchange.observability.tracing import traced

THREADS, WAITING_MAX, BYTES_MAX = 32, 96, 128 * 1024
"""Calls of a process at work at once, those that may wait for a thread, and the bytes of both. Calls that place orders
wait for each other: Note [One writer] in `trading.services.gathering`."""
REDUCING_THREADS, REDUCING_WAITING_MAX = 8, 56
"""The same for what makes risk smaller."""
REDUCING_WORDS = (b'"reduce_only"', b'"close_position"')
RETRY_AFTER_S = 1

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Lane:
    """Some threads, and the calls that have a place there; used by the event loop only.

    A single call is taken whatever its size.
    """

    def __init__(self, threads: int, waiting_max: int, bytes_max: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="api")
        self._calls, self._calls_max = 0, threads + waiting_max
        self._bytes, self._bytes_max = 0, bytes_max

    def has_place(self, size: int) -> bool:
        """Tell whether a call with a body of so many bytes may wait."""
        return not self._calls or (self._calls < self._calls_max and self._bytes + size <= self._bytes_max)

    async def run(self, work: Callable[[], HttpResponse], size: int) -> HttpResponse:
        """Do a call in one of the threads."""
        self._calls += 1
        self._bytes += size
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._calls -= 1
            self._bytes -= size


class ApiApplication(BaseHandler):
    """The ASGI application of everything under /api/."""

    def __init__(self, lane: Lane | None = None, reducing: Lane | None = None) -> None:
        super().__init__()
        self.load_middleware()
        self._lane = lane or Lane(THREADS, WAITING_MAX, BYTES_MAX)
        self._reducing = reducing or Lane(REDUCING_THREADS, REDUCING_WAITING_MAX, BYTES_MAX)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        body = await _read(receive)
        if body is None:
            return
        lane = self._reducing if _reduces_risk(scope, body) else self._lane
        if not lane.has_place(len(body)):
            await _send(_busy(scope), send)
            return
        work = functools.partial(contextvars.Context().run, self._answer, scope, body)
        await _send(await lane.run(work, len(body)), send)

    def _answer(self, scope: Scope, body: bytes) -> HttpResponse:
        """Do what Django's handlers do around a request, in this thread.

        Raises:
            InvariantViolationError: A call streams its answer: none of the API does.
        """
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=type(self), scope=scope)
        try:
            request = ASGIRequest(scope, BytesIO(body))
        except UnicodeDecodeError:  # in its address
            response: HttpResponseBase = refusal_outside_views(errors.BadRequestError())
        else:
            response = self.get_response(request)
        if not isinstance(response, HttpResponse):
            raise InvariantViolationError("a call of the API streams its answer")
        response.close()  # sends request_finished, which gives the database connection back
        return response


async def _read(receive: Receive) -> bytes | None:
    """Return a call's body, or one byte more than is allowed of it; None when the caller has gone."""
    pieces: list[bytes] = []
    size, most = 0, settings.REQUEST_BODY_BYTES_MAX + 1
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        piece = message.get("body", b"")[: most - size]
        if piece:
            pieces.append(piece)
            size += len(piece)
        if not message.get("more_body", False):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _reduces_risk(scope: Scope, body: bytes) -> bool:
    """Guess whether a call takes orders off, or only reduces positions."""
    return scope["method"] == "DELETE" or any(word in body for word in REDUCING_WORDS)


def _busy(scope: Scope) -> HttpResponse:
    """Return the refusal of a call that finds no place: Note [The door of the process]."""
    metrics.CALLS_HELD_OFF.inc()
    request = ASGIRequest({**scope, "query_string": b""}, BytesIO())
    given = request.headers.get(TRACE_HEADER)
    with traced(given) as trace, translation.override(translation.get_language_from_request(request)):
        response = refusal_outside_views(errors.ServerBusyError(retry_after=RETRY_AFTER_S))
    response[TRACE_HEADER] = trace
    response["Cache-Control"] = "no-store"
    response["Content-Length"] = str(len(response.content))
    return response


async def _send(response: HttpResponse, send: Send) -> None:
    """Send an answer."""
    headers = [(name.encode("ascii"), value.encode("latin1")) for name, value in response.items()]
    headers += [(b"Set-Cookie", cookie.OutputString().encode("ascii")) for cookie in response.cookies.values()]
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})
