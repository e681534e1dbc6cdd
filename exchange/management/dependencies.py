"""What the exchange depends on, for /health, /metrics and `manage.py status`: asked here, shown there."""

from collections.abc import Mapping
from typing import Final

from django.conf import settings

from exchange.kernel.clock import utc_now
from exchange.observability import health
from exchange.observability.health import Check, Dependency
from ledger.services import office_rounds
from matching_worker import disk
from trading import selectors
from trading.selectors import ShardLag

WITHOUT: Final = {
    "postgres": "no order, no sign-in, no page of an account; 503 until it answers",
    "migrations": "no order; run `manage.py migrate`",
    "room": "no new order and no amend (429); cancels and reductions are taken",
    "worker": "orders are taken and not matched",
    "back_office": "withdrawals, deposits, margin removal and decisions of staff wait",
    "redis": "no pushes, no limits on requests, no background work; orders are taken and matched",
    "wal_disk": "when it is full the worker stops; orders are taken and not matched",
}
"""What stops without it; deploy/README.md has the whole table."""


def workers() -> Mapping[str, Check]:
    """Tell of each shard whether a worker has its lease, and how far the books are behind its log."""
    return {f"worker_shard_{shard.shard}": _worker(shard) for shard in selectors.lag()}


def _worker(shard: ShardLag) -> Check:
    """Tell of one shard."""
    behind = f"{shard.lag} commands behind"
    if shard.lease_owner:
        return Check(ok=True, detail=behind)
    return Check(ok=False, detail=f"no worker, {behind}") if shard.is_needed else Check(ok=True, detail="not needed")


def room() -> Check:
    """Tell whether any shard takes new orders: `trading/services/pressure.py`."""
    lags = {shard.shard: shard.lag for shard in selectors.lag() if shard.is_needed}
    full = [shard for shard, lag in lags.items() if lag >= settings.SHARD_LAG_MAX]
    detail = f"full: shard {', '.join(map(str, full))}" if full else ""
    return Check(ok=not lags or len(full) < len(lags), detail=detail)


def back_office() -> Check:
    """Tell whether the back office works, and what waits for it."""
    found, now = office_rounds.standing(), utc_now()
    ago = found.seconds_ago(now)
    seen = "has not worked yet" if ago is None else f"worked {ago} s ago"
    waiting = "".join(f", {count} {name} wait" for name, count in found.waiting.items())
    return Check(ok=not found.is_late(now) and (ago is not None or not found.waiting), detail=seen + waiting)


def wal_disk() -> Check:
    """Tell whether the WAL's disk has room; only where it is on this machine."""
    free = disk.free_bytes(settings.WAL_DIR)
    if free is None:
        return Check(ok=True, detail="not on this machine")
    return Check(ok=free >= disk.FREE_BYTES_MIN, detail=f"{free // 2**20} MB free")


WATCH: Final = health.Watch(
    (
        *health.DATABASE,
        Dependency("room", room, is_needed=True),
        Dependency("worker", workers),
        Dependency("back_office", back_office),
    ),
    health.REDIS,
    (Dependency("wal_disk", wal_disk),),
)
