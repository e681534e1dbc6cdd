"""Several posters at once, each with its own connection: dense numbers, no deadlock, no lost update."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction

from ledger.entries import AccountKey
from ledger.models import Account, JournalEntry
from ledger.services import accounts, journal
from ledger.tests.factories import NOW, freeze, spot_fill, unfreeze

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("books")]
POSTERS = 8


def _together(count: int, work: Callable[[int], object]) -> list:
    """Run `work(number)` in threads that start at the same moment; any exception fails the test."""
    barrier = threading.Barrier(count)

    def run(number: int) -> object:
        try:
            barrier.wait()
            return work(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_posters_that_share_users_lose_no_update_and_leave_no_gap(customer) -> None:
    people = [customer(f"user{number}", USDT=10_000, BTC=100) for number in range(6)]
    ids = [person.id for person in people]
    batches = 12

    def work(number: int) -> None:
        chance = random.Random(number)
        for batch in range(batches):
            key = f"{number}:{batch}"
            buyer, seller = chance.sample(ids, 2)
            with transaction.atomic():
                accounts.lock([seller, buyer])
                journal.post(
                    [
                        freeze(f"{key}:a", buyer, 11),
                        freeze(f"{key}:b", seller, 1, "BTC"),
                        spot_fill(
                            f"{key}:c",
                            buyer,
                            seller,
                            hold_share=11,
                            improvement="0.5",
                            notional=10,
                            quantity=1,
                            buyer_fee="0.5",
                            seller_fee="0.25",
                            total_fee="0.75",
                        ),
                    ],
                    NOW,
                )

    _together(POSTERS, work)

    fills = POSTERS * batches
    numbers = list(JournalEntry.objects.order_by("id").values_list("id", flat=True))
    assert numbers == list(range(1, 12 + 3 * fills + 1))
    fee = AccountKey(None, "4110", "USDT")
    assert accounts.balances([fee])[fee] == Decimal("-0.75") * fills
    assert sum(person.balance("USDT") for person in people) == 60_000 - Decimal("0.75") * fills
    assert sum(person.balance("BTC") for person in people) == 600


def test_a_wallet_that_covers_one_of_eight_gives_to_exactly_one(customer) -> None:
    alice = customer("alice", USDT=10)

    def work(number: int) -> bool:
        try:
            with transaction.atomic():
                accounts.lock([alice.id])
                journal.post([freeze(f"f{number}", alice.id, 10)], NOW)
        except journal.LedgerBoundError:
            return False
        return True

    assert sorted(_together(POSTERS, work)) == [False] * 7 + [True]
    assert alice.balances("USDT") == {"available": 0, "order_hold": 10}


def test_the_same_key_from_eight_posters_posts_once_and_all_get_its_entry(customer) -> None:
    alice = customer("alice", USDT=100)

    def work(_number: int) -> tuple[int, bool]:
        with transaction.atomic():
            accounts.lock([alice.id])
            [entry] = journal.post([freeze("same", alice.id, 10)], NOW)
        return entry.id, entry.repeated

    results = _together(POSTERS, work)

    assert len({entry_id for entry_id, _ in results}) == 1
    assert sorted(repeated for _, repeated in results) == [False] + [True] * 7
    assert alice.balances("USDT") == {"available": 90, "order_hold": 10}


def test_accounts_opened_by_eight_at_once_are_one_each(customer) -> None:
    alice = customer("alice", USDT=100)
    keys = [AccountKey(alice.id, "1040", "USDT", f"C{number}") for number in range(20)]
    keys += [AccountKey(None, "2110", "USDT", f"C{number}") for number in range(20)]

    def work(number: int) -> dict:
        mine = keys.copy()
        random.Random(number).shuffle(mine)
        return accounts.ids(mine)

    results = _together(POSTERS, work)

    assert all(result == results[0] for result in results)
    assert Account.objects.exclude(sub__in=["", "main"]).count() == 40


def test_a_poster_in_a_stale_snapshot_is_told_to_repeat_and_nothing_is_lost(customer) -> None:
    alice = customer("alice", USDT=100)
    journal.post([freeze("warm", alice.id, 1), unfreeze("warm-back", alice.id, 1)], NOW)
    has_snapshot, has_posted = threading.Event(), threading.Event()

    def work(number: int) -> str:
        if number == 0:
            has_snapshot.wait(60)
            journal.post([freeze("first", alice.id, 60)], NOW)
            has_posted.set()
            return "posted"
        try:
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                    cursor.execute("SELECT count(*) FROM ledger_entry")
                has_snapshot.set()
                has_posted.wait(60)
                journal.post([freeze("second", alice.id, 60)], NOW)
        except DatabaseError as error:
            return type(error.__cause__).__name__
        return "posted"

    assert _together(2, work) == ["posted", "SerializationFailure"]
    assert alice.balances("USDT") == {"available": 40, "order_hold": 60}
