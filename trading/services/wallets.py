"""Traders' wallets as a transaction moves them: read once under the gates, then kept in step with its entries."""

import functools
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import chain

from exchange import database
from ledger.chart import AccountCode
from ledger.entries import EntryDraft
from ledger.services import accounts
from ledger.services.accounts import AccountKey
from ledger.waterfall import Debts

WALLET_CODES = {
    "available": AccountCode.AVAILABLE,
    "order_hold": AccountCode.ORDER_HOLD,
    "withdraw_hold": AccountCode.WITHDRAW_HOLD,
}
_NAMES: dict[str, str] = {code: name for name, code in WALLET_CODES.items()}

Wallets = dict[tuple[int, str], dict[str, Decimal]]
"""(owner, asset) -> wallet name -> amount."""


def read(pairs: Iterable[tuple[int, str]]) -> tuple[Wallets, Debts]:
    """Return wallets and debts of these owners and assets. The gates are held."""
    [found] = database.read(reading(pairs))
    return found  # type: ignore[no-any-return]


def reading(pairs: Iterable[tuple[int, str]]) -> database.Reading[tuple[Wallets, Debts]]:
    """Read wallets and debts as `read` returns them."""
    keys = {pair: _keys(*pair) for pair in pairs}
    balances = yield from accounts.balances_reading(chain.from_iterable(keys.values()))
    wallets: Wallets = {}
    owed: list[tuple[int, str, Decimal]] = []
    for pair, (available, order_hold, withdraw_hold, debt) in keys.items():
        wallets[pair] = {
            "available": balances[available],
            "order_hold": balances[order_hold],
            "withdraw_hold": balances[withdraw_hold],
        }
        if balance := balances[debt]:
            owed.append((*pair, balance.copy_negate()))
    return wallets, Debts(owed)


@functools.lru_cache(maxsize=100_000)
def _keys(owner: int, asset: str) -> tuple[AccountKey, ...]:
    """Return the accounts of an owner's wallets, in the order of WALLET_CODES, and that of the debt."""
    return tuple(AccountKey(owner, code, asset) for code in (*WALLET_CODES.values(), AccountCode.DEBT))


def of_orders(pair: tuple[int, str]) -> tuple[AccountKey, ...]:
    """Return the accounts that an order's hold moves between.

    Args:
        pair: Its trader and the hold's asset.
    """
    return _keys(*pair)[:2]


def follow(entries: Sequence[EntryDraft], wallets: Wallets) -> dict[tuple[int, str], None]:
    """Move the wallets as the entries will; return which changed, in order. They must be among those read."""
    changed: dict[tuple[int, str], None] = {}
    for entry in entries:
        for (owner_id, code, asset, _), amount in entry.lines:
            name = _NAMES.get(code)
            if name is not None and owner_id is not None:
                wallets[owner_id, asset][name] += amount
                changed[owner_id, asset] = None
    return changed
