"""What a term names on the road, what belongs to it, and its orders, trades and refused entries."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db import connection
from django.db.models import Q

from exchange.kernel.clock import from_ns, utc_now
from exchange.kernel.errors import gettext_noop
from exchange.kernel.money import plain
from ledger.tracing.story import FACTS_MAX, FOUND_MAX, Fact, Kind, Refs, Section, Teller, Term, Words, merge
from trading import entry_keys
from trading.models import Order, SuspendedEntry, Trade
from trading.tracing import commands, positions, told

TRACE_TIME_HEX: Final = 12
"""Hex digits of a trace id that are its moment in milliseconds: `exchange.kernel.ids`."""


# --- what is found --------------------------------------------------------------------------------------------------
def _find(term: Term, *, thorough: bool) -> Refs:
    """Find orders by id, by the client's id and by trace, trades by id, and what the books refused by its key."""
    found: Refs = {}
    number = term.number
    if number is not None and term.is_about(Kind.ORDER):
        found[Kind.ORDER] = set(Order.objects.filter(id=number).values_list("id", flat=True))
    if number is not None and term.is_about(Kind.TRADE):
        found[Kind.TRADE] = set(Trade.objects.filter(id=number).values_list("id", flat=True))
    if term.is_about(Kind.CLIENT):
        found.setdefault(Kind.ORDER, set()).update(_by_client_id(term.text, thorough=thorough))
    if term.is_about(Kind.TRACE):
        found.setdefault(Kind.ORDER, set()).update(_by_trace(term.text))
    if term.is_about(Kind.KEY):
        merge(found, _refused(term.text))
    return found


def _refused(key: str) -> Refs:
    """Find the trade or the order whose entry of this key the books refused."""
    row = SuspendedEntry.objects.filter(key=key).first()
    if row is None:
        return {}
    if row.trade_id is not None:
        return {Kind.KEY: {key}, Kind.TRADE: {row.trade_id}}
    orders = {commands.order_of(found[2]) for found in commands.numbered({(row.shard, row.sequence)})}
    return {Kind.KEY: {key}, Kind.ORDER: set(Order.objects.filter(id__in=orders).values_list("id", flat=True))}


def _by_client_id(text: str, *, thorough: bool) -> Iterator[int]:
    """Find by the client's own id: of one user as `USER/ID`; of any by looking through all, which may take a while."""
    user, slash, client_id = text.partition("/")
    with connection.cursor() as cursor:
        if slash and user.isascii() and user.isdigit():
            cursor.execute(
                "SELECT order_id FROM order_keys WHERE user_id = %s AND client_order_id = %s", [int(user), client_id]
            )
            yield from (row[0] for row in cursor.fetchall())
        if thorough:
            cursor.execute("SELECT order_id FROM order_keys WHERE client_order_id = %s LIMIT %s", [text, FOUND_MAX])
            yield from (row[0] for row in cursor.fetchall())


def _by_trace(text: str) -> Iterator[int]:
    """Find the orders of a request: its trace id says when it was, and orders are numbered in that order, nearly."""
    try:
        at = from_ns(int(text[:TRACE_TIME_HEX], 16) * 1_000_000)
    except (ValueError, OverflowError):
        return
    if len(text) <= TRACE_TIME_HEX or not datetime(2000, 1, 1, tzinfo=UTC) < at < utc_now() + timedelta(days=1):
        return
    rows = Order.objects.filter(trace=text, created_at__gte=at - commands.NEAR, created_at__lte=at + 20 * commands.NEAR)
    yield from rows.order_by("id").values_list("id", flat=True)[:FOUND_MAX]


def _belonging(refs: Refs, *, is_first: bool) -> Refs:
    """Return trades and keys of orders, orders and keys of trades; not the other trades of a trade's orders."""
    orders = set(refs.get(Kind.ORDER, ()))
    trades = set(refs.get(Kind.TRADE, ()))
    found: Refs = {Kind.ORDER: set(), Kind.TRADE: set(), Kind.KEY: set()}
    if is_first or Kind.TRACE in refs:
        of_orders = Trade.objects.filter(Q(buy_order_id__in=orders) | Q(sell_order_id__in=orders))
        found[Kind.TRADE].update(of_orders.values_list("id", flat=True)[: FACTS_MAX + 1])
        found[Kind.KEY].update(key for order in Order.objects.filter(id__in=orders) for key in _order_keys(order))
    for pair in Trade.objects.filter(id__in=trades).values_list("buy_order_id", "sell_order_id")[:FACTS_MAX]:
        if len(trades) <= FOUND_MAX and not (orders & set(pair)):
            found[Kind.ORDER].update(pair)
    for trade in trades | found[Kind.TRADE]:
        found[Kind.KEY] |= _trade_keys(trade)
    return found


def _trade_keys(trade_id: int) -> set[str]:
    """Return the keys of a trade's entries: the one of a spot match, and one or two of each side of a contract's."""
    whole = f"trade:{trade_id}"
    entries = {whole} | {
        f"{whole}:{side}{ending}" for side in ("buy", "sell") for ending in ("", ":FLIP_CLOSE", ":FLIP_OPEN")
    }
    return entries | {f"{key}:{ending}" for key in entries for ending in ("suspense", "cleared")}


def _order_keys(order: Order) -> list[str]:
    """Return the keys of an order's own entries: all that carry its trace and its id, and what commands released."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT key FROM ledger_entry WHERE trace = %s ORDER BY id LIMIT %s", [order.trace, FACTS_MAX])
        keys = [row[0] for row in cursor.fetchall()]
    released = {place: key for key in keys if (place := entry_keys.command_of(key)) is not None}
    own = {(row[0], row[1]) for row in commands.numbered(released) if commands.order_of(row[2]) == order.id}
    return [f"order:{order.id}:freeze", f"order:{order.id}:unfreeze"] + [
        key for key in keys if key.startswith(f"order:{order.id}:") or any(released.get(one) == key for one in own)
    ]


# --- what is told ---------------------------------------------------------------------------------------------------
def _tell(refs: Refs, *, thorough: bool) -> list[Section]:
    orders = list(Order.objects.filter(id__in=refs.get(Kind.ORDER, ())).order_by("id")[:FACTS_MAX])
    trades = list(Trade.objects.filter(id__in=refs.get(Kind.TRADE, ())).order_by("id")[: FACTS_MAX + 1])
    of_log = commands.of_story(orders, trades, refs)
    return [
        Section(10, "orders", "Orders", [_order_fact(order) for order in orders]),
        Section(15, "order_parts", "Parts of orders", positions.parts(orders)),
        Section(20, "commands", "Commands", [commands.fact(*row) for row in of_log]),
        Section(
            30, "engine_events", "Engine events", commands.engine_events(orders, trades, of_log) if thorough else []
        ),
        Section(40, "trades", "Trades", [_trade_fact(trade) for trade in trades]),
        Section(42, "position_steps", "Steps of positions", positions.steps(orders, trades)),
        Section(45, "suspended", "Suspended entries", _suspended(orders, trades, of_log, refs)),
        Section(60, "private_events", "Private events", told.private_events(orders, trades)),
        Section(70, "outbox", "Domain events", told.outbox(orders, trades)),
    ]


def _order_fact(order: Order) -> Fact:
    quantity = "-" if order.quantity is None else plain(order.quantity)
    price = "market" if order.price is None else plain(order.price)
    details = {
        "order": order.id,
        "user": order.user_id,
        "symbol": order.symbol,
        "side": order.side,
        "type": order.type,
        "time_in_force": order.time_in_force,
        "quantity": quantity,
        "price": price,
        "worst_price": plain(order.worst_price),
        "filled_quantity": plain(order.filled_quantity),
        "filled_notional": plain(order.filled_notional),
        "fee": plain(order.fee),
        "hold_asset": order.hold_asset,
        "hold_remaining": plain(order.hold_remaining),
        "status": str(order.status),
        "reason": order.reason,
        "client_order_id": order.client_order_id,
        "trace": order.trace,
        "sequence": order.sequence,
        "updated_at": order.updated_at.isoformat(),
    }
    words = Words(gettext_noop("order %(order)s: %(side)s %(quantity)s %(symbol)s at %(price)s, %(status)s"), details)
    return Fact(order.created_at, words, details, (Kind.ORDER, str(order.id)))


def _trade_fact(trade: Trade) -> Fact:
    details = {
        "trade": trade.id,
        "symbol": trade.symbol,
        "number": trade.number,
        "price": plain(trade.price),
        "quantity": plain(trade.quantity),
        "notional": plain(trade.notional),
        "buy_order": trade.buy_order_id,
        "sell_order": trade.sell_order_id,
        "buyer": trade.buyer_id,
        "seller": trade.seller_id,
        "buyer_fee": plain(trade.buyer_fee),
        "seller_fee": plain(trade.seller_fee),
        "taker_side": str(trade.taker_side),
        "shard": trade.shard,
        "sequence": trade.sequence,
    }
    words = Words(gettext_noop("trade %(trade)s: %(quantity)s %(symbol)s at %(price)s"), details)
    return Fact(trade.executed_at, words, details, (Kind.TRADE, str(trade.id)))


def _suspended(
    orders: Sequence[Order], trades: Sequence[Trade], of_log: Sequence[commands.Found], refs: Refs
) -> list[Fact]:
    """Return what the books refused of the story: entries of its trades, and releases of its orders' holds."""
    wanted = Q(trade_id__in=[trade.id for trade in trades]) | Q(key__in=sorted(refs.get(Kind.KEY, ())))
    for order in orders[:FOUND_MAX]:
        wanted |= Q(key__startswith=f"order:{order.id}:")
    for shard in {row[0] for row in of_log}:
        sequences = [row[1] for row in of_log if row[0] == shard]
        traces = {order.trace for order in orders}
        wanted |= Q(key__startswith="command:", shard=shard, sequence__in=sequences, trace__in=traces)
    return [_suspended_fact(row) for row in SuspendedEntry.objects.filter(wanted).order_by("id")[: FACTS_MAX + 1]]


def _suspended_fact(row: SuspendedEntry) -> Fact:
    details = {
        "key": row.key,
        "kind": row.kind,
        "state": str(row.state),
        "refusal": row.refusal,
        "lines": [f"{owner or 'platform'} {code} {amount} {asset}" for owner, code, asset, _sub, amount in row.lines],
        "held": [f"{owner} {amount} {asset}" for owner, asset, amount in row.held],
        "shard": row.shard,
        "sequence": row.sequence,
        "trace": row.trace,
        "posted_at": row.posted_at.isoformat() if row.posted_at else "",
    }
    words = Words(gettext_noop("the books refused the %(kind)s entry of %(key)s; it is %(state)s"), details)
    return Fact(row.created_at, words, details, (Kind.KEY, row.key))


TELLER: Final = Teller(_find, _belonging, _tell)
