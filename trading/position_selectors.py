"""Reads of positions in contracts: what they are, what changed them, what was asked of their margin. Writes nothing."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import QuerySet

from marketdata import selectors as instruments
from marketdata.units import InstrumentSpec
from trading.errors import NotAContractError
from trading.margin_models import MarginRequest, MarginState
from trading.models import Position, PositionStep
from trading.position_state import PositionState, StoredPosition

POLL_SECONDS = 0.01
"""How often a waiting request looks whether the back office has answered."""


@dataclass(frozen=True, slots=True)
class ContractPosition:
    """A position in a contract, and the mark price in ticks by which it is valued; None before the first."""

    state: PositionState
    mark_ticks: int | None


def contract_positions(owner_id: int) -> list[ContractPosition]:
    """Return a trader's open positions, by symbol. Statements: 2."""
    rows = list(_position_rows(owner_id).exclude(quantity=0).order_by("symbol"))
    return _marked([(instruments.instrument_by_id(row.instrument_id), row) for row in map(_stored, rows)], owner_id)


def contract_position(owner_id: int, symbol: str) -> ContractPosition:
    """Return a trader's position in a contract, open or not: it has a leverage all the same. Statements: 2.

    Raises:
        UnknownInstrumentError, NotAContractError: There is no contract of that name.
    """
    spec = _contract(symbol)
    row = _position_rows(owner_id).filter(instrument_id=spec.id).first()
    return _marked([(spec, None if row is None else _stored(row))], owner_id)[0]


def _contract(symbol: str) -> InstrumentSpec:
    """Return the contract of a symbol."""
    spec = instruments.instrument(symbol)
    if not spec.is_contract:
        raise NotAContractError(symbol=spec.symbol)
    return spec


def _position_rows(owner_id: int) -> QuerySet[Position]:
    """Return a trader's rows of positions."""
    return Position.objects.filter(user_id=owner_id)


def _stored(row: Position) -> StoredPosition:
    """Return a row as the pure module reads it."""
    return StoredPosition._make(getattr(row, name) for name in StoredPosition._fields)


def _marked(rows: Sequence[tuple[InstrumentSpec, StoredPosition | None]], owner_id: int) -> list[ContractPosition]:
    """Return positions with the mark prices of now."""
    marks = instruments.states([spec.id for spec, _ in rows]) if rows else {}
    found = []
    for spec, row in rows:
        mark = marks[spec.id].mark_price
        state = PositionState.flat(owner_id, spec) if row is None else PositionState.of_row(row, spec)
        found.append(ContractPosition(state, None if mark is None else spec.price_to_ticks(mark)))
    return found


def position_steps(
    owner_id: int, symbol: str, *, before_version: int | None = None, limit: int
) -> tuple[InstrumentSpec, list[PositionStep]]:
    """Return a page of what changed a trader's position in a contract, newest first.

    Args:
        before_version: Only steps before this one: the cursor of the page before.
    """
    spec = _contract(symbol)
    rows = PositionStep.objects.filter(user_id=owner_id, instrument_id=spec.id)
    if before_version is not None:
        rows = rows.filter(version__lt=before_version)
    return spec, list(rows.order_by("-version")[:limit])


def margin_requests(owner_id: int, symbol: str, *, before_id: int | None = None, limit: int) -> list[MarginRequest]:
    """Return a page of what a trader asked of a position's margin, newest first."""
    rows = MarginRequest.objects.filter(user_id=owner_id, instrument_id=_contract(symbol).id)
    if before_id is not None:
        rows = rows.filter(id__lt=before_id)
    return list(rows.order_by("-id")[:limit])


def wait_margin(request_id: int, timeout_seconds: float) -> MarginRequest:
    """Wait until a change of margin has ended, at most so long; return it as it then is."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        found = MarginRequest.objects.get(id=request_id)
        if found.state != MarginState.WAITING or time.monotonic() >= deadline:
            return found
        time.sleep(POLL_SECONDS)
