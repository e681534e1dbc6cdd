"""Sends a long file to a browser while it is being written, in constant memory."""

from collections.abc import AsyncIterator, Iterator

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse

BLOCK_BYTES = 64 * 1024


def blocks(pieces: Iterator[str]) -> Iterator[bytes]:
    """Gather pieces into blocks, so that each journey to the client is worth it."""
    gathered = bytearray()
    for piece in pieces:
        gathered += piece.encode()
        if len(gathered) >= BLOCK_BYTES:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)


async def _in_thread(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Take the blocks from the thread that the request runs in: it holds the database connection.

    Django reads a plain iterator to its end before it sends the first byte of it.
    """
    following = sync_to_async(lambda: next(pieces, None))
    while (block := await following()) is not None:
        yield block


def send(request: HttpRequest, chunks: Iterator[bytes], name: str, content_type: str) -> StreamingHttpResponse:
    """Return a download. A fault while it is written breaks the connection: the browser then keeps no half file.

    Args:
        name: Of the file; plain ASCII without quotes.
    """
    body = _in_thread(chunks) if isinstance(request, ASGIRequest) else chunks
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return StreamingHttpResponse(body, content_type=content_type, headers=headers)


def attachment(request: HttpRequest, pieces: Iterator[str], name: str, content_type: str) -> StreamingHttpResponse:
    """Return a download of text, in blocks."""
    return send(request, blocks(pieces), name, content_type)
