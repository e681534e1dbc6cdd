from datetime import UTC, datetime
from decimal import Decimal

import pytest

from ledger import posting_rules
from ledger.posting_rules import EventKind
from ledger.services import journal

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_spot_fill_moves_both_assets_and_the_fees(customer, books) -> None:
    alice, bob = customer("alice", USDT=1000), customer("bob", BTC=2)
    freezes = [
        posting_rules.draft(
            EventKind.ORDER_FREEZE,
            key=f"f{user.id}",
            effective_at=NOW,
            trace="t",
            roles={"user": user.id},
            assets={"asset": asset},
            amounts={"amount": Decimal(amount)},
        )
        for user, asset, amount in [(alice, "USDT", "101"), (bob, "BTC", "1")]
    ]
    fill = posting_rules.draft(
        EventKind.SPOT_FILL,
        key="trade:1",
        effective_at=NOW,
        trace="t",
        roles={"buyer": alice.id, "seller": bob.id},
        assets={"base": "BTC", "quote": "USDT"},
        amounts={
            "hold_share": Decimal(101),
            "improvement": Decimal("10.98"),
            "notional": Decimal(90),
            "quantity": Decimal(1),
            "buyer_fee": Decimal("0.02"),
            "seller_fee": Decimal("0.02"),
            "total_fee": Decimal("0.04"),
        },
    )

    posted = journal.post([*freezes, fill, fill], NOW)

    assert [entry.repeated for entry in posted] == [False, False, False, True]
    assert posted[3].id == posted[2].id
    assert alice.balances("USDT") == {"available": Decimal("909.98"), "order_hold": 0}
    assert alice.balance("BTC") == 1
    assert bob.balance("USDT") == Decimal("89.98")
    assert bob.balances("BTC") == {"available": 1, "order_hold": 0}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("turn", [1, 2])
def test_committed_books_are_gone_in_the_next_test(customer, books, turn) -> None:
    alice = customer("alice", USDT=100)

    assert alice.balance("USDT") == 100
    from ledger.models import JournalEntry

    assert JournalEntry.objects.count() == 1
