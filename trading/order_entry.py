"""WebSocket order entry: each action is the REST call that it names, over a connection that is open already.

Note [One door]
    A message becomes the request that the same client would have sent by HTTP, and goes through the same guard, limits,
    sign-in, view, serializers and writer; the answer is the REST answer with the message's `id`. So nothing can be
    allowed here that is refused there, both count against the same limits, and a retry by `client_order_id` finds its
    order whichever way it went in. Who asks is found out again for each message, from the token or the session.

    Left out are the parts of HTTP that a connection has settled when it opened: TLS, host, cookies, the language. A
    page's session needs no CSRF token here: the handshake's Origin was checked, see `exchange.asgi`.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple
from urllib.parse import urlencode

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.db import close_old_connections
from django.http import HttpResponse
from django.urls import resolve
from django.utils import translation

from exchange.api import wire
from exchange.api.envelope import as_refusal, internal_error, refusal_outside_views
from exchange.api.errors import NotAuthenticatedError
from exchange.api.middleware import ApiGuard
from exchange.api.requests import IntegerField, ReadRequest, StrictSerializer
from exchange.kernel.errors import DomainError, gettext_noop
from exchange.observability.middleware import TRACE_HEADER, RequestLog
from trading.serializers import SymbolQuery

IN_FLIGHT_MAX = 32
"""Messages of one connection that wait for their answers."""
MESSAGES_PER_SECOND_MAX = 200
"""Of one connection, whatever becomes of them: above what REST's limits let through, so that those are what is met."""
THREADS = 32
"""Messages of a process at work at once; more wait their turn. The one writer gathers what these bring."""
KEPT_HEADERS = (b"host", b"user-agent", b"x-forwarded-for", b"x-forwarded-proto")
"""Of the handshake: what tells who calls from where."""
ORDERS = "/api/v1/orders"
ENVELOPE = ("action", "id")

_THREADS = ThreadPoolExecutor(THREADS, thread_name_prefix="order-entry")


class TooManyInFlightError(DomainError):
    """The connection has as many messages without an answer as it may; `retry_after` is in seconds."""

    code = 3060
    name = "TOO_MANY_IN_FLIGHT"
    status = 429
    message = gettext_noop("At most %(maximum)s messages of a connection may wait for their answers.")


REASON_ID = gettext_noop("order messages need an id, an integer or a string")


class Call(NamedTuple):
    """The REST call that an action stands for."""

    method: str
    path: str = ORDERS
    is_of_order: bool = False


CALLS = {
    "place": Call("POST"),
    "place_batch": Call("POST", f"{ORDERS}/batch"),
    "cancel": Call("DELETE", is_of_order=True),
    "amend": Call("PUT", is_of_order=True),
    "cancel_all": Call("DELETE"),
}


class OrderAddress(StrictSerializer):
    """Which order a message is about."""

    order_id = IntegerField(min_value=0)


@dataclass(frozen=True)
class Caller:
    """Whose connection it is, and what it shows for that.

    Attributes:
        scope: Of the connection, with the headers of its handshake.
        token: An access token; without one the session counts.
    """

    scope: Mapping[str, Any]
    user_id: int
    token: str | None
    session_key: str | None
    language: str


class EntryRequest(ReadRequest):
    """A message as a request; what it says is passed on as it was read."""

    def __init__(self, caller: Caller, action: str, fields: dict[str, Any]) -> None:
        call = CALLS[action]
        is_query = call.method == "DELETE"
        headers = [(name, value) for name, value in caller.scope.get("headers", []) if name in KEPT_HEADERS]
        if caller.token is not None:
            headers.append((b"authorization", b"Bearer " + caller.token.encode()))
        scope = {
            "type": "http",
            "method": call.method,
            "path": call.path,
            "query_string": urlencode(fields).encode() if is_query else b"",
            "headers": headers,
            **{name: caller.scope[name] for name in ("client", "server") if caller.scope.get(name)},
        }
        super().__init__(scope, None if is_query else _body(call, fields))
        self.caller = caller
        self.call = call
        self.fields = fields

    def show_session(self) -> None:
        """Without a token, sign in by the page's session, as it stands now.

        Raises:
            NotAuthenticatedError: It has ended, or is another user's by now.
        """
        if self.caller.token is not None:
            return
        self.session = import_module(settings.SESSION_ENGINE).SessionStore(self.caller.session_key)
        self.user = get_user(self)
        self._dont_enforce_csrf_checks = True
        if self.user.pk != self.caller.user_id:
            raise NotAuthenticatedError


async def carry_out(caller: Caller, message: Mapping[str, Any]) -> str:
    """Do what an order message asks; return the answer's text. Refusals and faults are answers too."""
    return await sync_to_async(_in_thread, thread_sensitive=False, executor=_THREADS)(caller, message)


def refused(message: Mapping[str, Any], error: DomainError, language: str) -> str:
    """Return the answer to a message that never became a call."""
    with translation.override(language):
        return _result(message, refusal_outside_views(error))


def _in_thread(caller: Caller, message: Mapping[str, Any]) -> str:
    """Do it, and keep no connection to the database afterwards: the threads stay, and others need those."""
    try:
        return _carry_out(caller, message)
    finally:
        close_old_connections()


def _carry_out(caller: Caller, message: Mapping[str, Any]) -> str:
    """Do it in this thread."""
    fields = {name: value for name, value in message.items() if name not in ENVELOPE}
    with translation.override(caller.language):
        request = EntryRequest(caller, message["action"], fields)
        return _result(message, RequestLog(ApiGuard(lambda _: _enter(request)))(request))


def _enter(request: EntryRequest) -> HttpResponse:
    """Call the view, as Django's handler does behind its middleware."""
    try:
        request.show_session()
        request.path = request.path_info = _path(request.call, request.fields)
        request.resolver_match = match = resolve(request.path)
        response = match.func(request, *match.args, **match.kwargs)
        return response.render()  # type: ignore[no-any-return]
    except Exception as error:  # noqa: BLE001 -- whatever it is, it is answered and recorded
        found = as_refusal(error)
        return internal_error(request, error) if found is None else refusal_outside_views(found)


def _path(call: Call, fields: dict[str, Any]) -> str:
    """Return the address of a call, having checked what REST has in the address and not in the body.

    Raises:
        ValidationError: The order's id is missing or none, or a call without a body was given fields that it has not.
    """
    if call.is_of_order:
        given = fields if call.method == "DELETE" else {name: fields[name] for name in fields if name == "order_id"}
        form = OrderAddress(data=given)
        form.is_valid(raise_exception=True)
        return f"{call.path}/{form.validated_data['order_id']}"
    if call.method == "DELETE":
        SymbolQuery(data=fields).is_valid(raise_exception=True)
    return call.path


def _body(call: Call, fields: dict[str, Any]) -> dict[str, Any]:
    """Return what REST has in the body."""
    return {name: value for name, value in fields.items() if not (call.is_of_order and name == "order_id")}


def _result(message: Mapping[str, Any], response: HttpResponse) -> str:
    """Put the message's id, and what HTTP tells in status and headers, before the {code, message, data} of REST."""
    head = {"type": "result", "action": message["action"], "id": message["id"], "status": response.status_code}
    if TRACE_HEADER in response.headers:
        head["trace_id"] = response.headers[TRACE_HEADER]
    if "Retry-After" in response.headers:
        head["retry_after"] = int(response.headers["Retry-After"])
    return (wire.dumps(head)[:-1] + b"," + response.content[1:]).decode()
