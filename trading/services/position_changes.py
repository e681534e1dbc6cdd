"""What traders ask of their positions besides trading: another leverage, more margin, less margin.

Note [Margin waits for the logs]
    Margin is added at once. Taking it out must not overtake fills that are matched but not settled yet: a request
    therefore notes how far the logs reach (under the trader's gate, so that nothing of this trader can be appended
    meanwhile), and waits until settlement has passed these heads. The web's database role may not post what lets margin
    out; the back office does (`margin_removals.py`), judging anew by the position and the mark price of that moment.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson

from exchange import database
from exchange.kernel.money import to_quanta
from exchange.observability.tracing import current_trace
from ledger.services import accounts, back_office
from risk import contract_margin
from trading import errors
from trading.margin_models import MarginDirection, MarginRequest, MarginState
from trading.position_state import Change
from trading.services import log_heads, position_desk
from trading.services.position_desk import PositionDesk

_COLUMNS = (
    "id, user_id, instrument_id, symbol, direction, amount, client_margin_id, state, reason, trace, requested_at,"
    " ended_at"
)
_KNOWN = f"SELECT {_COLUMNS} FROM margin_requests WHERE user_id = %s AND client_margin_id = %s"
_INSERT = f"""
INSERT INTO margin_requests (user_id, instrument_id, symbol, direction, amount, client_margin_id, state, log_heads,
    trace, requested_at, ended_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s::jsonb, %s, %s, %s) RETURNING {_COLUMNS}
"""


@dataclass(frozen=True, slots=True)
class MarginChange:
    """A change of margin that a trader asks for.

    Attributes:
        amount: In the contract's quote asset, above zero.
        client_margin_id: The client's own name of the request, which makes a retry harmless.
    """

    symbol: str
    direction: str
    amount: Decimal
    client_margin_id: str | None = None


def set_leverage(owner_id: int, symbol: str, leverage: int, *, now: datetime) -> PositionDesk:
    """Give a trader's position in a contract, open or to come, another leverage.

    A lower one draws what the position then lacks of its initial margin at the mark price from available; a higher one
    releases nothing: margin is taken out by a request of its own. The leverage it has already changes nothing.

    Returns:
        The desk with the position as it now is.

    Raises:
        DomainError: Why not, in words; nothing changed.
    """
    spec = position_desk.contract(symbol)
    position_desk.prepare(owner_id, spec)
    with database.pipelined_transaction():
        desk = position_desk.open_desk(owner_id, spec, now=now, trace=current_trace())
        if choose_leverage(desk, leverage):
            desk.write()
    return desk


def choose_leverage(desk: PositionDesk, leverage: int) -> bool:
    """Decide about another leverage on an open desk; whether anything is to be written. No SQL.

    Raises:
        DomainError: Why not, in words; the desk is then of no use any more.
    """
    position, spec = desk.position, desk.spec
    if position.leverage == leverage and position.stored_version:
        return False
    desk.limits.require_active()
    desk.require_unlocked()
    most = contract_margin.leverage_max(desk.value, spec.brackets) or leverage
    if not 1 <= leverage <= most:
        raise errors.LeverageRangeError(field="leverage", symbol=spec.symbol, maximum=most)
    if desk.open_orders:
        raise errors.LeverageOrdersOpenError(symbol=spec.symbol)
    is_lower = leverage < position.leverage
    position.leverage = leverage
    position.note(Change.LEVERAGE, desk.now)
    desk.tell("PositionLeverageChanged", leverage=leverage)
    missing = contract_margin.initial_margin(desk.value, leverage) - position.margin
    if is_lower and missing > 0:
        desk.move(Change.MARGIN_ADD, missing)
    return True


def change_margin(owner_id: int, wanted: MarginChange, *, now: datetime) -> tuple[MarginRequest, bool]:
    """Add margin at once, or write down that some shall be taken out: Note [Margin waits for the logs].

    Returns:
        The request, and whether a retry found it instead of making it.

    Raises:
        DomainError: Why not, in words; nothing was written and no wallet moved.
    """
    spec = position_desk.contract(wanted.symbol)
    amount = to_quanta(wanted.amount, spec.quote_decimals)
    position_desk.prepare(owner_id, spec)
    with database.pipelined_transaction():
        accounts.lock([owner_id])
        if (known := _repeated(owner_id, wanted)) is not None:
            return known, True
        desk = position_desk.open_desk(owner_id, spec, now=now, trace=current_trace())
        desk.require_open()
        if wanted.direction == MarginDirection.ADD:
            desk.move(Change.MARGIN_ADD, amount)
            made = _record(desk, wanted, MarginState.DONE)
            desk.write()
        else:
            desk.limits.require_active()
            desk.require_removable(amount)
            made = _record(desk, wanted, MarginState.WAITING)
            back_office.wake()
    return made, False


def _repeated(owner_id: int, wanted: MarginChange) -> MarginRequest | None:
    """Return the request that a retry means.

    Raises:
        MarginIdReusedError: The id was used for something else.
    """
    if wanted.client_margin_id is None:
        return None
    [rows] = database.fetch((_KNOWN, (owner_id, wanted.client_margin_id)))
    if not rows:
        return None
    found = _request(rows[0])
    if (found.symbol, found.direction, found.amount) != (wanted.symbol, wanted.direction, wanted.amount):
        raise errors.MarginIdReusedError(client_margin_id=wanted.client_margin_id)
    return found


def _record(desk: PositionDesk, wanted: MarginChange, state: MarginState) -> MarginRequest:
    """Write a request down; one that waits notes how far the logs reach."""
    heads = log_heads.now() if state == MarginState.WAITING else {}
    values = (
        desk.position.user_id,
        desk.spec.id,
        desk.spec.symbol,
        wanted.direction,
        wanted.amount,
        wanted.client_margin_id,
        str(state),
        orjson.dumps(heads).decode(),
        desk.trace,
        desk.now,
        desk.now if state == MarginState.DONE else None,
    )
    [[row]] = database.fetch((_INSERT, values))
    return _request(row)


def _request(row: tuple[Any, ...]) -> MarginRequest:
    """Return a row of `_COLUMNS` as its model."""
    return MarginRequest.from_db(None, [name.strip() for name in _COLUMNS.split(",")], row)
