"""The way in over WebSocket: batches of 50 on several connections, then single orders at a steady rate."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import islice
from typing import Any, Self

import orjson
from websockets.asyncio.client import ClientConnection, connect

from trading.benchmarks.road.flow import Flow
from trading.benchmarks.road.web import (
    BATCHES_A_SECOND_MAX,
    CLIENTS,
    ORDERS_A_REQUEST,
    SINGLES_A_SECOND,
    Figures,
    body,
)

ANSWER_SECONDS_MAX = 10.0


def _text(message: dict[str, Any]) -> str:
    """Write a message."""
    return orjson.dumps(message).decode()


class Entry:
    """One signed-in connection; hands each answer to who waits for its id."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._last_id = 0
        self._reader = asyncio.create_task(self._read())

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, url: str, token: str) -> AsyncIterator[Self]:
        """Connect and sign in.

        Raises:
            RuntimeError: The server does not take the token.
        """
        async with connect(f"{url.replace('http', 'ws', 1)}/ws") as socket:
            await socket.send(_text({"action": "auth", "token": token}))
            if orjson.loads(await socket.recv())["type"] != "authenticated":
                raise RuntimeError("the web server does not take the token")
            made = cls(socket)
            try:
                yield made
            finally:
                made._reader.cancel()

    async def ask(self, **message: Any) -> dict[str, Any]:
        """Send a message and return its answer.

        Raises:
            TimeoutError: There is none.
        """
        self._last_id += 1
        number = self._last_id
        self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send(_text({"id": number, **message}))
        return await asyncio.wait_for(self._waiting[number], ANSWER_SECONDS_MAX)

    async def _read(self) -> None:
        """Read answers."""
        async for text in self._socket:
            answer = orjson.loads(text)
            waiting = self._waiting.pop(answer.get("id"), None)
            if waiting is not None and not waiting.done():
                waiting.set_result(answer)


async def _ask(entry: Entry, found: Figures, since: float, **message: Any) -> dict[str, Any] | None:
    """Return the answer to a message if it was done, and note how long it took or what was wrong."""
    try:
        answer = await entry.ask(**message)
    except TimeoutError:
        found.errors["no answer"] += 1
        return None
    found.milliseconds.append((time.monotonic() - since) * 1e3)
    if answer["code"]:
        found.errors[f"code {answer['code']}"] += 1
        return None
    return answer


def _batches(flow: Flow, owner: int) -> Iterator[list[dict[str, Any]]]:
    """Draw batches of an owner's new orders, without end."""
    while True:
        yield [body(flow.place(owner).request) for _ in range(ORDERS_A_REQUEST)]  # type: ignore[arg-type]


async def batches(url: str, flow: Flow, tokens: dict[int, str], seconds: float) -> Figures:
    """Let connections send batches of 50, one after the other on each; they stop together. Most are drawn before."""
    found, owners = Figures(), list(tokens)[:CLIENTS]
    drawn = {owner: _batches(flow, owner) for owner in owners}
    waiting = {owner: list(islice(drawn[owner], int(seconds * BATCHES_A_SECOND_MAX / CLIENTS))) for owner in owners}
    started = time.monotonic()

    async def one(entry: Entry, owner: int) -> None:
        while time.monotonic() < started + seconds:
            wanted = waiting[owner].pop() if waiting[owner] else next(drawn[owner])
            answer = await _ask(entry, found, time.monotonic(), action="place_batch", orders=wanted)
            codes = [result["code"] for result in answer["data"]["results"]] if answer else []
            found.accepted += codes.count(0)
            found.errors.update(f"code {code}" for code in codes if code)

    async with contextlib.AsyncExitStack() as stack:
        entries = await _connected(stack, url, owners, tokens)
        started = time.monotonic()
        await asyncio.gather(*(one(entry, owner) for owner, entry in entries.items()))
    found.seconds = time.monotonic() - started
    return found


async def singles(url: str, flow: Flow, tokens: dict[int, str], seconds: float) -> Figures:
    """Send single orders at a steady rate, whether or not earlier ones were answered."""
    found, owners = Figures(), list(tokens)

    async def one(entry: Entry, due: float, owner: int) -> None:
        wanted = body(flow.place(owner).request)  # type: ignore[arg-type]
        answer = await _ask(entry, found, due, action="place", **wanted)
        found.accepted += answer is not None  # added when it is known: others are counted while this one waits

    async with contextlib.AsyncExitStack() as stack:
        entries = await _connected(stack, url, owners, tokens)
        started = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(int(seconds * SINGLES_A_SECOND)):
                due, owner = started + number / SINGLES_A_SECOND, owners[number % len(owners)]
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                group.create_task(one(entries[owner], due, owner))
    found.seconds = time.monotonic() - started
    return found


async def _connected(
    stack: contextlib.AsyncExitStack, url: str, owners: Sequence[int], tokens: dict[int, str]
) -> dict[int, Entry]:
    """Open a connection for each owner."""
    return {owner: await stack.enter_async_context(Entry.opened(url, tokens[owner])) for owner in owners}
