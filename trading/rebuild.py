"""Rebuilds what is derived from trades: candles and spot holdings. Trades are read, and never changed.

Note [Rebuilding under the settlement cursor]
    Settlement is the only other writer of these tables, and moves its shard's cursor first of all. Whoever holds the
    cursors' rows therefore has the tables to himself; the worker waits, and tries again, for 30 times `lock_timeout`.
    Candles are written in small transactions under that lock. Holdings are folded from all trades without it, into a
    table of this session; only the trades since then are folded, and the differences written, under the lock.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from django.db import connection, transaction

from ledger import audit
from ledger.reconciliation import runner
from ledger.reconciliation.models import CheckMark, CheckMemory
from ledger.services.rebuild import Rebuilt, Shown
from trading.fold import HoldingState
from trading.reconciliation import derived
from trading.reconciliation import scope as trades
from trading.reconciliation.derived import Minute, MinuteKey, PairKey
from trading.reconciliation.scope import TradeRange

LOCK_WAIT: Final = "30s"
_LOCK: Final = "SELECT shard FROM settlement_cursor ORDER BY shard FOR UPDATE"

_STORED: Final = """
SELECT "timestamp", open, high, low, close, volume, turnover, trade_count FROM klines_1m
WHERE symbol = %s AND "timestamp" > %s AND "timestamp" <= %s
"""
_WRITE: Final = """
INSERT INTO klines_1m (symbol, "timestamp", open, high, low, close, volume, turnover, trade_count)
SELECT %s, * FROM unnest(%s::timestamptz[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[],
                         %s::numeric[], %s::bigint[])
ON CONFLICT (symbol, "timestamp") DO UPDATE SET open = excluded.open, high = excluded.high, low = excluded.low,
    close = excluded.close, volume = excluded.volume, turnover = excluded.turnover, trade_count = excluded.trade_count
"""
_REMOVE: Final = 'DELETE FROM klines_1m WHERE symbol = %s AND "timestamp" = ANY(%s)'
_OTHER_SYMBOLS: Final = """
SELECT DISTINCT symbol FROM klines_1m WHERE symbol <> ALL (%s) ORDER BY symbol
"""


@contextmanager
def _alone() -> Iterator[None]:
    """Have the derived tables to oneself: Note [Rebuilding under the settlement cursor]."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_WAIT])
        cursor.execute(_LOCK)
        yield


# --- candles ------------------------------------------------------------------------------------------------------
def candles(*, write: bool, show: Shown) -> Rebuilt:
    """Compare every candle with its trades, and put right what is wrong, instrument by instrument, part by part.

    Args:
        write: Else nothing is changed.
    """
    done = Rebuilt(written=write)
    last = trades.heads(None)
    symbols = _symbols()
    total = sum(last.values())
    before = 0
    for instrument_id, head in last.items():
        carried: dict[int, tuple[MinuteKey, Minute]] = {}
        since: Any = "-infinity"
        for after in range(0, head, trades.TRADES_MAX):
            show(before + after, total)
            since = _part(TradeRange(instrument_id, after, min(head, after + trades.TRADES_MAX)), carried, since, done)
        with _alone():
            _rest(instrument_id, symbols[instrument_id], carried, since, done, head=head)
        before += head
    for symbol in _unknown(symbols.values()):
        with _alone():
            _compare(symbol, {}, "-infinity", "infinity", done)
    return done


def _symbols() -> dict[int, str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, symbol FROM marketdata_instrument")
        return dict(cursor.fetchall())


def _unknown(symbols: Iterable[str]) -> list[str]:
    """Return symbols that have candles and are no instrument's."""
    with connection.cursor() as cursor:
        cursor.execute(_OTHER_SYMBOLS, [list(symbols)])
        return [row[0] for row in cursor.fetchall()]


def _part(part: TradeRange, carried: dict[int, tuple[MinuteKey, Minute]], since: Any, done: Rebuilt) -> Any:
    """Fold one part of an instrument's trades, and put right the minutes that end in it; return the last of them."""
    minutes = derived.continue_minutes(carried, derived.fold_minutes([part]))
    unfinished = carried[part.instrument_id][0]
    minutes.pop(unfinished)
    if not minutes:
        return since
    until = max(key[2] for key in minutes)
    with _alone():
        _compare(unfinished[1], {key[2]: minute for key, minute in minutes.items()}, since, until, done)
    return until


def _rest(
    instrument_id: int,
    symbol: str,
    carried: dict[int, tuple[MinuteKey, Minute]],
    since: Any,
    done: Rebuilt,
    *,
    head: int,
) -> None:
    """Put right the last minutes, with the trades that were settled meanwhile; under the lock."""
    newest = trades.heads(None)[instrument_id]
    minutes = dict([carried[instrument_id]]) if carried else {}
    if newest > head:
        minutes |= derived.continue_minutes(carried, derived.fold_minutes([TradeRange(instrument_id, head, newest)]))
    _compare(symbol, {key[2]: minute for key, minute in minutes.items()}, since, "infinity", done)


def _compare(symbol: str, minutes: dict[Any, Minute], since: Any, until: Any, done: Rebuilt) -> None:
    """Compare the candles of a span with what they must be, and put right what is wrong."""
    with connection.cursor() as cursor:
        cursor.execute(_STORED, [symbol, since, until])
        stored = {row[0]: row[1:] for row in cursor.fetchall()}
        wrong = {at: minute for at, minute in minutes.items() if stored.get(at) != minute.candle}
        surplus = sorted(set(stored) - set(minutes))
        done.rows += len(minutes) + len(surplus)
        done.name(f"candle {symbol} {at:%Y-%m-%d %H:%M}" for at in sorted([*wrong, *surplus]))
        if done.written and wrong:
            rows = [(at, *minute.candle) for at, minute in sorted(wrong.items())]
            cursor.execute(_WRITE, [symbol, *map(list, zip(*rows, strict=True))])
        if done.written and surplus:
            cursor.execute(_REMOVE, [symbol, surplus])


# --- holdings -----------------------------------------------------------------------------------------------------
_FOLDED: Final = """
CREATE TEMP TABLE folded_holding (
    instrument_id smallint, user_id bigint, quantity numeric(38, 18), total_cost numeric(38, 18),
    PRIMARY KEY (instrument_id, user_id)
)
"""
_FOLD_IN: Final = """
INSERT INTO folded_holding SELECT * FROM unnest(%s::smallint[], %s::bigint[], %s::numeric[], %s::numeric[])
ON CONFLICT (instrument_id, user_id) DO UPDATE SET quantity = excluded.quantity, total_cost = excluded.total_cost
"""
_OF_PAIRS: Final = """
SELECT f.instrument_id, f.user_id, f.quantity, f.total_cost FROM unnest(%s::smallint[], %s::bigint[]) AS w (i, u)
JOIN folded_holding f ON f.instrument_id = w.i AND f.user_id = w.u
"""
_DIFFERENT: Final = """
SELECT coalesce(f.instrument_id, h.instrument_id), coalesce(f.user_id, h.user_id)
FROM folded_holding f FULL JOIN risk_spotholding h ON h.instrument_id = f.instrument_id AND h.user_id = f.user_id
WHERE (f.quantity, f.total_cost) IS DISTINCT FROM (h.quantity, h.total_cost) ORDER BY 1, 2
"""
_PUT_RIGHT: Final = """
INSERT INTO risk_spotholding (instrument_id, user_id, quantity, total_cost, updated_at)
SELECT f.instrument_id, f.user_id, f.quantity, f.total_cost, now()
FROM folded_holding f
LEFT JOIN risk_spotholding h ON h.instrument_id = f.instrument_id AND h.user_id = f.user_id
WHERE (f.quantity, f.total_cost) IS DISTINCT FROM (h.quantity, h.total_cost)
ON CONFLICT (user_id, instrument_id) DO UPDATE SET quantity = excluded.quantity, total_cost = excluded.total_cost,
    updated_at = excluded.updated_at
"""
_SURPLUS: Final = """
DELETE FROM risk_spotholding h
WHERE NOT EXISTS (SELECT FROM folded_holding f WHERE f.instrument_id = h.instrument_id AND f.user_id = h.user_id)
"""


def holdings(*, write: bool, show: Shown) -> Rebuilt:
    """Compare every spot holding with the trades that made it, and put right what is wrong.

    When a row was last updated is not derived from trades: rows that are put right say when that was. The check of
    holdings then begins again with the first trade, since what it remembers may be what was wrong.

    Args:
        write: Else nothing is changed.
    """
    done = Rebuilt(written=write)
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS folded_holding")
        cursor.execute(_FOLDED)
    with audit.snapshot():  # it may only read, but for tables of this session
        last = trades.heads(None)
        _fold_all(show, sum(last.values()))
    with runner.waiting_for_rounds(), _alone(), connection.cursor() as cursor:
        _fold_since(last)
        cursor.execute(_DIFFERENT)
        done.name(f"holding of user {user_id} in instrument {instrument_id}" for instrument_id, user_id in cursor)
        cursor.execute("SELECT count(*) FROM folded_holding")
        done.rows = cursor.fetchone()[0]
        if write and done.different:
            cursor.execute(_PUT_RIGHT)
            cursor.execute(_SURPLUS)
        if write:
            CheckMemory.objects.filter(check_name=derived.HOLDINGS).delete()
            CheckMark.objects.filter(name=derived.HOLDINGS).update(position={})
        cursor.execute("DROP TABLE folded_holding")
    return done


def _fold_all(show: Shown, total: int) -> None:
    """Fold all trades into the session's table; in memory are a few thousand holdings at a time."""
    folded: dict[PairKey, HoldingState] = {}
    count = 0
    for pair, held in derived.folded_holdings():
        if held.changed:  # who only sells what was never bought here has no holding
            folded[pair] = held
        if len(folded) >= derived.STREAM_ROWS:
            _fold_in(folded)
            count += len(folded)
            folded.clear()
            show(min(count, total), total)
    _fold_in(folded)


def _fold_in(folded: dict[PairKey, HoldingState]) -> None:
    """Write folded holdings into the session's table."""
    rows = [(*pair, *derived.in_units(pair[0], held)) for pair, held in folded.items()]
    if rows:
        with connection.cursor() as cursor:
            cursor.execute(_FOLD_IN, [list(column) for column in zip(*rows, strict=True)])


def _fold_since(last: dict[int, int]) -> None:
    """Fold the trades that were settled meanwhile."""
    for instrument_id, newest in trades.heads(None).items():
        for after in range(last.get(instrument_id, 0), newest, trades.TRADES_MAX):
            rows = derived.sides([TradeRange(instrument_id, after, min(newest, after + trades.TRADES_MAX))])
            held = _held({(instrument_id, user_id) for row in rows for user_id in row[2:4]})
            derived.apply_sides(held, rows)
            _fold_in({pair: state for pair, state in held.items() if state.changed})


def _held(pairs: set[PairKey]) -> dict[PairKey, HoldingState]:
    """Read folded holdings back from the session's table."""
    if not pairs:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_OF_PAIRS, [list(column) for column in zip(*pairs, strict=True)])
        return {(row[0], row[1]): derived.from_units(row[0], row[2], row[3]) for row in cursor.fetchall()}
