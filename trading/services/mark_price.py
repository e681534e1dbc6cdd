"""The only writer of mark prices: the table and the engine learn of one by the same transaction.

A mark price is what an instrument is worth by the exchange's own reckoning, for triggers that a single trade shall not
set off. Whoever reckons it hands it in here, whole batches at a time; today that is an operator.

The row of an instrument is locked until its command is in the log, so the price stored is always the log's last, and an
order whose admission saw a mark price comes after it in the log.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

import structlog
from django.db import OperationalError

from exchange import database
from exchange.kernel.clock import to_ns
from exchange.kernel.errors import DomainError, require
from exchange.kernel.money import plain
from exchange.observability.tracing import current_trace
from marketdata import selectors as instruments
from marketdata.models import Instrument
from marketdata.units import InstrumentSpec
from matching_worker.protocol import CommandKind
from trading.services import command_log, outbox
from trading.services.command_log import CommandRow
from trading.wire import moment

logger = structlog.get_logger(__name__)

BATCH_MAX = 1000
"""Prices in one transaction."""

_STORE = """
INSERT INTO instrument_state (instrument_id, mark_price, marked_at)
SELECT *, %s FROM unnest(%s::smallint[], %s::numeric[])
ON CONFLICT (instrument_id) DO UPDATE SET mark_price = excluded.mark_price, marked_at = excluded.marked_at
"""


class MarkPrice(NamedTuple):
    """What an instrument is worth, in major units: a whole number of ticks."""

    symbol: str
    price: Decimal


def publish(prices: Sequence[MarkPrice], *, now: datetime) -> list[InstrumentSpec | DomainError]:
    """Store mark prices and queue the commands that tell the engine; triggers fire when it reads them.

    Statements: one, and one a shard. A price that is refused is that item's result; the others stand.

    Args:
        prices: At most BATCH_MAX, oldest first: of several for one instrument the last remains.

    Returns:
        For each item its instrument, or the refusal: no such instrument, or no whole number of ticks.
    """
    require(len(prices) <= BATCH_MAX, f"{len(prices)} mark prices in one batch")
    results = [_checked(item) for item in prices]
    accepted = [
        (result, item.price) for result, item in zip(results, prices, strict=True) if isinstance(result, InstrumentSpec)
    ]
    if not accepted:
        return results
    try:
        _write(accepted, now)
    except OperationalError as error:
        if not database.is_stale(error):
            raise
        Instrument.revision += 1  # an instrument has moved to another shard: read all anew
        _write([(instruments.instrument_by_id(spec.id), price) for spec, price in accepted], now)
    for spec, price in accepted:
        logger.info("mark_price", symbol=spec.symbol, price=plain(price))
    return results


def _write(accepted: Sequence[tuple[InstrumentSpec, Decimal]], now: datetime) -> None:
    """Store prices, and append them to the logs of their instruments, in one transaction."""
    last = {spec.id: price for spec, price in accepted}
    commands: dict[int, list[CommandRow]] = {}
    for spec, price in accepted:
        commands.setdefault(spec.shard, []).append(_command(spec, price, now))
    with database.pipelined_transaction():
        database.execute(_STORE, now, *database.columns(sorted(last.items()), 2))
        for shard, rows in sorted(commands.items()):
            command_log.append(shard, rows, now=now)
        outbox.store([_updated(spec, price, now) for spec, price in accepted], now)


def _checked(item: MarkPrice) -> InstrumentSpec | DomainError:
    """Return the instrument of a price that it can have, or why it cannot."""
    try:
        spec = instruments.instrument(item.symbol)
        spec.price_to_ticks(item.price)
    except DomainError as refusal:
        return refusal
    return spec


def _updated(spec: InstrumentSpec, price: Decimal, now: datetime) -> outbox.DomainEvent:
    """Return the domain event of a mark price."""
    told: dict[str, object] = {
        "symbol": spec.symbol,
        "mark_price": plain(price),
        "marked_at": moment(now),
        "trace": current_trace(),
    }
    return ("instrument", spec.symbol, "MarkPriceUpdated", told)


def _command(spec: InstrumentSpec, price: Decimal, now: datetime) -> CommandRow:
    """Return the command that tells the engine a mark price."""
    return CommandRow(
        kind=CommandKind.MARK_PRICE,
        instrument_id=spec.id,
        order_id=0,
        trader_id=0,
        timestamp_ns=to_ns(now),
        side=0,
        order_type=0,
        time_in_force=0,
        price_ticks=spec.price_to_ticks(price),
    )
