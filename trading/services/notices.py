"""Tells traders' open screens of the ledger's notices, and of the balances that the noticed money has changed.

The ledger gives notices in the transaction of what they tell and cannot import the private stream; it calls `push`.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from trading.models import PrivateChannel
from trading.services import private_events, wallets
from trading.services.private_events import PrivateFact
from trading.wire import balance_fields


def push(notices: Sequence[tuple[int, dict[str, Any]]], *, now: datetime) -> None:
    """Store notices, and the balances of the assets they speak of, in each trader's stream; push them after commit.

    Statements: 2, whatever the number. The traders' gates are held; what the notices tell is already in the books.

    Args:
        notices: Whose, and what: `ledger.transfers.notices.facts`.
    """
    facts: list[PrivateFact] = [(owner_id, PrivateChannel.NOTICES, payload) for owner_id, payload in notices]
    pairs = {(owner_id, payload["details"].get("asset")) for owner_id, payload in notices}
    named = sorted((owner_id, asset) for owner_id, asset in pairs if asset)
    if named:
        owned, _debts = wallets.read(named)
        facts += [(pair[0], PrivateChannel.BALANCES, balance_fields(pair[1], owned[pair])) for pair in named]
    private_events.push_on_commit(private_events.append(facts, now=now))
