"""Outermost: gives each request its trace id, measures it, and logs one line about it."""

import time
from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from exchange.observability import metrics
from exchange.observability.tracing import traced

logger = structlog.get_logger("exchange.http")

TRACE_HEADER = "X-Trace-Id"
UNROUTED = "unrouted"
QUIET_PREFIXES = ("/health", "/metrics", "/static/")
SERVER_ERROR = 500


class RequestLog:
    """Names, measures and logs each request; synchronous only, see `exchange.api.middleware.ApiGuard`."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on, under its trace id."""
        started = time.perf_counter()
        with traced(request.headers.get(TRACE_HEADER)) as trace:
            response = self.get_response(request)
            response[TRACE_HEADER] = trace
            self._record(request, response, time.perf_counter() - started)
        return response

    def _record(self, request: HttpRequest, response: HttpResponse, seconds: float) -> None:
        """Count by route and not by path: paths carry ids, and each would become a series of its own."""
        route = request.resolver_match.route if request.resolver_match else UNROUTED
        metrics.HTTP_SECONDS.labels(request.method, route, response.status_code).observe(seconds)
        if request.path.startswith(QUIET_PREFIXES):
            return
        log = logger.error if response.status_code >= SERVER_ERROR else logger.info
        log(
            "request",
            method=request.method,
            path=request.path,
            status=response.status_code,
            ms=round(seconds * 1000, 2),
            user_id=_user_id(request),
        )


def _user_id(request: HttpRequest) -> int | None:
    """Return who asked, if the request has found out; a log line is no reason to query for it."""
    user = request.__dict__.get("user")
    if isinstance(user, SimpleLazyObject):
        user = getattr(request, "_cached_user", None)
    return getattr(user, "pk", None)
