"""One side of a contract's match that the books refuse goes to suspense; clearing stays what positions cost."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from exchange.kernel.clock import utc_now
from ledger.models import Account, JournalEntry
from ledger.tests.reconciling import damage, full, look
from ledger.transfers.models import AccountProfile
from marketdata.models import Instrument
from trading.models import SuspendedEntry
from trading.services import suspense
from trading.tests.contracts import Desk, desk, make_contract, position
from trading.tests.suspending import broken, drain, suspended

pytestmark = pytest.mark.django_db


@pytest.fixture(name="_django_db_helper")
def _no_transaction_around(django_db_setup) -> None:
    """Wrap nothing around the tests of this module: a refusal undoes a real transaction."""


@pytest.fixture(autouse=True)
def _database_of_its_own(scratch) -> None:
    """Each test has a database of its own, and really commits."""


def open_and_turn(at: Desk, alice: Any, bob: Any, carol: Any) -> str:
    """Let alice, long 10 at 100, sell 15 at 110 when her margin wallet is empty; return what puts it back."""
    at.trade(alice, bob, 10, 100)
    at.order(carol, "buy", 15, 110)
    at.settle()
    wallet = Account.objects.get(owner_id=alice.id, code="1040")
    damage(f"UPDATE ledger_account SET balance = 0 WHERE id = {wallet.pk}")
    at.order(alice, "sell", 15, 110)
    at.settle()
    return f"UPDATE ledger_account SET balance = balance + {wallet.balance} WHERE id = {wallet.pk}"


@pytest.fixture
def people(customer) -> tuple[Any, Any, Any]:
    """Three traders and an open contract."""
    found = tuple(customer(name, USDT=1_000) for name in ("alice", "bob", "carol"))
    make_contract()
    return found


def test_the_refused_close_of_a_reversal_stands_in_suspense_and_the_opening_is_booked(people, tmp_path: Path) -> None:
    alice, bob, carol = people
    with desk(tmp_path) as at:
        open_and_turn(at, alice, bob, carol)

    [row] = SuspendedEntry.objects.all()
    assert (row.kind, row.key) == ("FLIP_CLOSE", f"trade:{row.trade_id}:sell:FLIP_CLOSE")
    assert position(alice) == (-5, Decimal(-550), Decimal(55))
    assert position(carol) == (15, Decimal(1650), Decimal(165 + 150))  # at the mark of 100 it has lost 150
    assert suspended("USDT") == {f"user:{alice.id}": Decimal(-100)}
    assert Account.objects.get(code="2110").balance == 100
    assert JournalEntry.objects.filter(key=f"trade:{row.trade_id}:sell:FLIP_OPEN").exists()
    assert set(AccountProfile.objects.filter(frozen=True).values_list("owner_id", flat=True)) == {alice.id}
    assert Instrument.objects.get().status == "CANCEL_ONLY"
    assert "clearing accounts equal the positions' signed open cost" not in broken()
    assert "suspense of traders is what their suspended trades owe" not in broken()
    assert ("settlement.suspense", row.key) in look("settlement.suspense", "positions.clearing", "contracts.entries")


def test_what_is_posted_again_clears_suspense_and_every_invariant_holds(people, tmp_path: Path) -> None:
    alice, bob, carol = people
    with desk(tmp_path) as at:
        repair = open_and_turn(at, alice, bob, carol)
    damage(repair)

    [done] = suspense.repost([], now=utc_now())

    assert done.refusal == ""
    assert suspended("USDT") == {}
    assert Account.objects.get(code="2110").balance == 100
    assert Account.objects.get(owner_id=alice.id, code="1040").balance == 55
    assert alice.balances("USDT")["available"] == 1_000 + 100 - 55
    # the opening was posted onto a wallet that was damaged then, and says so for ever
    assert broken() == {"running balances follow from their lines"}
    assert full("settlement.suspense", "log.replay", "contracts.entries", "positions.margin") == set()


def test_an_opening_that_is_refused_owes_nothing_and_its_margin_waits(people, tmp_path: Path) -> None:
    alice, bob, _ = people
    with desk(tmp_path) as at:
        at.order(bob, "sell", 10, 100)
        at.settle()
        at.order(alice, "buy", 10, 100)
        repair = drain(alice, "USDT")
        at.settle()

    [row] = SuspendedEntry.objects.all()
    assert (row.kind, row.held) == ("OPEN_FILL", [[alice.id, "USDT", "100"]])
    assert suspended("USDT") == {}
    assert position(alice) == (10, Decimal(1000), Decimal(100))
    assert "margin wallets equal the positions' margin" not in broken()

    damage(repair)
    [done] = suspense.repost([], now=utc_now())
    assert done.refusal == ""
    assert broken() == set()
