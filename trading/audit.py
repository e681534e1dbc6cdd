"""Audits the road: orders against holds, trades against the journal, positions, the log against its own replay.

Each check looks with other means than what wrote the rows: aggregates over whole tables, and the engine run again over
the whole log. `ledger.audit` does the same for the books themselves.
"""

from decimal import Decimal

from exchange import database
from ledger import audit
from ledger.audit import BROKEN_SHOWN_MAX, Invariant
from ledger.transfers import audit as transfers_audit
from marketdata import selectors as instruments
from marketdata.models import InstrumentKind
from matching_worker.engine import Engine
from matching_worker.protocol import CommandKind, EventKind, Rows, trade_id_base
from trading import contract_audit
from trading.services import command_log

REPLAY_BATCH = 10_000

EPOCH_STEP = trade_id_base(1, 0)
"""What an epoch adds to a trade's id; the rest counts within the shard."""

CHECKS: dict[str, str] = {
    "open holds equal the order_hold wallets": """
        SELECT 'user ' || coalesce(o.user_id, a.owner_id) || ' holds ' || coalesce(o.total, 0)
               || ' in orders and suspended entries, ' || coalesce(a.balance, 0) || ' '
               || coalesce(o.hold_asset, a.asset) || ' in the wallet'
        FROM (SELECT user_id, hold_asset, sum(held) AS total
              FROM (SELECT user_id, hold_asset, hold_remaining AS held FROM orders WHERE hold_remaining <> 0
                    UNION ALL
                    SELECT (h ->> 0)::bigint, h ->> 1, (h ->> 2)::numeric
                    FROM suspended_entries s CROSS JOIN LATERAL jsonb_array_elements(s.held) AS h
                    WHERE s.state = 'OPEN') u
              GROUP BY user_id, hold_asset) o
        FULL JOIN (SELECT owner_id, asset, balance FROM ledger_account WHERE code = '1020' AND balance <> 0) a
             ON a.owner_id = o.user_id AND a.asset = o.hold_asset
        WHERE coalesce(o.total, 0) <> coalesce(a.balance, 0)""",
    "ended orders hold nothing": """
        SELECT 'order ' || id || ' is ' || status || ' and holds ' || hold_remaining FROM orders
        WHERE status IN ('filled', 'cancelled', 'rejected', 'expired') AND hold_remaining <> 0""",
    "no order costs more than the amount it named": """
        SELECT 'order ' || o.id || ' named ' || o.quote_quantity || ' and cost ' || sum(t.notional + t.buyer_fee)
        FROM orders o JOIN trades t ON t.buy_order_id = o.id WHERE o.quote_quantity IS NOT NULL
        GROUP BY o.id, o.quote_quantity HAVING sum(t.notional + t.buyer_fee) > o.quote_quantity""",
    "orders have what their trades say": """
        SELECT 'order ' || o.id || ' says ' || o.filled_quantity || ' for ' || o.filled_notional || ', fee ' || o.fee
               || '; its trades ' || coalesce(t.quantity, 0) || ' for ' || coalesce(t.notional, 0) || ', fee '
               || coalesce(t.fee, 0)
        FROM orders o
        FULL JOIN (SELECT order_id, sum(quantity) AS quantity, sum(notional) AS notional, sum(fee) AS fee
                   FROM (SELECT buy_order_id AS order_id, quantity, notional, buyer_fee AS fee FROM trades
                         UNION ALL SELECT sell_order_id, quantity, notional, seller_fee FROM trades) s
                   GROUP BY order_id) t ON t.order_id = o.id
        WHERE o.id IS NULL OR (o.filled_quantity, o.filled_notional, o.fee)
              IS DISTINCT FROM (coalesce(t.quantity, 0), coalesce(t.notional, 0), coalesce(t.fee, 0))""",
    "every spot trade is settled once, as it was made": """
        SELECT 'trade ' || coalesce(t.id::text, e.key) || ' has notional ' || coalesce(t.notional, 0) || ', its entry '
               || coalesce(e.notional, 0)
        FROM (SELECT t.*, s.base_id, s.quote_id FROM trades t JOIN marketdata_instrument s ON s.id = t.instrument_id
              WHERE s.kind = 'SPOT') t
        FULL JOIN (
            SELECT j.key, count(DISTINCT j.id) AS entries, array_agg(DISTINCT a.asset) AS assets,
                   sum(l.amount) FILTER (WHERE a.code = '3020' AND l.amount > 0 AND l.n < 6) AS notional,
                   sum(-l.amount) FILTER (WHERE a.code = '4110') AS fees,
                   sum(l.amount) FILTER (WHERE a.code = '5030') AS fees_charged
            FROM ledger_entry j JOIN ledger_line l ON l.entry_id = j.id JOIN ledger_account a ON a.id = l.account_id
            WHERE j.kind = 'SPOT_FILL' GROUP BY j.key
        ) e ON e.key = 'trade:' || t.id
        WHERE t.id IS NULL OR e.key IS NULL OR e.entries <> 1 OR e.notional IS DISTINCT FROM t.notional
           OR coalesce(e.fees, 0) <> t.buyer_fee + t.seller_fee OR coalesce(e.fees_charged, 0) <> coalesce(e.fees, 0)
           OR NOT e.assets @> ARRAY[t.base_id, t.quote_id]::varchar[]""",
    "settlement has suspended nothing": """
        SELECT 'the books refused ' || key || ': ' || refusal FROM suspended_entries WHERE state = 'OPEN'""",
    "suspense of traders is what their suspended trades owe": """
        SELECT coalesce(a.sub, s.sub) || ' has ' || coalesce(a.balance, 0) || ' ' || coalesce(a.asset, s.asset)
               || ' in suspense, suspended trades say ' || coalesce(s.total, 0)
        FROM (SELECT sub, asset, balance FROM ledger_account
              WHERE owner_id IS NULL AND code = '1190' AND sub LIKE 'user:%' AND balance <> 0) a
        FULL JOIN (
            SELECT o.sub, o.asset, sum(o.amount) AS total
            FROM suspended_entries e JOIN trades t ON t.id = e.trade_id
            JOIN marketdata_instrument i ON i.id = t.instrument_id
            CROSS JOIN LATERAL (VALUES ('user:' || t.buyer_id, i.quote_id, t.notional),
                                       ('user:' || t.seller_id, i.quote_id, -t.notional),
                                       ('user:' || t.seller_id, i.base_id, t.quantity),
                                       ('user:' || t.buyer_id, i.base_id, -t.quantity)) AS o (sub, asset, amount)
            WHERE e.state = 'OPEN' AND i.kind = 'SPOT' GROUP BY o.sub, o.asset HAVING sum(o.amount) <> 0
            UNION ALL
            SELECT 'user:' || w.owner, w.asset, -sum(w.cleared)
            FROM (SELECT max(l ->> 0) AS owner, max(l ->> 2) AS asset,
                         sum((l ->> 4)::numeric) FILTER (WHERE l ->> 1 = '2110') AS cleared
                  FROM suspended_entries e CROSS JOIN LATERAL jsonb_array_elements(e.lines) AS l
                  WHERE e.state = 'OPEN' GROUP BY e.id) w
            GROUP BY w.owner, w.asset HAVING sum(w.cleared) <> 0
        ) s ON s.sub = a.sub AND s.asset = a.asset
        WHERE coalesce(a.balance, 0) <> coalesce(s.total, 0)""",
    "trade numbers have no gap": """
        SELECT symbol || ': ' || count(*) || ' trades, numbered ' || min(number) || ' to ' || max(number)
        FROM trades GROUP BY symbol HAVING min(number) <> 1 OR max(number) <> count(*)
            OR count(DISTINCT id) <> count(*)""",
    "candles equal the trades": """
        SELECT coalesce(c.symbol, t.symbol) || ' at ' || coalesce(c.timestamp, t.minute) || ': candle '
               || coalesce(c.volume, 0) || ', trades ' || coalesce(t.volume, 0)
        FROM klines_1m c
        FULL JOIN (SELECT symbol, date_trunc('minute', executed_at) AS minute, sum(quantity) AS volume,
                          count(*) AS trade_count, min(price) AS low, max(price) AS high
                   FROM trades GROUP BY 1, 2) t ON t.symbol = c.symbol AND t.minute = c.timestamp
        WHERE (c.volume, c.trade_count, c.low, c.high) IS DISTINCT FROM (t.volume, t.trade_count, t.low, t.high)""",
    "the command log is dense and its chain whole": """
        SELECT 'shard ' || s.shard || ': ' || count(c.sequence) || ' commands, head at ' || s.sequence
        FROM command_stream s LEFT JOIN commands c ON c.shard = s.shard
        GROUP BY s.shard, s.sequence, s.chain_hash
        HAVING count(c.sequence) <> s.sequence OR coalesce(max(c.sequence), 0) <> s.sequence
        UNION ALL
        SELECT 'command ' || shard || ':' || sequence || ' does not follow in the chain'
        FROM (SELECT shard, sequence, chain_hash,
                     sha256(lag(chain_hash, 1, sha256(('shard ' || shard)::bytea))
                            OVER (PARTITION BY shard ORDER BY sequence) || payload) AS expected FROM commands) c
        WHERE chain_hash <> expected""",
    "settlement is not ahead of the log": """
        SELECT 'shard ' || c.shard || ' settled to ' || c.sequence || ', log ends at ' || s.sequence
        FROM settlement_cursor c JOIN command_stream s USING (shard) WHERE c.sequence > s.sequence""",
    "private events have no gap": """
        SELECT 'user ' || g.owner_id || ': ' || sum(p.facts) || ' events to ' || max(p.sequence) || ', gate at '
               || g.event_sequence
        FROM ledger_gate g JOIN (
            SELECT user_id, sequence, cardinality(channels) AS facts,
                   json_array_length(payloads::json) AS payloads,
                   lag(sequence) OVER (PARTITION BY user_id ORDER BY sequence) AS previous FROM private_messages
        ) p ON p.user_id = g.owner_id
        GROUP BY g.owner_id, g.event_sequence
        HAVING max(p.sequence) <> g.event_sequence
            OR bool_or(p.sequence - p.facts <> p.previous OR p.facts <> p.payloads)""",
}

_COUNTS = "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM trades), (SELECT count(*) FROM commands)"
_SHARDS = """
SELECT s.shard, s.epoch, s.sequence, c.sequence, c.state_hash
FROM command_stream s JOIN settlement_cursor c USING (shard) ORDER BY s.shard
"""
_TRADES = """
SELECT id, instrument_id, number, buy_order_id, sell_order_id, price, quantity FROM trades
WHERE id = ANY(%s) AND shard = %s
"""
_MARKS = """
SELECT i.id, s.mark_price
FROM marketdata_instrument i LEFT JOIN instrument_state s ON s.instrument_id = i.id WHERE i.shard = %s
"""
_POSITIONS = """
SELECT p.user_id, p.instrument_id, p.quantity FROM positions p JOIN marketdata_instrument i ON i.id = p.instrument_id
WHERE i.shard = %s AND p.quantity <> 0 ORDER BY 1, 2
"""
_SETTLED_MARKS = """
SELECT i.id, s.settled_mark
FROM marketdata_instrument i LEFT JOIN instrument_state s ON s.instrument_id = i.id WHERE i.shard = %s AND i.kind = %s
"""
_MOVING = """
SELECT instrument_id FROM instrument_moves
WHERE (to_shard = %s AND to_sequence > %s) OR (from_shard = %s AND from_sequence > %s)
"""
_OPEN_ORDERS = """
SELECT o.id, o.instrument_id, o.quantity - o.filled_quantity, o.worst_price
FROM orders o JOIN marketdata_instrument i ON i.id = o.instrument_id
WHERE i.shard = %s AND o.status IN ('new', 'partial_filled', 'untriggered') ORDER BY o.id
"""


def invariants() -> list[Invariant]:
    """Check the books, the road, and the replay of the log, as of one moment; one result an invariant."""
    with audit.snapshot():
        return [*audit.invariants(), *transfers_audit.invariants(), *road_invariants(), *_replays()]


def road_invariants() -> list[Invariant]:
    """Check orders, trades and log by aggregates over whole tables."""
    with audit.snapshot():
        [[(orders, trades, commands)]] = database.fetch((_COUNTS, ()))
        counted = f"{orders} orders, {trades} trades, {commands} commands"
        return audit.run(CHECKS | contract_audit.CHECKS, counted)


def _replays() -> list[Invariant]:
    """Run the engine over each shard's whole log and compare it with what was settled."""
    [shards] = database.fetch((_SHARDS, ()))
    return [_replay(*row) for row in shards]


def _replay(shard: int, epoch: int, head: int, settled: int, state_hash: Decimal) -> Invariant:
    """Replay one shard up to its settlement cursor: same hash, same trades, same open quantities, same positions."""
    name = f"replay of shard {shard}'s log reproduces hash, trades, open orders and positions"
    engine = Engine(shard, epoch)
    broken: list[str] = []
    trades = 0
    marks: dict[int, int] = {}
    while engine.sequence < settled:
        commands, _ = command_log.read(shard, engine.sequence, min(REPLAY_BATCH, settled - engine.sequence))
        if not len(commands):
            break
        _follow_marks(marks, commands)
        fills = engine.apply(commands)
        fills = fills[fills["kind"] == EventKind.FILL]
        trades += len(fills)
        broken += _compare_trades(fills, shard, epoch)
    if settled and engine.state_hash != state_hash:
        broken.append(f"hash {engine.state_hash:016x} where {int(state_hash):016x} was settled at command {settled}")
    broken += _compare_open_orders(engine, shard, head)
    moving = _moving(shard, settled)
    broken += _compare_positions(engine, shard, moving)
    broken += _compare_settled_marks(marks, shard, moving)
    broken += _compare_marks(marks, shard, engine.sequence)
    return Invariant(name, not broken, "; ".join(broken[:BROKEN_SHOWN_MAX]) or f"{settled} commands, {trades} trades")


def _compare_trades(fills: Rows, shard: int, epoch: int) -> list[str]:
    """Compare the engine's fills with the stored trades of the same ids.

    A trade keeps the epoch in which it was settled; the replay gives all of them the log's epoch of now.
    """
    if not len(fills):
        return []
    ids = [
        made % EPOCH_STEP + number * EPOCH_STEP for made in fills["trade_id"].tolist() for number in range(epoch + 1)
    ]
    [rows] = database.fetch((_TRADES, (ids, shard)))
    stored = {row[0] % EPOCH_STEP: row[1:] for row in rows}
    broken = []
    for fill in fills:
        spec = instruments.instrument_by_id(int(fill["instrument_id"]))
        taker, maker = int(fill["order_id"]), int(fill["maker_order_id"])
        buyer, seller = (taker, maker) if fill["side"] == 1 else (maker, taker)
        made = (
            spec.id,
            int(fill["trade_number"]),
            buyer,
            seller,
            spec.ticks_to_price(fill["price_ticks"]),
            spec.lots_to_qty(fill["qty_lots"]),
        )
        found = stored.get(int(fill["trade_id"]) % EPOCH_STEP)
        if found != made:
            broken.append(f"trade {fill['trade_id']} is {found}, was made as {made}")
    return broken


def _follow_marks(marks: dict[int, int], commands: Rows) -> None:
    """Note the last mark price of each instrument, in ticks."""
    told = commands[commands["kind"] == CommandKind.MARK_PRICE]
    marks.update(zip(told["instrument_id"].tolist(), told["price_ticks"].tolist(), strict=True))


def _compare_marks(marks: dict[int, int], shard: int, after: int) -> list[str]:
    """Compare the stored mark prices with the log's last ones; they are stored with their commands, not settled.

    Args:
        marks: As of the command `after`; the rest of the log is read here.
    """
    while len(commands := command_log.read(shard, after, REPLAY_BATCH)[0]):
        _follow_marks(marks, commands)
        after = int(commands["sequence"][-1])
    broken = []
    [rows] = database.fetch((_MARKS, (shard,)))
    for instrument_id, price in rows:
        spec, ticks = instruments.instrument_by_id(instrument_id), marks.get(instrument_id)
        logged = None if ticks is None else spec.ticks_to_price(ticks)
        if logged != price:
            broken.append(f"{spec.symbol} has the mark price {price}, the log's last is {logged}")
    return broken


def _moving(shard: int, settled: int) -> set[int]:
    """Return the instruments that come to a shard or leave it beyond the cursor: there, log and tables differ."""
    [rows] = database.fetch((_MOVING, (shard, settled, shard, settled)))
    return {row[0] for row in rows}


def _compare_positions(engine: Engine, shard: int, moving: set[int]) -> list[str]:
    """Compare the engine's net positions with those of the books, at the cursor."""
    made = {pair: lots for pair, lots in engine.positions().items() if pair[1] not in moving}
    [rows] = database.fetch((_POSITIONS, (shard,)))
    broken = []
    for user_id, instrument_id, quantity in rows:
        if instrument_id in moving:
            continue
        spec = instruments.instrument_by_id(instrument_id)
        lots = made.pop((user_id, instrument_id), 0)
        if spec.signed_lots(quantity) != lots:
            has = f"user {user_id} has {quantity} of {spec.symbol}"
            broken.append(f"{has}, in the engine {lots} lots of {spec.lot_size}")
    return broken + [f"user {user} has {lots} lots of {one} in the engine only" for (user, one), lots in made.items()]


def _compare_settled_marks(marks: dict[int, int], shard: int, moving: set[int]) -> list[str]:
    """Compare the mark prices that settlement has come to with the log's at the cursor.

    Args:
        marks: As of the cursor.
    """
    broken = []
    [rows] = database.fetch((_SETTLED_MARKS, (shard, InstrumentKind.PERPETUAL)))
    for instrument_id, price in rows:
        if instrument_id in moving:
            continue
        spec, ticks = instruments.instrument_by_id(instrument_id), marks.get(instrument_id)
        logged = None if ticks is None else spec.ticks_to_price(ticks)
        if logged != price:
            broken.append(f"{spec.symbol} was settled at the mark price {price}, the log's at the cursor is {logged}")
    return broken


def _compare_open_orders(engine: Engine, shard: int, head: int) -> list[str]:
    """Compare what rests in the engine with the open orders of the books, at the cursor.

    An order that is open in the books but unknown to the engine must still be on its way in the log.
    """
    [rows] = database.fetch((_OPEN_ORDERS, (shard,)))
    broken = []
    found = 0
    for order_id, instrument_id, left, worst_price in rows:
        order = engine.order(order_id)
        if order is None:
            if engine.sequence == head:
                broken.append(f"order {order_id} is open in the books, the engine does not have it")
            continue
        found += 1
        spec = instruments.instrument_by_id(instrument_id)
        lots, price = spec.lots_to_qty(order.open_lots), spec.ticks_to_price(order.price_ticks)
        if left is not None and lots != left:  # one that closes a position is sized when it trades
            broken.append(f"order {order_id} has {left} open, the engine {lots}")
        if price != worst_price:
            broken.append(f"order {order_id} may trade to {worst_price}, in the engine to {price}")
    if found != engine.open_order_count:
        broken.append(f"{engine.open_order_count} orders rest in the engine, {found} of them are open in the books")
    return broken
