"""Opens, halts, closes and auctions instruments: the table and the engine change by one transaction and one command."""

from collections.abc import Collection, Sequence
from datetime import datetime

from exchange import database
from exchange.kernel.clock import to_ns
from marketdata import selectors as instruments
from marketdata import states
from marketdata.models import Instrument, InstrumentStatus
from marketdata.units import InstrumentSpec
from matching_worker.protocol import CommandKind, OrderFlag
from trading.services import command_log
from trading.services.command_log import CommandRow

CALLS = {InstrumentStatus.PRE_OPEN, InstrumentStatus.AUCTION}
"""States in which orders gather without trading; leaving one for trading or the close uncrosses them at one price."""

_LOCK = "SELECT status, shard FROM marketdata_instrument WHERE id = %s FOR NO KEY UPDATE"
_SET = "UPDATE marketdata_instrument SET status = %s WHERE id = %s"


def change(symbol: str, status: InstrumentStatus, *, now: datetime) -> InstrumentStatus:
    """Bring an instrument into a state; return the one it was in. The state it is in already changes nothing.

    Web processes see it within a second; commands that are ahead in the log are still matched as before.

    Raises:
        UnknownInstrumentError: There is no such instrument.
    """
    spec = instruments.instrument(symbol)
    with database.pipelined_transaction():
        [was] = change_within([spec], status, now=now)
    Instrument.revision += 1
    return was


def change_within(
    specs: Sequence[InstrumentSpec],
    status: InstrumentStatus,
    *,
    now: datetime,
    only_from: Collection[InstrumentStatus] = tuple(InstrumentStatus),
) -> list[InstrumentStatus]:
    """Do the same to instruments in the caller's transaction, whose last act it must be.

    The instruments are locked by id, and then the heads of their streams. The caller lets processes read instruments
    anew.

    Args:
        only_from: Instruments in other states stay in them.

    Returns:
        The states before, in the order of `specs`.
    """
    before: dict[int, InstrumentStatus] = {}
    rows: dict[int, list[CommandRow]] = {}
    for spec in sorted(specs, key=lambda item: item.id):
        [[(found, shard)]] = database.fetch((_LOCK, (spec.id,)))
        was = before[spec.id] = InstrumentStatus(found)
        if was != status and was in only_from:
            database.execute(_SET, status.value, spec.id)
            rows.setdefault(shard, []).extend(_commands(spec, was, status, now))
    for shard, commands in sorted(rows.items()):
        command_log.append(shard, commands, now=now)
    return [before[spec.id] for spec in specs]


def _commands(spec: InstrumentSpec, was: InstrumentStatus, status: InstrumentStatus, now: datetime) -> list[CommandRow]:
    """Return what the engine is told; a call that ends in trading or in the close is uncrossed.

    Note [Reopening]
        An instrument that is halted during a call keeps a book whose buys may reach its sells, and the engine refuses
        to let such a book trade continuously: the table would say TRADING and the engine would not. So what stood still
        becomes a call for a moment; from there a book that is not crossed goes on as it is, reductions in it included,
        and one that is crossed refuses that, and is uncrossed. Of the last two commands the engine always refuses one:
        when it trades already, there is no call to end.
    """
    if was in CALLS and status in {InstrumentStatus.TRADING, InstrumentStatus.CLOSED}:
        return [_command(spec, CommandKind.UNCROSS, status, now)]
    if status == InstrumentStatus.TRADING:
        return [
            _command(spec, CommandKind.SET_STATE, InstrumentStatus.AUCTION, now),
            _command(spec, CommandKind.SET_STATE, status, now),
            _command(spec, CommandKind.UNCROSS, status, now),
        ]
    return [_command(spec, CommandKind.SET_STATE, status, now)]


def _command(spec: InstrumentSpec, kind: CommandKind, status: InstrumentStatus, now: datetime) -> CommandRow:
    """Return a command that brings an instrument into a state."""
    return CommandRow(
        kind=kind,
        instrument_id=spec.id,
        order_id=0,
        trader_id=0,
        timestamp_ns=to_ns(now),
        side=0,
        order_type=0,
        time_in_force=0,
        price_ticks=spec.price_to_ticks(spec.reference_price),
        qty_lots=states.ENGINE_STATES[status],
        flags=OrderFlag.CONTRACT if spec.is_contract else 0,
    )
