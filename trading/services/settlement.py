"""The only writer of what matching did: T2, one transaction and a constant number of statements for a run of events.

Exactly once: the first statement moves the settlement cursor from the sequence that the caller believes in, under the
caller's lease epoch. A repeat, or a worker that lost its lease, changes no row there and is stopped.
"""

import functools
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from exchange import database
from exchange.kernel.clock import to_ns
from exchange.kernel.errors import InvariantViolationError
from exchange.observability import metrics
from ledger.chart import AccountCode
from ledger.entries import EntryDraft
from ledger.services import accounts, journal
from ledger.services.accounts import AccountKey
from marketdata import selectors as instruments
from matching_worker.protocol import CommandKind, Rows, Side
from trading import order_state, resting
from trading.contract_fold import ContractOutcome
from trading.fold import Outcome, SettlementFold
from trading.models import Order
from trading.order_state import OrderState
from trading.services import command_log, contract_books, outbox, private_events, settled, trade_books, wallets
from trading.services.command_log import CommandRow
from trading.services.contract_books import TakenOff
from trading.services.orders import ORDER_COLUMNS
from trading.services.outbox import DomainEvent
from trading.services.turnstile import HOLD_RUN, Turnstile
from trading.wire import position_fields

CONTRACT_CODES = (
    *wallets.WALLET_CODES.values(),
    AccountCode.COST_FEE,
    AccountCode.GAIN_REALISED,
    AccountCode.COST_REALISED,
)
"""User accounts that a fill of a contract mostly touches; `debt` is opened when it first appears."""

LONG_EVENTS = 64
"""A lone command with more events than this cannot be cut, and may take the time that it needs."""

_UNHURRIED = (
    "SELECT set_config(name, '0', true)"
    " FROM unnest(ARRAY['transaction_timeout', 'idle_in_transaction_session_timeout']) AS name"
)
_ADVANCE = f"""
UPDATE settlement_cursor SET sequence = %s, state_hash = %s, settled_at = %s
WHERE shard = %s AND epoch = %s AND sequence = %s RETURNING sequence, {HOLD_RUN}
"""
_CURSOR = "SELECT sequence FROM settlement_cursor WHERE shard = %s AND epoch = %s"
_ORDERS = f"SELECT {', '.join(ORDER_COLUMNS)} FROM orders WHERE id = ANY(%s) ORDER BY id"
_TRACES = "SELECT id, trace FROM orders WHERE id = ANY(%s)"
_UPDATE_ORDERS = """
UPDATE orders o SET quantity = g.quantity, filled_quantity = g.filled, filled_notional = g.notional, fee = g.fee,
    fee_accrued = g.accrued, hold_remaining = g.hold, status = g.status, reason = g.reason, sequence = g.sequence,
    updated_at = g.updated_at, filled_at = g.filled_at, cancelled_at = g.cancelled_at,
    triggered_at = g.triggered_at, price = g.price, worst_price = g.worst, amend_hold = g.amend_hold,
    amend_requested_at = g.amend_requested_at, amend_refusal = g.amend_refusal, stop_price = g.stop_price
FROM (
    SELECT unnest(%s::bigint[]) AS id, unnest(%s::timestamptz[]) AS created_at, unnest(%s::numeric[]) AS quantity,
        unnest(%s::numeric[]) AS filled, unnest(%s::numeric[]) AS notional, unnest(%s::numeric[]) AS fee,
        unnest(%s::numeric[]) AS accrued, unnest(%s::numeric[]) AS hold, unnest(%s::text[]) AS status,
        unnest(%s::text[]) AS reason, unnest(%s::bigint[]) AS sequence, unnest(%s::timestamptz[]) AS updated_at,
        unnest(%s::timestamptz[]) AS filled_at, unnest(%s::timestamptz[]) AS cancelled_at,
        unnest(%s::timestamptz[]) AS triggered_at, unnest(%s::numeric[]) AS price, unnest(%s::numeric[]) AS worst,
        unnest(%s::numeric[]) AS amend_hold, unnest(%s::timestamptz[]) AS amend_requested_at,
        unnest(%s::text[]) AS amend_refusal, unnest(%s::numeric[]) AS stop_price) g
WHERE o.id = g.id AND o.created_at = g.created_at AND o.id = ANY(%s::bigint[])
"""


class FencedError(InvariantViolationError):
    """The cursor is not where this worker left it: another worker has the lease. This process must stop."""


def settle(
    shard: int, epoch: int, commands: Rows, events: Rows, *, now: datetime, turnstile: Turnstile | None = None
) -> float:
    """Put a run of commands' events into the books, exactly once.

    Args:
        epoch: The caller's lease epoch.
        commands: (n,) COMMAND_DTYPE, dense in sequence, n >= 1.
        events: (m,) EVENT_DTYPE, all events of exactly these commands.
        turnstile: Lets admission begin when this has its gates, and no sooner than the next has: Note [Lockstep].

    Returns:
        For how many seconds the ledger's door was kept.

    Raises:
        FencedError: The cursor stands elsewhere or the lease is another's; nothing was written.
    """
    prepare(events)
    with database.pipelined_transaction():
        if len(commands) == 1 and len(events) > LONG_EVENTS:
            unhurried()
        folded = fold(shard, epoch, commands, events, now=now, turnstile=turnstile)
        door_at = write(folded, folded.outcome.entries, shard=shard, now=now)
        finish(folded, now)
        if turnstile is not None:
            turnstile.close(int(commands[-1]["sequence"]), len(commands))
    door_seconds = time.perf_counter() - door_at
    metrics.DOOR_SECONDS.observe(door_seconds)
    return door_seconds


def cursor(shard: int, epoch: int) -> int:
    """Return the last command that is in the books.

    Raises:
        FencedError: The lease is another's.
    """
    [rows] = database.fetch((_CURSOR, (shard, epoch)))
    if not rows:
        raise FencedError(f"shard {shard}: the cursor is no longer under lease epoch {epoch}")
    sequence: int = rows[0][0]
    return sequence


@dataclass(slots=True)
class Folded:
    """What a run of events changes, before it is written, over the rows and wallets that it was folded from."""

    fold: SettlementFold
    outcome: Outcome
    owned: wallets.Wallets
    asked: dict[int, list[CommandRow]] = field(default_factory=dict)
    """What the engine is asked to take off, by shard, and `told`, the domain events: once it is written."""
    told: list[DomainEvent] = field(default_factory=list)


def unhurried() -> None:
    """Let this transaction take the time that it needs."""
    database.execute(_UNHURRIED)


def fold(
    shard: int, epoch: int, commands: Rows, events: Rows, *, now: datetime, turnstile: Turnstile | None = None
) -> Folded:
    """Move the cursor, lock the traders' gates, load what the events touch, and fold them.

    That takes three round trips: what is read of contracts goes out with the locks, and is read when these are held.

    Raises:
        FencedError: The cursor stands elsewhere or the lease is another's.
    """
    all_events, events = events, resting.moving(commands, events)
    pairs = _contract_pairs(events)
    _, (positions, reserving, marks) = database.read(
        _advance_and_lock(shard, epoch, commands, all_events, _traders(commands, events), now),
        contract_books.reading(pairs),
    )
    if turnstile is not None:
        turnstile.open()
    last = settled.last_changes(all_events)
    shown = {order_id for _, _, order_id in last.values()}
    filled = _filled(events)
    orders, traces = _load(events, reserving, with_parts=bool(pairs), shown=shown)
    (owned, debts), holdings = database.read(
        wallets.reading(_wallets(orders.values(), filled)),
        trade_books.holdings_reading(_holdings([orders[one] for one in filled if one in orders])),
    )
    folding = SettlementFold(
        orders,
        holdings,
        owned,
        debts,
        positions=positions,
        reserving=contract_books.reserving(orders.values()),
        marks=marks,
        shard=shard,
    )
    return Folded(folding, folding.apply(commands, events), owned, told=settled.books_updated(all_events, last, traces))


def _wallets(orders: Iterable[OrderState], filled: Collection[int]) -> set[tuple[int, str]]:
    """Return the wallets that events may move: those of the holds, and both of a spot market's after a fill."""
    return {
        (order.user_id, asset)
        for order in orders
        for asset in (
            (order.spec.base, order.spec.quote)
            if order.id in filled and not order.spec.is_contract
            else (order.hold_asset,)
        )
    }


def _contract_pairs(events: Rows) -> set[tuple[int, int]]:
    """Return traders and contracts whose positions or parts these events may change."""
    ids = [one for one in np.unique(events["instrument_id"]).tolist() if one and _is_contract(one)]
    if not ids:
        return set()
    concerned = events[np.isin(events["instrument_id"], ids)]
    return {
        (trader, instrument)
        for column in ("trader_id", "maker_trader_id")
        for trader, instrument in zip(concerned[column].tolist(), concerned["instrument_id"].tolist(), strict=True)
        if trader
    }


def _is_contract(instrument_id: int) -> bool:
    """Tell whether an instrument's trades make positions."""
    return instruments.instrument_by_id(instrument_id).is_contract


def _traders(commands: Rows, events: Rows) -> list[int]:
    """Return whose gates are needed, in lock order.

    Args:
        events: Those that move something: `resting.moving`.
    """
    asking = commands["trader_id"][events["sequence"] - commands["sequence"][0]]
    found = {*events["trader_id"].tolist(), *events["maker_trader_id"].tolist(), *asking.tolist()}
    return sorted(found - {0})


def _advance_and_lock(
    shard: int, epoch: int, commands: Rows, events: Rows, traders: Sequence[int], now: datetime
) -> database.Reading[None]:
    """Move the cursor over these commands, then lock these traders' gates.

    The cursor is locked first, and alone decides whether this run counts. One that does not count learns it when it has
    the gates, and gives them back at once.
    """
    first, last = int(commands[0]["sequence"]), int(commands[-1]["sequence"])
    moved, locked = yield (
        (_ADVANCE, (last, int(events[-1]["state_hash"]), now, shard, epoch, first - 1)),
        accounts.lock_statement(traders) if traders else None,
    )
    if not moved:
        raise FencedError(f"shard {shard}: the cursor is not at {first - 1} under lease epoch {epoch}")
    accounts.require_locked(traders, locked)


def _load(
    events: Rows, reserving: Sequence[int], *, with_parts: bool, shown: Collection[int]
) -> tuple[dict[int, OrderState], dict[int, str]]:
    """Read the orders that these events touch.

    Args:
        reserving: Orders that the events may rob of what they have reserved.
        with_parts: Whether contracts are concerned.
        shown: Orders of which only the trace is needed.

    Returns:
        Orders; traces, by order.
    """
    touched = np.unique(np.concatenate([events["order_id"], events["maker_order_id"]])).tolist()
    ids = sorted({*touched, *reserving})
    rows, parts_rows, traces = database.fetch_those(
        (_ORDERS, (database.array(ids),)) if ids else None,
        contract_books.parts_statement(ids) if with_parts else None,
        (_TRACES, (database.array(sorted(shown)),)) if shown else None,
    )
    parts = contract_books.parts_of(parts_rows)
    spec_of = functools.cache(instruments.instrument_by_id)
    found = [Order.from_db(None, ORDER_COLUMNS, row) for row in rows]
    orders = {row.id: order_state.of_row(row, spec_of(row.instrument_id), parts.get(row.id)) for row in found}
    return orders, dict(traces)


def _holdings(parties: Iterable[OrderState]) -> set[tuple[int, int]]:
    """Return the traders and spot markets whose holdings these orders' fills move."""
    return {(one.user_id, one.spec.id) for one in parties if not one.spec.is_contract}


def _filled(events: Rows) -> set[int]:
    """Return the orders that trade."""
    fills = events[events["maker_order_id"] != 0]
    return set(np.concatenate([fills["order_id"], fills["maker_order_id"]]).tolist())


def _account_codes() -> tuple[str, ...]:
    """Return the user accounts that a spot fill may touch in each of its two assets."""
    return (*wallets.WALLET_CODES.values(), "3020", "5030")


def prepare(events: Rows) -> None:
    """Open the accounts that fills may need, before the transaction: opening is rare, and cached for ever."""
    fills = events[events["maker_order_id"] != 0]
    instrument_ids = fills["instrument_id"].tolist()
    accounts.open_groups(
        {
            pair
            for column in ("trader_id", "maker_trader_id")
            for pair in zip(fills[column].tolist(), instrument_ids, strict=True)
        },
        _fill_accounts,
    )


def _fill_accounts(pair: tuple[int, int]) -> tuple[AccountKey, ...]:
    """Return the accounts that a fill may touch.

    Args:
        pair: Its trader and instrument.
    """
    trader, instrument_id = pair
    spec = instruments.instrument_by_id(instrument_id)
    fee = AccountKey(None, AccountCode.REVENUE_TRADING_FEE, spec.quote)
    if not spec.is_contract:
        return (
            fee,
            *(AccountKey(trader, code, asset) for asset in (spec.base, spec.quote) for code in _account_codes()),
        )
    return (
        fee,
        *(AccountKey(trader, code, spec.quote) for code in CONTRACT_CODES),
        AccountKey(trader, AccountCode.MARGIN, spec.quote, spec.symbol),
        AccountKey(None, AccountCode.CLEARING, spec.quote, spec.symbol),
    )


def write(folded: Folded, entries: Sequence[EntryDraft], *, shard: int, now: datetime) -> float:
    """Send everything the events change; the ledger's door is the last statement before COMMIT.

    Args:
        entries: Those that are still to be posted.

    Returns:
        When the door was asked for, by `time.perf_counter`.
    """
    outcome = folded.outcome
    contracts = folded.fold.contracts
    changed = [order for order in folded.fold.orders.values() if order.changed]
    if changed:
        rows = [_order_row(order_state.to_row(order)) for order in changed]
        columns = database.columns(rows, 21)
        database.execute(_UPDATE_ORDERS, *columns, columns[0])
    if outcome.trades:
        trade_books.save_trades(outcome.trades, shard)
        trade_books.save_holdings(folded.fold.holdings, now)
    trade_books.save_states(outcome.trades, contracts.marks_changed())
    contract_books.save_parts(folded.fold.orders.values(), now)
    moved = [
        (position, position_fields(position, contracts.marks.get(position.spec.id)))
        for position in contracts.positions.values()
        if position.changed
    ]
    contract_books.save_positions([position for position, _ in moved], now)
    folded.asked = _system_commands(contracts.outcome, now)
    told = settled.private_facts(outcome, changed, folded.owned, moved)
    stored = private_events.append(told, now=now)
    stored.before()  # waits for all that is before the door, which is not the door's time
    door_at = time.perf_counter()
    for start in range(0, len(entries), journal.ENTRIES_MAX):  # once, but for the sweep of a lifetime
        door, params = journal.door_call(entries[start : start + journal.ENTRIES_MAX], now)
        database.execute(door, *params)
    folded.told += [settled.trade_executed(trade) for trade in outcome.trades] + contracts.outcome.outbox
    traces = settled.traces(sorted(changed, key=lambda order: order.row.sequence or 0))
    folded.told += [
        settled.position_updated(position, fields, traces.get((position.user_id, position.spec.id), ""))
        for position, fields in moved
    ]
    private_events.push_on_commit(stored)
    return door_at


def finish(folded: Folded, now: datetime) -> None:
    """Queue the statements that take the last locks of a settlement: the streams' heads, and that of the events."""
    for number, rows in sorted(folded.asked.items()):
        command_log.append(number, rows, now=now)
    outbox.store(folded.told, now)


def _system_commands(outcome: ContractOutcome, now: datetime) -> dict[int, list[CommandRow]]:
    """Return what the engine is asked to take off, by shard: lots that nothing covers, and what debtors would open."""
    taken = [
        TakenOff(item.order.id, item.order.spec, item.order.is_buy, item.lots, item.kind == CommandKind.CANCEL)
        for item in outcome.commands
    ]
    if outcome.indebted:
        taken += contract_books.take_off_increases(outcome.indebted, now)
    commands: dict[int, list[CommandRow]] = {}
    for item in taken:
        commands.setdefault(item.spec.shard, []).append(_system_command(item, now))
    return commands


def _system_command(item: TakenOff, now: datetime) -> CommandRow:
    """Return the command that takes lots off an order; nobody's, so that no trader's cancels are counted."""
    return CommandRow(
        kind=CommandKind.CANCEL if item.is_whole else CommandKind.REDUCE,
        timestamp_ns=to_ns(now),
        order_id=item.order_id,
        trader_id=0,
        instrument_id=item.spec.id,
        side=Side.BUY if item.is_buy else Side.SELL,
        order_type=0,
        time_in_force=0,
        qty_lots=0 if item.is_whole else item.lots,
    )


def _order_row(order: Order) -> tuple[Any, ...]:
    """Return an order's final state as the columns of `_UPDATE_ORDERS`."""
    return (
        order.id,
        order.created_at,
        order.quantity,
        order.filled_quantity,
        order.filled_notional,
        order.fee,
        order.fee_accrued,
        order.hold_remaining,
        str(order.status),
        order.reason,
        order.sequence,
        order.updated_at,
        order.filled_at,
        order.cancelled_at,
        order.triggered_at,
        order.price,
        order.worst_price,
        order.amend_hold,
        order.amend_requested_at,
        order.amend_refusal,
        order.stop_price,
    )
