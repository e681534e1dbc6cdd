"""A story's commands, and what the engine said of them.

The log has no index by order. A command is found by its number, where the order, a trade or an entry names one; else by
the moment: commands of an admission are written with the order's own `created_at`, so a search by halves leads there.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection

from exchange.kernel.clock import from_ns
from exchange.kernel.errors import gettext_noop
from ledger.tracing.story import Fact, Kind, Refs, Words
from marketdata import selectors as instruments
from matching_worker import protocol
from matching_worker.engine import Engine
from matching_worker.protocol import CommandKind, EventKind, OrderType, Reason, Side, TimeInForce
from trading.models import Order, Trade
from trading.move_models import InstrumentMove
from trading.services import command_log

NEAR: Final = timedelta(seconds=3)
"""Commands and events of one transaction lie so close to its moment, however long its locks took."""

REPLAY_MAX: Final = 2_000_000
"""Commands that are replayed at most to tell what the engine said."""
REPLAY_BATCH: Final = 10_000

_ORDER_ID_AT: Final = protocol.COMMAND_DTYPE.fields["order_id"][1] + 1  # type: ignore[index]
"""Where the order's id begins in a command's payload, from 1."""

_NEAR_MOMENT: Final = f"""
SELECT sequence, payload, created_at FROM commands
WHERE shard = %s AND sequence >= %s AND sequence < %s AND substring(payload FROM {_ORDER_ID_AT} FOR 8) = ANY(%s)
ORDER BY sequence
"""
_NUMBERED: Final = """
SELECT shard, sequence, payload, created_at FROM commands
JOIN unnest(%s::smallint[], %s::bigint[]) AS w (s, n) ON shard = w.s AND sequence = w.n ORDER BY shard, sequence
"""


Found = tuple[int, int, bytes, datetime]
"""Shard, sequence, payload, when it was written."""


def of_story(orders: Sequence[Order], trades: Sequence[Trade], refs: Refs) -> list[Found]:
    """Return the commands of orders, and those that made trades."""
    wanted = {(trade.shard, trade.sequence) for trade in trades}
    found: dict[tuple[int, int], Found] = {}
    for order in orders:
        shard = _shard_of(order)
        wanted |= {(shard, order.sequence)} if order.sequence else set()
        moments = {order.created_at, order.cancel_requested_at, order.amend_requested_at, *_amended(order, refs)}
        for moment in moments - {None}:
            for row in near(shard, moment, [order.id]):  # type: ignore[arg-type]
                found[row[0], row[1]] = row
    for row in numbered(wanted - set(found)):
        found[row[0], row[1]] = row
    return [found[place] for place in sorted(found)]


def _shard_of(order: Order) -> int:
    """Return the shard in whose log an order is: that on which its instrument was; an open order does not move."""
    left = InstrumentMove.objects.filter(instrument_id=order.instrument_id, moved_at__gt=order.created_at)
    move = left.order_by("id").first()
    return instruments.instrument_by_id(order.instrument_id).shard if move is None else move.from_shard


def _amended(order: Order, refs: Refs) -> Iterator[datetime]:
    """Yield the moments of amends that froze something: their keys have them."""
    for key in refs.get(Kind.KEY, ()):
        if key.startswith(f"order:{order.id}:amend:"):
            yield from_ns(int(key.rsplit(":", 1)[1]))


def numbered(wanted: Iterable[tuple[int, int]]) -> list[Found]:
    """Return commands by shard and sequence. One statement."""
    shards, sequences = [list(column) for column in zip(*wanted, strict=True)] or ([], [])
    with connection.cursor() as cursor:
        cursor.execute(_NUMBERED, [shards, sequences])
        return [(row[0], row[1], bytes(row[2]), row[3]) for row in cursor.fetchall()]


def near(shard: int, moment: datetime, order_ids: Sequence[int]) -> list[Found]:
    """Return the commands of orders that were written about a moment."""
    first, last = _sequence_at(shard, moment - NEAR), _sequence_at(shard, moment + NEAR)
    ids = [order_id.to_bytes(8, "little") for order_id in order_ids]
    with connection.cursor() as cursor:
        cursor.execute(_NEAR_MOMENT, [shard, first, last, ids])
        return [(shard, row[0], bytes(row[1]), row[2]) for row in cursor.fetchall()]


def _sequence_at(shard: int, moment: datetime) -> int:
    """Return the first sequence written at or after a moment, by halving; moments rise with sequences, nearly."""
    _, head = command_log.stream_head(shard)
    low, high = 1, head + 1
    with connection.cursor() as cursor:
        while low < high:
            middle = (low + high) // 2
            cursor.execute("SELECT created_at FROM commands WHERE shard = %s AND sequence = %s", [shard, middle])
            row = cursor.fetchone()
            if row is None or row[0] >= moment:
                high = middle
            else:
                low = middle + 1
    return low


def order_of(payload: bytes) -> int:
    """Return the order that a command is about; 0 when it is about none."""
    return int.from_bytes(payload[_ORDER_ID_AT - 1 : _ORDER_ID_AT + 7], "little")


def _word(names: type[Any], number: int) -> str:
    """Return the word of a number of the protocol; 0 is none."""
    return names(number).name if number else ""


def fact(shard: int, sequence: int, payload: bytes, created_at: datetime) -> Fact:
    """Tell one command, its numbers in the engine's units."""
    [row] = protocol.decode([sequence], [payload])
    numbers = {
        name: int(row[name])
        for name in (
            *("order_id", "trader_id", "instrument_id", "price_ticks", "qty_lots", "trigger_ticks", "display_lots"),
            *("quote_lots", "expected_lots", "flags"),
        )
        if int(row[name])
    }
    words = {
        "side": _word(Side, int(row["side"])),
        "order_type": _word(OrderType, int(row["order_type"])),
        "time_in_force": _word(TimeInForce, int(row["time_in_force"])),
    }
    kind = CommandKind(int(row["kind"])).name
    details = {"shard": shard, "sequence": sequence, "kind": kind, **numbers, **{k: v for k, v in words.items() if v}}
    details["engine_time"] = from_ns(int(row["timestamp_ns"])).isoformat()
    return Fact(created_at, Words(gettext_noop("command %(shard)s:%(sequence)s %(kind)s"), details), details)


# --- what the engine said -------------------------------------------------------------------------------------------
def engine_events(orders: Sequence[Order], trades: Sequence[Trade], commands: Sequence[Found]) -> list[Fact]:
    """Replay the log up to the last command of the story, and keep what the engine said of its orders.

    Events are not stored: the log gives them again. A log that is too long for that is left out, and says so.
    """
    ids = {order.id for order in orders} | {trade.buy_order_id for trade in trades}
    facts: list[Fact] = []
    for shard in sorted({row[0] for row in commands}):
        wanted = {row[1] for row in commands if row[0] == shard}
        last = max(wanted)
        if last > REPLAY_MAX:
            details = {"shard": shard, "count": last}
            words = Words(gettext_noop("shard %(shard)s: %(count)s commands are too many to replay here"), details)
            facts.append(Fact(None, words, details))
            continue
        epoch, _ = command_log.stream_head(shard)
        engine = Engine(shard, epoch)
        while engine.sequence < last:
            batch, _ = command_log.read(shard, engine.sequence, min(REPLAY_BATCH, last - engine.sequence))
            if not len(batch):
                break
            facts += _of_orders(engine.apply(batch), ids, shard)
    return facts


def _of_orders(events: protocol.Rows, ids: set[int], shard: int) -> list[Fact]:
    """Return the events about orders."""
    listed = list(ids)
    return [
        _event_fact(row, shard)
        for row in events
        if row["kind"] not in {EventKind.LEVEL, EventKind.APPLIED}
        and (int(row["order_id"]) in listed or int(row["maker_order_id"]) in listed)
    ]


def _event_fact(row: Any, shard: int) -> Fact:
    names = ("order_id", "maker_order_id", "price_ticks", "qty_lots", "left_lots", "maker_left_lots", "trade_number")
    numbers = {name: int(row[name]) for name in names if int(row[name])}
    kind = EventKind(int(row["kind"])).name
    reason = _word(Reason, int(row["reason"]))
    details = {"shard": shard, "sequence": int(row["sequence"]), "index": int(row["index"]), "kind": kind, **numbers}
    if reason:
        details["reason"] = reason
        words = Words(gettext_noop("command %(shard)s:%(sequence)s caused %(kind)s, %(reason)s"), details)
    else:
        words = Words(gettext_noop("command %(shard)s:%(sequence)s caused %(kind)s"), details)
    return Fact(from_ns(int(row["timestamp_ns"])), words, details)
