"""Cancels all open orders of a trader, or of an instrument: with one command where they are few, else one by one.

Note [One command or many]
    CANCEL_ALL takes effect at one point of the log and costs one row of it, however many orders it ends. But settlement
    cannot cut a command in two, and keeps the gates of all traders concerned and the ledger's door for all its events:
    10,000 orders took 3.7 s and kept the door for 0.6 s, where it shall be free again after 25 ms. Below TOGETHER_MAX
    orders one command is the quicker way for everybody; from there on each order gets a cancel of its own, which the
    engine finds by its id, and which settlement takes in parts of whatever size is good.
"""

from collections.abc import Sequence
from datetime import datetime

import structlog

from exchange import database
from exchange.kernel.clock import to_ns
from exchange.kernel.errors import require
from ledger.services import accounts
from marketdata import selectors as instruments
from marketdata.units import InstrumentSpec
from matching_worker.protocol import OPEN_ORDERS_MAX, CommandKind
from risk.services import limits
from trading import selectors
from trading.services import command_log, review
from trading.services.command_log import CommandRow

logger = structlog.get_logger(__name__)

TOGETHER_MAX = 400
"""Fewer orders than these are ended by one CANCEL_ALL: what settlement puts through the ledger's door in 25 ms."""
APPEND_MAX = 1000
"""Commands in one append: the log's head is kept for them."""
PARTS_MAX = OPEN_ORDERS_MAX // TOGETHER_MAX + 1
"""Transactions for one request: a trader who places orders all the while is not followed for ever."""

ANY = 0
"""In a command: any trader, any instrument."""

_ASK = """
UPDATE orders o SET cancel_requested_at = %s
FROM (SELECT id, created_at FROM orders
      WHERE user_id = %s AND (%s::smallint IS NULL OR instrument_id = %s) AND cancel_requested_at IS NULL
        AND status IN ('new', 'partial_filled', 'untriggered')
      ORDER BY id LIMIT %s) f
WHERE o.id = f.id AND o.created_at = f.created_at
RETURNING o.id, o.instrument_id
"""


def of_trader(owner_id: int, symbol: str | None = None, *, now: datetime) -> int:
    """Ask for the cancel of all of a trader's open orders, on one instrument or on all.

    Orders that wait for review end at once. One that was asked for before is not asked for again. Statements: four, and
    one a shard, for every TOGETHER_MAX orders.

    Returns:
        How many orders were asked for; the engine may find that some have filled meanwhile.

    Raises:
        UnknownInstrumentError: There is no such instrument.
    """
    require(owner_id > 0, f"{owner_id} is no trader")
    spec = None if symbol is None else instruments.instrument(symbol)
    count = review.withdraw(selectors.in_review(owner_id=owner_id, spec=spec), reason="USER", now=now)
    for _ in range(PARTS_MAX):
        asked = _ask(owner_id, spec, now)
        count += asked
        if asked < TOGETHER_MAX:
            break
    return count


def _ask(owner_id: int, spec: InstrumentSpec | None, now: datetime) -> int:
    """Ask for a trader's oldest orders, under the trader's gate; return how many: TOGETHER_MAX may not be all."""
    spec_id = None if spec is None else spec.id
    with database.pipelined_transaction():
        accounts.lock([owner_id])
        found, limit_rows = database.fetch(
            (_ASK, (now, owner_id, spec_id, spec_id, TOGETHER_MAX)), limits.load_statement([owner_id])
        )
        if not found:
            return 0
        counters = limits.from_rows(limit_rows)
        counters[owner_id].count_cancels(len(found), now.date())
        limits.save(counters.values())
        for shard, rows in sorted(_asked(owner_id, spec, found, now).items()):
            command_log.append(shard, rows, now=now)
    return len(found)


def _asked(
    owner_id: int, spec: InstrumentSpec | None, found: Sequence[tuple[int, int]], now: datetime
) -> dict[int, list[CommandRow]]:
    """Return the commands of each shard: one if these are all of the trader's orders, else one for each."""
    commands: dict[int, list[CommandRow]] = {}
    for order_id, instrument_id in sorted(found):
        own = instruments.instrument_by_id(instrument_id)
        rows = commands.setdefault(own.shard, [])
        if len(found) == TOGETHER_MAX:
            rows.append(_row(CommandKind.CANCEL, own.id, owner_id, order_id, now))
        elif not rows:
            rows.append(_row(CommandKind.CANCEL_ALL, ANY if spec is None else spec.id, owner_id, 0, now))
    return commands


def by_operator(symbol: str, *, owner_id: int | None = None, now: datetime) -> int:
    """Ask for the cancel of all open orders on an instrument, or of one trader's there.

    Traders go on placing orders meanwhile; who wants none to be left halts the instrument first.

    Returns:
        How many orders were asked for.

    Raises:
        UnknownInstrumentError: There is no such instrument.
    """
    spec = instruments.instrument(symbol)
    count = review.withdraw(selectors.in_review(owner_id=owner_id, spec=spec), reason="OPERATOR", now=now)
    order_ids = selectors.open_order_ids(spec, owner_id=owner_id)
    if owner_id is None and 0 < len(order_ids) < TOGETHER_MAX:
        rows = [_row(CommandKind.CANCEL_ALL, spec.id, ANY, 0, now)]
    else:
        rows = [_row(CommandKind.CANCEL, spec.id, ANY, order_id, now) for order_id in order_ids]
    for start in range(0, len(rows), APPEND_MAX):
        with database.pipelined_transaction():
            command_log.append(spec.shard, rows[start : start + APPEND_MAX], now=now)
    count += len(order_ids)
    logger.info("orders_cancelled_by_operator", symbol=spec.symbol, user_id=owner_id, count=count)
    return count


def _row(kind: CommandKind, instrument_id: int, trader_id: int, order_id: int, now: datetime) -> CommandRow:
    """Return a command that cancels."""
    return CommandRow(
        kind=kind,
        instrument_id=instrument_id,
        order_id=order_id,
        trader_id=trader_id,
        timestamp_ns=to_ns(now),
        side=0,
        order_type=0,
        time_in_force=0,
    )
