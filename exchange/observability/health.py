"""Whether this process lives and may be sent orders: what it depends on, each by name, for orchestrators and people.

Note [Ready means that orders are taken]
    `/health/live` says that the process answers, whatever others do: a restart of it would mend nothing of theirs. It
    lists what the process depends on all the same, since whoever asks wants to know. `/health/ready` is 503 only while
    no order would be accepted: without the database, without its tables, or while every shard has as much waiting as it
    may. Without anything else orders are accepted, and the answer is 200 and "degraded".

Note [Who asks does not wait for who does not answer]
    A server that is cut off may keep a question for minutes. Each group of dependencies is therefore asked on a thread
    of its own, one question at a time however many callers there are, and a caller waits for a short while only. The
    first of a group is the server that the others of the group are read from: without it they are not asked.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import redis
import structlog
from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from exchange.observability import metrics

logger = structlog.get_logger("exchange.health")

REDIS_TIMEOUT_S: Final = 1.0
LIVE_SECONDS_MAX: Final = 0.5
READY_SECONDS_MAX: Final = 2.0
"""How long a caller waits for what is asked: shorter than probes do."""
UNAVAILABLE: Final = 503
NOT_ASKED: Final = "not asked"


class Check(NamedTuple):
    """What a question found."""

    ok: bool
    detail: str = ""


class Dependency(NamedTuple):
    """Something that this process uses.

    Attributes:
        name: As it is told; a dependency with several answers, such as one a shard, is asked under one name.
        ask: Returns one check, or several by name.
        is_needed: Whether no order is taken without it.
    """

    name: str
    ask: Callable[[], "Check | Mapping[str, Check]"]
    is_needed: bool = False


class Found(NamedTuple):
    """What is known of one dependency."""

    ok: bool
    needed: bool
    detail: str


Group = Sequence[Dependency]


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
        found: Any = client.info("server")
        return Check(ok=True, detail=str(found.get("valkey_version") or found["redis_version"]))
    finally:
        client.close()


def migrations() -> Check:
    """Tell whether the database has every table that this code expects."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return Check(ok=not plan, detail="" if not plan else f"{len(plan)} not applied")


DATABASE: Final = (
    Dependency("postgres", postgres, is_needed=True),
    Dependency("migrations", migrations, is_needed=True),
)
REDIS: Final = (Dependency("redis", redis_server),)


class _Round:
    """One group being asked, on a thread of its own."""

    def __init__(self, group: Group) -> None:
        self._group, self._begun_at = group, time.monotonic()
        self._answers: dict[str, Mapping[str, Check]] = {}
        self.is_over = threading.Event()
        threading.Thread(target=self._run, name="health", daemon=True).start()

    def _run(self) -> None:
        try:
            for place, dependency in enumerate(self._group):
                answers = _ask(dependency)
                self._answers[dependency.name] = answers
                if place == 0 and not all(check.ok for check in answers.values()):
                    break
        finally:
            connection.close()
            self.is_over.set()

    def known(self) -> dict[str, Found]:
        """Return what was found so far; what has no answer yet is not well."""
        is_over, waited = self.is_over.is_set(), time.monotonic() - self._begun_at
        silent = Check(ok=False, detail=NOT_ASKED if is_over else f"no answer for {waited:.1f} s")
        return {
            name: Found(check.ok, dependency.is_needed, check.detail)
            for dependency in self._group
            for name, check in self._answers.get(dependency.name, {dependency.name: silent}).items()
        }


def _ask(dependency: Dependency) -> Mapping[str, Check]:
    """Ask one dependency; one that raises has failed."""
    try:
        answer = dependency.ask()
    except Exception as error:  # whatever is wrong, the answer is "not ready", by name
        logger.warning("health_check_failed", check=dependency.name, exc_info=True)
        answer = Check(ok=False, detail=type(error).__name__)
    return {dependency.name: answer} if isinstance(answer, Check) else answer


class Watch:
    """Asks groups of dependencies: Note [Who asks does not wait for who does not answer]."""

    def __init__(self, *groups: Group) -> None:
        self._groups = groups
        self._lock = threading.Lock()
        self._rounds: dict[int, _Round] = {}

    def look(self, seconds_max: float) -> dict[str, Found]:
        """Ask everything that is not being asked already; return what is known after so many seconds at most."""
        deadline = time.monotonic() + seconds_max
        with self._lock:
            for number, group in enumerate(self._groups):
                last = self._rounds.get(number)
                if last is None or last.is_over.is_set():
                    self._rounds[number] = _Round(group)
            rounds = list(self._rounds.values())
        found: dict[str, Found] = {}
        for one in rounds:
            one.is_over.wait(max(0.0, deadline - time.monotonic()))
            found |= one.known()
        return found

    def measure(self) -> None:
        """Set the metrics of the dependencies."""
        found = self.look(LIVE_SECONDS_MAX)
        for name, one in found.items():
            metrics.DEPENDENCY_UP.labels(name).set(one.ok)
        metrics.ORDERS_TAKEN.set(takes_orders(found))


def takes_orders(found: Mapping[str, Found]) -> bool:
    """Tell whether orders are taken: Note [Ready means that orders are taken]."""
    return all(one.ok for one in found.values() if one.needed)


def live(watch: Watch) -> Callable[[HttpRequest], HttpResponse]:
    """Return a view that says that this process answers, and what it knows of others; always 200."""

    @require_safe
    def view(_request: HttpRequest) -> HttpResponse:
        found = watch.look(LIVE_SECONDS_MAX)
        return JsonResponse({"status": "ok", "takes_orders": takes_orders(found), "dependencies": _told(found)})

    return view


def ready(watch: Watch) -> Callable[[HttpRequest], HttpResponse]:
    """Return a view that answers 200 while orders are taken, else 503; the body names what is not well."""

    @require_safe
    def view(_request: HttpRequest) -> HttpResponse:
        found = watch.look(READY_SECONDS_MAX)
        is_ready = takes_orders(found)
        well = "ok" if all(one.ok for one in found.values()) else "degraded"
        body = {
            "status": well if is_ready else "unavailable",
            "takes_orders": is_ready,
            "checks": _told(found),
        }
        return JsonResponse(body, status=200 if is_ready else UNAVAILABLE)

    return view


def _told(found: Mapping[str, Found]) -> dict[str, dict[str, Any]]:
    """Return dependencies as JSON takes them."""
    return {name: one._asdict() for name, one in found.items()}


@require_safe
def metrics_page(_request: HttpRequest) -> HttpResponse:
    """Serve this process's metrics to Prometheus."""
    metrics.measure()
    return HttpResponse(metrics.exposition(), content_type=metrics.CONTENT_TYPE)
