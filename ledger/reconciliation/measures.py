"""Puts reconciliation into the metrics, whenever Prometheus asks a web process."""

from exchange.kernel.clock import utc_now
from exchange.observability import metrics
from ledger.reconciliation import reading


def measure() -> None:
    """Set the gauges of every check from marks and breaks. Two statements."""
    for report in reading.reports(now=utc_now()):
        name = report.check.name
        metrics.RECONCILIATION_BREAKS.labels(name).set(report.breaks)
        metrics.RECONCILIATION_BEHIND.labels(name).set(report.behind)
        if report.seconds_ago is not None:
            metrics.RECONCILIATION_LOOK_AGE.labels(name).set(report.seconds_ago)
