from decimal import Decimal

import pytest
from moneyed import Money

from exchange.kernel.errors import InvariantViolationError
from exchange.kernel.money import InexactAmountError
from ledger.currencies import currency
from ledger.models import DepositNotice, JournalEntry
from ledger.posting_rules import EventKind
from ledger.services import debts, journal, transfers
from ledger.services.transfers import Deposit, DepositAmountError, UnknownAssetError
from ledger.tests.factories import NOW, event
from ledger.tests.fixtures import make_asset

pytestmark = pytest.mark.usefixtures("books")


def test_a_deposit_credits_the_available_wallet(customer) -> None:
    alice = customer("alice", USDT=100)

    assert alice.balances("USDT") == {"available": Decimal(100), "order_hold": Decimal(0)}
    assert JournalEntry.objects.get().kind == "DEPOSIT"


def test_a_batch_of_deposits_is_a_constant_number_of_statements(customer, django_assert_num_queries) -> None:
    people = [customer(f"user{number}") for number in range(20)]
    make_asset("USDT")

    for size in (1, 20):
        requests = [Deposit(person.id, "USDT", Decimal(5), f"{size}:{person.id}") for person in people[:size]]
        # savepoint, assets, gates, debts, find accounts, open the missing, door, notices, release
        with django_assert_num_queries(9):
            transfers.deposit(requests, NOW)

    assert [person.balance("USDT") for person in people] == [Decimal(10)] + [Decimal(5)] * 19


def test_a_repeated_deposit_credits_once(customer) -> None:
    alice = customer("alice", USDT=1)
    request = Deposit(alice.id, "USDT", Decimal(50), "bank:123", "transfer of 1 March")

    [first] = transfers.deposit([request], NOW)
    again = transfers.deposit([request, request], NOW)

    assert [entry.repeated for entry in again] == [True, True]
    assert {entry.id for entry in again} == {first.id}
    assert alice.balance("USDT") == 51
    assert DepositNotice.objects.filter(key="bank:123").count() == 1


def test_a_batch_that_repeats_a_deposit_of_a_debtor_still_repays_with_the_new_one(customer) -> None:
    alice = customer("alice", USDT=10)
    old = Deposit(alice.id, "USDT", Decimal(40), "old")
    transfers.deposit([old], NOW)
    journal.post(
        [event(EventKind.ORDER_FREEZE, "f", alice.id, 50), event(EventKind.DEBT_CHARGE, "c", alice.id, 30)], NOW
    )

    transfers.deposit([old, Deposit(alice.id, "USDT", Decimal(100), "new")], NOW)

    assert alice.balance("USDT") == 70
    assert debts.owed([alice.id]).of(alice.id, "USDT") == 0


def test_a_deposit_is_kept_as_money_that_people_can_read(customer) -> None:
    alice = customer("alice")
    make_asset("2330")

    [entry] = transfers.deposit([Deposit.of(alice.id, Money(1000, currency("2330")), key="k", note="shares")], NOW)

    notice = DepositNotice.objects.get(key="k")
    assert notice.amount == Money(Decimal(1000), currency("2330"))
    assert notice.amount.currency.code == "2330"
    assert (notice.owner_id, notice.note, notice.entry_id) == (alice.id, "shares", entry.id)


@pytest.mark.parametrize("amount", ["0", "-1", "NaN", "Infinity", "1e18", "1e30"])
def test_a_deposit_of_an_impossible_amount_is_refused(customer, amount) -> None:
    alice = customer("alice", USDT=1)

    with pytest.raises(DepositAmountError):
        transfers.deposit([Deposit(alice.id, "USDT", Decimal(amount), "k")], NOW)

    assert alice.balance("USDT") == 1
    assert DepositNotice.objects.count() == 1


def test_a_deposit_finer_than_its_asset_is_refused(customer) -> None:
    alice = customer("alice", TWD=1)

    with pytest.raises(InexactAmountError):
        transfers.deposit([Deposit(alice.id, "TWD", Decimal("0.001"), "k")], NOW)

    assert alice.balance("TWD") == 1


def test_one_bad_deposit_refuses_its_batch(customer) -> None:
    alice = customer("alice", USDT=1)

    with pytest.raises(UnknownAssetError):
        transfers.deposit(
            [Deposit(alice.id, "USDT", Decimal(1), "k1"), Deposit(alice.id, "NOSUCH", Decimal(1), "k2")], NOW
        )

    assert alice.balance("USDT") == 1


def test_a_deposit_for_nobody_is_a_bug(customer) -> None:
    customer("alice", USDT=1)

    with pytest.raises(InvariantViolationError, match="no gate"):
        transfers.deposit([Deposit(10**9, "USDT", Decimal(1), "k")], NOW)

    assert JournalEntry.objects.count() == 1


def test_currencies_of_iso_4217_are_its_own_and_others_are_added_once(db) -> None:
    assert currency("TWD").numeric == "901"
    assert currency("FOO-9") is currency("FOO-9")
