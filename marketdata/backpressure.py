"""Lets `send` wait until a slow client has read: daphne itself takes everything at once and keeps it in memory.

Daphne hands each application `partial(handle_reply, protocol)`; the protocol's transport tells a
registered producer when its buffer is full and when it has drained. Other servers' `send` waits
by itself, and passes through unchanged.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

Message = dict[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


class Gate:
    """What a Twisted transport calls a push producer: open while the transport's buffer has room."""

    def __init__(self) -> None:
        self._room = asyncio.Event()
        self._room.set()

    async def passed(self) -> None:
        """Wait for room."""
        await self._room.wait()

    def pauseProducing(self) -> None:  # noqa: N802 -- Twisted's name
        """Take note that the buffer is full."""
        self._room.clear()

    def resumeProducing(self) -> None:  # noqa: N802 -- Twisted's name
        """Take note that the buffer has drained."""
        self._room.set()

    def stopProducing(self) -> None:  # noqa: N802 -- Twisted's name
        """Take note that the connection is gone: nobody need wait any more."""
        self._room.set()


def waits_for_slow_clients(application: Application) -> Application:
    """Wrap a WebSocket application so that sending a message waits while the client's buffer is full."""

    async def wrapped(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        gate = Gate()
        protocol = _daphne_protocol(send)

        async def send_when_there_is_room(message: Message) -> None:
            if message["type"] == "websocket.send":
                await gate.passed()
            await send(message)
            if message["type"] == "websocket.accept" and protocol is not None:
                protocol.unregisterProducer()  # the HTTP request's, which the upgrade left behind
                protocol.registerProducer(gate, True)

        await application(scope, receive, send_when_there_is_room)

    return wrapped


def _daphne_protocol(send: Send) -> Any:
    """Return daphne's protocol object behind `send`, None under another server."""
    if isinstance(send, partial) and send.args and hasattr(send.args[0], "registerProducer"):
        return send.args[0]
    return None
