"""The only writer of what matching did: T2, one transaction and a constant number of statements for a run of events.

Exactly once: the first statement moves the settlement cursor from the sequence that the caller believes in, under the
caller's lease epoch. A repeat, or a worker that lost its lease, changes no row there and is stopped.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from exchange import database
from exchange.kernel.errors import InvariantViolationError
from exchange.kernel.money import from_quanta, plain, to_quanta
from exchange.observability import metrics
from ledger.entries import EntryDraft
from ledger.services import accounts, journal
from ledger.services.accounts import AccountKey
from marketdata import selectors as instruments
from marketdata.services import candles
from marketdata.services.candles import TradeRow
from matching_worker.protocol import Rows
from trading import order_state
from trading.fold import HoldingState, Outcome, SettlementFold, TradeFact
from trading.models import Order, PrivateChannel
from trading.order_state import OrderState
from trading.services import private_events, wallets
from trading.services.orders import ORDER_COLUMNS, store_outbox
from trading.services.private_events import PrivateFact
from trading.wire import balance_fields, moment, order_fields

LONG_EVENTS = 64
"""A lone command with more events than this cannot be cut, and may take the time that it needs."""

_UNHURRIED = (
    "SELECT set_config(name, '0', true)"
    " FROM unnest(ARRAY['transaction_timeout', 'idle_in_transaction_session_timeout']) AS name"
)
_ADVANCE = """
UPDATE settlement_cursor SET sequence = %s, state_hash = %s, settled_at = %s
WHERE shard = %s AND epoch = %s AND sequence = %s RETURNING sequence
"""
_ORDERS = f"SELECT {', '.join(ORDER_COLUMNS)} FROM orders WHERE id = ANY(%s) ORDER BY id"
_HOLDINGS = """
SELECT h.user_id, h.instrument_id, h.quantity, h.total_cost FROM risk_spotholding h
JOIN unnest(%s::bigint[], %s::smallint[]) AS g(u, i) ON h.user_id = g.u AND h.instrument_id = g.i
"""
_UPDATE_ORDERS = """
UPDATE orders o SET quantity = g.quantity, filled_quantity = g.filled, filled_notional = g.notional, fee = g.fee,
    fee_accrued = g.accrued, hold_remaining = g.hold, status = g.status, reason = g.reason, sequence = g.sequence,
    updated_at = g.updated_at, filled_at = g.filled_at, cancelled_at = g.cancelled_at,
    triggered_at = g.triggered_at, price = g.price, worst_price = g.worst, amend_hold = g.amend_hold,
    amend_requested_at = g.amend_requested_at, amend_refusal = g.amend_refusal, stop_price = g.stop_price
FROM unnest(%s::bigint[], %s::timestamptz[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[],
    %s::numeric[], %s::text[], %s::text[], %s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[],
    %s::timestamptz[], %s::numeric[], %s::numeric[], %s::numeric[], %s::timestamptz[], %s::text[], %s::numeric[])
    AS g(id, created_at, quantity, filled, notional, fee, accrued, hold, status, reason, sequence, updated_at,
         filled_at, cancelled_at, triggered_at, price, worst, amend_hold, amend_requested_at,
         amend_refusal, stop_price)
WHERE o.id = g.id AND o.created_at = g.created_at
"""
_INSERT_TRADES = """
INSERT INTO trades (id, instrument_id, symbol, number, buy_order_id, sell_order_id, buyer_id, seller_id, price,
    quantity, notional, buyer_fee, seller_fee, taker_side, shard, sequence, executed_at)
SELECT * FROM unnest(%s::bigint[], %s::smallint[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
    %s::bigint[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::text[], %s::smallint[],
    %s::bigint[], %s::timestamptz[])
"""
_LAST_TRADES = """
INSERT INTO instrument_state (instrument_id, last_price, last_trade_id, traded_at)
SELECT * FROM unnest(%s::smallint[], %s::numeric[], %s::bigint[], %s::timestamptz[])
ON CONFLICT (instrument_id) DO UPDATE SET last_price = excluded.last_price,
    last_trade_id = excluded.last_trade_id, traded_at = excluded.traded_at
"""
_SAVE_HOLDINGS = """
INSERT INTO risk_spotholding (user_id, instrument_id, quantity, total_cost, updated_at)
SELECT *, %s FROM unnest(%s::bigint[], %s::smallint[], %s::numeric[], %s::numeric[])
ON CONFLICT (user_id, instrument_id) DO UPDATE SET quantity = excluded.quantity, total_cost = excluded.total_cost,
    updated_at = excluded.updated_at
"""


class FencedError(InvariantViolationError):
    """The cursor is not where this worker left it: another worker has the lease. This process must stop."""


def settle(shard: int, epoch: int, commands: Rows, events: Rows, *, now: datetime) -> None:
    """Put a run of commands' events into the books, exactly once.

    Args:
        epoch: The caller's lease epoch.
        commands: (n,) COMMAND_DTYPE, dense in sequence, n >= 1.
        events: (m,) EVENT_DTYPE, all events of exactly these commands.

    Raises:
        FencedError: The cursor stands elsewhere or the lease is another's; nothing was written.
    """
    prepare(events)
    with database.pipelined_transaction():
        if len(commands) == 1 and len(events) > LONG_EVENTS:
            unhurried()
        folded = fold(shard, epoch, commands, events, now=now)
        door_at = write(folded, folded.outcome.entries, shard=shard, now=now)
    metrics.DOOR_SECONDS.observe(time.perf_counter() - door_at)


@dataclass(slots=True)
class Folded:
    """What a run of events changes, before it is written, over the rows and wallets that it was folded from."""

    fold: SettlementFold
    outcome: Outcome
    owned: wallets.Wallets


def unhurried() -> None:
    """Let this transaction take the time that it needs."""
    database.execute(_UNHURRIED)


def fold(shard: int, epoch: int, commands: Rows, events: Rows, *, now: datetime) -> Folded:
    """Move the cursor, lock the traders' gates, load what the events touch, and fold them.

    Raises:
        FencedError: The cursor stands elsewhere or the lease is another's.
    """
    _advance(shard, epoch, commands, events, now)
    accounts.lock(_traders(commands, events))
    orders, holdings = _load(events)
    pairs = {(order.user_id, asset) for order in orders.values() for asset in (order.spec.base, order.spec.quote)}
    owned, debts = wallets.read(pairs)
    folding = SettlementFold(orders, holdings, debts)
    return Folded(folding, folding.apply(commands, events), owned)


def _traders(commands: Rows, events: Rows) -> list[int]:
    """Return whose gates are needed, in lock order."""
    found = np.unique(np.concatenate([events["trader_id"], events["maker_trader_id"], commands["trader_id"]]))
    return [int(trader) for trader in found if trader]


def _advance(shard: int, epoch: int, commands: Rows, events: Rows, now: datetime) -> None:
    """Move the cursor over these commands; it is locked first, and alone decides whether this run counts."""
    first, last = int(commands[0]["sequence"]), int(commands[-1]["sequence"])
    [moved] = database.fetch((_ADVANCE, (last, int(events[-1]["state_hash"]), now, shard, epoch, first - 1)))
    if not moved:
        raise FencedError(f"shard {shard}: the cursor is not at {first - 1} under lease epoch {epoch}")


def _load(events: Rows) -> tuple[dict[int, OrderState], dict[tuple[int, int], HoldingState]]:
    """Read the orders and holdings that these events touch."""
    ids = np.unique(np.concatenate([events["order_id"], events["maker_order_id"]])).tolist()
    [rows] = database.fetch((_ORDERS, (ids,)))
    found = [Order.from_db(None, ORDER_COLUMNS, row) for row in rows]
    orders = {row.id: order_state.of_row(row, instruments.instrument_by_id(row.instrument_id)) for row in found}
    pairs = sorted({(order.user_id, order.spec.id) for order in orders.values()})
    [held] = database.fetch((_HOLDINGS, database.columns(pairs, 2)))
    holdings = {}
    for user_id, instrument_id, quantity, cost in held:
        spec = instruments.instrument_by_id(instrument_id)
        holdings[user_id, instrument_id] = HoldingState(
            to_quanta(quantity, spec.base_decimals), to_quanta(cost, spec.quote_decimals)
        )
    return orders, holdings


def _account_codes() -> tuple[str, ...]:
    """Return the user accounts that a spot fill may touch in each of its two assets."""
    return (*wallets.WALLET_CODES.values(), "3020", "5030")


def prepare(events: Rows) -> None:
    """Open the accounts that fills may need, before the transaction: opening is rare, and cached for ever."""
    fills = events[events["maker_order_id"] != 0]
    keys: set[AccountKey] = set()
    pairs = {
        (int(trader), int(instrument))
        for column in ("trader_id", "maker_trader_id")
        for trader, instrument in zip(fills[column], fills["instrument_id"], strict=True)
    }
    for trader, instrument_id in pairs:
        spec = instruments.instrument_by_id(instrument_id)
        for asset in (spec.base, spec.quote):
            keys |= {AccountKey(trader, code, asset) for code in _account_codes()}
        keys.add(AccountKey(None, "4110", spec.quote))
    accounts.ids(keys)


def write(folded: Folded, entries: Sequence[EntryDraft], *, shard: int, now: datetime) -> float:
    """Send everything the events change; the ledger's door is the last statement before COMMIT.

    Args:
        entries: Those that are still to be posted.

    Returns:
        When the door was asked for, by `time.perf_counter`.
    """
    outcome = folded.outcome
    changed = [order_state.to_row(order) for order in folded.fold.orders.values() if order.changed]
    if changed:
        database.execute(_UPDATE_ORDERS, *database.columns([_order_row(order) for order in changed], 21))
    if outcome.trades:
        _write_trades(outcome.trades, shard)
        _write_holdings(folded.fold.holdings, now)
    store_outbox([_trade_executed(trade) for trade in outcome.trades], now)
    facts = _private_facts(outcome, changed, folded.owned)
    before = private_events.append(facts, now=now)
    door_at = time.perf_counter()
    for start in range(0, len(entries), journal.ENTRIES_MAX):  # once, but for the sweep of a lifetime
        door, params = journal.door_call(entries[start : start + journal.ENTRIES_MAX], now)
        database.execute(door, *params)
    private_events.push_on_commit(facts, before)
    return door_at


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


def _write_trades(trades: Sequence[TradeFact], shard: int) -> None:
    """Insert trades, move the candles, and remember each instrument's last trade."""
    database.execute(_INSERT_TRADES, *database.columns([_trade_row(trade, shard) for trade in trades], 17))
    candles.fold(
        [
            TradeRow(
                symbol=trade.spec.symbol,
                executed_at=trade.executed_at,
                number=trade.number,
                price=trade.spec.ticks_to_price(trade.price_ticks),
                quantity=trade.spec.lots_to_qty(trade.qty_lots),
            )
            for trade in trades
        ]
    )
    last = {trade.spec.id: trade for trade in trades}
    rows = [(key, t.spec.ticks_to_price(t.price_ticks), t.id, t.executed_at) for key, t in sorted(last.items())]
    database.execute(_LAST_TRADES, *database.columns(rows, 4))


def _trade_row(trade: TradeFact, shard: int) -> tuple[Any, ...]:
    """Return a trade as the columns of `_INSERT_TRADES`."""
    spec, decimals = trade.spec, trade.spec.quote_decimals
    return (
        trade.id,
        spec.id,
        spec.symbol,
        trade.number,
        trade.buyer.id,
        trade.seller.id,
        trade.buyer.user_id,
        trade.seller.user_id,
        spec.ticks_to_price(trade.price_ticks),
        spec.lots_to_qty(trade.qty_lots),
        from_quanta(trade.notional, decimals),
        from_quanta(trade.buyer_fee, decimals),
        from_quanta(trade.seller_fee, decimals),
        "buy" if trade.taker_is_buyer else "sell",
        shard,
        trade.sequence,
        trade.executed_at,
    )


def _write_holdings(holdings: dict[tuple[int, int], HoldingState], now: datetime) -> None:
    """Store what was bought and what it cost."""
    rows = []
    for (user_id, instrument_id), held in sorted(holdings.items()):
        if held.changed:
            spec = instruments.instrument_by_id(instrument_id)
            quantity = from_quanta(held.quantity, spec.base_decimals)
            rows.append((user_id, instrument_id, quantity, from_quanta(held.cost, spec.quote_decimals)))
    if rows:
        database.execute(_SAVE_HOLDINGS, now, *database.columns(rows, 4))


def _trade_executed(trade: TradeFact) -> tuple[str, str, str, dict[str, object]]:
    """Return the domain event of a trade."""
    spec = trade.spec
    return (
        "trade",
        str(trade.id),
        "TradeExecuted",
        {
            "trade_id": trade.id,
            "symbol": spec.symbol,
            "price": plain(spec.ticks_to_price(trade.price_ticks)),
            "quantity": plain(spec.lots_to_qty(trade.qty_lots)),
            "buy_order_id": trade.buyer.id,
            "sell_order_id": trade.seller.id,
            "buyer_id": trade.buyer.user_id,
            "seller_id": trade.seller.user_id,
            "executed_at": moment(trade.executed_at),
            "trace": (trade.buyer if trade.taker_is_buyer else trade.seller).trace,
        },
    )


def _private_facts(outcome: Outcome, changed: Sequence[Order], owned: wallets.Wallets) -> list[PrivateFact]:
    """Return what each trader's screen learns: fills in order, then each changed order's and wallet's last state."""
    facts = [fact for trade in outcome.trades for fact in _fill_facts(trade)]
    for order in changed:
        spec = instruments.instrument_by_id(order.instrument_id)
        facts.append((order.user_id, PrivateChannel.ORDERS, order_fields(order, spec)))
    for user_id, asset in wallets.follow(outcome.entries, owned):
        facts.append((user_id, PrivateChannel.BALANCES, balance_fields(asset, owned[user_id, asset])))
    return facts


def _fill_facts(trade: TradeFact) -> list[PrivateFact]:
    """Return one fill as each of its two traders sees it."""
    spec = trade.spec
    facts: list[PrivateFact] = []
    for order, fee, is_taker in (
        (trade.buyer, trade.buyer_fee, trade.taker_is_buyer),
        (trade.seller, trade.seller_fee, not trade.taker_is_buyer),
    ):
        payload = {
            "trade_id": trade.id,
            "order_id": order.id,
            "symbol": spec.symbol,
            "side": "buy" if order is trade.buyer else "sell",
            "price": spec.wire_ticks(trade.price_ticks),
            "quantity": spec.wire_lots(trade.qty_lots),
            "fee": plain(from_quanta(fee, spec.quote_decimals)),
            "fee_asset": spec.quote,
            "role": "taker" if is_taker else "maker",
            "executed_at": moment(trade.executed_at),
        }
        facts.append((order.user_id, PrivateChannel.FILLS, payload))
    return facts
