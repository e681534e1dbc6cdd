"""Helpers for tests of suspense: people, a trade that the books refuse, and what is said of it."""

from decimal import Decimal
from pathlib import Path
from typing import Any

from exchange.kernel.clock import utc_now
from ledger.models import Account
from ledger.tests.reconciling import damage
from trading import audit
from trading.tests.road import limit, make_instrument, place, worker


def two_buyers_and_two_sellers(customer: Any) -> dict[str, Any]:
    """Make a market, two buyers and two sellers."""
    make_instrument()
    return {
        "alice": customer("alice", USDT=1_000),
        "bob": customer("bob", BTC=1),
        "carol": customer("carol", USDT=1_000),
        "dave": customer("dave", BTC=1),
    }


def drain(owner: Any, asset: str) -> str:
    """Take an order_hold wallet's balance away, past every trigger; return what puts it back."""
    account = Account.objects.get(owner_id=owner.id, code="1020", asset_id=asset)
    damage(f"UPDATE ledger_account SET balance = 0 WHERE id = {account.pk}")
    return f"UPDATE ledger_account SET balance = {account.balance} WHERE id = {account.pk}"


def broken() -> set[str]:
    """Return the invariants that do not hold."""
    return {item.name for item in audit.invariants() if not item.ok}


def suspended(asset: str) -> dict[str, Decimal]:
    """Return what suspense holds of an asset, by part."""
    rows = Account.objects.filter(code="1190", asset_id=asset).exclude(balance=0)
    return dict(rows.values_list("sub", "balance"))


def refuse_the_first(people: dict[str, Any], folder: Path) -> str:
    """Make two trades in a batch, of which the books refuse the first: alice's hold is gone. Return what repairs it."""
    alice, bob, carol, dave = people.values()
    place(bob.id, limit("BTCUSDT", "sell", "0.0100", "50000.00"))
    place(dave.id, limit("BTCUSDT", "sell", "0.0100", "50000.00"))
    with worker(folder) as shard:
        shard.step(now=utc_now())
        [people["buy"]] = place(alice.id, limit("BTCUSDT", "buy", "0.0100", "50000.00"))
        [people["other"]] = place(carol.id, limit("BTCUSDT", "buy", "0.0100", "50000.00"))
        repair = drain(alice, "USDT")
        while shard.step(now=utc_now()):
            pass
    return repair
