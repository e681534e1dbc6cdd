"""Checks of the command log by itself: dense, chained, and not behind what was settled."""

from collections.abc import Iterable
from typing import Any, Final

from django.db import connection

from exchange.kernel.errors import gettext_noop
from ledger.reconciliation import chain
from ledger.reconciliation.checks import FINDINGS_MAX, Check, Finding, Position, Progress, Scope, Seen, Severity, Store
from ledger.reconciliation.sql import findings

COMMANDS_MAX: Final = 20_000
"""Commands of one shard that one look, or one part of a full pass, compares."""

_HEADS: Final = "SELECT shard, sequence FROM command_stream ORDER BY shard"
_CHAIN: Final = """
WITH scope AS MATERIALIZED (
    SELECT * FROM unnest(%(shards)s::smallint[], %(after)s::bigint[], %(upto)s::bigint[]) AS r (shard, after, upto)
), number AS (
    SELECT r.shard, generate_series(r.after + 1, r.upto) AS sequence FROM scope r
), command AS MATERIALIZED (
    SELECT c.shard, c.sequence, c.chain_hash,
           sha256(CASE WHEN c.sequence = 1 THEN sha256(('shard ' || c.shard)::bytea)
                       ELSE (SELECT p.chain_hash FROM commands p
                             WHERE p.shard = c.shard AND p.sequence = c.sequence - 1) END || c.payload) AS expected
    FROM scope r
    CROSS JOIN LATERAL (
        SELECT * FROM commands c WHERE c.shard = r.shard AND c.sequence > r.after AND c.sequence <= r.upto OFFSET 0
    ) c
)
SELECT 'command ' || n.shard || ':' || n.sequence, json_build_array(n.shard, n.sequence), NULL::text, NULL::numeric,
       CASE WHEN c.sequence IS NULL THEN 'missing' ELSE 'hash' END,
       json_build_object('shard', n.shard, 'sequence', n.sequence)
FROM number n LEFT JOIN command c ON c.shard = n.shard AND c.sequence = n.sequence
WHERE c.sequence IS NULL OR c.chain_hash IS DISTINCT FROM c.expected
"""
_ENDS: Final = """
SELECT 'shard ' || s.shard, NULL::json, NULL::text, NULL::numeric,
       CASE WHEN u.sequence > s.sequence THEN 'ahead' ELSE 'head' END,
       json_build_object('shard', s.shard, 'head', s.sequence, 'settled', u.sequence, 'last', coalesce(c.sequence, 0))
FROM command_stream s JOIN settlement_cursor u USING (shard)
LEFT JOIN LATERAL (
    SELECT sequence, chain_hash FROM commands WHERE shard = s.shard ORDER BY sequence DESC LIMIT 1
) c ON true
WHERE u.sequence > s.sequence OR coalesce(c.sequence, 0) <> s.sequence
   OR coalesce(c.chain_hash, sha256(('shard ' || s.shard)::bytea)) <> s.chain_hash
"""


def heads() -> dict[int, int]:
    """Return the last sequence of each shard's log."""
    with connection.cursor() as cursor:
        cursor.execute(_HEADS)
        return dict(cursor.fetchall())


def _compare(ranges: Iterable[tuple[int, int, int]]) -> list[Finding]:
    """Compare commands with counting and hashing: (shard, after, upto)."""
    listed = list(ranges)
    if not listed:
        return []
    shards, after, upto = zip(*listed, strict=True)
    return findings(_CHAIN, {"shards": list(shards), "after": list(after), "upto": list(upto)})


def _stored(wanted: Iterable[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
    """Return the hashes that commands have now: (shard, sequence) -> hash. One statement."""
    shards, sequences = [list(column) for column in zip(*wanted, strict=True)] or ([], [])
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.shard, c.sequence, c.chain_hash FROM unnest(%s::smallint[], %s::bigint[]) AS w (shard, sequence)"
            " JOIN commands c ON c.shard = w.shard AND c.sequence = w.sequence",
            [shards, sequences],
        )
        return {(shard, sequence): bytes(digest) for shard, sequence, digest in cursor.fetchall()}


def _stream(shard: int) -> str:
    return f"commands:{shard}"


def _shards(position: Position) -> dict[int, Position]:
    return {int(shard): part for shard, part in position.get("shards", {}).items()}


def _look(scope: Scope) -> Seen:
    """Compare the commands since the mark, beginning at the hash that was seen there."""
    marks, last = _shards(scope.position), heads()
    fresh = [
        (shard, after, min(head, after + COMMANDS_MAX))
        for shard, head in last.items()
        if head > (after := marks.get(shard, {}).get("command", 0))
    ]
    old = [(shard, sequence - 1, sequence) for shard, sequence in (p for p in scope.again if isinstance(p, list))]
    upto = {shard: marks.get(shard, {}).get("command", 0) for shard in last} | {s: end for s, _, end in fresh}
    return _seen(scope, upto, _compare([*fresh, *old]), behind=sum(last.values()) - sum(upto.values()))


def _seen(scope: Scope, upto: dict[int, int], found: list[Finding], *, behind: int) -> Seen:
    """Hold what was remembered against the log, and remember where this look ended."""
    marks = _shards(scope.position)
    remembered = {shard: _remembered(scope, shard, marks.get(shard, {})) for shard in upto}
    stored = _stored({(shard, n) for shard, numbers in remembered.items() for n in [*numbers, upto[shard]]})
    stores: list[Store] = []
    moved: Position = {}
    for shard, end in upto.items():
        now_there = {number: digest for (of, number), digest in stored.items() if of == shard}
        found = found + chain.contradicted(f"command {shard}:", remembered[shard], now_there, shard=shard)
        moved[str(shard)], store = chain.advance(
            _stream(shard), "command", marks.get(shard, {}), end, now_there.get(end)
        )
        stores += [store] if store else []
    items = sum(upto.values()) - sum(mark.get("command", 0) for mark in marks.values())
    return Seen(found + findings(_ENDS, {}), {"shards": moved}, items, max(0, behind), _all(stores))


def _remembered(scope: Scope, shard: int, mark: Position) -> dict[int, str]:
    """Return what the mark and the unresolved breaks remember of one shard."""
    places = [place for place in scope.again if isinstance(place, dict) and place["shard"] == shard]
    return chain.remembered("command", Scope(mark, places, scope.now))


def _all(stores: list[Store]) -> Store | None:
    """Return one thing to store in place of several."""
    if not stores:
        return None

    def store(now: Any) -> None:
        for each in stores:
            each(now)

    return store


def _full(progress: Progress) -> Seen:
    """Compare every command, and hold every kept hash against the log."""
    last = heads()
    total, done = sum(last.values()), 0
    found: list[Finding] = []
    stores: list[Store] = []
    moved: Position = {}
    for shard, head in last.items():
        for after in range(0, head, COMMANDS_MAX):
            progress(done, total)
            upto = min(head, after + COMMANDS_MAX)
            found += _compare([(shard, after, upto)])[: FINDINGS_MAX + 1 - len(found)]
            done += upto - after
        kept = chain.checkpoints(_stream(shard))
        stored = {number: digest for (_, number), digest in _stored([(shard, n) for n in [*kept, head]]).items()}
        found += chain.contradicted(f"command {shard}:", kept, stored, shard=shard)
        moved[str(shard)], store = chain.advance(_stream(shard), "command", {}, head, stored.get(head))
        stores += [store] if store else []
    return Seen(found + findings(_ENDS, {}), {"shards": moved}, total, store=_all(stores))


CHECKS: Final = (
    Check(
        name="log.chain",
        compares=gettext_noop("The command log against counting from 1 and against its hash chain, and kept hashes."),
        causes={
            "missing": gettext_noop("Shard %(shard)s has no command %(sequence)s."),
            "hash": gettext_noop("Command %(sequence)s of shard %(shard)s does not follow in the chain."),
            "head": gettext_noop("The head of shard %(shard)s stands at %(head)s; its last command is %(last)s."),
            "ahead": gettext_noop("Shard %(shard)s was settled to %(settled)s; its log ends at %(head)s."),
            chain.REWRITTEN: gettext_noop("Command %(number)s has another hash than when it was checked: %(was)s."),
        },
        look=_look,
        full=_full,
        severity=Severity.STOP,
    ),
)
