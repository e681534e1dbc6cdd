"""Checks of accounts: each looks at the accounts that entries since its mark have touched; full passes look at all."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from exchange.kernel.errors import gettext_noop
from ledger import audit
from ledger.audit import Invariant
from ledger.reconciliation.checks import FINDINGS_MAX, Check, Finding, Progress, Scope, Seen, Severity
from ledger.reconciliation.sql import ENTRIES_MAX, findings, line_before, number_of, parts, ranges

ACCOUNTS_MAX: Final = 20_000
"""Accounts in one part of a full pass."""

TOUCHED: Final = """
WITH scope AS MATERIALIZED (
    SELECT * FROM unnest(%(after)s::bigint[], %(upto)s::bigint[]) AS r (after, upto)
), touched AS MATERIALIZED (
    SELECT DISTINCT l.account_id AS id FROM scope r
    CROSS JOIN LATERAL (SELECT * FROM ledger_line l WHERE l.entry_id > r.after AND l.entry_id <= r.upto OFFSET 0) l
    UNION SELECT unnest(%(again)s::bigint[])
)
"""
ALL: Final = """
WITH touched AS MATERIALIZED (SELECT id FROM ledger_account WHERE id > %(after)s AND id <= %(upto)s)
"""

_LAST_LINE = f"""
SELECT 'account ' || a.id, a.id, a.asset, a.balance - coalesce(l.balance_after, 0), 'differs',
       json_build_object('account', a.id, 'asset', a.asset, 'balance', trim_scale(a.balance)::text,
                         'lines', trim_scale(coalesce(l.balance_after, 0))::text)
FROM touched t JOIN ledger_account a ON a.id = t.id
LEFT JOIN LATERAL ({line_before("a.id + 1, 0, 0")}) l ON l.account_id = a.id
WHERE a.balance <> coalesce(l.balance_after, 0)
"""
_SUM_OF_LINES = """
SELECT 'account ' || a.id, a.id, a.asset, a.balance - coalesce(l.total, 0), 'differs',
       json_build_object('account', a.id, 'asset', a.asset, 'balance', trim_scale(a.balance)::text,
                         'lines', trim_scale(coalesce(l.total, 0))::text)
FROM touched t JOIN ledger_account a ON a.id = t.id
LEFT JOIN (
    SELECT account_id, sum(amount) AS total FROM ledger_line
    WHERE account_id > %(after)s AND account_id <= %(upto)s GROUP BY account_id
) l ON l.account_id = a.id
WHERE a.balance <> coalesce(l.total, 0)
"""
_OWNERS = """, owner AS MATERIALIZED (
    SELECT DISTINCT a.owner_id, a.asset FROM touched t JOIN ledger_account a ON a.id = t.id WHERE a.owner_id IS NOT NULL
)
SELECT 'user ' || o.owner_id || ', ' || o.asset, min(a.id), o.asset, sum(a.balance), 'user',
       json_build_object('user', o.owner_id, 'asset', o.asset, 'off', trim_scale(sum(a.balance))::text)
FROM owner o JOIN ledger_account a ON a.owner_id = o.owner_id AND a.asset = o.asset
GROUP BY o.owner_id, o.asset HAVING sum(a.balance) <> 0
"""
_OWED = """
SELECT coalesce(u.asset, p.asset), NULL::bigint, coalesce(u.asset, p.asset),
       coalesce(u.total, 0) - coalesce(p.total, 0), 'owed',
       json_build_object('asset', coalesce(u.asset, p.asset), 'users', trim_scale(coalesce(u.total, 0))::text,
                         'platform', trim_scale(coalesce(p.total, 0))::text)
FROM (SELECT asset, sum(balance) AS total FROM ledger_account WHERE face = 'BOTH' GROUP BY asset) u
FULL JOIN (SELECT asset, sum(balance) AS total FROM ledger_account WHERE face = 'PLATFORM' GROUP BY asset) p
     ON p.asset = u.asset
WHERE coalesce(u.total, 0) <> coalesce(p.total, 0)
"""
_EMPTY = """
SELECT CASE WHEN sub = '' THEN asset ELSE sub || ', ' || asset END, NULL::bigint, asset, balance, 'not_empty',
       json_build_object('part', sub, 'asset', asset, 'balance', trim_scale(balance)::text)
FROM ledger_account WHERE owner_id IS NULL AND code = %(code)s AND balance <> 0 AND sub <> %(but)s
"""


def look_at_touched(statement: str, scope: Scope) -> Seen:
    """Compare the accounts that entries since the mark have touched, and those of unresolved breaks.

    Args:
        statement: Reads the accounts to compare from `touched (id)`.
    """
    after: int = scope.position.get("entry", 0)
    upto = min(scope.entry_head, after + ENTRIES_MAX)
    if upto <= after and not scope.again:
        return Seen([], {"entry": after}, 0)
    found = findings(TOUCHED + statement, ranges(after, upto, ()) | {"again": list(scope.again)})
    return Seen(found, {"entry": max(upto, after)}, max(upto - after, 0), max(scope.entry_head - upto, 0))


def full_over_accounts(statement: str, progress: Progress) -> Seen:
    """Compare all accounts, part by part."""
    last = number_of("SELECT max(id) FROM ledger_account")
    head = number_of("SELECT entry_id FROM ledger_head")
    found: list[Finding] = []
    for after, upto in parts(last, ACCOUNTS_MAX):
        progress(after, last)
        found += findings(ALL + statement, {"after": after, "upto": upto})[: FINDINGS_MAX + 1 - len(found)]
    return Seen(found, {"entry": head}, last)


def look_at_state(statement: str, params: dict[str, Any], _scope: Scope) -> Seen:
    """Compare what stands now; for statements that read little whatever the history."""
    return Seen(findings(statement, params), {}, 1)


def full_state(statement: str, params: dict[str, Any], _progress: Progress) -> Seen:
    """Compare what stands now."""
    return Seen(findings(statement, params), {}, 1)


def state_check(name: str, statement: str, params: dict[str, Any] | None = None, **options: Any) -> Check:
    """Make a check whose looks and full passes are one statement over what stands now."""
    return Check(
        name=name,
        look=partial(look_at_state, statement, params or {}),
        full=partial(full_state, statement, params or {}),
        **options,
    )


def touched_check(name: str, statement: str, *, full_statement: str | None = None, **options: Any) -> Check:
    """Make a check of accounts: a statement over `touched (id)`, and another for full passes where one is better."""
    return Check(
        name=name,
        look=partial(look_at_touched, statement),
        full=partial(full_over_accounts, full_statement or statement),
        **options,
    )


def full_audit(invariants: Callable[[], Iterable[Invariant]], _progress: Progress) -> Seen:
    """Turn an audit's broken invariants into findings."""
    found = list(invariants())
    broken = [Finding(item.name, "broken", {"detail": item.detail}) for item in found if not item.ok]
    return Seen(broken, {}, len(found))


def audit_check(name: str, invariants: Callable[[], Iterable[Invariant]], compares: str) -> Check:
    """Make a check of an audit, which only full passes make."""
    return Check(
        name=name,
        compares=compares,
        causes={"broken": gettext_noop("Not so: %(detail)s")},
        full=partial(full_audit, invariants),
    )


CHECKS: Final = (
    touched_check(
        "balances.lines",
        _LAST_LINE,
        full_statement=_SUM_OF_LINES,
        compares=gettext_noop("Each account's balance against its last line; in full against the sum of its lines."),
        causes={
            "differs": gettext_noop("Account %(account)s stands at %(balance)s %(asset)s, its lines at %(lines)s.")
        },
        severity=Severity.STOP,
    ),
    touched_check(
        "users.balance",
        _OWNERS,
        compares=gettext_noop("What a user owns against where it came from: all accounts of a user and asset."),
        causes={"user": gettext_noop("The accounts of user %(user)s are off by %(off)s %(asset)s.")},
        severity=Severity.STOP,
    ),
    state_check(
        "platform.owed",
        _OWED,
        compares=gettext_noop("What users own against what the platform owes, asset by asset."),
        causes={"owed": gettext_noop("Users own %(users)s %(asset)s; the platform's accounts say %(platform)s.")},
        every=60,
        severity=Severity.STOP,
    ),
    state_check(
        "funding.clears",
        _EMPTY,
        {"code": "2120", "but": "-"},
        compares=gettext_noop("Funding paid against funding received: nothing stays in funding clearing."),
        causes={"not_empty": gettext_noop("Funding clearing of %(part)s holds %(balance)s %(asset)s.")},
        equation="R4",
        every=10,
    ),
    state_check(
        "suspense.empty",
        _EMPTY,
        {"code": "1190", "but": "deposits"},
        compares=gettext_noop(
            "The suspense accounts, but that of deposits, against nothing: all that could not be posted is cleared up."
        ),
        causes={"not_empty": gettext_noop("Suspense of %(part)s holds %(balance)s %(asset)s.")},
    ),
    audit_check("audit.books", audit.invariants, gettext_noop("The whole books against every invariant of theirs.")),
)
