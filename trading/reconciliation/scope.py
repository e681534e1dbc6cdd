"""Sets of trades as ranges of numbers, which are dense on each instrument: what is new, and where breaks are."""

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from django.db import connection

from ledger.reconciliation.checks import FINDINGS_MAX, Finding, Position, Progress, Scope, Seen
from ledger.reconciliation.sql import findings

TRADES_MAX: Final = 5_000
"""Trades of one instrument that one look, or one part of a full pass, compares."""

TRADES: Final = """
WITH scope AS MATERIALIZED (
    SELECT * FROM unnest(%(instruments)s::smallint[], %(after)s::bigint[], %(upto)s::bigint[])
           AS r (instrument_id, after, upto)
), trade AS MATERIALIZED (
    SELECT t.*, s.kind, s.base_id AS base, s.quote_id AS quote
    FROM scope r
    CROSS JOIN LATERAL (
        SELECT * FROM trades t WHERE t.instrument_id = r.instrument_id AND t.number > r.after AND t.number <= r.upto
        OFFSET 0
    ) t
    JOIN marketdata_instrument s ON s.id = t.instrument_id
)
"""
"""The trades in scope, with their instruments' kind and assets."""

_HEADS: Final = """
SELECT i.id, coalesce((SELECT max(t.number) FROM trades t WHERE t.instrument_id = i.id), 0)
FROM marketdata_instrument i ORDER BY i.id
"""


class TradeRange(NamedTuple):
    """Trades of one instrument, after one number and up to another."""

    instrument_id: int
    after: int
    upto: int


def heads(scope: Scope | None) -> dict[int, int]:
    """Return the last trade's number of every instrument; read once a round."""
    shared: dict[str, Any] = {} if scope is None else scope.shared
    if "trade_heads" not in shared:
        with connection.cursor() as cursor:
            cursor.execute(_HEADS)
            shared["trade_heads"] = dict(cursor.fetchall())
    found: dict[int, int] = shared["trade_heads"]
    return found


def marked(position: Position) -> dict[int, int]:
    """Return the number after which each instrument's trades are new."""
    return {int(key): number for key, number in position.get("numbers", {}).items()}


def position(numbers: dict[int, int]) -> Position:
    """Return the mark of these numbers."""
    return {"numbers": {str(key): number for key, number in sorted(numbers.items())}}


def columns(ranges: Iterable[TradeRange]) -> dict[str, list[int]]:
    """Return ranges as the parameters of `TRADES`."""
    listed = list(ranges)
    return {
        "instruments": [item.instrument_id for item in listed],
        "after": [item.after for item in listed],
        "upto": [item.upto for item in listed],
    }


def new(scope: Scope) -> list[TradeRange]:
    """Return what is new on each instrument, at most TRADES_MAX of it."""
    marks = marked(scope.position)
    return [
        TradeRange(instrument_id, marks.get(instrument_id, 0), min(head, marks.get(instrument_id, 0) + TRADES_MAX))
        for instrument_id, head in heads(scope).items()
        if head > marks.get(instrument_id, 0)
    ]


def again(scope: Scope) -> list[TradeRange]:
    """Return where unresolved breaks are, as far as it is not new anyway."""
    marks = marked(scope.position)
    places = {TradeRange(*place) for place in scope.again if place is not None}
    return sorted(item for item in places if item.upto <= marks.get(item.instrument_id, 0))


def look(statement: str, scope: Scope) -> Seen:
    """Compare the trades since the mark, and those of unresolved breaks.

    Args:
        statement: Reads `trade`; the place of a finding is [instrument, after, upto].
    """
    fresh, old = new(scope), again(scope)
    found = findings(TRADES + statement, columns([*fresh, *old])) if fresh or old else []
    return seen(scope, found, fresh)


def seen(scope: Scope, found: list[Finding], fresh: list[TradeRange]) -> Seen:
    """Return what a look has found, with the mark moved over what was new."""
    marks = marked(scope.position) | {item.instrument_id: item.upto for item in fresh}
    behind = sum(max(0, head - marks.get(key, 0)) for key, head in heads(scope).items())
    return Seen(found, position(marks), sum(item.upto - item.after for item in fresh), behind)


def all_parts(last: dict[int, int]) -> Iterator[TradeRange]:
    """Yield all trades in parts of bounded size."""
    for instrument_id, head in last.items():
        for after in range(0, head, TRADES_MAX):
            yield TradeRange(instrument_id, after, min(head, after + TRADES_MAX))


def full(statement: str, progress: Progress) -> Seen:
    """Compare all trades, part by part."""
    last = heads(None)
    total, done = sum(last.values()), 0
    found: list[Finding] = []
    for part in all_parts(last):
        progress(done, total)
        found += findings(TRADES + statement, columns([part]))[: FINDINGS_MAX + 1 - len(found)]
        done += part.upto - part.after
    return Seen(found, position(last), total)
