"""Finds orders that may have left a hold behind, and reads and writes what the sweeper knows of them.

Finding takes no lock and decides nothing; `load` is called under the gates, and what it reads is what is judged.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from exchange import database
from exchange.kernel.errors import require
from exchange.kernel.money import plain, to_quanta
from marketdata import selectors as instruments
from marketdata.units import InstrumentSpec
from matching_worker import protocol
from trading.models import WAITING_TYPES, Order, OrderStatus
from trading.services import command_log
from trading.services.command_log import CommandRow
from trading.services.contract_books import Pair
from trading.services.desk import AdmissionBook
from trading.sweeping import AGE, NOT_RESTING, Noted, Suspect, SweepState, is_live

WHOLE_MAX: Final = 1_000_000
"""Orders that one search through the whole log looks at."""

_OPEN: Final = "('new', 'partial_filled', 'untriggered')"
_FINAL: Final = "('filled', 'cancelled', 'rejected', 'expired')"

_FIND: Final = f"""
SELECT id, user_id FROM orders
WHERE status IN {_OPEN} AND (least(cancel_requested_at, amend_requested_at, expires_at) <= %s
      OR (time_in_force = ANY(%s) AND updated_at <= %s AND (triggered_at IS NOT NULL OR type <> ALL(%s))))
UNION
SELECT id, user_id FROM orders WHERE status = 'pending_review' AND expires_at <= %s
UNION
SELECT id, user_id FROM orders WHERE hold_remaining <> 0 AND status IN {_FINAL}
UNION
SELECT p.order_id, p.user_id FROM order_parts p JOIN orders o ON o.id = p.order_id
WHERE p.state = 'TRIED' AND (p.quantity_going > 0 OR o.status IN {_FINAL})
UNION
SELECT order_id, user_id FROM hold_sweeps WHERE state IN ('NOTED', 'ASKED', 'BROKEN')
ORDER BY 1
"""
_UNTOUCHED: Final = f"""
SELECT o.id, o.user_id, i.shard, o.updated_at FROM orders o JOIN marketdata_instrument i ON i.id = o.instrument_id
WHERE o.status IN {_OPEN} AND o.sequence = 0 AND o.updated_at <= %s ORDER BY o.id LIMIT %s
"""
_LOGGED: Final = """
SELECT c.payload FROM commands c JOIN unnest(%s::smallint[], %s::timestamptz[]) AS g(shard, moment)
    ON c.shard = g.shard AND c.created_at = g.moment
"""
_SWEEPS: Final = """
SELECT order_id, cause, since, state, log_head, command_sequence, why, version FROM hold_sweeps WHERE order_id = ANY(%s)
"""
_GOING: Final = """
SELECT order_id, max(updated_at) FROM order_parts WHERE order_id = ANY(%s) AND quantity_going > 0 GROUP BY order_id
"""
_SHARDS: Final = """
SELECT s.shard, s.sequence, c.sequence FROM command_stream s JOIN settlement_cursor c ON c.shard = s.shard
"""
_HELD: Final = f"""
SELECT user_id, hold_asset, sum(hold_remaining) FROM (
    SELECT user_id, hold_asset, hold_remaining FROM orders
    WHERE user_id = ANY(%s) AND status IN ('new', 'partial_filled', 'pending_review', 'untriggered')
    UNION ALL
    SELECT user_id, hold_asset, hold_remaining FROM orders
    WHERE user_id = ANY(%s) AND hold_remaining <> 0 AND status IN {_FINAL}) h
GROUP BY 1, 2
"""
_RESERVED: Final = """
SELECT user_id, instrument_id, sum(quantity_left) FROM order_parts
WHERE user_id = ANY(%s) AND kind = 'REDUCE' AND state = 'TRIED' GROUP BY 1, 2
"""
_SUSPENDED: Final = """
SELECT DISTINCT (l ->> 0)::bigint FROM suspended_entries s CROSS JOIN LATERAL jsonb_array_elements(s.lines) AS l
WHERE s.state = 'OPEN' AND (l ->> 0)::bigint = ANY(%s)
"""
_SAVE: Final = """
INSERT INTO hold_sweeps AS s (order_id, user_id, instrument_id, symbol, shard, cause, since, state, log_head,
    hold_asset, hold_voided, quantity_voided, why, trace, version, noted_at, updated_at)
SELECT g.order_id, user_id, instrument_id, symbol, shard, cause, since, state, log_head, hold_asset, hold_voided,
    quantity_voided, why, trace, 1, %s, %s
FROM unnest(%s::bigint[], %s::bigint[], %s::smallint[], %s::text[], %s::smallint[], %s::text[], %s::timestamptz[],
    %s::text[], %s::bigint[], %s::text[], %s::numeric[], %s::numeric[], %s::text[], %s::text[], %s::integer[])
    AS g(order_id, user_id, instrument_id, symbol, shard, cause, since, state, log_head, hold_asset, hold_voided,
         quantity_voided, why, trace, before)
ON CONFLICT (order_id) DO UPDATE SET cause = excluded.cause, since = excluded.since, state = excluded.state,
    log_head = excluded.log_head, hold_voided = excluded.hold_voided, quantity_voided = excluded.quantity_voided,
    command_sequence = CASE WHEN excluded.state = 'NOTED' THEN NULL ELSE s.command_sequence END,
    why = excluded.why, version = s.version + 1, updated_at = excluded.updated_at,
    noted_at = CASE WHEN excluded.state = 'NOTED' THEN excluded.noted_at ELSE s.noted_at END
WHERE s.version = (SELECT b.before FROM unnest(%s::bigint[], %s::integer[]) AS b(order_id, before)
                   WHERE b.order_id = s.order_id)
RETURNING order_id
"""
_ASK: Final = f"""
WITH appended AS (SELECT {command_log.APPEND} AS first)
UPDATE hold_sweeps s SET command_sequence = a.first + g.place
FROM appended a, unnest(%s::bigint[], %s::bigint[]) AS g(order_id, place) WHERE s.order_id = g.order_id
"""


class Found(NamedTuple):
    """An order to be looked at, and whose it is."""

    order_id: int
    owner_id: int


@dataclass(slots=True)
class SweepBook:
    """What is judged: rows read under the gates.

    Attributes:
        orders: Orders, wallets, positions and parts, as T1 loads them.
        noted: What was written down of these orders before, with the version of its row.
        shards: Head and cursor of each shard.
        logged: The orders of which the log has a PLACE, among those that no command has changed.
        going: Since when settlement has been waiting for lots to be taken off, by order.
        held: What each trader's orders hold, by asset; `reserved` what they reserve, by contract.
        suspended: Traders with an entry in suspense.
        refusal: Why the database refused to give back what is left of these orders; empty before it has.
    """

    orders: AdmissionBook
    noted: dict[int, tuple[Noted, int]] = field(default_factory=dict)
    shards: dict[int, tuple[int, int]] = field(default_factory=dict)
    logged: set[int] = field(default_factory=set)
    going: dict[int, datetime] = field(default_factory=dict)
    held: dict[tuple[int, str], Decimal] = field(default_factory=dict)
    reserved: dict[Pair, Decimal] = field(default_factory=dict)
    suspended: set[int] = field(default_factory=set)
    refusal: str = ""

    def suspect(self, order: Order) -> Suspect:
        """Return what is judged about an order."""
        spec = instruments.instrument_by_id(order.instrument_id)
        parts = self.orders.parts.get(order.id, {})
        head, cursor = self.shards[spec.shard]
        return Suspect(
            status=str(order.status),
            time_in_force=str(order.time_in_force),
            sequence=order.sequence,
            updated_at=order.updated_at,
            expires_at=order.expires_at,
            cancel_requested_at=order.cancel_requested_at,
            amend_requested_at=order.amend_requested_at,
            has_left=bool(order.hold_remaining) or is_live(parts),
            going_since=self.going.get(order.id),
            waits_for_price=order.type in WAITING_TYPES and order.triggered_at is None,
            is_logged=_is_touched(order) or order.id in self.logged,
            is_suspended=order.user_id in self.suspended,
            disagreement=self.refusal or self._disagreement(order, spec),
            cursor=cursor,
            head=head,
        )

    def _disagreement(self, order: Order, spec: InstrumentSpec) -> str:
        """Say where wallet, parts and position do not agree on what orders hold and reserve; empty if they do."""
        pair = order.user_id, order.hold_asset
        wallet = self.orders.wallets.get(pair)
        held = self.held.get(pair, Decimal(0))
        if wallet is not None and wallet["order_hold"] != held:
            return f"orders hold {plain(held)} {order.hold_asset}, the wallet has {plain(wallet['order_hold'])}"
        if order.intent is None:
            return ""
        parts = self.orders.parts.get(order.id, {})
        funds = sum(part.funds for part in parts.values())
        own = to_quanta(order.hold_remaining - order.amend_hold, spec.quote_decimals)
        if funds != own:
            return f"its parts hold {funds} quanta, the order {own}"
        position = self.orders.positions[order.user_id, spec.id]
        reserved = spec.signed_lots(self.reserved.get((order.user_id, spec.id), Decimal(0)))
        return (
            ""
            if position.reserved == reserved
            else f"orders reserve {reserved} lots, the position says {position.reserved}"
        )


def _is_touched(order: Order) -> bool:
    """Tell whether a command has changed an order, or it is not on its way into the log."""
    return order.sequence != 0 or order.status != OrderStatus.NEW


def find(*, now: datetime) -> list[Found]:
    """Return orders that may have left something behind, by id. One statement over open orders and live parts."""
    before = now - AGE
    [rows] = database.fetch((_FIND, (before, sorted(NOT_RESTING), before, [str(kind) for kind in WAITING_TYPES], now)))
    return [Found(*row) for row in rows]


def find_unlogged(*, now: datetime, batch: int) -> list[Found]:
    """Return open orders of which the log has no PLACE: each that no command has changed is looked for in the log.

    One statement, and one for every `batch` orders that stand in a book as they came.
    """
    [rows] = database.fetch((_UNTOUCHED, (now - AGE, WHOLE_MAX)))
    found = []
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        [payloads] = database.fetch((_LOGGED, _moments((shard, moment) for _, _, shard, moment in part)))
        logged = _placed(payloads)
        found += [Found(order_id, owner_id) for order_id, owner_id, _, _ in part if order_id not in logged]
    return found


def _moments(pairs: Iterable[tuple[int, datetime]]) -> list[str]:
    """Return shards and moments as two columns, each pair once."""
    return database.columns(sorted(set(pairs)), 2)


def _placed(payloads: Sequence[tuple[bytes]]) -> set[int]:
    """Return the orders that these commands place."""
    commands = protocol.decode(range(1, len(payloads) + 1), [bytes(row[0]) for row in payloads])
    return set(commands[commands["kind"] == protocol.CommandKind.PLACE]["order_id"].tolist())


def load(book: AdmissionBook, owners: Collection[int], *, refusal: str = "") -> SweepBook:
    """Read what is judged about these orders beside their own rows, in one round trip; the gates are held.

    Args:
        refusal: Why the database refused to give back what is left of them.
    """
    ids, owner_ids = sorted(book.orders), sorted(owners)
    untouched = {
        (instruments.instrument_by_id(order.instrument_id).shard, order.updated_at)
        for order in book.orders.values()
        if not _is_touched(order)
    }
    sweeps, going, shards, held, reserved, suspended, payloads = database.fetch(
        (_SWEEPS, (ids,)),
        (_GOING, (ids,)),
        (_SHARDS, ()),
        (_HELD, (owner_ids, owner_ids)),
        (_RESERVED, (owner_ids,)),
        (_SUSPENDED, (owner_ids,)),
        (_LOGGED, _moments(untouched)),
    )
    return SweepBook(
        orders=book,
        noted={row[0]: (Noted(row[1], row[2], SweepState(row[3]), *row[4:7]), row[7]) for row in sweeps},
        shards={shard: (head, cursor) for shard, head, cursor in shards},
        logged=_placed(payloads),
        going=dict(going),
        held={(user_id, asset): total for user_id, asset, total in held},
        reserved={(user_id, instrument_id): total for user_id, instrument_id, total in reserved},
        suspended={row[0] for row in suspended},
        refusal=refusal,
    )


class SweepRow(NamedTuple):
    """What is written down of an order: the columns of `_SAVE`.

    Attributes:
        before: The version of the row that was read; 0 where there is none.
    """

    order_id: int
    user_id: int
    instrument_id: int
    symbol: str
    shard: int
    cause: str
    since: datetime
    state: str
    log_head: int
    hold_asset: str
    hold_voided: Decimal
    quantity_voided: Decimal
    why: str
    trace: str
    before: int


def save(rows: Sequence[SweepRow], now: datetime) -> None:
    """Write down what was decided, each from the version that was read.

    Raises:
        InvariantViolationError: Somebody else has moved one; nobody may, who does not hold the trader's gate.
    """
    if not rows:
        return
    versions = [[row.order_id for row in rows], [row.before for row in rows]]
    [written] = database.fetch((_SAVE, (now, now, *database.columns(rows, len(SweepRow._fields)), *versions)))
    require(len(written) == len(rows), f"only {len(written)} of {len(rows)} sweeps were at the version read")


def ask(shard: int, rows: Sequence[CommandRow], places: Mapping[int, int], now: datetime) -> None:
    """Queue the statement that appends commands and writes down their sequences: the stream's head is locked last.

    Args:
        places: Order -> the place of its CANCEL among the commands, from 0.
    """
    database.execute(_ASK, shard, command_log.encoded(rows), now, list(places), list(places.values()))
