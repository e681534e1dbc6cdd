"""Balances as of any moments, by one index probe an account and moment, or of all users from kept totals.

The running balance that each line carries makes a past balance the last line at or before the cut; late entries are
added (Note [When an entry counts] in `moments`). A late entry corrects the books of exactly the moments between its
`effective_at` and its `recorded_at`, which is what the index `ledger_entry_late_span` looks up.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from django.db import connection

from exchange.kernel.errors import require
from ledger.reports import scopes
from ledger.reports.moments import Cut, Period
from ledger.reports.selection import Selection

ACCOUNTS_PAGE_MAX: Final = 1_000
TAIL_ENTRIES_MAX: Final = 60_000
"""Beyond so many entries since the kept totals, of all columns together, looking up every account is quicker."""
Amounts = tuple[Decimal, ...]


class Holding(NamedTuple):
    """What the accounts of one code, asset and part hold together, in the view of the scope, debit positive.

    Args:
        amounts: One for each cut.
    """

    code: str
    asset: str
    sub: str
    amounts: Amounts


class AccountBalance(NamedTuple):
    """One ledger account, in the view of the scope, debit positive; amounts one for each cut."""

    account_id: int
    owner_id: int | None
    code: str
    asset: str
    sub: str
    amounts: Amounts


SPAN: Final = "tstzrange(least(e.effective_at, e.recorded_at), e.recorded_at)"
"""The moments whose books lack a late entry `e` until it is added: from when it happened to when it was recorded."""
OF_ENTRY: Final = "CROSS JOIN LATERAL (SELECT * FROM ledger_line x WHERE x.entry_id = e.id OFFSET 0) l"
"""The lines of late entries `e`, found by entry. OFFSET 0 keeps the planner from finding them by account, whose lines
may be millions: it takes every account for an average one."""
_AT_CUTS: Final = f"""
WITH cut AS MATERIALIZED (
    SELECT place, entry_id, at FROM unnest(%s::bigint[], %s::timestamptz[]) WITH ORDINALITY AS c (entry_id, at, place)
), late AS MATERIALIZED (
    SELECT c.place, l.account_id, sum(l.amount) AS amount
    FROM cut c
    JOIN ledger_entry e ON e.late AND {SPAN} @> c.at
                       AND e.id > c.entry_id AND e.id <= %s
    {OF_ENTRY}
    GROUP BY c.place, l.account_id
), chosen AS ({{chosen}})
SELECT a.id, a.owner_id, a.code, a.asset, a.sub, c.place,
       coalesce(b.balance_after, 0) + coalesce(late.amount, 0) AS balance
FROM chosen a
CROSS JOIN cut c
LEFT JOIN LATERAL (
    SELECT l.balance_after FROM ledger_line l
    WHERE l.account_id = a.id AND l.entry_id <= c.entry_id
    ORDER BY l.entry_id DESC, l.n DESC LIMIT 1
) b ON true
LEFT JOIN late ON late.place = c.place AND late.account_id = a.id
"""
_CHOSEN: Final = "SELECT a.id, a.owner_id, a.code, a.asset, a.sub FROM ledger_account a WHERE {where}"
_TOTALS: Final = """
SELECT code, asset, sub, array_agg(balance ORDER BY place) FROM (
    SELECT code, asset, sub, place, sum(balance) AS balance
    FROM ({each}) AS each
    GROUP BY code, asset, sub, place
) AS total
GROUP BY code, asset, sub
ORDER BY code, asset, sub
"""
_FROM_TOTALS: Final = f"""
WITH cut AS MATERIALIZED (
    SELECT place, entry_id, at, summed
    FROM unnest(%s::bigint[], %s::timestamptz[], %s::bigint[]) WITH ORDINALITY AS c (entry_id, at, summed, place)
), part AS (
    SELECT c.place, t.code, t.asset, t.sub, t.balance
    FROM cut c JOIN ledger_total t ON t.entry_id = c.summed
    {{tails}}
    UNION ALL
    SELECT c.place, a.code, a.asset, a.sub, l.amount
    FROM cut c
    JOIN ledger_entry e ON e.late AND {SPAN} @> c.at
                       AND e.id > c.entry_id AND e.id <= %s
    {OF_ENTRY}
    JOIN ledger_account a ON a.id = l.account_id
), total AS (
    SELECT place, code, asset, sub, sum(balance) AS balance FROM part a WHERE {{where}} GROUP BY place, code, asset, sub
)
SELECT g.code, g.asset, g.sub, array_agg(coalesce(t.balance, 0) ORDER BY c.place)
FROM (SELECT DISTINCT code, asset, sub FROM total) g
CROSS JOIN cut c
LEFT JOIN total t ON t.place = c.place AND t.code = g.code AND t.asset = g.asset AND t.sub = g.sub
GROUP BY g.code, g.asset, g.sub
ORDER BY g.code, g.asset, g.sub
"""
_TAIL: Final = """
    UNION ALL
    SELECT %s::bigint, a.code, a.asset, a.sub, l.amount
    FROM ledger_line l JOIN ledger_account a ON a.id = l.account_id
    WHERE l.entry_id > %s AND l.entry_id <= %s
"""
"""The lines since the kept totals of one cut, with its bounds written out: a join on bounds would read all lines."""
_ACCOUNTS: Final = """
SELECT id, owner_id, code, asset, sub, array_agg(balance ORDER BY place) FROM ({each}) AS each
GROUP BY id, owner_id, code, asset, sub ORDER BY id
"""
_CHANGES: Final = """
SELECT owner_id, asset, array_agg(code ORDER BY code), array_agg(amount ORDER BY code), sum(amount) AS net FROM (
    SELECT owner_id, asset, code, sum(CASE place WHEN 2 THEN balance ELSE -balance END) AS amount
    FROM ({each}) AS each GROUP BY owner_id, asset, code
) AS change
GROUP BY owner_id, asset HAVING sum(amount) > 0 ORDER BY net DESC, owner_id, asset LIMIT %s
"""


def _cut_params(cuts: Sequence[Cut]) -> list[Any]:
    """Return the parameters that `_AT_CUTS` begins with."""
    require(len({cut.head for cut in cuts}) == 1, "cuts of one report have one head")
    return [[cut.entry_id for cut in cuts], [cut.at for cut in cuts], cuts[0].head]


def totals(selection: Selection, cuts: Sequence[Cut]) -> list[Holding]:
    """Return what the selected accounts hold at each cut, by code, asset and part. One statement.

    Accounts that were never used are absent; those that hold nothing any more are there, with zero. Of all users
    together the kept totals are the start, and the lines since them are added; of few accounts each is looked up.
    """
    if _start_from_totals(selection, cuts):
        where, params = selection.where_of_totals()
        arrays = [[cut.entry_id for cut in cuts], [cut.at for cut in cuts], [cut.summed for cut in cuts]]
        tails = [value for place, cut in enumerate(cuts, start=1) for value in (place, cut.summed, cut.entry_id)]
        statement = _FROM_TOTALS.format(tails=_TAIL * len(cuts), where=where)
        values = [*arrays, *tails, cuts[0].head, *params]
    else:
        where, params = selection.where()
        statement = _TOTALS.format(each=_AT_CUTS.format(chosen=_CHOSEN.format(where=where)))
        values = [*_cut_params(cuts), *params]
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return [
            Holding(code, asset, sub, _seen(selection, code, amounts))
            for code, asset, sub, amounts in cursor.fetchall()
        ]


def _start_from_totals(selection: Selection, cuts: Sequence[Cut]) -> bool:
    """Tell whether the lines since the last kept totals are fewer than the accounts that would be looked up."""
    require(len({cut.head for cut in cuts}) == 1, "cuts of one report have one head")
    since = sum(cut.entry_id - cut.summed for cut in cuts)
    return selection.is_of_all_users and since <= TAIL_ENTRIES_MAX


def accounts(selection: Selection, cuts: Sequence[Cut], *, after_id: int = 0, limit: int = 100) -> list[AccountBalance]:
    """Return selected accounts in order of id, each with its balance at each cut. One statement.

    Args:
        after_id: The last account of the previous page.
        limit: At most so many; a page costs the same wherever it stands.
    """
    require(0 < limit <= ACCOUNTS_PAGE_MAX, f"a page of {limit} accounts")
    where, params = selection.where()
    chosen = _CHOSEN.format(where=where) + " AND a.id > %s ORDER BY a.id LIMIT %s"
    statement = _ACCOUNTS.format(each=_AT_CUTS.format(chosen=chosen))
    with connection.cursor() as cursor:
        cursor.execute(statement, [*_cut_params(cuts), *params, after_id, limit])
        return [
            AccountBalance(account_id, owner_id, code, asset, sub, _seen(selection, code, amounts))
            for account_id, owner_id, code, asset, sub, amounts in cursor.fetchall()
        ]


def largest_changes(
    selection: Selection, period: Period, *, limit: int
) -> list[tuple[int, str, dict[str, Decimal], Decimal]]:
    """Return the users whose selected accounts grew most over a period: user, asset, change by code, and in all.

    One statement. Amounts are debit positive; whose accounts did not grow is left out.
    """
    where, params = selection.where()
    statement = _CHANGES.format(each=_AT_CUTS.format(chosen=_CHOSEN.format(where=where)))
    with connection.cursor() as cursor:
        cursor.execute(statement, [*_cut_params(period), *params, limit])
        return [
            (owner_id, asset, dict(zip(codes, amounts, strict=True)), net)
            for owner_id, asset, codes, amounts, net in cursor.fetchall()
        ]


def _seen(selection: Selection, code: str, amounts: Sequence[Decimal]) -> Amounts:
    """Return stored amounts as the scope's journal has them."""
    return tuple(scopes.seen(selection.scope, code, amount) for amount in amounts)
