"""Opens accounts and gates, locks gates, and reads balances.

Note [Lock order]
    Settlement cursor; gates by owner id (`lock`); the ledger's door (`journal.post`); stream heads.
    Nobody enters the door for an owner whose gate it does not hold: what it judged a wallet by could
    have changed. Accounts are opened before the door, so that opening never waits inside it. Gates that are taken
    without waiting (`lock_free_statement`) need no order, but once one is held no other is waited for.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from typing import Any, TypeVar, cast

from django.db import connection, transaction

from exchange import database
from exchange.kernel.errors import require
from ledger.chart import AccountCode
from ledger.entries import AccountKey

__all__ = [
    "AccountKey",
    "balances",
    "balances_reading",
    "forget_ids",
    "ids",
    "ids_of",
    "lock",
    "lock_free_statement",
    "lock_statement",
    "open_gates",
    "open_groups",
    "require_locked",
]

KEYS_MAX = 200_000


_IDS: dict[AccountKey, int] = {}
"""Ids of accounts whose opening is committed. Accounts are never closed, so an id never goes stale."""

Group = TypeVar("Group", bound=Hashable)
"""What a caller calls a set of accounts that it needs together, such as a trader and an instrument."""

_OPEN_GROUPS: dict[Callable[[Any], Iterable[AccountKey]], set[Any]] = defaultdict(set)
"""Groups of which _IDS has all accounts, by what says which they are: `open_groups`."""

_FIND = "SELECT id, balance FROM ledger_find_accounts(%s::bigint[], %s::text[], %s::text[], %s::text[])"
_LOCK = "SELECT owner_id FROM ledger_gate WHERE owner_id = ANY(%s::bigint[]) ORDER BY owner_id FOR NO KEY UPDATE"
_LOCK_FREE = f"{_LOCK} SKIP LOCKED"
_RARE = (AccountCode.DEBT, AccountCode.WITHDRAW_HOLD)
"""User accounts that most traders lack: to look for each by name costs more than to ask which of them there are."""
_RARE_CODES = database.array([str(code) for code in _RARE])
_KNOWN_AND_RARE = """
SELECT id, balance, NULL::bigint, NULL::text, NULL::text, NULL::text
FROM ledger_account WHERE id = ANY(%s::bigint[])
UNION ALL
SELECT id, balance, owner_id, code, asset, sub
FROM ledger_account WHERE owner_id = ANY(%s::bigint[]) AND code = ANY(%s::text[])
"""
"""Only those that are looked for by their owners are named in the rows."""
_OPEN = "SELECT * FROM ledger_open_accounts(%s::bigint[], %s::text[], %s::text[], %s::text[])"


def forget_ids() -> None:
    """Empty the cache of ids; for tests, whose accounts vanish with their database."""
    _IDS.clear()
    _OPEN_GROUPS.clear()


def open_gates(owner_ids: Iterable[int]) -> None:
    """Make the gates of new traders. Repeating it changes nothing."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO ledger_gate (owner_id, event_sequence)"
            " SELECT DISTINCT id, 0 FROM unnest(%s::bigint[]) AS id ORDER BY 1"
            " ON CONFLICT DO NOTHING",
            [list(owner_ids)],
        )


def lock(owner_ids: Collection[int]) -> None:
    """Lock the gates of these traders, in order of id, until the transaction ends. One statement.

    Raises:
        InvariantViolationError: A trader has no gate, or no transaction is open.
    """
    [rows] = database.fetch(lock_statement(owner_ids))
    require_locked(owner_ids, rows)


def lock_statement(owner_ids: Collection[int]) -> tuple[str, Sequence[Any]]:
    """Return the statement that locks gates, for a caller who sends it ahead of what it reads under them."""
    require(connection.in_atomic_block, "gates are locked inside a transaction")
    return _LOCK, [database.array(sorted(set(owner_ids)))]


def lock_free_statement(owner_ids: Collection[int]) -> tuple[str, Sequence[Any]]:
    """Return the statement that locks these gates but for those that others keep: it never waits."""
    require(connection.in_atomic_block, "gates are locked inside a transaction")
    return _LOCK_FREE, [database.array(sorted(set(owner_ids)))]


def require_locked(owner_ids: Collection[int], rows: Sequence[tuple[int]]) -> None:
    """Hold the rows of `lock_statement` against the traders asked for.

    Raises:
        InvariantViolationError: A trader has no gate.
    """
    missing = set(owner_ids).difference(row[0] for row in rows)
    require(not missing, f"no gate for {sorted(missing)[:10]}")


def _columns(keys: Sequence[AccountKey]) -> list[str]:
    """Turn keys into the four arrays that the functions take."""
    return [
        database.array([key.owner_id for key in keys]),
        database.array([str(key.code) for key in keys]),
        database.array([key.asset for key in keys]),
        database.array([key.sub for key in keys]),
    ]


def ids(keys: Iterable[AccountKey]) -> dict[AccountKey, int]:
    """Return the ids of accounts, opening those that are missing. No statement when all are cached, else <= 2.

    An id is cached when its transaction commits; what is rolled back is never remembered.
    """
    found: dict[AccountKey, int] = {}
    unknown: list[AccountKey] = []
    for key in dict.fromkeys(keys):
        account_id = _IDS.get(key)
        if account_id is None:
            unknown.append(key)
        else:
            found[key] = account_id
    if not unknown:
        return found
    require(len(unknown) <= KEYS_MAX, f"{len(unknown)} accounts in one call")
    with connection.cursor() as cursor:
        cursor.execute(_FIND, _columns(unknown))
        learnt = {key: row[0] for key, row in zip(unknown, cursor.fetchall(), strict=True) if row[0] is not None}
        missing = [key for key in unknown if key not in learnt]
        if missing:
            cursor.execute(_OPEN, _columns(missing))
            learnt |= {key: row[0] for key, row in zip(missing, cursor.fetchall(), strict=True)}
    require(None not in learnt.values(), "an account opened by another transaction is not visible here")
    transaction.on_commit(lambda: _IDS.update(learnt))
    return found | learnt


def ids_of(keys: Sequence[AccountKey]) -> Sequence[int]:
    """Return the id of each account, opening those that are missing.

    Costs one look-up each when all are cached, as on the order's road.
    """
    known = list(map(_IDS.get, keys))
    if None not in known:
        return cast("list[int]", known)
    found = ids(keys)
    return [found[key] for key in keys]


def open_groups(groups: AbstractSet[Group], keys_of: Callable[[Group], Iterable[AccountKey]]) -> None:
    """Open the accounts of these groups and learn their ids, as `ids` does; those of a group are looked at once."""
    known = _OPEN_GROUPS[keys_of]
    if new := groups - known:
        ids(key for group in new for key in keys_of(group))
        transaction.on_commit(lambda: known.update(new))


def balances(keys: Iterable[AccountKey]) -> dict[AccountKey, Decimal]:
    """Return balances, debit positive; zero where no account is open yet. At most two statements, one round trip."""
    [found] = database.read(balances_reading(keys))
    return found  # type: ignore[no-any-return]


def balances_reading(keys: Iterable[AccountKey]) -> database.Reading[dict[AccountKey, Decimal]]:
    """Read balances as `balances` returns them.

    Accounts whose ids are cached are read by them: by owner, code, asset and contract takes several times as long.
    """
    found = dict.fromkeys(keys, Decimal(0))
    known: dict[int, AccountKey] = {}
    others: list[AccountKey] = []
    for key, account_id in zip(found, map(_IDS.get, found), strict=True):
        if account_id is not None:
            known[account_id] = key
        else:
            others.append(key)
    rare: set[int] = set()
    if all(code in _RARE and owner_id is not None for owner_id, code, _, _ in others):
        rare, others = {key.owner_id for key in others if key.owner_id is not None}, []
    rows, by_name = yield (
        (_KNOWN_AND_RARE, [database.array(list(known)), database.array(sorted(rare)), _RARE_CODES])
        if known or rare
        else None,
        (_FIND, _columns(others)) if others else None,
    )
    learnt: dict[AccountKey, Sequence[Any]] = {}
    for row in rows:
        if row[2] is None:
            found[known.pop(row[0])] = row[1]
        else:
            learnt[AccountKey(*row[2:])] = row[:2]
    require(not known, "an account has vanished")
    learnt |= {key: row for key, row in zip(others, by_name, strict=True) if row[0] is not None}
    found.update((key, balance) for key, (_, balance) in learnt.items() if key in found)
    if learnt:
        transaction.on_commit(lambda: _IDS.update((key, account_id) for key, (account_id, _) in learnt.items()))
    return found
