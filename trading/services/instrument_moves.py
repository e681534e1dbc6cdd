"""Moves an instrument to another shard, whole or not at all.

Note [Moving an instrument]
    What an engine knows of an instrument is its open orders, positions, last and mark price, trading state, and the
    number of its last trade. Orders do not move: the instrument has been halted, and what is open is cancelled by
    commands, as an operator does it. When everything about the instrument is settled, one transaction does the rest,
    holding both shards' settlement cursors, the instrument's row and both logs' heads (Note [Lock order]):

    1. It looks once more: nothing about the instrument waits in the old log, no order is open, no hold is being swept.
    2. The old log's engine is told to let go of the positions and to close the instrument; the new one's to take it
       over in the state that it is in: positions with their cost, trade number, last and mark price.
    3. The instrument's shard is changed, and the old log refuses its commands from now on (`command_stream.moved`).
       Who still trusts an older copy of the instrument gets a serialization failure, and reads anew.
    4. Both workers' leases are ended. The workers stop, or are fenced off; their successors recover and begin the feeds
       of the instruments that they have now. Both leases' epochs rise above both old ones, so that nothing of the old
       worker passes for newer than the new one's.

    Killed before that transaction commits, the instrument is where it was, perhaps without its orders; afterwards it is
    on the new shard. Repeating the command ends the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import structlog
from django.conf import settings
from django.db import OperationalError, transaction

from exchange import database
from exchange.kernel.clock import to_ns
from exchange.kernel.errors import DomainError, gettext_noop, require
from exchange.kernel.money import to_quanta
from marketdata import selectors as instruments
from marketdata import states
from marketdata.models import Instrument, InstrumentStatus
from marketdata.units import InstrumentSpec
from matching_worker.protocol import CommandKind, OrderFlag, TradingState
from trading import selectors
from trading.services import cancel_all, command_log
from trading.services.command_log import CommandRow
from trading.sweeping import SweepState

logger = structlog.get_logger(__name__)

STILL: Final = {InstrumentStatus.HALTED, InstrumentStatus.CLOSED}
"""States in which nothing trades, so that orders and positions stand still."""
READ_MAX: Final = 10_000
COST_QUANTA_MAX: Final = 2**63 - 1

_CURSORS: Final = "SELECT shard, sequence FROM settlement_cursor WHERE shard = ANY(%s) ORDER BY shard FOR UPDATE"
_INSTRUMENT: Final = "SELECT shard, status FROM marketdata_instrument WHERE id = %s FOR NO KEY UPDATE"
_HEADS: Final = "SELECT shard, sequence FROM command_stream WHERE shard = ANY(%s) ORDER BY shard FOR UPDATE"
_OPEN: Final = """
SELECT EXISTS (SELECT FROM orders WHERE instrument_id = %s AND status IN ('new', 'partial_filled', 'untriggered'))
    OR EXISTS (SELECT FROM hold_sweeps WHERE instrument_id = %s AND state = ANY(%s))
"""
_POSITIONS: Final = (
    "SELECT user_id, quantity, open_cost FROM positions WHERE instrument_id = %s AND quantity <> 0 ORDER BY user_id"
)
_STATE: Final = """
SELECT (SELECT max(number) FROM trades WHERE instrument_id = %s), s.last_price, s.mark_price
FROM (SELECT) one LEFT JOIN instrument_state s ON s.instrument_id = %s
"""
_ROUTE: Final = "UPDATE marketdata_instrument SET shard = %s WHERE id = %s"
_LEAVE: Final = "UPDATE command_stream SET moved = array_append(array_remove(moved, %s), %s) WHERE shard = %s"
_ENTER: Final = "UPDATE command_stream SET moved = array_remove(moved, %s) WHERE shard = %s"
_NOTE: Final = """
INSERT INTO instrument_moves
    (instrument_id, symbol, from_shard, from_sequence, to_shard, to_sequence, positions, moved_at)
SELECT %s, %s, f.shard, f.sequence, t.shard, t.sequence, %s, %s
FROM command_stream f JOIN command_stream t ON f.shard = %s AND t.shard = %s
RETURNING from_sequence, to_sequence
"""
_FENCE: Final = """
WITH top AS (SELECT max(epoch) + 1 AS epoch FROM worker_lease WHERE shard = ANY(%s)), ended AS (
    UPDATE worker_lease SET epoch = top.epoch, expires_at = now() FROM top WHERE shard = ANY(%s)
)
UPDATE settlement_cursor SET epoch = top.epoch FROM top WHERE shard = ANY(%s)
"""

REASON_STATE: Final = gettext_noop("it must be halted or closed first")
REASON_SHARD: Final = gettext_noop("no worker matches that shard")


class InstrumentNotMovableError(DomainError):
    """An instrument cannot go to that shard."""

    code = 3065
    name = "INSTRUMENT_NOT_MOVABLE"
    status = 409
    message = gettext_noop("%(symbol)s cannot be moved to shard %(shard)s: %(reason)s.")


@dataclass(frozen=True, slots=True)
class Moved:
    """What a move did.

    Attributes:
        from_sequence: The last command about the instrument in the log that it left; `to_sequence` likewise the last by
            which the new shard's engine took it over.
    """

    from_shard: int
    to_shard: int
    from_sequence: int
    to_sequence: int
    positions: int


def check(symbol: str, to: int) -> InstrumentSpec | None:
    """Return an instrument that may be moved there; None when it is there already.

    Raises:
        UnknownInstrumentError: There is no such instrument.
        InstrumentNotMovableError: It is not halted, or no worker matches that shard.
    """
    spec = instruments.instrument(symbol)
    row = Instrument.objects.get(pk=spec.id)
    if row.shard == to:
        return None
    there = [item for item in selectors.lag() if item.shard == to]
    if not there or (to >= settings.SHARDS and not there[0].lease_owner):
        raise InstrumentNotMovableError(symbol=symbol, shard=to, reason=REASON_SHARD)
    if row.status not in STILL:
        raise InstrumentNotMovableError(symbol=symbol, shard=to, reason=REASON_STATE)
    return spec


def ask_for_cancels(spec: InstrumentSpec, *, now: datetime) -> int:
    """Ask for the cancel of what is open on the instrument, once; return how many orders."""
    waiting = selectors.open_order_ids(spec, owner_id=None)
    if not waiting and not selectors.in_review(owner_id=None, spec=spec):
        return 0
    return cancel_all.by_operator(spec.symbol, now=now)


def attempt(spec: InstrumentSpec, to: int, *, now: datetime) -> Moved | None:
    """Move the instrument if everything about it is settled; None, and nothing is changed, if not yet.

    Raises:
        InstrumentNotMovableError: It is not halted any more.
    """
    [here] = [item for item in selectors.lag() if item.shard == spec.shard]
    if _is_waiting(spec, here.settled_sequence, here.log_sequence):  # before anybody has to wait for us
        return None
    try:
        with transaction.atomic():
            moved = _move(spec, to, now)
    except OperationalError as error:
        if not database.is_undone(error):
            raise
        return None
    if moved is not None:
        Instrument.revision += 1
        logger.info("instrument_moved", symbol=spec.symbol, from_shard=moved.from_shard, to_shard=to)
    return moved


def _move(spec: InstrumentSpec, to: int, now: datetime) -> Moved | None:
    """Do all of it in the caller's transaction; None, and nothing is changed, if it must wait."""
    both = [spec.shard, to]
    cursors = dict(database.fetch((_CURSORS, (both,)))[0])
    [[(shard, status)]] = database.fetch((_INSTRUMENT, (spec.id,)))
    require(shard == spec.shard, f"{spec.symbol} is on shard {shard} by now")
    if status not in STILL:
        raise InstrumentNotMovableError(symbol=spec.symbol, shard=to, reason=REASON_STATE)
    heads = dict(database.fetch((_HEADS, (both,)))[0])
    going = [str(SweepState.NOTED), str(SweepState.ASKED)]
    [[(is_open,)]] = database.fetch((_OPEN, (spec.id, spec.id, going)))
    if is_open or _is_waiting(spec, cursors[shard], heads[shard]):
        return None
    positions = database.fetch((_POSITIONS, (spec.id,)))[0]
    [[(trades, last_price, mark_price)]] = database.fetch((_STATE, (spec.id, spec.id)))
    command_log.append(shard, _farewell(spec, positions, now), now=now)
    state = states.ENGINE_STATES[InstrumentStatus(status)]
    arrival = _arrival(spec, state, positions, trades or 0, (last_price, mark_price), now)
    database.execute(_ENTER, spec.id, to)
    command_log.append(to, arrival, now=now)
    database.execute(_ROUTE, to, spec.id)
    database.execute(_LEAVE, spec.id, spec.id, shard)
    [[(left, entered)]] = database.fetch((_NOTE, (spec.id, spec.symbol, len(positions), now, shard, to)))
    database.execute(_FENCE, both, both, both)
    return Moved(shard, to, left, entered, len(positions))


def _is_waiting(spec: InstrumentSpec, settled: int, head: int) -> bool:
    """Tell whether a command about the instrument is in the log that is not settled."""
    while settled < head:
        commands, _ = command_log.read(spec.shard, settled, READ_MAX)
        if spec.id in commands["instrument_id"]:
            return True
        settled = int(commands["sequence"][-1])
    return False


def _farewell(spec: InstrumentSpec, positions: Sequence[tuple[Any, ...]], now: datetime) -> list[CommandRow]:
    """Return what the old engine is told: the positions are no longer here, and nothing is taken any more."""
    gone = [_position(spec, user_id, -quantity, -cost, now) for user_id, quantity, cost in positions]
    return [*gone, _row(spec, CommandKind.SET_STATE, now, qty_lots=TradingState.CLOSED)]


def _arrival(
    spec: InstrumentSpec,
    state: TradingState,
    positions: Sequence[tuple[Any, ...]],
    trades: int,
    prices: tuple[Decimal | None, Decimal | None],
    now: datetime,
) -> list[CommandRow]:
    """Return what the new engine is told: everything that the old one knew.

    Args:
        trades: The number of the last trade.
        prices: The last and the mark price; None before the first of each.
    """
    reference = spec.price_to_ticks(spec.reference_price)
    flags = OrderFlag.CONTRACT if spec.is_contract else 0
    rows = [
        _row(spec, CommandKind.SET_STATE, now, qty_lots=state, price_ticks=reference, flags=flags),
        _row(spec, CommandKind.TRADE_NUMBER, now, qty_lots=trades),
    ]
    rows += [
        _row(spec, kind, now, price_ticks=spec.price_to_ticks(price))
        for kind, price in zip((CommandKind.LAST_PRICE, CommandKind.MARK_PRICE), prices, strict=True)
        if price is not None
    ]
    return rows + [_position(spec, user_id, quantity, cost, now) for user_id, quantity, cost in positions]


def _position(spec: InstrumentSpec, user_id: int, quantity: Decimal, cost: Decimal, now: datetime) -> CommandRow:
    """Return the command that moves a position; its cost, in quanta, is for who follows the log, not for the engine."""
    quanta = to_quanta(cost, spec.quote_decimals)
    require(abs(quanta) <= COST_QUANTA_MAX, f"the position of user {user_id} in {spec.symbol} costs {cost}")
    lots = spec.signed_lots(quantity)
    return _row(spec, CommandKind.POSITION_ADJUST, now, trader_id=user_id, qty_lots=lots, quote_lots=quanta)


def _row(spec: InstrumentSpec, kind: CommandKind, now: datetime, *, trader_id: int = 0, **columns: int) -> CommandRow:
    """Return a command about an instrument."""
    return CommandRow(
        kind=kind,
        instrument_id=spec.id,
        order_id=0,
        trader_id=trader_id,
        timestamp_ns=to_ns(now),
        side=0,
        order_type=0,
        time_in_force=0,
        **columns,
    )
