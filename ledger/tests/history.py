"""A small history of the books whose every figure can be worked out by hand, for the tests of statements.

1 March  capital 1,000 USDT; alice deposits 10,000 USDT; bob deposits 1 BTC.
2 March  alice buys 0.1 BTC from bob for 5,000 USDT; each pays a fee of 1 USDT.
3 March  bob withdraws 1,000 USDT: fee 5, network fee 2; the hold was placed an hour before.
5 March  recorded only now: on 2 March at 18:00 alice had deposited 100 USDT.
6 March  alice places an order that holds 300 USDT; nothing more happens.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from ledger import posting_rules
from ledger.entries import EntryDraft, PostedEntry
from ledger.posting_rules import EventKind
from ledger.services import journal
from ledger.tests.factories import event, freeze, spot_fill
from ledger.tests.fixtures import make_asset


def march(day: int, hour: int = 12) -> datetime:
    """Return an hour of March 2026."""
    return datetime(2026, 3, day, hour, tzinfo=UTC)


def post(draft: EntryDraft, at: datetime, *, happened_at: datetime | None = None) -> PostedEntry:
    """Post one entry at a moment; `happened_at` makes it a late one."""
    [entry] = journal.post([replace(draft, effective_at=happened_at or at)], at)
    return entry


def write(alice_id: int, bob_id: int) -> None:
    """Post the history."""
    make_asset("USDT")
    make_asset("BTC")
    post(event(EventKind.CAPITAL, "capital", None, 1000), march(1, 8))
    post(event(EventKind.DEPOSIT, "deposit:alice", alice_id, 10_000), march(1))
    post(event(EventKind.DEPOSIT, "deposit:bob", bob_id, 1, "BTC"), march(1))
    post(freeze("order:1:freeze", alice_id, 5001), march(2, 9))
    post(freeze("order:2:freeze", bob_id, "0.1", "BTC"), march(2, 9))
    post(
        spot_fill(
            "trade:1", alice_id, bob_id, hold_share=5001, improvement=0, buyer_fee=1, notional=5000,
            quantity="0.1", seller_fee=1, total_fee=2,
        ),
        march(2, 9),
    )  # fmt: skip
    post(event(EventKind.WITHDRAWAL_HOLD, "withdrawal:1:hold", bob_id, 1000), march(3, 11))
    post(withdrawal("withdrawal:1:settle", bob_id, amount=1000, fee=5, network_fee=2), march(3))
    post(event(EventKind.DEPOSIT, "deposit:late", alice_id, 100), march(5), happened_at=march(2, 18))
    post(freeze("order:3:freeze", alice_id, 300), march(6))


def withdrawal(key: str, owner_id: int, **amounts: int) -> EntryDraft:
    """Draft a WITHDRAWAL_SETTLE."""
    return posting_rules.draft(
        EventKind.WITHDRAWAL_SETTLE,
        key=key,
        effective_at=march(3),
        trace="trace-1",
        roles={"user": owner_id},
        assets={"asset": "USDT"},
        amounts={name: Decimal(amount) for name, amount in amounts.items()},
        parts={"custody": "main"},
    )


def just_before(moment: datetime) -> datetime:
    """Return the microsecond before."""
    return moment - timedelta(microseconds=1)
