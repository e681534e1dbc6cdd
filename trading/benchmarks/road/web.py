"""The way in over HTTP: the real server, batches of 50 from several clients, then single orders at a steady rate."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
from django.conf import settings
from django.contrib.auth import get_user_model
from rest_framework_simplejwt.tokens import AccessToken

from exchange.kernel.money import plain
from trading.benchmarks.road.flow import Flow
from trading.services.requests import PlaceOrder

ORDERS_A_REQUEST: Final = 50
CLIENTS: Final = 4
SINGLES_A_SECOND: Final = 50
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


@contextlib.contextmanager
def server() -> Iterator[tuple[str, int]]:
    """Run daphne as `up` does; give its address and process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(port), "-v", "0"]
    environment = {**os.environ, "EXCHANGE_DB_ROLE": "exchange_web"}
    process = subprocess.Popen(  # noqa: S603 -- our own command
        [*command, "exchange.asgi:application"], cwd=settings.BASE_DIR, env=environment, stdout=subprocess.DEVNULL
    )
    try:
        url = f"http://127.0.0.1:{port}"
        _await(url, process)
        yield url, process.pid
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


async def _post(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], headers: dict[str, str], found: Figures
) -> httpx.Response | None:
    """Send a request; one that gets no answer is an error by its kind."""
    try:
        return await client.post(path, json=body, headers=headers)
    except httpx.TransportError as error:
        found.errors[type(error).__name__] += 1
        return None


async def batches(url: str, flow: Flow, signed: dict[int, dict[str, str]], seconds: float) -> Figures:
    """Let clients send batches of 50 one after the other; they stop together."""
    found, owners = Figures(), list(signed)
    started = time.monotonic()

    async def one(client: httpx.AsyncClient, number: int) -> None:
        while time.monotonic() < started + seconds:
            owner = owners[number % len(owners)]
            number += CLIENTS
            wanted = [body(flow.place(owner).request) for _ in range(ORDERS_A_REQUEST)]  # type: ignore[arg-type]
            sent = time.monotonic()
            answer = await _post(client, "/api/v1/orders/batch", {"orders": wanted}, signed[owner], found)
            found.milliseconds.append((time.monotonic() - sent) * 1e3)
            if answer is None:
                continue
            if not answer.is_success:
                found.errors[f"status {answer.status_code}"] += 1
                continue
            codes = [result["code"] for result in answer.json()["data"]["results"]]
            found.accepted += codes.count(0)
            found.errors.update(f"code {code}" for code in codes if code)

    async with httpx.AsyncClient(base_url=url, timeout=10) as client:
        await asyncio.gather(*(one(client, number) for number in range(CLIENTS)))
    found.seconds = time.monotonic() - started
    return found


async def singles(url: str, flow: Flow, signed: dict[int, dict[str, str]], seconds: float) -> Figures:
    """Send single orders at a steady rate, whether or not earlier ones were answered."""
    found, owners = Figures(), list(signed)
    started = time.monotonic()

    async def one(client: httpx.AsyncClient, due: float, owner: int) -> None:
        wanted = body(flow.place(owner).request)  # type: ignore[arg-type]
        answer = await _post(client, "/api/v1/orders", wanted, signed[owner], found)
        found.milliseconds.append((time.monotonic() - due) * 1e3)
        if answer is not None and answer.is_success:
            found.accepted += 1
        elif answer is not None:
            found.errors[f"status {answer.status_code}"] += 1

    async with httpx.AsyncClient(base_url=url, timeout=10) as client, asyncio.TaskGroup() as group:
        for number in range(int(seconds * SINGLES_A_SECOND)):
            due = started + number / SINGLES_A_SECOND
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            group.create_task(one(client, due, owners[number % len(owners)]))
    found.seconds = time.monotonic() - started
    return found
