"""Whether this process lives and may be sent work: checks that orchestrators ask, each by name."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import redis
import structlog
from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from exchange.observability import metrics

logger = structlog.get_logger("exchange.health")

REDIS_TIMEOUT_S = 1.0
UNAVAILABLE = 503


class Check(NamedTuple):
    """What a check found."""

    ok: bool
    detail: str = ""


CheckFunction = Callable[[], Check]


def postgres() -> Check:
    """Ask PostgreSQL for a row."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version')")
        return Check(ok=True, detail=str(cursor.fetchone()[0]))


def redis_server() -> Check:
    """Ask Redis for a sign of life."""
    client = redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=REDIS_TIMEOUT_S, socket_connect_timeout=REDIS_TIMEOUT_S
    )
    try:
        return Check(ok=bool(client.ping()))
    finally:
        client.close()


def migrations() -> Check:
    """Tell whether the database has every table that this code expects."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return Check(ok=not plan, detail="" if not plan else f"{len(plan)} not applied")


BASIC_CHECKS: Mapping[str, CheckFunction] = {
    "postgres": postgres,
    "redis": redis_server,
    "migrations": migrations,
}


def run(checks: Mapping[str, CheckFunction]) -> dict[str, Check]:
    """Run checks; one that raises has failed."""
    found = {}
    for name, check in checks.items():
        try:
            found[name] = check()
        except Exception as error:  # whatever is wrong, the answer is "not ready", by name
            logger.warning("health_check_failed", check=name, exc_info=True)
            found[name] = Check(ok=False, detail=type(error).__name__)
    return found


@require_safe
def live(_request: HttpRequest) -> HttpResponse:
    """Say that this process answers; asks nothing of others, so that their trouble restarts nobody."""
    return JsonResponse({"status": "ok"})


def ready(checks: Mapping[str, CheckFunction]) -> Callable[[HttpRequest], HttpResponse]:
    """Return a view that runs checks: 200 when all pass, else 503 with those that do not.

    Args:
        checks: By name, beyond the basic ones; the composition root passes those of upper layers.
    """
    wanted = {**BASIC_CHECKS, **checks}

    @require_safe
    def view(_request: HttpRequest) -> HttpResponse:
        found = run(wanted)
        healthy = all(check.ok for check in found.values())
        body = {
            "status": "ok" if healthy else "unavailable",
            "checks": {name: check._asdict() for name, check in found.items()},
        }
        return JsonResponse(body, status=200 if healthy else UNAVAILABLE)

    return view


@require_safe
def metrics_page(_request: HttpRequest) -> HttpResponse:
    """Serve this process's metrics to Prometheus."""
    metrics.measure()
    return HttpResponse(metrics.exposition(), content_type=metrics.CONTENT_TYPE)
