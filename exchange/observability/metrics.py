"""Every metric of the exchange, declared once; web and worker processes serve this registry at /metrics."""

from collections.abc import Callable

import structlog
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

logger = structlog.get_logger(__name__)

ON_SCRAPE: list[Callable[[], None]] = []
"""What upper layers measure only when somebody asks. One that fails keeps its last values."""

disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = CollectorRegistry()
for _collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
    REGISTRY.register(_collector)

CONTENT_TYPE = CONTENT_TYPE_LATEST
STAGE_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
MATCHING_BUCKETS_US = (1, 5, 10, 25, 50, 100, 250, 500, 1000)

# --- Orders: T1 (web) and matching (worker) ------------------------------------------------------
ORDERS_RECEIVED = Counter(
    "exchange_orders_received", "Orders asked for, accepted or not.", ["symbol"], registry=REGISTRY
)
ORDERS_PROCESSED = Counter(
    "exchange_orders_processed", "Orders that the engine has taken in.", ["symbol"], registry=REGISTRY
)
ORDERS_CANCELLED = Counter(
    "exchange_orders_cancelled", "Orders taken off by their owners or by operators.", ["symbol"], registry=REGISTRY
)
TRADES_EXECUTED = Counter("exchange_trades_executed", "Matches made.", ["symbol"], registry=REGISTRY)
TRADE_VOLUME = Counter(
    "exchange_trade_volume",
    "Quantity traded, in the base asset; for charts, not for the books.",
    ["symbol"],
    registry=REGISTRY,
)
MATCHING_THROUGHPUT = Gauge(
    "exchange_matching_throughput", "Commands a second through the engine, lately.", ["shard"], registry=REGISTRY
)
MATCHING_LATENCY = Histogram(
    "exchange_matching_latency_microseconds",
    "Time in the engine for each command.",
    ["shard"],
    buckets=MATCHING_BUCKETS_US,
    registry=REGISTRY,
)
ORDERBOOK_DEPTH = Gauge(
    "exchange_orderbook_depth", "Price levels that stand in a book.", ["symbol", "side"], registry=REGISTRY
)

# --- Stages of the road --------------------------------------------------------------------------
STAGE_SECONDS = Histogram(
    "exchange_stage_seconds",
    "Time of one batch in a stage: turnstile (before T1), admission (T1), read, wal, engine, publish, settlement (T2).",
    ["stage"],
    buckets=STAGE_BUCKETS_S,
    registry=REGISTRY,
)
FSYNC_SECONDS = Histogram(
    "exchange_wal_fsync_seconds", "Time of one fsync of the WAL.", buckets=STAGE_BUCKETS_S, registry=REGISTRY
)
DOOR_SECONDS = Histogram(
    "exchange_door_seconds",
    "Time that one batch held the ledger's door.",
    buckets=STAGE_BUCKETS_S,
    registry=REGISTRY,
)
ORDERS_HELD_OFF = Counter(
    "exchange_orders_held_off_total",
    "Orders and amends refused for a while because too much waited: of the shard, or of the trader.",
    ["limit"],
    registry=REGISTRY,
)
SETTLEMENT_LAG = Gauge(
    "exchange_settlement_lag_commands",
    "Commands in the log that are not in the books yet.",
    ["shard"],
    registry=REGISTRY,
)

STANDBY_BEHIND = Gauge(
    "exchange_standby_behind", "Commands of the log that a waiting worker has not applied yet.", ["shard"],
    registry=REGISTRY,
)  # fmt: skip
TAKEOVER_SECONDS = Gauge(
    "exchange_takeover_seconds",
    "How long a shard had no worker when this one took it over, since the last sign of life of the one before.",
    ["shard"],
    registry=REGISTRY,
)

# --- Reconciliation: read from the database when Prometheus asks, and equal in every web process ----------
RECONCILIATION_BREAKS = Gauge(
    "exchange_reconciliation_breaks", "Breaks that are not resolved.", ["check"], registry=REGISTRY
)
RECONCILIATION_BEHIND = Gauge(
    "exchange_reconciliation_behind",
    "Entries, trades or commands that a check has not looked at yet.",
    ["check"],
    registry=REGISTRY,
)
RECONCILIATION_LOOK_AGE = Gauge(
    "exchange_reconciliation_look_age_seconds", "Since a check last looked.", ["check"], registry=REGISTRY
)

# --- Holds: read from the database when Prometheus asks ------------------------------------------
HOLD_SWEEPS = Gauge(
    "exchange_hold_sweeps",
    "Orders that the sweeper has looked at because of a hold or a reservation, by where that stands.",
    ["state"],
    registry=REGISTRY,
)

# --- Dependencies: asked by web processes when Prometheus asks, and by the worker of its own disk ---------
DEPENDENCY_UP = Gauge(
    "exchange_dependency_up",
    "1 while something that the process depends on is well: the names of /health/ready.",
    ["dependency"],
    registry=REGISTRY,
)
ORDERS_TAKEN = Gauge("exchange_orders_taken", "1 while orders are taken: /health/ready answers 200.", registry=REGISTRY)
WAL_FREE_BYTES = Gauge(
    "exchange_wal_free_bytes", "Free space on the disk of the worker's WAL.", ["shard"], registry=REGISTRY
)

# --- HTTP ----------------------------------------------------------------------------------------
HTTP_SECONDS = Histogram(
    "exchange_http_request_seconds",
    "Time of one HTTP request.",
    ["method", "route", "status"],
    buckets=STAGE_BUCKETS_S,
    registry=REGISTRY,
)
CALLS_HELD_OFF = Counter(
    "exchange_calls_held_off", "Calls of the API refused because too many waited in the process.", registry=REGISTRY
)


def measure() -> None:
    """Measure what is only measured when somebody asks; for web processes, which may ask the database."""
    for ask in ON_SCRAPE:
        try:
            ask()
        except Exception:
            logger.warning("metric_not_measured", exc_info=True)


def exposition() -> bytes:
    """Return all metrics of this process in Prometheus' text form."""
    return generate_latest(REGISTRY)
