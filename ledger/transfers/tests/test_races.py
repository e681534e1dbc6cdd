"""Several people at the same moment, each with a connection of its own: nothing is spent, decided or credited twice."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection

from exchange.kernel.errors import DomainError
from ledger.models import JournalEntry, TransferEvent
from ledger.tests.factories import NOW
from ledger.transfers import crediting, decisions, deposit_addresses, deposits, errors, payouts, stops, withdrawals
from ledger.transfers.models import DepositAddress
from ledger.transfers.tests.conftest import OTHER_TRON, TRON
from ledger.transfers.withdrawals import WithdrawalRequest

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("books", "transfers_audited"),
]
PEOPLE = 6


def together(work: Callable[[int], object], count: int = PEOPLE) -> list[object]:
    """Run `work(number)` in threads that start at the same moment; return results, refusals among them."""
    barrier = threading.Barrier(count)

    def run(number: int) -> object:
        try:
            barrier.wait()
            return work(number)
        except DomainError as refusal:
            return refusal
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def refusals(results: list[object]) -> list[type]:
    return [type(result) for result in results if isinstance(result, DomainError)]


def test_a_wallet_that_covers_one_of_six_requests_gives_to_exactly_one(desk, customer) -> None:
    alice = customer("alice", USDT=100)
    address = desk.address(alice)

    results = together(lambda _: withdrawals.request(alice.id, WithdrawalRequest(address.pk, Decimal(60)), now=NOW))

    assert refusals(results) == [errors.InsufficientBalanceError] * (PEOPLE - 1)
    assert (alice.balance("USDT"), alice.balance("USDT", "withdraw_hold")) == (40, 60)


def test_requests_at_once_do_not_share_one_rest_of_a_limit(desk, customer) -> None:
    alice = customer("alice", USDT=10_000)
    address = desk.address(alice)

    results = together(lambda _: withdrawals.request(alice.id, WithdrawalRequest(address.pk, Decimal(600)), now=NOW))

    assert refusals(results) == [errors.WithdrawalLimitError] * (PEOPLE - 1)


def test_a_request_that_is_sent_six_times_is_one_request(desk, customer) -> None:
    alice = customer("alice", USDT=1000)
    address = desk.address(alice)

    results = together(
        lambda _: withdrawals.request(alice.id, WithdrawalRequest(address.pk, Decimal(60), "mine-1"), now=NOW)[0].pk
    )

    assert len(set(results)) == 1
    assert alice.balance("USDT", "withdraw_hold") == 60


def test_six_approvals_at_once_are_one(desk, customer) -> None:
    made = desk.to_approval(customer("alice", USDT=1000), 100)

    results = together(lambda _: decisions.approve(made.pk, version=made.version, by=desk.approver.pk, now=NOW))

    assert refusals(results) == [errors.WithdrawalMovedOnError] * (PEOPLE - 1)
    assert TransferEvent.objects.filter(withdrawal=made, to_state="APPROVED").count() == 1


def test_an_approval_and_a_cancel_at_once_leave_one_of_the_two(desk, customer) -> None:
    alice = customer("alice", USDT=1000)
    made = desk.to_approval(alice, 100)

    def decide(number: int) -> object:
        if number % 2:
            return withdrawals.cancel(alice.id, made.pk, now=NOW).state
        return decisions.approve(made.pk, version=made.version, by=desk.approver.pk, now=NOW).state

    results = together(decide)
    payouts.release(NOW)

    ended = decisions.find(made.pk).state
    assert ended in {"APPROVED", "CANCELLED"}
    assert {str(result) for result in results if not isinstance(result, DomainError)} <= {"APPROVED", "CANCELLING"}
    assert alice.balance("USDT", "withdraw_hold") == (100 if ended == "APPROVED" else 0)


def test_six_back_offices_settle_release_and_credit_everything_once(desk, customer) -> None:
    people = [customer(f"user{number}", USDT=500) for number in range(4)]
    paid = [desk.to_approved(person, 100) for person in people[:2]]
    for number, made in enumerate(paid):
        decisions.record_payout(
            made.pk, desk.payout(reference=f"tx-{number}"), version=made.version, by=desk.accountant.pk, now=NOW
        )
    for person in people[2:]:
        withdrawals.cancel(person.id, desk.request(person, 100).pk, now=NOW)
    for person in people:
        deposits.record_by_hand(
            desk.custody.pk,
            owner_id=person.id,
            amount=Decimal(7),
            reference=f"in-{person.id}",
            occurred_at=NOW,
            by=desk.accountant.pk,
            now=NOW,
        )

    counts = together(lambda _: (payouts.settle(NOW), payouts.release(NOW), crediting.credit(NOW)))

    assert [sum(column) for column in zip(*counts, strict=True)] == [2, 2, 4]
    assert JournalEntry.objects.filter(kind="WITHDRAWAL_SETTLE").count() == 2
    assert JournalEntry.objects.filter(kind="WITHDRAWAL_REJECT").count() == 2
    assert [person.balance("USDT") for person in people] == [407, 407, 507, 507]


def test_two_customers_never_get_the_same_address(desk, customer) -> None:
    people = [customer(f"user{number}") for number in range(3)]
    deposit_addresses.stock(desk.custody, [TRON, OTHER_TRON], by=desk.accountant.pk, now=NOW)

    results = together(
        lambda number: deposit_addresses.assign(people[number].id, asset="USDT", network="TRON", now=NOW).address, 3
    )

    assert refusals(results) == [errors.NoDepositAddressError]
    assert DepositAddress.objects.filter(owner__isnull=False).count() == 2


def test_six_stops_at_once_are_one(desk) -> None:
    results = together(lambda _: stops.stop(None, reason="a break", by=None, now=NOW).pk)

    assert len(set(results)) == 1
    assert len(stops.active()) == 1


def test_one_notice_typed_twice_at_once_is_one_deposit(desk, customer) -> None:
    alice = customer("alice")

    together(
        lambda _: deposits.record_by_hand(
            desk.custody.pk,
            owner_id=alice.id,
            amount=Decimal(7),
            reference="in-1",
            occurred_at=NOW - timedelta(days=1),
            by=desk.accountant.pk,
            now=NOW,
        )
    )
    together(lambda _: crediting.credit(NOW))

    assert alice.balance("USDT") == 7
