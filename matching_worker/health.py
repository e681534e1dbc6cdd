"""The worker's small HTTP server: /health for orchestrators, /metrics for Prometheus. Loopback by default."""

import threading
from collections.abc import Callable, Iterable
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

import orjson

from exchange.observability import metrics

HEALTHY = "ok"
"""The status with which a worker takes commands."""

STANDBY = "standby"
"""The status of one that could take over at once: as ready as it shall be. With any other it only lives."""

STARTING, REPLAYING = "starting", "replaying"


class _QuietHandler(WSGIRequestHandler):
    """Says nothing for every scrape."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class names it
        """Log nothing."""


class HealthServer:
    """Serves on a thread until closed.

    Attributes:
        port: Where it listens; the system's choice when 0 was asked for.
    """

    def __init__(self, port: int, health: Callable[[], dict[str, object]], *, host: str = "127.0.0.1") -> None:
        self._health = health
        self._server: WSGIServer = make_server(host, port, self._answer, handler_class=_QuietHandler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, name="http", daemon=True).start()

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            start_response("200 OK", [("Content-Type", metrics.CONTENT_TYPE)])
            return [metrics.exposition()]
        if path in {"/health", "/health/live", "/health/ready"}:
            found = self._health()
            is_good = path == "/health/live" or found["status"] in {HEALTHY, STANDBY}
            start_response("200 OK" if is_good else "503 Service Unavailable", [("Content-Type", "application/json")])
            return [orjson.dumps(found)]
        start_response("404 Not Found", [("Content-Type", "application/json")])
        return [b'{"status":"not found"}']

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
