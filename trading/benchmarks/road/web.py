"""The way in over HTTP: the real server, batches of 50 from several clients, then single orders at a steady rate."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Any, Final, NamedTuple

import httpx
from django.conf import settings
from django.contrib.auth import get_user_model
from rest_framework_simplejwt.tokens import AccessToken

from exchange.kernel.money import plain
from trading.benchmarks.road import http
from trading.benchmarks.road.flow import Flow
from trading.services.requests import PlaceOrder

ORDERS_A_REQUEST: Final = 50
CLIENTS: Final = 8
SINGLES_A_SECOND: Final = 50
BATCHES_A_SECOND_MAX: Final = 60
"""So many are drawn before a phase; should it need more, they are drawn while it runs."""
ORDERS: Final = "/api/v1/orders"
READY_SECONDS_MAX: Final = 60.0
HEADERS: Final = {"Host": "testserver", "X-Forwarded-Proto": "https"}
"""As the proxy in front of the server would send them: it speaks TLS, the server behind it does not."""


@dataclass
class Figures:
    """What came of requests.

    Attributes:
        milliseconds: Of each request, from when it was due until its answer.
        errors: By status, or by the code of an item that was refused.
    """

    seconds: float = 0.0
    accepted: int = 0
    milliseconds: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)


class Server(NamedTuple):
    """A web server that runs."""

    port: int
    pid: int

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def server(**environment: str) -> Iterator[Server]:
    """Run daphne as `up` does.

    Args:
        environment: Set for it besides.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(port), "-v", "0"]
    environment = {**os.environ, "EXCHANGE_DB_ROLE": "exchange_web", **environment}
    process = subprocess.Popen(  # noqa: S603 -- our own command
        [*command, "exchange.asgi:application"], cwd=settings.BASE_DIR, env=environment, stdout=subprocess.DEVNULL
    )
    try:
        found = Server(port, process.pid)
        _await(found.url, process)
        yield found
    finally:
        process.terminate()
        process.wait(READY_SECONDS_MAX)


def _await(url: str, process: "subprocess.Popen[bytes]") -> None:
    """Wait until the server answers.

    Raises:
        RuntimeError: It ended instead, or took too long.
    """
    deadline = time.monotonic() + READY_SECONDS_MAX
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/health/live", headers=HEADERS).is_success:
                return
        time.sleep(0.1)
    raise RuntimeError(f"the web server at {url} does not answer")


def tokens(owners: Sequence[int]) -> dict[int, dict[str, str]]:
    """Return the headers of signed-in users."""
    users = get_user_model().objects.filter(pk__in=owners)
    return {user.pk: {**HEADERS, "Authorization": f"Bearer {AccessToken.for_user(user)}"} for user in users}


def body(request: PlaceOrder) -> dict[str, Any]:
    """Return an order as a client writes it."""
    body = {"symbol": request.symbol, "side": request.side, "type": request.type}
    if request.quantity is not None:
        body["quantity"] = plain(request.quantity)
    if request.price is not None:
        body |= {"price": plain(request.price), "time_in_force": request.time_in_force}
    return body


def orders(flow: Flow, owner: int, headers: Mapping[str, str]) -> http.Request:
    """Return a batch of 50 new orders of an owner."""
    wanted = [body(flow.place(owner).request) for _ in range(ORDERS_A_REQUEST)]  # type: ignore[arg-type]
    return http.request("POST", f"{ORDERS}/batch", headers, {"orders": wanted}, items=ORDERS_A_REQUEST)


def order(flow: Flow, owner: int, headers: Mapping[str, str]) -> http.Request:
    """Return a new order of an owner."""
    return http.request("POST", ORDERS, headers, body(flow.place(owner).request))  # type: ignore[arg-type]


def note(found: Figures, answer: http.Answer | Exception) -> None:
    """Count what came of a batch of orders."""
    if isinstance(answer, Exception):
        found.errors[type(answer).__name__] += 1
    elif not answer.is_success:
        found.errors[f"status {answer.status}"] += 1
    else:
        codes = [result["code"] for result in answer.read()["data"]["results"]]
        found.accepted += codes.count(0)
        found.errors.update(f"code {code}" for code in codes if code)


async def batches(port: int, flow: Flow, signed: dict[int, dict[str, str]], seconds: float) -> Figures:
    """Let clients send batches of 50 one after the other; they stop together. Most batches are drawn before."""
    found, owners = Figures(), list(signed)
    drawn = (orders(flow, owners[number % len(owners)], signed[owners[number % len(owners)]]) for number in count())
    waiting = list(islice(drawn, int(seconds * BATCHES_A_SECOND_MAX)))
    connections = http.Connections(port)
    started = time.monotonic()

    async def one() -> None:
        while time.monotonic() < started + seconds:
            wanted = waiting.pop() if waiting else next(drawn)
            sent = time.monotonic()
            answer = await connections.send(wanted)
            found.milliseconds.append((time.monotonic() - sent) * 1e3)
            note(found, answer)

    await asyncio.gather(*(one() for _ in range(CLIENTS)))
    found.seconds = time.monotonic() - started
    connections.close()
    return found


async def singles(port: int, flow: Flow, signed: dict[int, dict[str, str]], seconds: float) -> Figures:
    """Send single orders at a steady rate, whether or not earlier ones were answered."""
    found, owners = Figures(), list(signed)
    wanted = [
        order(flow, owners[number % len(owners)], signed[owners[number % len(owners)]])
        for number in range(int(seconds * SINGLES_A_SECOND))
    ]
    connections = http.Connections(port)
    started = time.monotonic()

    async def one(due: float, wanted: http.Request) -> None:
        answer = await connections.send(wanted)
        found.milliseconds.append((time.monotonic() - due) * 1e3)
        if isinstance(answer, Exception):
            found.errors[type(answer).__name__] += 1
        elif answer.is_success:
            found.accepted += 1
        else:
            found.errors[f"status {answer.status}"] += 1

    async with asyncio.TaskGroup() as group:
        for number, each in enumerate(wanted):
            due = started + number / SINGLES_A_SECOND
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            group.create_task(one(due, each))
    found.seconds = time.monotonic() - started
    connections.close()
    return found
