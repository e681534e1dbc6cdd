"""What of a batch the feed and the metrics want to know."""

from collections import Counter
from typing import Final

import numpy as np

from exchange.observability import metrics
from marketdata import mirror
from marketdata import selectors as instruments
from matching_worker.outlet import Matched
from matching_worker.protocol import CommandKind, EventKind, Reason, Rows

# As plain integers: an array compared with a member of an enumeration asks that for attributes it has not.
_FILL: Final = int(EventKind.FILL)
_CANCELLED: Final = int(EventKind.CANCELLED)
_REJECTED: Final = int(EventKind.REJECTED)
_PLACE: Final = int(CommandKind.PLACE)
_USER: Final = int(Reason.USER)
_CANCEL_ALL: Final = int(Reason.CANCEL_ALL)
_TOLD: Final = list(mirror.TOLD)


def taken_marks(batch: Matched) -> Rows | None:
    """Return the commands that told prices and trade numbers, and that the engine took; None without one."""
    marks: Rows = batch.commands[np.isin(batch.commands["kind"], _TOLD)]
    if not len(marks):
        return None
    refused = batch.events["sequence"][batch.events["kind"] == _REJECTED]
    taken: Rows = marks[~np.isin(marks["sequence"], refused)]
    return taken


def count(batch: Matched) -> None:
    """Feed the metrics that the mission names, once a batch."""
    commands, events = batch.commands, batch.events
    fills = events[events["kind"] == _FILL]
    ended = events[events["kind"] == _CANCELLED]
    was_asked = (ended["reason"] == _USER) | (ended["reason"] == _CANCEL_ALL)
    placed = Counter(commands["instrument_id"][commands["kind"] == _PLACE].tolist())
    cancelled = Counter(ended["instrument_id"][was_asked].tolist())
    traded = Counter(fills["instrument_id"].tolist())
    lots: Counter[int] = Counter()
    for instrument_id, qty_lots in zip(fills["instrument_id"].tolist(), fills["qty_lots"].tolist(), strict=True):
        lots[instrument_id] += qty_lots
    for instrument_id in placed.keys() | cancelled.keys() | traded.keys():
        try:
            spec = instruments.instrument_by_id(instrument_id)
        except instruments.UnknownInstrumentError:  # the order was refused for it
            continue
        metrics.ORDERS_PROCESSED.labels(spec.symbol).inc(placed[instrument_id])
        metrics.ORDERS_CANCELLED.labels(spec.symbol).inc(cancelled[instrument_id])
        metrics.TRADES_EXECUTED.labels(spec.symbol).inc(traded[instrument_id])
        metrics.TRADE_VOLUME.labels(spec.symbol).inc(float(spec.lot_size) * lots[instrument_id])
