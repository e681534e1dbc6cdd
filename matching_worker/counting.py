"""What of a batch the feed and the metrics want to know."""

import numpy as np

from exchange.observability import metrics
from marketdata import mirror
from marketdata import selectors as instruments
from matching_worker.outlet import Matched
from matching_worker.protocol import CommandKind, EventKind, Reason, Rows


def taken_marks(batch: Matched) -> Rows | None:
    """Return the commands that told prices and trade numbers, and that the engine took; None without one."""
    marks: Rows = batch.commands[np.isin(batch.commands["kind"], list(mirror.TOLD))]
    if not len(marks):
        return None
    refused = batch.events["sequence"][batch.events["kind"] == EventKind.REJECTED]
    taken: Rows = marks[~np.isin(marks["sequence"], refused)]
    return taken


def count(batch: Matched) -> None:
    """Feed the metrics that the mission names, once a batch."""
    commands, events = batch.commands, batch.events
    for instrument_id in np.unique(events["instrument_id"]).tolist():
        own = events[events["instrument_id"] == instrument_id]
        fills = own[own["kind"] == EventKind.FILL]
        placed = commands[(commands["instrument_id"] == instrument_id) & (commands["kind"] == CommandKind.PLACE)]
        cancelled = own[(own["kind"] == EventKind.CANCELLED) & np.isin(own["reason"], (Reason.USER, Reason.CANCEL_ALL))]
        if not len(fills) + len(placed) + len(cancelled):  # a command of the system's, perhaps for all instruments
            continue
        try:
            spec = instruments.instrument_by_id(instrument_id)
        except instruments.UnknownInstrumentError:  # the order was refused for it
            continue
        metrics.ORDERS_PROCESSED.labels(spec.symbol).inc(len(placed))
        metrics.ORDERS_CANCELLED.labels(spec.symbol).inc(len(cancelled))
        metrics.TRADES_EXECUTED.labels(spec.symbol).inc(len(fills))
        metrics.TRADE_VOLUME.labels(spec.symbol).inc(float(spec.lot_size) * int(fills["qty_lots"].sum()))
