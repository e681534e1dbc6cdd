"""Reads and writes what contract orders have besides other orders: positions, parts, marks; a statement each a batch.

The traders' gates are held by whoever calls. Rows are written from the version that was read, and the database says so
if somebody else has moved one: `save_order_parts` and `save_positions` in the migration.
"""

import functools
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from exchange import database
from exchange.kernel.money import from_quanta, to_quanta
from marketdata import selectors as instruments
from marketdata.units import InstrumentSpec
from trading.order_parts import Part, PartKind, PartState
from trading.order_state import OrderParts, OrderState
from trading.position_state import PositionEvent, PositionState, StoredPosition

Pair = tuple[int, int]
"""(trader, instrument)."""
Parts = dict[int, dict[PartKind, Part]]
"""Order -> its parts."""

_POSITIONS = """
SELECT p.user_id, p.instrument_id, p.quantity, p.open_cost, p.margin, p.margin_missing, p.reserved, p.realised_pnl,
       p.leverage, p.version, p.is_locked
FROM unnest(%s::bigint[], %s::smallint[]) AS g(u, i)
CROSS JOIN LATERAL (SELECT * FROM positions WHERE user_id = g.u AND instrument_id = g.i OFFSET 0) p
"""
_RESERVING = """
SELECT p.order_id FROM unnest(%s::bigint[], %s::smallint[]) AS g(u, i)
CROSS JOIN LATERAL (
    SELECT order_id FROM order_parts
    WHERE user_id = g.u AND instrument_id = g.i AND state = 'TRIED' AND kind = 'REDUCE' AND quantity_left > 0
    OFFSET 0) p
"""
_PARTS = """
SELECT order_id, kind, instrument_id, quantity, quantity_left, quantity_going, quantity_stolen, funds_left, state,
    version
FROM order_parts
WHERE order_id = ANY(%s)
"""
_OPENING = """
SELECT g.u, g.i, o.side, sum(p.quantity_left) FROM unnest(%s::bigint[], %s::smallint[]) AS g(u, i)
CROSS JOIN LATERAL (
    SELECT order_id, quantity_left FROM order_parts
    WHERE user_id = g.u AND instrument_id = g.i AND state = 'TRIED' AND kind = 'INCREASE' OFFSET 0) p
CROSS JOIN LATERAL (SELECT side FROM orders WHERE id = p.order_id LIMIT 1) o
GROUP BY 1, 2, 3
"""
_MARKS = "SELECT instrument_id, settled_mark FROM instrument_state WHERE instrument_id = ANY(%s) AND settled_mark > 0"
_SAVE_PARTS = """
SELECT save_order_parts(%s::bigint[], %s::text[], %s::bigint[], %s::smallint[], %s::numeric[], %s::numeric[],
    %s::numeric[], %s::numeric[], %s::numeric[], %s::text[], %s::integer[], %s::integer[], %s)
"""
_SAVE_POSITIONS = """
SELECT save_positions(%s::bigint[], %s::smallint[], %s::text[], %s::numeric[], %s::numeric[], %s::numeric[],
    %s::numeric[], %s::numeric[], %s::numeric[], %s::smallint[], %s::bigint[], %s::bigint[], %s)
"""
_TAKE_OFF = """
WITH asked AS (
    UPDATE order_parts p SET quantity_going = p.quantity_left, version = p.version + 1, updated_at = %s
    FROM (SELECT o.id, o.instrument_id, o.side, i.quantity_left - i.quantity_going AS quantity,
                 i.quantity_left - i.quantity_going = o.quantity - o.filled_quantity AS is_whole
          FROM order_parts i JOIN orders o ON o.id = i.order_id
          WHERE i.user_id = ANY(%s) AND i.kind = 'INCREASE' AND i.state = 'TRIED' AND i.quantity_going < i.quantity_left
            AND o.status IN ('new', 'partial_filled', 'untriggered')) g
    WHERE p.order_id = g.id AND p.kind = 'INCREASE'
    RETURNING g.*
)
SELECT id, instrument_id, side, quantity, is_whole FROM asked ORDER BY id
"""
_INSERT_EVENTS = """
INSERT INTO position_events (user_id, instrument_id, version, change, quantity, open_cost, margin, result, fee,
    leverage, trade_id, order_id, price, sequence, happened_at)
SELECT unnest(%s::bigint[]), unnest(%s::smallint[]), unnest(%s::bigint[]), unnest(%s::text[]), unnest(%s::numeric[]),
    unnest(%s::numeric[]), unnest(%s::numeric[]), unnest(%s::numeric[]), unnest(%s::numeric[]), unnest(%s::smallint[]),
    unnest(%s::bigint[]), unnest(%s::bigint[]), unnest(%s::numeric[]), unnest(%s::bigint[]), unnest(%s::timestamptz[])
"""


def positions_statement(pairs: Collection[Pair]) -> tuple[str, Sequence[Any]]:
    """Return the statement whose rows `positions_of` reads, for callers that gather statements."""
    return _POSITIONS, database.columns(sorted(pairs), 2)


def positions_of(rows: Iterable[tuple[Any, ...]], pairs: Iterable[Pair]) -> dict[Pair, PositionState]:
    """Return positions of these traders in these contracts; those that there are not yet begin empty."""
    found: dict[Pair, PositionState] = {}
    for row in map(StoredPosition._make, rows):
        found[row.user_id, row.instrument_id] = PositionState.of_row(
            row, instruments.instrument_by_id(row.instrument_id)
        )
    for pair in pairs:
        if pair not in found:
            found[pair] = PositionState.flat(pair[0], instruments.instrument_by_id(pair[1]))
    return found


def opening_statement(pairs: Collection[Pair]) -> tuple[str, Sequence[Any]]:
    """Return the statement for the lots that open orders would add: trader, instrument, side, quantity."""
    return _OPENING, database.columns(sorted(pairs), 2)


def opening_of(rows: Iterable[tuple[Any, ...]]) -> dict[tuple[int, int, str], int]:
    """Return the lots that open orders would add, by trader, contract and side."""
    return {
        (user_id, instrument_id, side): instruments.instrument_by_id(instrument_id).signed_lots(quantity)
        for user_id, instrument_id, side, quantity in rows
    }


def parts_statement(order_ids: Collection[int]) -> tuple[str, Sequence[Any]]:
    """Return the statement whose rows `parts_of` reads."""
    return _PARTS, (database.array(list(order_ids)),)


def parts_of(rows: Iterable[tuple[Any, ...]]) -> Parts:
    """Return the parts of orders."""
    found: Parts = defaultdict(dict)
    spec_of = functools.cache(instruments.instrument_by_id)
    for order_id, word, instrument_id, quantity, left, going, stolen, funds, state, version in rows:
        spec, kind = spec_of(instrument_id), PartKind(word)
        found[order_id][kind] = Part(
            kind=kind,
            lots=spec.signed_lots(quantity),
            left=spec.signed_lots(left),
            going=spec.signed_lots(going),
            stolen=spec.signed_lots(stolen),
            funds=to_quanta(funds, spec.quote_decimals),
            state=PartState(state),
            version=version,
            stored_version=version,
        )
    return found


def reading(
    pairs: Collection[Pair],
) -> database.Reading[tuple[dict[Pair, PositionState], list[int], dict[int, int]]]:
    """Read positions, the orders that reserve them, and the marks that settlement is at, for fills of contracts.

    Returns:
        Positions; the ids of reserving orders; marks by instrument, in ticks.
    """
    if not pairs:
        yield ()
        return {}, [], {}
    columns = database.columns(sorted(pairs), 2)
    rows, reserving, marks = yield (
        (_POSITIONS, columns),
        (_RESERVING, columns),
        (_MARKS, (database.array(sorted({pair[1] for pair in pairs})),)),
    )
    ticks = {row[0]: instruments.instrument_by_id(row[0]).price_to_ticks(row[1]) for row in marks}
    return positions_of(rows, pairs), [row[0] for row in reserving], ticks


def reserving(orders: Iterable[OrderState]) -> dict[Pair, list[OrderState]]:
    """Return, for each position, the orders with a live reservation on it, newest first."""
    found: dict[Pair, list[OrderState]] = defaultdict(list)
    for order in sorted(orders, key=lambda order: order.id, reverse=True):
        if order.reduce is not None and order.reduce.left:
            found[order.user_id, order.spec.id].append(order)
    return found


class TakenOff(NamedTuple):
    """Lots of an order that may not open any more.

    Args:
        is_whole: They are all that is open of the order.
    """

    order_id: int
    spec: InstrumentSpec
    is_buy: bool
    lots: int
    is_whole: bool


def take_off_increases(owners: Collection[int], now: datetime) -> list[TakenOff]:
    """Note that everything these traders' orders would open is to be taken off; return what the engine must be asked.

    What was asked for before is not asked for again.
    """
    [rows] = database.fetch((_TAKE_OFF, (now, list(owners))))
    taken = []
    for order_id, instrument_id, side, quantity, is_whole in rows:
        spec = instruments.instrument_by_id(instrument_id)
        taken.append(TakenOff(order_id, spec, side == "buy", spec.signed_lots(quantity), is_whole))
    return taken


def save_parts(orders: Iterable[OrderState | OrderParts], now: datetime) -> None:
    """Store the parts of orders that have moved, each from the version that was read."""
    rows = []
    for order in orders:
        for part in (order.increase, order.reduce):
            if part is None or part.version == part.stored_version:
                continue
            rows.append(
                (
                    order.id,
                    str(part.kind),
                    order.user_id,
                    order.spec.id,
                    order.spec.lots_to_qty(part.lots),
                    order.spec.lots_to_qty(part.left),
                    order.spec.lots_to_qty(part.going),
                    order.spec.lots_to_qty(part.stolen),
                    from_quanta(part.funds, order.spec.quote_decimals),
                    str(part.state),
                    part.stored_version,
                    part.version,
                )
            )
            part.stored_version = part.version
    if rows:
        database.execute(_SAVE_PARTS, *database.columns(rows, 12), now)


def save_positions(positions: Iterable[PositionState], now: datetime) -> None:
    """Store positions that have changed, each from the version that was read, and the steps of their history."""
    rows, steps = [], []
    for position in positions:
        if not position.changed:
            continue
        spec, decimals = position.spec, position.spec.quote_decimals
        rows.append(
            (
                position.user_id,
                spec.id,
                spec.symbol,
                spec.lots_to_qty(position.lots),
                from_quanta(position.cost, decimals),
                from_quanta(position.margin, decimals),
                from_quanta(position.margin_missing, decimals),
                spec.lots_to_qty(position.reserved),
                from_quanta(position.realised, decimals),
                position.leverage,
                position.stored_version,
                position.version,
            )
        )
        steps += [_step(position, event) for event in position.events]
        position.stored_version, position.changed = position.version, False
        position.events.clear()
    if rows:
        database.execute(_SAVE_POSITIONS, *database.columns(rows, 12), now)
    if steps:
        database.execute(_INSERT_EVENTS, *database.columns(steps, 15))


def _step(position: PositionState, event: PositionEvent) -> tuple[Any, ...]:
    """Return one step of a position's history as the columns of `_INSERT_EVENTS`."""
    spec, decimals = position.spec, position.spec.quote_decimals
    return (
        position.user_id,
        spec.id,
        event.version,
        str(event.change),
        spec.lots_to_qty(event.lots),
        *(from_quanta(value, decimals) for value in (event.cost, event.margin, event.result, event.fee)),
        event.leverage,
        event.trade_id,
        event.order_id,
        None if event.price_ticks is None else spec.ticks_to_price(event.price_ticks),
        event.sequence,
        event.at,
    )
