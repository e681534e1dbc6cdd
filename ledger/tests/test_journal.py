from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import DataError, connection, transaction

from exchange.kernel.errors import InvariantViolationError
from ledger.entries import AccountKey, EntryDraft
from ledger.models import JournalEntry, Line
from ledger.posting_rules import EventKind
from ledger.services import journal
from ledger.services.journal import LedgerBoundError
from ledger.tests.factories import NOW, event, freeze, unfreeze

pytestmark = pytest.mark.usefixtures("books")


def _numbers() -> list[int]:
    return list(JournalEntry.objects.order_by("id").values_list("id", flat=True))


def test_a_batch_posts_in_order_with_running_balances(customer) -> None:
    alice = customer("alice", USDT=100)

    posted = journal.post([freeze("a", alice.id, 30), freeze("b", alice.id, 50), unfreeze("c", alice.id, 30)], NOW)

    first = posted[0].id
    assert [(entry.id, entry.key, entry.kind, entry.repeated) for entry in posted] == [
        (first, "a", "ORDER_FREEZE", False),
        (first + 1, "b", "ORDER_FREEZE", False),
        (first + 2, "c", "ORDER_UNFREEZE", False),
    ]
    available = Line.objects.filter(account__code="1010", entry_id__gte=first).order_by("entry_id", "n")
    assert [(line.amount, line.balance_after) for line in available] == [
        (Decimal(-30), Decimal(70)),
        (Decimal(-50), Decimal(20)),
        (Decimal(30), Decimal(50)),
    ]


def test_a_key_posts_once_and_a_repeat_is_answered_with_the_first_entry(customer) -> None:
    alice = customer("alice", USDT=100)
    [first] = journal.post([freeze("a", alice.id, 30)], NOW)

    [again] = journal.post([unfreeze("a", alice.id, 5)], NOW)

    assert again == first._replace(repeated=True)
    assert again.kind == "ORDER_FREEZE"
    assert alice.balances("USDT") == {"available": 70, "order_hold": 30}


def test_a_key_repeated_inside_one_batch_posts_once(customer) -> None:
    alice = customer("alice", USDT=100)
    journal.post([freeze("old", alice.id, 1)], NOW)

    posted = journal.post(
        [freeze("a", alice.id, 10), freeze("old", alice.id, 99), freeze("a", alice.id, 20), freeze("b", alice.id, 5)],
        NOW,
    )

    assert [entry.repeated for entry in posted] == [False, True, True, False]
    assert [entry.id - posted[0].id for entry in posted] == [0, -1, 0, 1]
    assert alice.balances("USDT") == {"available": 84, "order_hold": 16}
    assert _numbers() == [1, 2, 3, 4]


def test_a_batch_of_repeats_posts_nothing(customer) -> None:
    alice = customer("alice", USDT=100)
    drafts = [freeze("a", alice.id, 10), freeze("b", alice.id, 10)]
    first = journal.post(drafts, NOW)

    again = journal.post(drafts, NOW)

    assert again == [entry._replace(repeated=True) for entry in first]
    assert _numbers() == [1, 2, 3]


def test_a_batch_that_breaks_a_wallet_is_refused_whole_and_says_which(customer) -> None:
    alice, bob = customer("alice", USDT=100), customer("bob", USDT=5)

    with pytest.raises(LedgerBoundError) as caught, transaction.atomic():
        journal.post([freeze("a", alice.id, 30), freeze("b", bob.id, 6)], NOW)

    assert caught.value.data == {
        "owner_id": bob.id,
        "code": "1010",
        "asset": "USDT",
        "sub": "",
        "balance_after": "-1.000000000000000000",
    }
    assert alice.balances("USDT") == {"available": 100, "order_hold": 0}
    assert _numbers() == [1, 2]


def test_a_wallet_below_zero_between_two_lines_is_refused_though_the_batch_ends_above(customer) -> None:
    alice = customer("alice", USDT=100)

    with pytest.raises(LedgerBoundError), transaction.atomic():
        journal.post([unfreeze("a", alice.id, 10), freeze("b", alice.id, 10)], NOW)

    journal.post([freeze("b", alice.id, 10), unfreeze("a", alice.id, 10)], NOW)
    assert alice.balances("USDT") == {"available": 100, "order_hold": 0}


@pytest.mark.parametrize(
    ("lines", "constraint"),
    [
        ([("1010", 5), ("1020", -4)], "ledger_entry_user_balance"),
        ([("1010", 5), ("3010", -5)], "ledger_entry_platform_balance"),
        ([("1010", 5)], "ledger_entry_user_balance"),
    ],
)
def test_an_entry_that_does_not_balance_is_a_bug(customer, lines, constraint) -> None:
    alice = customer("alice", USDT=100)
    journal.post([freeze("a", alice.id, 50)], NOW)
    draft = EntryDraft(
        "CAPITAL", "m", NOW, "t", [(AccountKey(alice.id, code, "USDT"), Decimal(v)) for code, v in lines]
    )

    with pytest.raises(InvariantViolationError, match=constraint), transaction.atomic():
        journal.post([draft], NOW)

    assert _numbers() == [1, 2]


def test_amounts_of_two_assets_or_two_users_do_not_cancel_each_other(customer) -> None:
    alice, bob = customer("alice", USDT=100, BTC=1), customer("bob", USDT=100)
    across_assets = [
        (AccountKey(alice.id, "1010", "USDT"), Decimal(-1)),
        (AccountKey(alice.id, "1010", "BTC"), Decimal(1)),
    ]
    across_users = [
        (AccountKey(alice.id, "1010", "USDT"), Decimal(-1)),
        (AccountKey(bob.id, "1010", "USDT"), Decimal(1)),
    ]

    for lines in (across_assets, across_users):
        with pytest.raises(InvariantViolationError), transaction.atomic():
            journal.post([EntryDraft("CAPITAL", "m", NOW, "t", lines)], NOW)

    assert JournalEntry.objects.filter(kind="CAPITAL").count() == 0


def test_an_off_by_1e_18_is_refused(customer) -> None:
    alice = customer("alice", USDT=100)
    lines = [
        (AccountKey(alice.id, "1010", "USDT"), Decimal("-1.000000000000000001")),
        (AccountKey(alice.id, "1020", "USDT"), Decimal("1.000000000000000000")),
    ]

    with pytest.raises(InvariantViolationError, match="user_balance"), transaction.atomic():
        journal.post([EntryDraft("CAPITAL", "m", NOW, "t", lines)], NOW)

    assert alice.balance("USDT") == 100


def test_digits_beyond_the_18th_never_appear_or_vanish(customer) -> None:
    """1e-19 rounds away to a line of zero, which no entry may have."""
    alice = customer("alice", USDT=100)
    lines = [
        (AccountKey(alice.id, "1010", "USDT"), Decimal("-1e-19")),
        (AccountKey(alice.id, "1020", "USDT"), Decimal("1e-19")),
    ]

    with pytest.raises(InvariantViolationError, match="ledger_line_amount"), transaction.atomic():
        journal.post([EntryDraft("CAPITAL", "m", NOW, "t", lines)], NOW)

    assert alice.balance("USDT") == 100


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "1e21"])
def test_what_is_no_amount_or_does_not_fit_is_never_posted(customer, amount) -> None:
    alice = customer("alice", USDT=100)
    lines = [
        (AccountKey(alice.id, "1010", "USDT"), Decimal(amount)),
        (AccountKey(alice.id, "3010", "USDT"), Decimal(amount).copy_negate()),
        (AccountKey(None, "1110", "USDT", "main"), Decimal(amount)),
    ]

    with pytest.raises((InvariantViolationError, LedgerBoundError, DataError)), transaction.atomic():
        journal.post([EntryDraft("CAPITAL", "m", NOW, "t", lines)], NOW)

    assert alice.balance("USDT") == 100


def test_the_largest_amounts_keep_every_digit(customer) -> None:
    alice = customer("alice", USDT=1)
    amount = Decimal("12345678901234567890.123456789012345678")

    journal.post([event(EventKind.DEPOSIT, "big", alice.id, amount)], NOW)
    journal.post([freeze("big-freeze", alice.id, amount)], NOW)

    assert alice.balances("USDT") == {"available": 1, "order_hold": amount}


def test_lines_of_zero_are_dropped_and_an_entry_of_nothing_is_a_bug(customer) -> None:
    alice = customer("alice", USDT=100)
    draft = freeze("a", alice.id, 5)
    draft.lines.insert(1, (AccountKey(alice.id, "5030", "USDT"), Decimal(0)))

    [entry] = journal.post([draft], NOW)

    assert list(Line.objects.filter(entry_id=entry.id).order_by("n").values_list("n", flat=True)) == [1, 2]
    with pytest.raises(InvariantViolationError, match="entry b has 0 lines"):
        journal.post([freeze("b", alice.id, 0)], NOW)


def test_an_empty_batch_asks_nothing_of_the_database(db, django_assert_num_queries) -> None:
    with django_assert_num_queries(0):
        assert journal.post([], NOW) == []


@pytest.mark.parametrize("size", [1, 20, 300])
def test_a_batch_is_three_statements_at_most_whatever_its_size(customer, django_assert_num_queries, size) -> None:
    alice = customer("alice", USDT=1000)
    drafts = [freeze(f"a{number}", alice.id, 1) for number in range(size)]

    with django_assert_num_queries(3):  # find accounts, open the missing, post
        journal.post(drafts, NOW)

    assert alice.balance("USDT", "order_hold") == size


@pytest.mark.django_db(transaction=True)
def test_a_batch_is_one_statement_when_its_accounts_are_known(customer, django_assert_num_queries) -> None:
    alice = customer("alice", USDT=1000)
    journal.post([freeze("first", alice.id, 1)], NOW)

    with django_assert_num_queries(1):
        journal.post([freeze(f"a{number}", alice.id, 1) for number in range(50)], NOW)

    assert alice.balance("USDT", "order_hold") == 51


@pytest.mark.django_db(transaction=True)
def test_recorded_at_is_now_but_never_before_the_previous_entry_nor_in_the_future(customer) -> None:
    alice = customer("alice", USDT=1)
    JournalEntry.objects.get()
    start = JournalEntry.objects.get().recorded_at
    future = datetime(2999, 1, 1, tzinfo=UTC)

    [early] = journal.post([freeze("early", alice.id, "0.1")], NOW)
    [late] = journal.post([freeze("late", alice.id, "0.1")], future)

    recorded = dict(JournalEntry.objects.values_list("id", "recorded_at"))
    assert recorded[early.id] == start
    assert start <= recorded[late.id] < future


def test_an_entry_that_happened_a_minute_before_it_was_recorded_is_flagged_late(db, customer) -> None:
    alice = customer("alice", USDT=1)
    recorded_at = JournalEntry.objects.get().recorded_at
    prompt = replace(freeze("prompt", alice.id, "0.1"), effective_at=recorded_at - timedelta(seconds=59))
    tardy = replace(freeze("tardy", alice.id, "0.1"), effective_at=recorded_at - timedelta(seconds=61))

    posted = journal.post([prompt, tardy], recorded_at)

    flags = dict(JournalEntry.objects.values_list("id", "late"))
    assert [flags[entry.id] for entry in posted] == [False, True]


def test_an_entry_that_people_make_is_refused_without_two_of_them(customer) -> None:
    alice = customer("alice", USDT=100)
    deposit = event(EventKind.DEPOSIT, "wrong", alice.id, 30)
    [entry] = journal.post([deposit], NOW)
    negated = [(key, amount.copy_negate()) for key, amount in deposit.lines]

    for kind, reverses in (("REVERSAL", entry.id), ("DEPOSIT", entry.id), ("MANUAL", None), ("CORRECTION", None)):
        draft = EntryDraft(kind, "proposal:1", NOW, "t", negated, reverses=reverses)
        with pytest.raises(InvariantViolationError, match="ledger_entry_two_people"), transaction.atomic():
            journal.post([draft], NOW)

    assert alice.balance("USDT") == 130


@pytest.mark.parametrize("reverses", [-1, 0, 2, 99])
def test_an_entry_cannot_reverse_one_that_is_not_before_it(customer, reverses) -> None:
    alice = customer("alice", USDT=100)

    with pytest.raises(InvariantViolationError, match="reverses_earlier"), transaction.atomic():
        journal.post([replace(freeze("a", alice.id, 1), reverses=reverses)], NOW)

    assert _numbers() == [1]


def test_the_hash_chain_can_be_checked_with_python_alone(customer) -> None:
    """The payload is JSON text: id, kind, key, effective, late, recorded, trace, reverses, lines."""
    import hashlib
    import json

    alice = customer("alice", USDT=100)
    journal.post([freeze("a", alice.id, 30), replace(freeze("b", alice.id, 5), trace='quo"te \u4e2d')], NOW)

    def microseconds(moment: datetime) -> int:
        return int((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))

    previous = hashlib.sha256(b"").digest()
    for entry in JournalEntry.objects.order_by("id"):
        lines = Line.objects.filter(entry=entry).order_by("n")
        body = ",".join(f"{line.n}:{line.account_id}:{line.amount}:{line.balance_after}" for line in lines)
        payload = [
            entry.id,
            entry.kind,
            entry.key,
            microseconds(entry.effective_at),
            entry.late,
            microseconds(entry.recorded_at),
            entry.trace,
            entry.reverses_id,
            body,
        ]
        text = json.dumps(payload, ensure_ascii=False, separators=(", ", ": "))
        previous = hashlib.sha256(previous + text.encode()).digest()
        assert bytes(entry.hash) == previous
    assert entry.id == 3


def test_the_door_can_be_pipelined_with_other_statements(customer) -> None:
    alice = customer("alice", USDT=100)
    drafts = [freeze("a", alice.id, 30)]
    statement, params = journal.door_call(drafts, NOW)

    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        [entry] = journal.posted(drafts, cursor.fetchall())

    assert (entry.key, entry.kind, entry.repeated) == ("a", "ORDER_FREEZE", False)
