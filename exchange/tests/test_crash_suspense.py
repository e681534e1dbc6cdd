"""Killing the worker while it suspends what the books refuse: it is suspended once, whole; the way back is exact."""

from decimal import Decimal

import pytest

from exchange.kernel.clock import utc_now
from ledger.models import Account, FinanceLog, JournalEntry
from ledger.reconciliation.models import Break, BreakEvent
from ledger.tests.reconciling import damage
from ledger.transfers import stops
from ledger.transfers.models import AccountProfile, Notice
from marketdata.models import Instrument
from trading import audit
from trading.models import Command, SuspendedEntry, Trade
from trading.services import suspense
from trading.tests.crash_worker import SUSPENSE_STEPS
from trading.tests.processes import Scratch
from trading.tests.road import fresh, limit, make_instrument, place

pytestmark = pytest.mark.django_db

BETWEEN = {"between two halves": 2}
"""The part is the first call, its first half the second."""


@pytest.fixture(name="_django_db_helper")
def _no_transaction_around(django_db_setup) -> None:
    """Wrap nothing around the tests of this module: each has a database of its own, and really commits."""


@pytest.mark.parametrize("step", SUSPENSE_STEPS)
def test_a_worker_killed_at_any_step_of_suspense_suspends_once_and_loses_nothing(
    scratch: Scratch, customer, step: str
) -> None:
    make_instrument()
    alice, bob = customer("alice", USDT=1_000), customer("bob", BTC=1)
    carol, dave = customer("carol", USDT=1_000), customer("dave", BTC=1)
    place(bob.id, limit("BTCUSDT", "sell", "0.0010", "50000.00"))
    place(dave.id, *[limit("BTCUSDT", "sell", "0.0010", "50001.00")] * 2)
    [refused] = place(alice.id, limit("BTCUSDT", "buy", "0.0010", "50000.00"))
    bought = place(carol.id, *[limit("BTCUSDT", "buy", "0.0010", "50001.00")] * 2)
    hold = Account.objects.get(owner_id=alice.id, code="1020", asset_id="USDT")
    damage(f"UPDATE ledger_account SET balance = 0 WHERE id = {hold.pk}")

    dying = scratch.start_worker("-m", "trading.tests.crash_worker", step, str(BETWEEN.get(step, 1)))
    assert dying.wait(timeout=180) == -9, (scratch.folder / "worker.log").read_text()
    scratch.start_worker()
    scratch.wait_settled()

    # nothing acknowledged is lost, nothing is there twice
    trades = list(Trade.objects.order_by("number"))
    assert [trade.buyer_id for trade in trades] == [alice.id, carol.id, carol.id]
    assert {fresh(order).status for order in (refused, *bought)} == {"filled"}
    [row] = SuspendedEntry.objects.all()
    assert (row.key, row.state) == (f"trade:{trades[0].id}", "OPEN")
    assert list(JournalEntry.objects.filter(kind="SUSPENSE_SPOT_FILL").values_list("key", flat=True)) == [
        f"{row.key}:suspense"
    ]
    assert JournalEntry.objects.filter(kind="SPOT_FILL").count() == 2
    assert (Break.objects.count(), BreakEvent.objects.count(), len(stops.active())) == (1, 1, 1)
    frozen = AccountProfile.objects.filter(frozen=True)
    assert set(frozen.values_list("owner_id", flat=True)) == {alice.id, bob.id}
    assert FinanceLog.objects.filter(action="customer.freeze").count() == 2
    assert Notice.objects.filter(kind="ACCOUNT_FROZEN").count() == 2
    assert Instrument.objects.get().status == "CANCEL_ONLY"
    assert Command.objects.count() == 6 + 1  # the orders, and cancel-only

    damage(f"UPDATE ledger_account SET balance = {hold.balance} WHERE id = {hold.pk}")
    assert [item.refusal for item in suspense.repost([], now=utc_now())] == [""]
    assert [item for item in audit.invariants() if not item.ok] == []
    assert alice.balances("BTC")["available"] == Decimal("0.001")
