from datetime import UTC, datetime
from decimal import Decimal

import pytest

from exchange.kernel.money import InexactAmountError
from ledger.models import DepositNotice, JournalEntry
from ledger.services import transfers
from ledger.services.transfers import Deposit, DepositAmountError, UnknownAssetError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
pytestmark = pytest.mark.usefixtures("books")


def test_a_deposit_credits_the_available_wallet(customer) -> None:
    alice = customer("alice", USDT=100)

    assert alice.balances("USDT") == {"available": Decimal(100), "order_hold": Decimal(0)}
    assert JournalEntry.objects.count() == 1
