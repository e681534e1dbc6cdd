"""The flood counts what comes back as what it is, and its client reads what a server sends."""

import asyncio
import json
from typing import Any

from trading.benchmarks.road import http
from trading.benchmarks.road.overload import Flood
from trading.benchmarks.road.scaling import Size

BATCH = http.request("POST", "/api/v1/orders/batch", {}, {"orders": []}, items=50)


def _answer(status: int, data: Any, head: bytes = b"") -> http.Answer:
    return http.Answer(status, head, json.dumps({"data": data}).encode())


def test_each_order_of_a_flood_is_accepted_refused_or_in_error() -> None:
    flood = Flood(seconds=2.0)
    results = [
        {"code": 0, "data": {"order_id": 7}},
        {"code": 0, "data": {"order_id": 8}},
        {"code": 3046, "data": {"error": "SHARD_BUSY"}},
    ]

    flood.note(BATCH, _answer(200, {"results": results}))
    flood.note(BATCH, _answer(429, {"error": "SERVER_BUSY"}, b"http/1.1 429\r\nretry-after: 1\r\n\r\n"))
    flood.note(BATCH, _answer(429, {"error": "SERVER_BUSY"}))
    flood.note(BATCH, _answer(503, {"error": "UNAVAILABLE"}))
    flood.note(BATCH, TimeoutError())

    assert (flood.accepted, flood.rate) == ([7, 8], 1.0)
    assert flood.refused == {"SHARD_BUSY": 1, "SERVER_BUSY": 100}
    assert flood.unnamed == 1
    assert flood.errors == {"status 503": 1, "TimeoutError": 1}


def test_the_client_keeps_its_connection_and_tells_one_that_was_cut() -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            seen.append(await reader.readuntil(b'{"orders":[]}'))
            writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"data":"yes"}')
        writer.close()

    async def run() -> tuple[list[Any], int]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        connections = http.Connections(server.sockets[0].getsockname()[1])
        answers = [await connections.send(BATCH) for _ in range(3)]
        connections.close()
        server.close()
        return answers, connections.opened

    (one, two, cut), opened = asyncio.run(run())

    assert [one.status, two.read(), opened] == [200, {"data": "yes"}, 1]
    assert isinstance(cut, EOFError | OSError)
    assert seen[0].startswith(b"POST /api/v1/orders/batch HTTP/1.1\r\nContent-Type: application/json\r\n")


def test_a_size_is_read_as_users_by_instruments() -> None:
    assert Size.parse("1000x10") == Size(users=1_000, instruments=10)
