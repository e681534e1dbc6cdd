"""An HTTP client that costs the machine little: requests are bytes made beforehand, connections are kept.

The load and what it measures share the processors. A general client takes longer to send a batch of orders and read its
answer than the server takes to parse it.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import orjson

HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length:"
RETRY_AFTER = b"retry-after:"
SECONDS_MAX = 10.0


class Request(NamedTuple):
    """A request as it goes over the wire."""

    data: bytes
    items: int = 1


class Answer(NamedTuple):
    """An answer."""

    status: int
    head: bytes
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the call was done."""
        return 200 <= self.status < 300  # noqa: PLR2004 -- HTTP's own numbers

    @property
    def names_return(self) -> bool:
        """Whether it says when to come again."""
        return RETRY_AFTER in self.head

    def read(self) -> Any:
        """Return the body's content."""
        return orjson.loads(self.body)


def request(method: str, path: str, headers: Mapping[str, str], body: Any = None, *, items: int = 1) -> Request:
    """Make a request.

    Args:
        items: Orders in it.
    """
    payload = b"" if body is None else orjson.dumps(body)
    named = {**headers, "Content-Type": "application/json", "Content-Length": str(len(payload))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return Request(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + payload, items)


class Connection:
    """A kept connection; one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def opened(cls, port: int) -> Self:
        """Connect to a server of this machine."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, wanted: Request) -> Answer:
        """Send a request and return its answer.

        Raises:
            OSError, EOFError, TimeoutError: There is none.
        """
        async with asyncio.timeout(SECONDS_MAX):
            self._writer.write(wanted.data)
            head = (await self._reader.readuntil(HEAD_END)).lower()
            start = head.index(LENGTH) + len(LENGTH)
            length = int(head[start : head.index(b"\r\n", start)])
            return Answer(int(head[9:12]), head, await self._reader.readexactly(length))

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


class Connections:
    """Connections that are free, the one used last first; more are opened as they are needed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: list[Connection] = []
        self.opened = 0

    async def send(self, wanted: Request) -> Answer | Exception:
        """Send a request over a free connection; return its answer, or why there is none."""
        try:
            used = self._free.pop() if self._free else await self._open()
        except OSError as error:
            return error
        try:
            answer = await used.send(wanted)
        except (OSError, EOFError, TimeoutError) as error:
            used.close()
            return error
        self._free.append(used)
        return answer

    async def _open(self) -> Connection:
        self.opened += 1
        return await Connection.opened(self._port)

    def close(self) -> None:
        """Hang up all that are free."""
        while self._free:
            self._free.pop().close()
