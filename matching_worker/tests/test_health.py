"""The worker's HTTP server: it lives while it recovers, and is ready when it takes commands."""

import http.client
from collections.abc import Iterator

import orjson
import pytest

from matching_worker.health import HealthServer


@pytest.fixture
def state() -> dict[str, object]:
    return {"status": "recovering", "sequence": 7}


@pytest.fixture
def server(state: dict[str, object]) -> Iterator[HealthServer]:
    made = HealthServer(0, lambda: state)
    yield made
    made.close()


def _get(server: HealthServer, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_a_recovering_worker_lives_but_is_not_ready(server: HealthServer, state: dict[str, object]) -> None:
    found = {path: _get(server, path)[0] for path in ("/health/live", "/health/ready", "/health")}
    assert found == {"/health/live": 200, "/health/ready": 503, "/health": 503}

    state["status"] = "ok"

    assert _get(server, "/health/ready") == (200, orjson.dumps({"status": "ok", "sequence": 7}))


def test_it_serves_metrics_and_nothing_else(server: HealthServer) -> None:
    status, body = _get(server, "/metrics")

    assert status == 200
    assert b"exchange_matching_latency_microseconds" in body
    assert _get(server, "/admin")[0] == 404
