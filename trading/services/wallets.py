"""Traders' wallets as a transaction moves them: read once under the gates, then kept in step with its entries."""

from collections.abc import Iterable, Sequence
from decimal import Decimal

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
    wanted = list(pairs)
    keys = {
        (owner, asset, name): AccountKey(owner, code, asset)
        for owner, asset in wanted
        for name, code in WALLET_CODES.items()
    }
    owed = {(owner, asset): AccountKey(owner, AccountCode.DEBT, asset) for owner, asset in wanted}
    balances = accounts.balances([*keys.values(), *owed.values()])
    wallets = {pair: {name: balances[keys[*pair, name]] for name in WALLET_CODES} for pair in wanted}
    debts = Debts((*pair, balances[key].copy_negate()) for pair, key in owed.items() if balances[key])
    return wallets, debts


def follow(entries: Sequence[EntryDraft], wallets: Wallets) -> list[tuple[int, str]]:
    """Move the wallets as the entries will; return which changed, in order. They must be among those read."""
    changed: dict[tuple[int, str], None] = {}
    for entry in entries:
        for key, amount in entry.lines:
            name = _NAMES.get(key.code)
            if name is not None and key.owner_id is not None:
                wallets[key.owner_id, key.asset][name] += amount
                changed[key.owner_id, key.asset] = None
    return list(changed)
