"""What only the real server can show: protocol pings, and clients that stop reading."""

import base64
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import closing
from urllib.parse import quote

import numpy as np
import psutil
import pytest
from django.conf import settings
from django.db import connection
from websockets.sync.client import connect

from marketdata import feed, selectors
from marketdata.services.publish import Publisher
from marketdata.tests import factories
from marketdata.tests.events import auction_price, fill, state_changed
from matching_worker.protocol import Side, TradingState

pytestmark = pytest.mark.django_db(transaction=True)
START_SECONDS = 90.0


@pytest.fixture
def server(request):
    """Daphne with the exchange, on a free port and the test's database; pings after `param` seconds."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = connection.settings_dict
    url = f"postgresql://{config['USER']}@{quote(config['HOST'], safe='')}/{config['NAME']}"
    environment = os.environ | {
        "DATABASE_URL": url,
        "REDIS_URL": settings.REDIS_URL,
        "DJANGO_SETTINGS_MODULE": "exchange.settings.test",
    }
    command = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(port), "-v", "0"]
    command += ["--ping-interval", request.param, "--ping-timeout", request.param, "exchange.asgi:application"]
    process = subprocess.Popen(command, env=environment, cwd=settings.BASE_DIR)
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
    process.port = port  # type: ignore[attr-defined]
    yield process
    process.terminate()
    process.wait()


def raw_client(port: int) -> socket.socket:
    """Open a WebSocket by hand, so that nothing answers pings or reads for us."""
    client = socket.create_connection(("127.0.0.1", port), timeout=60)
    key = base64.b64encode(os.urandom(16)).decode()
    client.sendall(
        f"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += client.recv(1)
    assert b"101" in answer.splitlines()[0]
    return client


def rest_of(client: socket.socket) -> bytes:
    """Read until the server has closed or cut the connection."""
    seen = b""
    try:
        while chunk := client.recv(1 << 20):
            seen += chunk
    except ConnectionResetError:
        pass
    return seen


@pytest.mark.parametrize("server", ["2"], indirect=True)
def test_a_silent_connection_is_pinged_and_then_closed_and_an_answering_one_lives(server) -> None:
    began = time.monotonic()
    with raw_client(server.port) as silent, connect(f"ws://127.0.0.1:{server.port}/ws") as answering:
        first = silent.recv(2)
        rest_of(silent)
        seconds = time.monotonic() - began

        assert first[0] == 0x89  # FIN and opcode 9: ping
        assert 2 <= seconds < 20
        answering.send('{"action": "ping"}')
        assert json.loads(answering.recv(timeout=20)) == {"type": "pong"}


@pytest.mark.parametrize("server", ["600"], indirect=True)
def test_an_auction_is_told_to_who_is_there_and_to_who_comes_later(server) -> None:
    spec = selectors.spec_of(factories.tsmc())
    ids = {"instrument_id": spec.id}
    publisher = Publisher(settings.REDIS_URL)
    publisher.reset([spec], {}, 1, auctions={spec.id: feed.Auction(TradingState.PRE_OPEN)})
    assert publisher.flush(30)
    request = json.dumps({"action": "subscribe", "channels": ["auction.2330.TW"]})

    with connect(f"ws://127.0.0.1:{server.port}/ws") as early, connect(f"ws://127.0.0.1:{server.port}/ws") as late:
        early.send(request)
        told = [json.loads(early.recv(timeout=10)) for _ in range(2)][1:]
        publisher.publish(
            np.concatenate([state_changed(2, TradingState.AUCTION, **ids), auction_price(3, 1200, 40, 7, **ids)])
        )
        told.append(json.loads(early.recv(timeout=10)))
        assert publisher.flush(30)
        late.send(request)
        first = [json.loads(late.recv(timeout=10)) for _ in range(2)][1]
    publisher.close()

    assert [(one["state"], one["price"], one["quantity"], one["imbalance"]) for one in told] == [
        ("pre_open", None, 0, 0),
        ("auction", 60000, 40, 7),
    ]
    assert first == told[-1]


@pytest.mark.parametrize("server", ["600"], indirect=True)
def test_a_client_that_stops_reading_is_dropped_and_costs_the_server_a_bounded_queue(server) -> None:
    spec = selectors.spec_of(factories.bitcoin())
    publisher = Publisher(settings.REDIS_URL)
    publisher.reset([spec], {}, 0)
    assert publisher.flush(30)
    process = psutil.Process(server.pid)
    with raw_client(server.port) as lazy, connect(f"ws://127.0.0.1:{server.port}/ws") as reader:
        request = b'{"action":"subscribe","channels":["trade.BTCUSDT"]}'
        mask = b"\x00" * 4
        lazy.sendall(bytes([0x81, 0x80 | len(request)]) + mask + request)
        reader.send(request.decode())
        assert json.loads(reader.recv(timeout=10))["type"] == "subscribed"
        before = process.memory_info().rss

        number = 0
        for _ in range(60):
            rows = [
                fill(n, n, Side.SELL, 6_000_000, 3, -1, instrument_id=spec.id) for n in range(number + 1, number + 1001)
            ]
            number += 1000
            publisher.publish(np.concatenate(rows))
            received = [json.loads(reader.recv(timeout=20))["sequence"] for _ in range(1000)]
            assert received == list(range(number - 999, number + 1))
        grown = process.memory_info().rss - before

        held_back = rest_of(lazy)
    publisher.close()
    assert len(held_back) < 60_000 * 150
    assert grown < 40 * 1024 * 1024
