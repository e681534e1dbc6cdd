"""The processes of the exchange: their command lines, environments and signs of readiness."""

import http.client
import ipaddress
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings

from exchange.embedded import folder, postgres, process, redis
from exchange.management.supervisor import Child

if TYPE_CHECKING:
    import subprocess

PROBE_SECONDS_MAX = 1.0
WORKER_PORT_OFFSET = 80
POSTGRES, REDIS, WEB, WORKER, STANDBY = "postgres", "redis", "web", "worker", "standby"
CELERY, BEAT, RECONCILER, RELAY, MAKERS = "celery", "beat", "reconciler", "relay", "makers"
BACK_OFFICE_ROLE = "exchange_back_office"
SIGNING_KEY = "RESERVES_SIGNING_KEY"
CELERY_THREADS = 2
CELERY_AS_ROOT = "ignore:You're running the worker with superuser privileges"
"""Celery's warning fills a screen; in production no process runs as root (exchange/deploy)."""


@dataclass(frozen=True)
class Place:
    """Where this instance lives and listens, how many shards it has, and whether each has a second worker."""

    data_dir: Path
    host: str
    port: int
    shards: int = 1
    standby: bool = False

    @property
    def worker_ports(self) -> range:
        """Return the ports of the matching workers' health and metrics, by shard; after them those of second ones."""
        first = self.port + WORKER_PORT_OFFSET
        return range(first, first + self.shards * (2 if self.standby else 1))

    @property
    def probed_host(self) -> str:
        """Return where to ask for this instance's health: an unspecified address is not one to connect to."""
        try:
            unspecified = ipaddress.ip_address(self.host).is_unspecified
        except ValueError:
            return self.host
        loopback = "::1" if ":" in self.host else "127.0.0.1"
        return loopback if unspecified else self.host

    @property
    def url(self) -> str:
        """Return the address to type into a browser."""
        host = f"[{self.probed_host}]" if ":" in self.probed_host else self.probed_host
        return f"http://{host}:{self.port}"


def _answers(host: str, port: int, path: str) -> Callable[[], bool]:
    """Return a question: does this URL answer, with anything but a failure of the server?"""

    def ask() -> bool:
        connection = http.client.HTTPConnection(host, port, timeout=PROBE_SECONDS_MAX)
        try:
            connection.request("GET", path, headers={"Host": "localhost"})
            return connection.getresponse().status < http.HTTPStatus.INTERNAL_SERVER_ERROR
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return ask


def _environment(place: Place, role: str) -> dict[str, str]:
    """Return a child's environment: the data folder, the ports, and the database role that narrows it.

    The key that signs proofs of reserves goes to the back office alone.
    """
    added = {
        folder.VARIABLE: str(place.data_dir),
        "EXCHANGE_PORT": str(place.port),
        "EXCHANGE_WORKER_PORT": str(place.worker_ports[0]),
        folder.SHARDS_VARIABLE: str(place.shards),
        "EXCHANGE_DB_ROLE": role,
        "EXCHANGE_DEMO": "1" if settings.DEMO else "0",
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": CELERY_AS_ROOT,
    }
    kept = {name: value for name, value in os.environ.items() if name != SIGNING_KEY or role == BACK_OFFICE_ROLE}
    return kept | added


def _module(
    place: Place, name: str, role: str, module: str, *arguments: str
) -> Callable[[int], "subprocess.Popen[bytes]"]:
    """Return how to start a Python module as a named child."""
    command = [sys.executable, "-m", "exchange.management.launch", name, module, *arguments]
    environment = _environment(place, role)

    def launch(output: int) -> "subprocess.Popen[bytes]":
        return process.spawn(command, output=output, cwd=settings.BASE_DIR, environment=environment)

    return launch


def servers(place: Place) -> list[Child]:
    """Return the embedded servers that this instance needs, in starting order."""
    found = []
    if settings.EMBEDDED_POSTGRES:
        found.append(
            Child(
                POSTGRES,
                lambda _: postgres.launch(place.data_dir),
                stop_signal=signal.SIGINT,
                stop_seconds_max=postgres.STOP_SECONDS_MAX,
                log=postgres.log_file(place.data_dir),
            )
        )
    if settings.EMBEDDED_REDIS:
        found.append(Child(REDIS, lambda _: redis.launch(place.data_dir), log=redis.log_file(place.data_dir)))
    return found


def worker_name(shard: int) -> str:
    """Return the name of a shard's matching worker."""
    return f"{WORKER}-{shard}" if shard else WORKER


def standby_name(shard: int) -> str:
    """Return the name of a shard's second matching worker; which of the two follows the other may change."""
    return f"{STANDBY}-{shard}" if shard else STANDBY


def _worker(place: Place, shard: int, *, second: bool = False) -> Child:
    """Return a matching worker of a shard; the second one waits until the first is ready."""
    name = standby_name(shard) if second else worker_name(shard)
    port = place.worker_ports[shard + (place.shards if second else 0)]
    options = ("--shard", str(shard), "--http-port", str(port), *(("--standby",) if place.standby else ()))
    return Child(
        name,
        _module(place, name, "exchange_worker", "manage", "run_matching_worker", *options),
        is_ready=_answers("127.0.0.1", port, "/health"),
        stop_seconds_max=20.0,
        after=worker_name(shard) if second else None,
    )


def _workers(place: Place) -> list[Child]:
    """Return the matching workers of all shards."""
    first = [_worker(place, shard) for shard in range(place.shards)]
    return first + [_worker(place, shard, second=True) for shard in range(place.shards) if place.standby]


def programs(place: Place) -> list[Child]:
    """Return the exchange's own processes, in starting order."""
    # A ping a connection every 30 s; silence for two of them closes it.
    pings = ("--ping-interval", "30", "--ping-timeout", "30")
    daphne = ("-b", place.host, "-p", str(place.port), "-v", "0", *pings, "exchange.asgi:application")
    celery = ("--quiet", "-A", "exchange.celery")
    found = [
        Child(
            WEB,
            _module(place, WEB, "exchange_web", "daphne", *daphne),
            is_ready=_answers(place.probed_host, place.port, "/health/live"),
        ),
        *_workers(place),
        Child(
            CELERY,
            _module(
                place, CELERY, BACK_OFFICE_ROLE, "celery", *celery, "worker",
                "--pool", "threads", "--concurrency", str(CELERY_THREADS), "--loglevel", "warning",
                "--without-gossip", "--without-mingle", "--hostname", f"exchange-{place.port}@%h",
            ),
            after=WEB,
        ),
        Child(
            BEAT,
            _module(
                place, BEAT, BACK_OFFICE_ROLE, "celery", *celery, "beat",
                "--loglevel", "warning", "--pidfile", "",
            ),
            after=WEB,
        ),
        Child(
            RECONCILER,
            _module(place, RECONCILER, BACK_OFFICE_ROLE, "manage", "run_reconciler"),
            after=worker_name(place.shards - 1),
        ),
        Child(RELAY, _module(place, RELAY, BACK_OFFICE_ROLE, "manage", "run_event_relay"), after=WEB),
    ]  # fmt: skip
    if settings.DEMO:
        makers = ("manage", "run_demo_makers", "--url", place.url)
        found.append(
            Child(MAKERS, _module(place, MAKERS, "exchange_web", *makers), after=worker_name(place.shards - 1))
        )
    return found
