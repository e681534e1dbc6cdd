"""The way in of every order: T1, one transaction and a constant number of statements for a whole batch."""

import operator
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import compress, islice
from typing import Any

from exchange import database
from exchange.kernel.errors import DomainError
from exchange.observability import metrics
from ledger.services import accounts, journal
from marketdata import selectors as instruments
from marketdata.selectors import MarketState
from marketdata.units import InstrumentSpec
from risk.services import limits
from trading.models import Order, OrderStatus
from trading.order_state import OrderParts, OrderState
from trading.position_state import PositionState
from trading.services import command_log, contract_books, outbox, pressure, private_events, settled, wallets
from trading.services.admission import Admission
from trading.services.contract_books import Pair, Parts
from trading.services.desk import AdmissionBook, Decisions
from trading.services.outbox import DomainEvent
from trading.services.requests import AmendOrder, CancelOrder, Group, PlaceOrder, Submission, whose_turn_it_is
from trading.wire import position_fields

BATCH_MAX = 1000
"""Submissions in one transaction."""
ALONE_MAX = 10
"""Of so few, the statements at the door go out with those before it, which take no time to speak of."""

ORDER_COLUMNS = [str(field.column) for field in Order._meta.concrete_fields]  # noqa: SLF001 -- Django's public way
_SELECT_ORDERS = ", ".join(f"o.{column}" for column in ORDER_COLUMNS)

_KEYS = f"""
SELECT k.user_id, k.client_order_id, k.body_hash, {_SELECT_ORDERS}
FROM unnest(%s::bigint[], %s::text[]) AS g(u, key)
CROSS JOIN LATERAL (SELECT * FROM order_keys WHERE user_id = g.u AND client_order_id = g.key OFFSET 0) k
CROSS JOIN LATERAL (SELECT * FROM orders WHERE id = k.order_id OFFSET 0) o
"""
_BY_ID = f"SELECT {_SELECT_ORDERS} FROM orders o WHERE o.id = ANY(%s)"
_IDS = "SELECT nextval('orders_id_seq') FROM generate_series(1, %s)"

_GIVEN = (
    *("id", "user_id", "instrument_id", "symbol", "side", "type", "time_in_force", "price", "worst_price", "quantity"),
    *("maker_fee_rate", "taker_fee_rate", "hold_asset", "hold_remaining", "status", "reason", "client_order_id"),
    *("trace", "stop_price", "display_quantity", "post_only", "self_trade_prevention", "expires_at", "callback_rate"),
    *("activation_price", "quote_quantity", "trigger_by", "reduce_only", "close_position", "leverage", "intent"),
    *("reduce_quantity", "increase_quantity"),
)
"""What a new order is stored with, besides its time; the other columns have their defaults."""
_given = operator.attrgetter(*_GIVEN)
_INSERT = f"""
INSERT INTO orders ({", ".join(_GIVEN)}, created_at, updated_at)
SELECT unnest(%s::bigint[]), unnest(%s::bigint[]), unnest(%s::smallint[]), unnest(%s::text[]), unnest(%s::text[]),
    unnest(%s::text[]), unnest(%s::text[]), unnest(%s::numeric[]), unnest(%s::numeric[]), unnest(%s::numeric[]),
    unnest(%s::numeric[]), unnest(%s::numeric[]), unnest(%s::text[]), unnest(%s::numeric[]), unnest(%s::text[]),
    unnest(%s::text[]), unnest(%s::text[]), unnest(%s::text[]), unnest(%s::numeric[]), unnest(%s::numeric[]),
    unnest(%s::boolean[]), unnest(%s::text[]), unnest(%s::timestamptz[]), unnest(%s::numeric[]),
    unnest(%s::numeric[]), unnest(%s::numeric[]), unnest(%s::text[]), unnest(%s::boolean[]), unnest(%s::boolean[]),
    unnest(%s::smallint[]), unnest(%s::text[]), unnest(%s::numeric[]), unnest(%s::numeric[]), %s, %s
"""
_INSERT_KEYS = (
    "INSERT INTO order_keys (user_id, client_order_id, order_id, body_hash)"
    " SELECT * FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::bytea[])"
)
_CANCEL_REQUESTED = "UPDATE orders SET cancel_requested_at = %s WHERE id = ANY(%s) AND created_at = ANY(%s)"
_AMEND_REQUESTED = """
UPDATE orders o SET amend_requested_at = %s, amend_refusal = '', hold_remaining = g.hold, amend_hold = g.amend_hold
FROM unnest(%s::bigint[], %s::timestamptz[], %s::numeric[], %s::numeric[]) AS g(id, created_at, hold, amend_hold)
WHERE o.id = g.id AND o.created_at = g.created_at AND o.id = ANY(%s::bigint[])
"""
_RELEASED = """
UPDATE orders o SET hold_remaining = 0, amend_hold = 0, status = g.status, reason = g.reason,
    cancelled_at = g.cancelled_at, cancel_requested_at = g.cancel_requested_at, updated_at = %s
FROM unnest(%s::bigint[], %s::timestamptz[], %s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[])
    AS g(id, created_at, status, reason, cancelled_at, cancel_requested_at)
WHERE o.id = g.id AND o.created_at = g.created_at AND o.id = ANY(%s::bigint[])
"""


def allocate_ids(count: int) -> list[int]:
    """Return fresh order ids, for callers that must know them before they place."""
    [rows] = database.fetch((_IDS, (count,)))
    return [row[0] for row in rows]


def place(owner_id: int, requests: Sequence[PlaceOrder], *, now: datetime) -> list[Order | DomainError]:
    """Place orders of one trader; one result per request, in the same order."""
    return submit([Submission(owner_id, request) for request in requests], now=now)


def cancel(owner_id: int, order_ids: Sequence[int], *, now: datetime) -> list[Order | DomainError]:
    """Ask for cancels of one trader's orders; the engine decides, settlement releases the hold."""
    return submit([Submission(owner_id, CancelOrder(order_id)) for order_id in order_ids], now=now)


def submit(submissions: Sequence[Submission], *, now: datetime) -> list[Order | DomainError]:
    """Decide a batch of many traders' requests in one transaction (T1), waiting for their gates.

    Args:
        submissions: At most BATCH_MAX, in the order in which they compete for the same funds.
    """
    if not submissions:
        return []
    [results] = submit_groups([Group(submissions, waits=True)], now=now)
    return results or []


def submit_groups(
    groups: Sequence[Group], *, now: datetime, told: Callable[[pressure.Pressure], None] | None = None
) -> list[list[Order | DomainError] | None]:
    """Decide those groups whose traders' gates are free, or are waited for, in one transaction (T1).

    Each accepted item is durable with the return; a refused one changed nothing and is its own result. Statements: a
    constant number, whatever the batch. Note [Lock order]: gates first, then rows, the ledger's door and the stream's
    head last, in the same round trip as COMMIT.

    Note [Put off]
        Settlement of one run of events keeps the gates of hundreds of traders, and so does a batch here: two that
        waited for each other's last gate would run one after the other. So a gate that another transaction keeps is
        left out, its trader's groups change nothing, and everybody else's are decided now. Who puts off gives the
        group again, before what came later, and lets it wait when it was put off often enough: those gates are locked
        first, in order, while no other is held. When nobody's gate is free there is nothing better to do than to wait.

    Args:
        groups: At most BATCH_MAX submissions, in the order in which they compete for the same funds.
        told: Called with what waits for settlement, this batch's commands included.

    Returns:
        Each group's results, item by item; None for one that is put off.
    """
    needs = _needs(item for group in groups for item in group.submissions)
    # Opened before the transaction: that is rare, and cached for ever.
    accounts.open_groups(needs.pairs, wallets.of_orders)
    with metrics.STAGE_SECONDS.labels("admission").time():
        with database.pipelined_transaction():
            waiting_for = {item.owner_id for group in groups if group.waits for item in group.submissions}
            book = _read(needs, waiting_for=waiting_for)
            admission = Admission(book, now)
            decided = whose_turn_it_is(groups, book.traders)
            for group in compress(groups, decided):
                for item in group.submissions:
                    admission.decide(item.owner_id, item.request)
            if told is not None:
                told(book.pressure)
            door_at = write(admission.decisions, book, now)
        metrics.DOOR_SECONDS.observe(time.perf_counter() - door_at)
    results = iter(admission.decisions.results)
    return [
        list(islice(results, len(group.submissions))) if is_decided else None
        for group, is_decided in zip(groups, decided, strict=True)
    ]


@dataclass(slots=True)
class _Needs:
    """What deciding a batch asks for.

    Attributes:
        owners: Whose gates.
        keyed: Owners and their own ids of new orders, which may be there already.
        order_ids: Orders that there are.
        moving: Of these, those whose funds may move here. Those of an order that waits for review always may; to cancel
            or reduce one in the book is the engine's business, and asks for no wallet, position or part.
        fresh: How many ids of orders.
        pairs: Owners and assets: their wallets.
        specs: The instruments of new orders that exist; unknown ones are refused item by item.
        contracts: Owners and contracts: their positions.
    """

    owners: set[int] = field(default_factory=set)
    keyed: list[tuple[int, str]] = field(default_factory=list)
    order_ids: list[int] = field(default_factory=list)
    moving: set[int] = field(default_factory=set)
    fresh: int = 0
    pairs: set[tuple[int, str]] = field(default_factory=set)
    specs: dict[str, InstrumentSpec] = field(default_factory=dict)
    contracts: set[tuple[int, int]] = field(default_factory=set)


def _needs(submissions: Iterable[Submission]) -> _Needs:
    """Return what deciding these asks for."""
    needs, known = _Needs(), instruments.by_symbol()
    for submission in submissions:
        owner, request = submission.owner_id, submission.request
        needs.owners.add(owner)
        if not isinstance(request, PlaceOrder):
            needs.order_ids.append(request.order_id)
            if isinstance(request, AmendOrder):
                needs.moving.add(request.order_id)
            continue
        if request.client_order_id is not None:
            needs.keyed.append((owner, request.client_order_id))
        if request.order_id is None:
            needs.fresh += 1
        spec = known.get(request.symbol)
        if spec is not None:
            needs.specs[spec.symbol] = spec
            is_in_quote = request.side == "buy" or spec.is_contract
            needs.pairs.add((owner, spec.quote if is_in_quote else spec.base))
            if spec.is_contract:
                needs.contracts.add((owner, spec.id))
    return needs


def look(owner_id: int, request: PlaceOrder) -> AdmissionBook:
    """Read what a decision about one order needs, without a lock: for those who only look."""
    return _read(_needs([Submission(owner_id, request)]), waiting_for=None)


def load_orders(owners: Sequence[int], order_ids: Sequence[int], *, locks: bool = True) -> AdmissionBook:
    """Lock the gates of these traders, then read these orders and the wallets of their holds.

    Args:
        locks: False for those who only look.
    """
    needs = _Needs(owners=set(owners), order_ids=list(order_ids), moving=set(order_ids))
    return _read(needs, waiting_for=owners if locks else None)


def _read(needs: _Needs, *, waiting_for: Collection[int] | None) -> AdmissionBook:
    """Lock gates and read everything for a batch: in one round trip, or in two when it is about orders that there are.

    Args:
        waiting_for: Traders whose gates are waited for; of the others those are locked that are free. None: no gate is.
    """
    owners, specs, order_ids = sorted(needs.owners), needs.specs, needs.order_ids
    spec_ids = {spec.id for spec in specs.values()}

    def readings() -> list[database.Reading[Any]]:
        first = _rows(
            (_KEYS, database.columns(needs.keyed, 2)) if needs.keyed else None,
            (_BY_ID, (database.array(order_ids),)) if order_ids else None,
            (_IDS, (needs.fresh,)) if needs.fresh else None,
            limits.load_statement(owners),
            pressure.statement(owners),
        )
        if order_ids:
            return [first]
        return [first, wallets.reading(needs.pairs), _markets(spec_ids, needs.contracts, ())]

    traders, ((key_rows, order_rows, id_rows, limit_rows, waiting_rows), *rest) = _lock_and_read(
        owners, waiting_for, readings
    )
    orders = {row[0]: Order.from_db(None, ORDER_COLUMNS, row) for row in order_rows}
    if order_ids:
        theirs = [
            order
            for order in orders.values()
            if order.user_id in traders and (order.id in needs.moving or order.status == OrderStatus.PENDING_REVIEW)
        ]
        held = {(order.user_id, order.hold_asset) for order in theirs if order.hold_remaining}
        rest = database.read(
            wallets.reading({pair for pair in needs.pairs if pair[0] in traders} | held | _quotes(theirs)),
            _markets(
                spec_ids | {order.instrument_id for order in theirs},
                {pair for pair in needs.contracts if pair[0] in traders},
                theirs,
            ),
        )
    (found, debts), (states, positions, opening, parts) = rest
    return AdmissionBook(
        specs=specs,
        wallets=found,
        debts=debts,
        limits=limits.from_rows(limit_rows),
        keys={(row[0], row[1]): (bytes(row[2]), Order.from_db(None, ORDER_COLUMNS, row[3:])) for row in key_rows},
        orders=orders,
        states=states,
        free_ids=[row[0] for row in reversed(id_rows)],
        positions=positions,
        opening=opening,
        parts=parts,
        pressure=pressure.from_rows(waiting_rows),
        traders=traders,
    )


def _rows(*statements: database.Statement | None) -> database.Reading[list[list[tuple[Any, ...]]]]:
    """Read the rows of statements as they are."""
    return (yield statements)


def _lock_and_read(
    owners: Sequence[int], waiting_for: Collection[int] | None, readings: Callable[[], list[database.Reading[Any]]]
) -> tuple[set[int], list[Any]]:
    """Lock gates, then read, in one round trip; in one more when everybody's gate is kept by others: Note [Put off].

    Args:
        readings: Begins them.

    Returns:
        Whose gates are held, or all where none is to be; what each reading has found.
    """
    if waiting_for is None:
        return set(owners), database.read(*readings())
    others = set(owners).difference(waiting_for)
    locking = _rows(
        accounts.lock_statement(waiting_for) if waiting_for else None,
        accounts.lock_free_statement(others) if others else None,
    )
    (awaited, free), *found = database.read(locking, *readings())
    if others and not awaited and not free:
        return _lock_and_read(owners, owners, readings)
    accounts.require_locked(waiting_for, awaited)
    return {row[0] for row in (*awaited, *free)}, found


def _quotes(orders: Iterable[Order]) -> set[tuple[int, str]]:
    """Return the wallets that contract orders among these may need, though they hold nothing yet."""
    return {(order.user_id, order.hold_asset) for order in orders if order.intent is not None}


Markets = tuple[dict[int, MarketState], dict[Pair, PositionState], dict[tuple[int, int, str], int], Parts]


def _markets(concerned: set[int], placing: set[tuple[int, int]], orders: Iterable[Order]) -> database.Reading[Markets]:
    """Read the instruments' prices; of contracts positions, what open orders would add to them, and orders' parts."""
    changing = [order for order in orders if order.intent is not None]
    pairs = placing | {(order.user_id, order.instrument_id) for order in changing}
    states, positions, opening, parts = yield (
        instruments.states_statement(sorted(concerned)) if concerned else None,
        contract_books.positions_statement(pairs) if pairs else None,
        contract_books.opening_statement(pairs) if pairs else None,
        contract_books.parts_statement([order.id for order in changing]) if changing else None,
    )
    return (
        instruments.states_of(states, concerned),
        contract_books.positions_of(positions, pairs),
        contract_books.opening_of(opening),
        contract_books.parts_of(parts),
    )


def write(
    decisions: Decisions, book: AdmissionBook, now: datetime, *, append: Callable[[], None] | None = None
) -> float:
    """Send every change of the batch; the ledger's door and the log's head are the last statements before COMMIT.

    Args:
        append: Appends commands besides, when the streams' heads have their turn: Note [Lock order].

    Returns:
        When the door was asked for, by `time.perf_counter`.
    """
    if decisions.placed:
        database.execute(_INSERT, *database.columns(list(map(_given, decisions.placed)), len(_GIVEN)), now, now)
    if decisions.keys:
        database.execute(_INSERT_KEYS, *database.columns(decisions.keys, 4))
    if decisions.cancels_requested:
        asked = [(order.id, order.created_at) for order in decisions.cancels_requested]
        database.execute(_CANCEL_REQUESTED, now, *database.columns(asked, 2))
    if decisions.amends_requested:
        amended = [(o.id, o.created_at, o.hold_remaining, o.amend_hold) for o in decisions.amends_requested]
        columns = database.columns(amended, 4)
        database.execute(_AMEND_REQUESTED, now, *columns, columns[0])
    if decisions.released:
        released = [
            (o.id, o.created_at, str(o.status), o.reason, o.cancelled_at, o.cancel_requested_at)
            for o in decisions.released
        ]
        columns = database.columns(released, 6)
        database.execute(_RELEASED, now, *columns, columns[0])
    contract_books.save_parts(decisions.contract_orders, now)
    reserved = _positions_updated(book, decisions.contract_orders)
    contract_books.save_positions(book.positions.values(), now)
    limits.save(book.limits.values())
    stored = private_events.append(decisions.private, now=now)
    private_events.push_on_commit(stored)
    at_the_door = _at_the_door(decisions, now)  # while the database is at work on what was sent
    told = [*decisions.outbox, *reserved]
    outbox_statement = outbox.statement(told, now) if told else None
    if len(decisions.results) > ALONE_MAX:
        stored.before()  # waits for all that is before the door, which is not the door's time
    door_at = time.perf_counter()
    for sql, params in at_the_door:
        database.execute(sql, *params)
    if append is not None:
        append()
    if outbox_statement is not None:
        sql, params = outbox_statement
        database.execute(sql, *params)
    return door_at


def _at_the_door(decisions: Decisions, now: datetime) -> list[database.Statement]:
    """Return the statements that take the ledger's door and the streams' heads, made before anybody waits for those."""
    statements: list[database.Statement] = []
    if decisions.entries:
        statements.append(journal.door_call(decisions.entries, now))
    statements += [
        command_log.append_statement(shard, rows, now=now) for shard, rows in sorted(decisions.commands.items())
    ]
    return statements


def _positions_updated(book: AdmissionBook, orders: Iterable[OrderState | OrderParts]) -> list[DomainEvent]:
    """Return the domain events of positions of which the batch has reserved lots, or given them back.

    Args:
        orders: Those which have, in order.
    """
    traces = {(order.user_id, order.spec.id): order.trace for order in orders}
    moved = [position for position in book.positions.values() if position.changed]
    marks = {
        position.spec.id: position.spec.price_to_ticks(mark)
        for position in moved
        if (mark := book.states[position.spec.id].mark_price) is not None
    }
    return [
        settled.position_updated(
            one, position_fields(one, marks.get(one.spec.id)), traces.get((one.user_id, one.spec.id), "")
        )
        for one in moved
    ]
