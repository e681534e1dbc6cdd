"""Checks of tables that are derived from trades: candles and spot holdings, folded here once more."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, Final, NamedTuple

from django.db import connection

from exchange.kernel.errors import gettext_noop
from exchange.kernel.money import EXACT, from_quanta, plain, to_quanta
from ledger.reconciliation.checks import FINDINGS_MAX, Check, Finding, Position, Progress, Scope, Seen
from ledger.reconciliation.models import CheckMemory
from marketdata import selectors as instruments
from trading.fold import HoldingState
from trading.reconciliation import scope as trades
from trading.reconciliation.scope import TradeRange

CANDLES: Final = "candles.trades"
HOLDINGS: Final = "holdings.trades"

_MINUTES: Final = """
SELECT instrument_id, symbol, date_trunc('minute', executed_at, 'UTC'), min(number) - 1, max(number),
       (array_agg(price ORDER BY number))[1], max(price), min(price), (array_agg(price ORDER BY number DESC))[1],
       sum(quantity), sum(notional), count(*)
FROM trade GROUP BY 1, 2, 3 ORDER BY 1, 3
"""
_CANDLES: Final = """
SELECT k.symbol, k."timestamp", k.open, k.high, k.low, k.close, k.volume, k.turnover, k.trade_count
FROM unnest(%s::text[], %s::timestamptz[]) AS w (symbol, at)
JOIN klines_1m k ON k.symbol = w.symbol AND k."timestamp" = w.at
"""
_CANDLE_COUNTS: Final = "SELECT symbol, count(*) FROM klines_1m GROUP BY symbol"
_SIDES: Final = """
SELECT instrument_id, number, buyer_id, seller_id, quantity, notional FROM trade WHERE kind = 'SPOT'
ORDER BY instrument_id, number
"""
_HOLDINGS: Final = """
SELECT h.instrument_id, h.user_id, h.quantity, h.total_cost FROM unnest(%s::smallint[], %s::bigint[]) AS w (i, u)
JOIN risk_spotholding h ON h.instrument_id = w.i AND h.user_id = w.u
"""
ALL_SIDES: Final = """
SELECT s.instrument_id, s.user_id, s.bought, s.quantity, s.notional
FROM (SELECT instrument_id, buyer_id AS user_id, number, true AS bought, quantity, notional FROM trades
      UNION ALL SELECT instrument_id, seller_id, number, false, quantity, notional FROM trades) s
JOIN marketdata_instrument i ON i.id = s.instrument_id WHERE i.kind = 'SPOT'
ORDER BY s.instrument_id, s.user_id, s.number, s.bought DESC
"""
"""Both sides of every spot trade, one trader's on one instrument together, in the order in which they were settled."""
_STORED_HOLDINGS: Final = """
SELECT instrument_id, user_id, quantity, total_cost FROM risk_spotholding ORDER BY instrument_id, user_id
"""
STREAM_ROWS: Final = 10_000


class Minute(NamedTuple):
    """A candle as the check folds it, and the trades that it was folded from: after one number, up to another."""

    after: int
    upto: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    turnover: Decimal
    trade_count: int

    def followed_by(self, later: "Minute") -> "Minute":
        """Return this minute with the trades that came later in it."""
        return Minute(
            self.after,
            later.upto,
            self.open,
            max(self.high, later.high),
            min(self.low, later.low),
            later.close,
            EXACT.add(self.volume, later.volume),
            EXACT.add(self.turnover, later.turnover),
            self.trade_count + later.trade_count,
        )

    @property
    def candle(self) -> tuple[Any, ...]:
        """The figures that the stored candle must have."""
        return self[2:]


MinuteKey = tuple[int, str, datetime]
"""Instrument id, symbol, start of the minute."""


def fold_minutes(ranges: Iterable[TradeRange]) -> dict[MinuteKey, Minute]:
    """Fold trades into minutes. One statement."""
    with connection.cursor() as cursor:
        cursor.execute(trades.TRADES + _MINUTES, trades.columns(ranges))
        return {(row[0], row[1], row[2]): Minute(*row[3:]) for row in cursor.fetchall()}


def _compare_candles(minutes: dict[MinuteKey, Minute]) -> list[Finding]:
    """Compare folded minutes with the stored candles. One statement."""
    if not minutes:
        return []
    with connection.cursor() as cursor:
        cursor.execute(_CANDLES, [[key[1] for key in minutes], [key[2] for key in minutes]])
        stored = {(row[0], row[1]): row[2:] for row in cursor.fetchall()}
    found = []
    for (instrument_id, symbol, at), minute in minutes.items():
        candle = stored.get((symbol, at))
        if candle != minute.candle:
            figures = {
                "symbol": symbol,
                "minute": f"{at:%Y-%m-%d %H:%M}",
                "candle": _written(candle) if candle else "-",
                "trades": _written(minute.candle),
            }
            subject = f"{symbol} {at:%Y-%m-%d %H:%M}"
            found.append(Finding(subject, "differs", figures, place=[instrument_id, minute.after, minute.upto]))
    return found


def _written(candle: Iterable[Any]) -> str:
    """Write open, high, low, close, volume, turnover and count in one line."""
    return " ".join(plain(Decimal(figure)) for figure in candle)


def _carried(position: Position) -> dict[int, tuple[MinuteKey, Minute]]:
    """Return the last minute of each instrument, as far as it was folded before."""
    return {
        int(key): (
            (int(key), symbol, datetime.fromisoformat(at)),
            Minute._make([after, upto, *map(Decimal, figures), count]),
        )
        for key, (symbol, at, after, upto, figures, count) in position.get("minutes", {}).items()
    }


def _carry(minutes: dict[int, tuple[MinuteKey, Minute]]) -> Position:
    """Return what the next look goes on from, as JSON."""
    return {
        str(instrument_id): [
            key[1],
            key[2].isoformat(),
            minute.after,
            minute.upto,
            [plain(figure) for figure in minute[2:8]],
            minute.trade_count,
        ]
        for instrument_id, (key, minute) in minutes.items()
    }


def continue_minutes(
    carried: dict[int, tuple[MinuteKey, Minute]], folded: dict[MinuteKey, Minute]
) -> dict[MinuteKey, Minute]:
    """Put what was folded before of a minute in front of what is new; `carried` moves on to the last minutes."""
    joined: dict[MinuteKey, Minute] = {}
    for key, minute in folded.items():
        before = carried.get(key[0])
        joined[key] = before[1].followed_by(minute) if before and before[0] == key else minute
        carried[key[0]] = (key, joined[key])
    return joined


def _look_at_candles(scope: Scope) -> Seen:
    """Fold what is new onto what was folded before, and compare the minutes that are complete or up to date."""
    fresh, old = trades.new(scope), trades.again(scope)
    carried = _carried(scope.position)
    minutes = continue_minutes(carried, fold_minutes(fresh)) if fresh else {}
    cut = {item.instrument_id for item in fresh if item.upto < trades.heads(scope)[item.instrument_id]}
    complete = {key: minute for key, minute in minutes.items() if not (key[0] in cut and carried[key[0]][0] == key)}
    again = fold_minutes(old) if old else {}
    seen = trades.seen(scope, _compare_candles(again | complete), fresh)
    return seen._replace(position=seen.position | {"minutes": _carry(carried)})


def _full_candles(progress: Progress) -> Seen:
    """Fold all trades, and count the candles that stand."""
    last = trades.heads(None)
    total, done = sum(last.values()), 0
    found: list[Finding] = []
    carried: dict[int, tuple[MinuteKey, Minute]] = {}
    counts: dict[str, int] = {}
    for part in trades.all_parts(last):
        progress(done, total)
        minutes = continue_minutes(carried, fold_minutes([part]))
        if part.upto < last[part.instrument_id]:
            minutes.pop(carried[part.instrument_id][0])
        for key in minutes:
            counts[key[1]] = counts.get(key[1], 0) + 1
        found += _compare_candles(minutes)[: FINDINGS_MAX + 1 - len(found)]
        done += part.upto - part.after
    with connection.cursor() as cursor:
        cursor.execute(_CANDLE_COUNTS)
        for symbol, count in cursor.fetchall():
            if count > counts.get(symbol, 0):
                figures = {"symbol": symbol, "candles": count, "minutes": counts.get(symbol, 0)}
                found.append(Finding(f"{symbol}, candles without trades", "extra", figures))
    return Seen(found, trades.position(last) | {"minutes": _carry(carried)}, total)


# --- holdings -----------------------------------------------------------------------------------------------------
PairKey = tuple[int, int]
"""Instrument id and user id."""


def _memory_key(pair: PairKey) -> str:
    return f"{pair[0]}:{pair[1]}"


def _remembered(pairs: Iterable[PairKey]) -> dict[PairKey, HoldingState]:
    """Return what the check has folded of these pairs so far. One statement."""
    keys = {_memory_key(pair): pair for pair in pairs}
    rows = CheckMemory.objects.filter(check_name=HOLDINGS, key__in=list(keys)).values_list("key", "value")
    return {keys[key]: HoldingState(int(quantity), int(cost)) for key, (quantity, cost) in rows}


def _stored_holdings(pairs: Iterable[PairKey]) -> dict[PairKey, tuple[Decimal, Decimal]]:
    """Return quantity and cost as the derived table has them. One statement."""
    listed = list(pairs)
    with connection.cursor() as cursor:
        cursor.execute(_HOLDINGS, [[pair[0] for pair in listed], [pair[1] for pair in listed]])
        return {(row[0], row[1]): (row[2], row[3]) for row in cursor.fetchall()}


def apply_side(held: HoldingState, instrument_id: int, quantity: Decimal, notional: Decimal, *, bought: bool) -> None:
    """Let one side of a trade change a holding, as settlement does."""
    spec = instruments.instrument_by_id(instrument_id)
    if bought:
        held.buy(to_quanta(quantity, spec.base_decimals), to_quanta(notional, spec.quote_decimals))
    else:
        held.sell(to_quanta(quantity, spec.base_decimals))


def apply_sides(held: dict[PairKey, HoldingState], rows: Iterable[tuple[Any, ...]]) -> None:
    """Let the trades of `sides` change holdings, both sides of each, as settlement does."""
    for instrument_id, _, buyer_id, seller_id, quantity, notional in rows:
        for user_id, bought in ((buyer_id, True), (seller_id, False)):
            state = held.setdefault((instrument_id, user_id), HoldingState())
            apply_side(state, instrument_id, quantity, notional, bought=bought)


def from_units(instrument_id: int, quantity: Decimal, cost: Decimal) -> HoldingState:
    """Return a holding of these amounts."""
    spec = instruments.instrument_by_id(instrument_id)
    return HoldingState(to_quanta(quantity, spec.base_decimals), to_quanta(cost, spec.quote_decimals))


def in_units(instrument_id: int, held: HoldingState) -> tuple[Decimal, Decimal]:
    """Return a holding's quantity and cost in major units."""
    spec = instruments.instrument_by_id(instrument_id)
    return from_quanta(held.quantity, spec.base_decimals), from_quanta(held.cost, spec.quote_decimals)


def _differs(pair: PairKey, held: HoldingState, stored: tuple[Decimal, Decimal] | None) -> Finding | None:
    """Compare one holding with the table's row; a pair that holds nothing may have none."""
    expected = in_units(pair[0], held)
    found = stored or (Decimal(0), Decimal(0))
    if found == expected:
        return None
    symbol = instruments.instrument_by_id(pair[0]).symbol
    figures = {
        "user": pair[1],
        "symbol": symbol,
        "quantity": plain(found[0]),
        "cost": plain(found[1]),
        "trades_quantity": plain(expected[0]),
        "trades_cost": plain(expected[1]),
    }
    return Finding(f"user {pair[1]}, {symbol}", "differs", figures, place=list(pair))


def _look_at_holdings(scope: Scope) -> Seen:
    """Fold new trades onto what was folded before, and compare the holdings that they change."""
    fresh = trades.new(scope)
    rows = sides(fresh) if fresh else []
    touched = {(row[0], user_id) for row in rows for user_id in row[2:4]}
    places = {(place[0], place[1]) for place in scope.again if place is not None}
    held = _remembered(touched | places) if touched or places else {}
    apply_sides(held, rows)
    cut = {item.instrument_id for item in fresh if item.upto < trades.heads(scope)[item.instrument_id]}
    wanted = {pair for pair in touched | places if pair[0] not in cut}
    stored = _stored_holdings(wanted) if wanted else {}
    pairs = sorted(wanted)
    found = [_differs(pair, held.get(pair, HoldingState()), stored.get(pair)) for pair in pairs]
    seen = trades.seen(scope, [item for item in found if item is not None], fresh)
    return seen._replace(store=partial(_remember, {pair: held[pair] for pair in touched}) if touched else None)


def sides(fresh: Iterable[TradeRange]) -> list[tuple[Any, ...]]:
    """Return spot trades: instrument, number, buyer, seller, quantity, notional. One statement."""
    with connection.cursor() as cursor:
        cursor.execute(trades.TRADES + _SIDES, trades.columns(fresh))
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


def _remember(held: dict[PairKey, HoldingState], _now: datetime) -> None:
    """Keep what was folded. One statement."""
    rows = [
        CheckMemory(check_name=HOLDINGS, key=_memory_key(pair), value=[str(state.quantity), str(state.cost)])
        for pair, state in sorted(held.items())
    ]
    CheckMemory.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["check_name", "key"], update_fields=["value"]
    )


def folded_holdings() -> Iterator[tuple[PairKey, HoldingState]]:
    """Fold all spot trades, one trader's on one instrument after the other; in memory is one of them at a time."""
    current: PairKey | None = None
    held = HoldingState()
    for instrument_id, user_id, bought, quantity, notional in streamed(ALL_SIDES):
        if current != (instrument_id, user_id):
            if current is not None:
                yield current, held
            current, held = (instrument_id, user_id), HoldingState()
        apply_side(held, instrument_id, quantity, notional, bought=bought)
    if current is not None:
        yield current, held


def streamed(statement: str) -> Iterator[tuple[Any, ...]]:
    """Yield a statement's rows, STREAM_ROWS at a time, through a cursor on the server."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(statement)
        while rows := cursor.fetchmany(STREAM_ROWS):
            yield from rows


def _full_holdings(progress: Progress) -> Seen:
    """Merge what is folded from all trades with the table, both in the same order."""
    found: list[Finding] = []
    stored = streamed(_STORED_HOLDINGS)
    row = next(stored, None)
    count = 0

    def left_over(before: Callable[[PairKey], bool]) -> Iterator[Finding]:
        """Yield the rows that no trade explains, up to a pair."""
        nonlocal row
        while row is not None and before((row[0], row[1])):
            finding = _differs((row[0], row[1]), HoldingState(), (row[2], row[3]))
            row = next(stored, None)
            if finding is not None:
                yield finding

    for pair, held in folded_holdings():
        found += left_over(lambda key, pair=pair: key < pair)  # type: ignore[misc]
        is_here = row is not None and (row[0], row[1]) == pair
        finding = _differs(pair, held, (row[2], row[3]) if row is not None and is_here else None)
        row = next(stored, None) if is_here else row
        found += [finding] if finding else []
        count += 1
        if not count % STREAM_ROWS:
            progress(count, 0)
        del found[FINDINGS_MAX + 1 :]
    found += left_over(lambda _: True)
    return Seen(found, {}, count)


CHECKS: Final = (
    Check(
        name=CANDLES,
        compares=gettext_noop("Each minute's candle against the trades of that minute."),
        causes={
            "differs": gettext_noop(
                "The candle of %(symbol)s at %(minute)s is %(candle)s; its trades make %(trades)s."
            ),
            "extra": gettext_noop("%(symbol)s has %(candles)s candles, and traded in %(minutes)s minutes."),
        },
        look=_look_at_candles,
        full=_full_candles,
    ),
    Check(
        name=HOLDINGS,
        compares=gettext_noop("Quantity and cost of each spot holding against the trades that made it."),
        causes={
            "differs": gettext_noop(
                "User %(user)s holds %(quantity)s of %(symbol)s at a cost of %(cost)s; the trades make"
                " %(trades_quantity)s at %(trades_cost)s."
            )
        },
        look=_look_at_holdings,
        full=_full_holdings,
    ),
)
