"""A WebSocket client for tests: one connection to the consumer, the real channel layer behind it."""

import asyncio
import json
from typing import Any, Self

from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator

from exchange.asgi import application

SECONDS = 30.0


class Client:
    """One connection; `async with` opens and closes it."""

    def __init__(self, *, app: Any = application, headers: list[tuple[bytes, bytes]] | None = None) -> None:
        self.wire = WebsocketCommunicator(app, "/ws", headers=headers or [])

    async def __aenter__(self) -> Self:
        is_open, _ = await self.wire.connect(SECONDS)
        assert is_open
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.wire.disconnect(timeout=SECONDS)

    async def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and return the next message."""
        await self.wire.send_to(text_data=json.dumps(request))
        return await self.next()

    async def next(self) -> dict[str, Any]:
        """Return the next message."""
        return json.loads(await self.wire.receive_from(SECONDS))

    async def until(self, kind: str, **fields: Any) -> list[dict[str, Any]]:
        """Return messages up to the first of this type that has these fields."""
        found = []
        while True:
            found.append(await self.next())
            if found[-1]["type"] == kind and fields.items() <= found[-1].items():
                return found

    async def is_silent(self, seconds: float = 0.3) -> bool:
        """Tell whether nothing comes for a while."""
        return await self.wire.receive_nothing(seconds)


def run(road: Any) -> None:
    """Run a test's coroutine in a loop of its own, and close what the layer opened in it."""

    async def whole() -> None:
        try:
            await road
        finally:
            await get_channel_layer().flush()
            await asyncio.sleep(0)

    asyncio.run(whole())
