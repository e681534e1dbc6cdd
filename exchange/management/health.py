"""What runs and how well: read by `status`, and by nobody who would change anything."""

import platform
from dataclasses import asdict, dataclass, field
from datetime import datetime
from importlib import metadata
from typing import Any

import django
from django.conf import settings
from django.db import Error, connection

from exchange.embedded import folder
from exchange.management import dependencies, status_file
from exchange.management.supervisor import RUNNING
from exchange.observability.health import takes_orders
from ledger.reconciliation import reading
from marketdata import shards as placing
from trading import selectors
from trading.sweeping import SweepState

ANSWER_SECONDS_MAX = 5.0
PACKAGES = ("django", "channels", "celery", "psycopg", "numba")

_SHARDS = """
SELECT c.shard, c.epoch, c.sequence, s.sequence, s.settled_at,
       coalesce(l.owner, ''), coalesce(l.expires_at > now(), false),
       ARRAY(SELECT i.symbol FROM marketdata_instrument i WHERE i.shard = c.shard ORDER BY i.symbol)
  FROM command_stream c
  JOIN settlement_cursor s USING (shard)
  LEFT JOIN worker_lease l USING (shard)
 ORDER BY c.shard
"""


@dataclass(frozen=True)
class Dependency:
    """Something that the exchange uses, as /health/ready tells it.

    Args:
        needed: Whether no order is taken without it.
    """

    name: str
    ok: bool
    needed: bool
    detail: str


@dataclass(frozen=True)
class Process:
    """A child of `up`."""

    name: str
    state: str
    pid: int | None
    uptime_seconds: int | None
    restarts: int
    last_exit_code: int | None

    @property
    def ok(self) -> bool:
        """Tell whether it runs and is ready."""
        return self.state == RUNNING


@dataclass(frozen=True)
class Shard:
    """How far one matching worker has come, and what it matches.

    Args:
        needed: Whether a worker is missed where there is none: not on a shard without instruments whose log is settled.
    """

    shard: int
    epoch: int
    log_head: int
    settled: int
    lag: int
    settled_at: str | None
    worker: str
    worker_alive: bool
    instruments: list[str]
    needed: bool


@dataclass(frozen=True)
class Reconciliation:
    """What the checks have found, and how far the continuous ones are behind.

    Args:
        seconds_ago: Since the last round of the continuous run; None before the first.
        behind: The most items that any check has not looked at yet.
    """

    seconds_ago: int | None
    last_full_at: str | None
    behind: int
    breaks: int


@dataclass(frozen=True)
class Holds:
    """Holds that may have been left behind: what waits for its answer, what was given back, what nobody can explain.

    Args:
        in_review: Orders that wait for a person, and hold their funds meanwhile.
        review_seconds: How long the oldest of them has waited.
    """

    waiting: int
    voided: int
    broken: int
    in_review: int
    review_seconds: int | None


@dataclass(frozen=True)
class Report:
    """Everything that `status` tells.

    Args:
        misplaced: What the configuration would put on another shard than it is on.
    """

    ok: bool
    takes_orders: bool
    running: bool
    url: str | None
    pid: int | None
    uptime_seconds: int | None
    data_dir: str
    processes: list[Process] = field(default_factory=list)
    dependencies: list[Dependency] = field(default_factory=list)
    shards: list[Shard] = field(default_factory=list)
    misplaced: list[str] = field(default_factory=list)
    reconciliation: Reconciliation | None = None
    holds: Holds | None = None
    versions: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON takes it."""
        return asdict(self)


def report(*, now: datetime) -> Report:
    """Look at the processes, the servers and the sequences."""
    body = status_file.read(settings.DATA_DIR) if folder.holder(settings.DATA_DIR) else None
    processes = [_process(child, now) for child in body["children"]] if body else []
    watched = dependencies.WATCH.look(ANSWER_SECONDS_MAX)
    found = [Dependency(name, *one) for name, one in watched.items()]
    shards, reconciliation, holds = _database(now)
    supervised = body is not None or not settings.EMBEDDED_POSTGRES
    ok = supervised and all(process.ok for process in processes) and all(one.ok for one in found)
    return Report(
        ok=ok,
        takes_orders=supervised and takes_orders(watched),
        running=body is not None,
        url=body["url"] if body else None,
        pid=body["pid"] if body else None,
        uptime_seconds=_seconds_since(datetime.fromisoformat(body["started_at"]), now) if body else None,
        data_dir=str(settings.DATA_DIR),
        processes=processes,
        dependencies=found,
        shards=shards,
        misplaced=_misplaced() if shards else [],
        reconciliation=reconciliation,
        holds=holds,
        versions=_versions(),
    )


def _seconds_since(moment: datetime, now: datetime) -> int:
    return int((now - moment).total_seconds())


def _process(child: dict[str, Any], now: datetime) -> Process:
    """Read one child from what the supervisor wrote."""
    begun_at = child["begun_at"]
    uptime = None if begun_at is None else max(0, int(now.timestamp() - begun_at))
    return Process(
        name=child["name"],
        state=child["state"],
        pid=child["pid"],
        uptime_seconds=uptime,
        restarts=child["restarts"],
        last_exit_code=child["last_exit_code"],
    )


def _database(now: datetime) -> tuple[list[Shard], Reconciliation | None, Holds | None]:
    """Ask PostgreSQL for every shard's sequences, what reconciliation has found, and what was swept; if it answers."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass('command_stream') IS NOT NULL")
            if not cursor.fetchone()[0]:
                return [], None, None
            cursor.execute(_SHARDS)
            shards = [_shard(row) for row in cursor.fetchall()]
        return shards, _reconciliation(now), _holds(now)
    except Error:
        return [], None, None
    finally:
        connection.close()


def _reconciliation(now: datetime) -> Reconciliation:
    found = reading.summary()
    ago = None if found.last_look_at is None else max(0, _seconds_since(found.last_look_at, now))
    full_at = None if found.last_full_at is None else found.last_full_at.isoformat()
    return Reconciliation(ago, full_at, found.behind, found.breaks)


def _holds(now: datetime) -> Holds:
    found = selectors.swept_holds()
    noted, asked, voided, broken = (
        found.by_state.get(str(state), 0)
        for state in (SweepState.NOTED, SweepState.ASKED, SweepState.VOIDED, SweepState.BROKEN)
    )
    waited = None if found.oldest_at is None else max(0, _seconds_since(found.oldest_at, now))
    return Holds(noted + asked, voided, broken, found.in_review, waited)


def _misplaced() -> list[str]:
    """Say where configuration and database disagree about shards."""
    try:
        return [str(one) for one in placing.disagreements()]
    except Error:
        return []
    finally:
        connection.close()


def _shard(row: tuple[Any, ...]) -> Shard:
    shard, epoch, head, settled, settled_at, owner, alive, symbols = row
    moment = None if settled_at is None else settled_at.isoformat()
    needed = shard == 0 or head > settled or bool(symbols)
    return Shard(shard, epoch, head, settled, head - settled, moment, owner, alive, symbols, needed)


def _versions() -> dict[str, str]:
    """Return the versions that matter when something is reported."""
    versions = {"python": platform.python_version(), "django": django.__version__}
    return versions | {name: metadata.version(name) for name in PACKAGES if name != "django"}
