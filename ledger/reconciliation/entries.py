"""Checks of entries and their lines: each looks at the entries since its mark, in ranges of bounded size."""

import dataclasses
from collections.abc import Iterable
from functools import partial
from typing import Any, Final

from django.db import connection

from exchange.kernel.errors import gettext_noop
from ledger.reconciliation import chain
from ledger.reconciliation.checks import FINDINGS_MAX, Check, Finding, Progress, Scope, Seen, Severity
from ledger.reconciliation.sql import ENTRIES, ENTRIES_MAX, LINES, findings, line_before, number_of, parts, ranges

STREAM: Final = "entries"
_HEAD: Final = "SELECT entry_id FROM ledger_head"

_BALANCE = f"""{LINES}
SELECT 'entry ' || entry_id || ', user ' || owner_id || ', ' || asset, entry_id, asset, sum(amount), 'user',
       json_build_object('entry', entry_id, 'user', owner_id, 'off', trim_scale(sum(amount))::text, 'asset', asset)
FROM line WHERE owner_id IS NOT NULL GROUP BY entry_id, owner_id, asset HAVING sum(amount) <> 0
UNION ALL
SELECT 'entry ' || entry_id || ', platform, ' || asset, entry_id, asset,
       sum(CASE face WHEN 'BOTH' THEN -amount ELSE amount END), 'platform',
       json_build_object('entry', entry_id, 'asset', asset,
                         'off', trim_scale(sum(CASE face WHEN 'BOTH' THEN -amount ELSE amount END))::text)
FROM line WHERE face <> 'USER' GROUP BY entry_id, asset
HAVING sum(CASE face WHEN 'BOTH' THEN -amount ELSE amount END) <> 0
"""
_CHAIN = f"""{LINES}, chained AS (
    SELECT *, balance_after - amount AS before,
           lag(balance_after) OVER (PARTITION BY after, account_id ORDER BY entry_id, n) AS previous
    FROM line
), continued AS (
    SELECT c.*, coalesce(c.previous, p.balance_after, 0) AS expected
    FROM chained c LEFT JOIN LATERAL ({line_before("c.account_id, c.entry_id, c.n")}) p
         ON c.previous IS NULL AND p.account_id = c.account_id
)
SELECT 'line ' || entry_id || '.' || n, entry_id, asset, before - expected, 'chain',
       json_build_object('line', entry_id || '.' || n, 'account', account_id, 'asset', asset,
                         'before', trim_scale(before)::text, 'expected', trim_scale(expected)::text)
FROM continued WHERE before <> expected
"""
_BOUNDS = f"""{LINES}
SELECT 'line ' || entry_id || '.' || n, entry_id, asset, balance_after, 'bound',
       json_build_object('line', entry_id || '.' || n, 'account', account_id, 'code', code, 'asset', asset,
                         'balance', trim_scale(balance_after)::text)
FROM line WHERE sign(balance_after) * bound < 0
"""
_WHOLE = f"""{LINES}, number AS (
    SELECT generate_series(r.after + 1, r.upto) AS id FROM scope r
), {ENTRIES}, seen AS (
    SELECT e.id, e.recorded_at, (SELECT p.recorded_at FROM ledger_entry p WHERE p.id = e.id - 1) AS previous,
           l.entry_id IS NOT NULL AS has_lines
    FROM entry e LEFT JOIN (SELECT DISTINCT entry_id FROM line) l ON l.entry_id = e.id
)
SELECT 'entry ' || n.id, n.id, NULL::text, NULL::numeric, 'missing', json_build_object('entry', n.id)
FROM number n LEFT JOIN entry e ON e.id = n.id WHERE e.id IS NULL
UNION ALL
SELECT 'entry ' || id, id, NULL, NULL, 'early', json_build_object('entry', id) FROM seen WHERE recorded_at < previous
UNION ALL
SELECT 'entry ' || id, id, NULL, NULL, 'empty', json_build_object('entry', id) FROM seen WHERE NOT has_lines
UNION ALL
SELECT 'line ' || l.entry_id || '.' || l.n, l.entry_id, l.asset, l.amount, 'orphan',
       json_build_object('line', l.entry_id || '.' || l.n)
FROM line l LEFT JOIN entry e ON e.id = l.entry_id WHERE l.known IS NULL OR e.id IS NULL
"""
_BEYOND = """
SELECT 'head', NULL::bigint, NULL::text, NULL::numeric, 'head',
       json_build_object('head', h.entry_id, 'last', coalesce(e.id, 0))
FROM ledger_head h LEFT JOIN (SELECT * FROM ledger_entry ORDER BY id DESC LIMIT 1) e ON true
WHERE h.entry_id <> coalesce(e.id, 0) OR h.hash <> coalesce(e.hash, sha256(''))
   OR h.recorded_at <> coalesce(e.recorded_at, '-infinity')
UNION ALL
SELECT 'line ' || l.entry_id || '.' || l.n, NULL, NULL, l.amount, 'orphan',
       json_build_object('line', l.entry_id || '.' || l.n)
FROM ledger_head h JOIN ledger_line l ON l.entry_id > h.entry_id
"""
_HASHES = f"""{LINES}, body AS (
    SELECT entry_id,
           string_agg(n || ':' || account_id || ':' || amount || ':' || balance_after, ',' ORDER BY n) AS lines
    FROM line GROUP BY entry_id
), {ENTRIES}, hashed AS (
    SELECT e.id, e.hash, sha256(
               CASE WHEN e.id = 1 THEN sha256('') ELSE (SELECT p.hash FROM ledger_entry p WHERE p.id = e.id - 1) END
               || ledger_payload(e.id, e.kind, e.key, e.effective_at, e.late, e.recorded_at, e.trace, e.reverses,
                                 b.lines)) AS expected
    FROM entry e LEFT JOIN body b ON b.entry_id = e.id
)
SELECT 'entry ' || id, id, NULL::text, NULL::numeric, 'hash', json_build_object('entry', id)
FROM hashed WHERE hash IS DISTINCT FROM expected
"""


def _look(statement: str, scope: Scope) -> Seen:
    """Compare the entries since the mark, at most ENTRIES_MAX, and those of unresolved breaks."""
    after: int = scope.position.get("entry", 0)
    upto = min(scope.entry_head, after + ENTRIES_MAX)
    if upto <= after and not scope.again:
        return Seen([], {"entry": after}, 0)
    found = findings(statement, ranges(after, upto, scope.again))
    return Seen(found, {"entry": max(upto, after)}, max(upto - after, 0), max(scope.entry_head - upto, 0))


def _full(statement: str, progress: Progress) -> Seen:
    """Compare all entries, part by part."""
    head = number_of(_HEAD)
    found: list[Finding] = []
    for after, upto in parts(head, ENTRIES_MAX):
        progress(after, head)
        found += findings(statement, ranges(after, upto, ()))[: FINDINGS_MAX + 1 - len(found)]
    return Seen(found, {"entry": head}, head)


def _look_whole(scope: Scope) -> Seen:
    """Beside the entries in scope, look at the end of the books: it may not be before what was seen already."""
    seen = _look(_WHOLE, scope)
    found = findings(_BEYOND, {})
    if scope.entry_head < seen.position["entry"]:
        figures = {"head": scope.entry_head, "seen": seen.position["entry"]}
        found.append(Finding("books", "shorter", figures))
    return seen._replace(findings=seen.findings + found)


def _full_whole(progress: Progress) -> Seen:
    seen = _full(_WHOLE, progress)
    return seen._replace(findings=seen.findings + findings(_BEYOND, {}))


def _look_hashes(scope: Scope) -> Seen:
    """Begin at the hash that was seen at the mark: books that were written anew, hashes and all, contradict it."""
    entries = [place for place in scope.again if isinstance(place, int)]
    remembered = chain.remembered("entry", scope)
    seen = _look(_HASHES, dataclasses.replace(scope, again=entries))
    upto: int = seen.position["entry"]
    stored = _stored([*remembered, upto])
    position, store = chain.advance(STREAM, "entry", scope.position, upto, stored.get(upto))
    return seen._replace(
        findings=seen.findings + chain.contradicted("entry ", remembered, stored), position=position, store=store
    )


def _full_hashes(progress: Progress) -> Seen:
    """Hash everything, and hold every checkpoint against the books."""
    seen = _full(_HASHES, progress)
    kept = chain.checkpoints(STREAM)
    upto: int = seen.position["entry"]
    stored = _stored([*kept, upto])
    position, store = chain.advance(STREAM, "entry", {}, upto, stored.get(upto))
    return seen._replace(
        findings=seen.findings + chain.contradicted("entry ", kept, stored), position=position, store=store
    )


def _stored(numbers: Iterable[int]) -> dict[int, bytes]:
    """Return the hashes that entries have now. One statement."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, hash FROM ledger_entry WHERE id = ANY(%s)", [list(numbers)])
        return {entry_id: bytes(digest) for entry_id, digest in cursor.fetchall()}


def _check(name: str, statement: str, compares: str, causes: dict[str, str], **options: Any) -> Check:
    """Make the check that a statement over entries stands for."""
    look = options.pop("look", partial(_look, statement))
    full = options.pop("full", partial(_full, statement))
    return Check(name=name, compares=compares, causes=causes, look=look, full=full, **options)


CHECKS: Final = (
    _check(
        "entries.balance",
        _BALANCE,
        gettext_noop("The lines of each entry against each other: for each user and asset, and for the platform."),
        {
            "user": gettext_noop("Entry %(entry)s does not balance for user %(user)s: %(off)s %(asset)s are left."),
            "platform": gettext_noop("Entry %(entry)s does not balance for the platform: %(off)s %(asset)s are left."),
        },
        severity=Severity.STOP,
    ),
    _check(
        "lines.chain",
        _CHAIN,
        gettext_noop("Each line's running balance against the line before it of the same account."),
        {
            "chain": gettext_noop(
                "Line %(line)s starts from %(before)s %(asset)s; account %(account)s stood at %(expected)s."
            )
        },
        equation="R8",
        severity=Severity.STOP,
    ),
    _check(
        "lines.bounds",
        _BOUNDS,
        gettext_noop("Each running balance against the bound of its account: wallets at or above zero."),
        {"bound": gettext_noop("Line %(line)s leaves account %(account)s (%(code)s) at %(balance)s %(asset)s.")},
        severity=Severity.STOP,
    ),
    _check(
        "entries.whole",
        _WHOLE,
        gettext_noop("Entry numbers against counting from 1, entries against lines, the head against the last entry."),
        {
            "missing": gettext_noop("There is no entry %(entry)s."),
            "early": gettext_noop("Entry %(entry)s was recorded before its predecessor."),
            "empty": gettext_noop("Entry %(entry)s has no lines."),
            "orphan": gettext_noop("Line %(line)s has no entry or no account."),
            "head": gettext_noop("The head stands at entry %(head)s; the last entry is %(last)s or another."),
            "shorter": gettext_noop("The books end at entry %(head)s, but were checked up to %(seen)s."),
        },
        look=_look_whole,
        full=_full_whole,
        equation="R8",
        severity=Severity.STOP,
    ),
    _check(
        "entries.hash",
        _HASHES,
        gettext_noop(
            "Each entry's hash against its content and the hash before it, and kept hashes against the books."
        ),
        {
            "hash": gettext_noop("Entry %(entry)s does not hash to what it says."),
            chain.REWRITTEN: gettext_noop("Entry %(number)s has another hash than when it was checked: %(was)s."),
        },
        look=_look_hashes,
        full=_full_hashes,
        equation="R8",
        severity=Severity.STOP,
    ),
)
