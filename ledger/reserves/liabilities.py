"""What the exchange owes and holds at an entry of the books. Read by entry number, so it reads the same for ever."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final, NamedTuple

from django.db import connection

from exchange.kernel.errors import require
from ledger.chart import WALLETS, AccountCode

_AT: Final = """
JOIN LATERAL (
    SELECT balance_after FROM ledger_line l WHERE l.account_id = a.id AND l.entry_id <= %s
    ORDER BY l.entry_id DESC, l.n DESC LIMIT 1
) l ON l.balance_after <> 0
JOIN ledger_asset s ON s.code = a.asset
"""
_OWED: Final = f"""
SELECT a.asset, a.owner_id, sum(l.balance_after) * 10::numeric ^ s.decimals
FROM ledger_account a {_AT}
WHERE a.code = ANY (%s) {{whose}}
GROUP BY a.asset, s.decimals, a.owner_id ORDER BY a.asset, a.owner_id
"""
_HELD: Final = f"""
SELECT a.asset, s.decimals, a.code, a.sub, abs(l.balance_after) * 10::numeric ^ s.decimals
FROM ledger_account a {_AT}
WHERE a.owner_id IS NULL AND a.code = ANY (%s)
ORDER BY a.asset, a.code, a.sub
"""
_DECIMALS: Final = "SELECT code, decimals FROM ledger_asset ORDER BY code"
_HEAD: Final = """
SELECT h.entry_id, encode(h.hash, 'hex'), h.recorded_at FROM ledger_head h WHERE h.entry_id > 0
"""


class Held(NamedTuple):
    """What the platform has of an asset, in quanta.

    Args:
        custody: By custody account.
        insurance: The insurance fund: set apart from what custody must cover.
    """

    custody: dict[str, int]
    insurance: int


def _rows(statement: str, params: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


def _quanta(amount: Any, what: str) -> int:
    """Turn a number of quanta into an integer; a fraction of one would be a fault of the books."""
    quanta = int(amount)
    require(quanta == amount and quanta >= 0, f"{what}: {amount} is no amount of quanta")
    return quanta


def head() -> tuple[int, str, Any] | None:
    """Return the last entry's number, hash and moment of recording; None while the books are empty."""
    rows = _rows(_HEAD, [])
    return (rows[0][0], rows[0][1], rows[0][2]) if rows else None


def decimals() -> dict[str, int]:
    """Return every asset's decimals."""
    return dict(_rows(_DECIMALS, []))


def owed(entry_id: int) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    """Yield what users are owed, asset by asset: user and quanta, above zero. One statement.

    What is owed is the sum of the user's wallets. Debt is the platform's receivable and never lessens it, neither
    another's nor the user's own.
    """
    rows = _rows(_OWED.format(whose=""), [entry_id, list(WALLETS)])
    for asset, of_asset in groupby(rows, key=lambda row: row[0]):
        yield asset, [(owner_id, _quanta(amount, f"user {owner_id}")) for _, owner_id, amount in of_asset]


def owed_to(user_id: int, entry_id: int) -> dict[str, int]:
    """Return what one user was owed, in quanta, by asset; nothing that is zero. One statement."""
    rows = _rows(_OWED.format(whose="AND a.owner_id = %s"), [entry_id, list(WALLETS), user_id])
    return {asset: _quanta(amount, f"user {user_id}") for asset, _, amount in rows}


def held(entry_id: int) -> dict[str, Held]:
    """Return what the platform had in custody, and the insurance fund, by asset. One statement."""
    found: dict[str, Held] = defaultdict(lambda: Held({}, 0))
    rows = _rows(_HELD, [entry_id, [AccountCode.CUSTODY, AccountCode.INSURANCE]])
    for asset, _, code, sub, amount in rows:
        if code == AccountCode.CUSTODY:
            found[asset].custody[sub] = _quanta(amount, f"custody {sub}")
        else:
            found[asset] = found[asset]._replace(insurance=_quanta(amount, "insurance"))
    return dict(found)
