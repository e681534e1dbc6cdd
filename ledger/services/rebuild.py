"""Rebuilds what is derived from lines: the balance of every account. Lines are read, and never changed.

Note [Rebuilding balances]
    A balance is the sum of its account's lines, and an account names the entry of its last one. The sums up to an
    entry are taken without any lock; then, batch by batch, the journal's head is locked, which holds up postings for
    as long as the few entries since then take to add. The table's own trigger lets a balance be put right only to its
    last line's running balance: where that is not the sum of the lines, the lines themselves have been damaged, and
    the account is named and left alone.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from django.db import connection, transaction

from exchange.kernel.money import EXACT, plain

ACCOUNTS_MAX: Final = 2_000
"""Accounts in one transaction."""
NAMED_MAX: Final = 20

Shown = Callable[[int, int], None]
"""Called with how much is done, and of how much."""

_SUMS: Final = """
SELECT account_id, sum(amount) FROM ledger_line
WHERE account_id > %s AND account_id <= %s AND entry_id <= %s GROUP BY account_id
"""
_SINCE: Final = """
SELECT account_id, sum(amount) FROM ledger_line
WHERE entry_id > %s AND account_id > %s AND account_id <= %s GROUP BY account_id
"""
_BALANCES: Final = """
SELECT a.id, a.balance, a.last_entry_id, coalesce(l.balance_after, 0), coalesce(l.entry_id, 0)
FROM ledger_account a
LEFT JOIN LATERAL (
    SELECT entry_id, balance_after FROM ledger_line WHERE account_id = a.id
    ORDER BY account_id DESC, entry_id DESC, n DESC LIMIT 1
) l ON true
WHERE a.id > %s AND a.id <= %s ORDER BY a.id
"""
_CORRECT: Final = """
UPDATE ledger_account a SET balance = c.balance, last_entry_id = c.entry_id
FROM unnest(%s::bigint[], %s::numeric[], %s::bigint[]) AS c (id, balance, entry_id) WHERE a.id = c.id
"""


@dataclass
class Rebuilt:
    """What a rebuild has found and done.

    Args:
        rows: Rows that were compared.
        different: How many were wrong, or missing, or should not be there.
        named: Some of them, in words.
        left: How many of them could not be put right, since what they are derived from is damaged.
        written: Whether the others were put right.
    """

    rows: int = 0
    different: int = 0
    named: list[str] = field(default_factory=list)
    left: int = 0
    written: bool = False

    def name(self, what: Iterable[str]) -> None:
        """Count rows that are wrong, and name the first of them."""
        for words in what:
            self.different += 1
            if len(self.named) < NAMED_MAX:
                self.named.append(words)


def balances(*, write: bool, show: Shown) -> Rebuilt:
    """Compare every balance with its lines, and put right what is wrong: Note [Rebuilding balances].

    Args:
        write: Else nothing is changed.
    """
    done = Rebuilt(written=write)
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(id), 0) FROM ledger_account")
        last = cursor.fetchone()[0]
    for after in range(0, last, ACCOUNTS_MAX):
        show(after, last)
        _batch(after, after + ACCOUNTS_MAX, done, write=write)
    return done


def _batch(after: int, upto: int, done: Rebuilt, *, write: bool) -> None:
    """Compare one batch of accounts, and put right what is wrong."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT entry_id FROM ledger_head")
        head = cursor.fetchone()[0]
        cursor.execute(_SUMS, [after, upto, head])
        sums: dict[int, Decimal] = dict(cursor.fetchall())
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT FROM ledger_head FOR NO KEY UPDATE")
        cursor.execute(_SINCE, [head, after, upto])
        for account_id, amount in cursor.fetchall():
            sums[account_id] = EXACT.add(sums.get(account_id, Decimal(0)), amount)
        cursor.execute(_BALANCES, [after, upto])
        rows = cursor.fetchall()
        right: list[tuple[int, Decimal, int]] = []
        for account_id, balance, entry_id, last_line, last_entry_id in rows:
            total = sums.get(account_id, Decimal(0))
            if balance == total == last_line and entry_id == last_entry_id:
                continue
            is_now = f"{plain(balance)} after entry {entry_id}"
            done.name([f"account {account_id}: {is_now}, its lines {plain(total)} after entry {last_entry_id}"])
            if total == last_line:
                right.append((account_id, total, last_entry_id))
            else:
                done.left += 1
        done.rows += len(rows)
        if right and write:
            cursor.execute(_CORRECT, [list(column) for column in zip(*right, strict=True)])
