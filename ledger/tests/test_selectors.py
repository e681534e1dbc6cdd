from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.db import connection

from exchange.kernel.errors import InvariantViolationError
from ledger import selectors
from ledger.chart import AccountCode
from ledger.entries import AccountKey
from ledger.models import JournalEntry
from ledger.posting_rules import EventKind
from ledger.services import accounts, journal
from ledger.tests.factories import NOW, event, freeze, unfreeze

pytestmark = pytest.mark.usefixtures("books")


def test_wallets_are_what_a_user_owns_by_asset(customer, django_assert_num_queries) -> None:
    alice = customer("alice", USDT=100, BTC=2)
    customer("bob", USDT=7)
    journal.post([freeze("a", alice.id, 30)], NOW)

    with django_assert_num_queries(1):
        wallets = selectors.wallets(alice.id)

    assert wallets == {
        "BTC": {AccountCode.AVAILABLE: Decimal(2)},
        "USDT": {AccountCode.AVAILABLE: Decimal(70), AccountCode.ORDER_HOLD: Decimal(30)},
    }


def test_a_users_journal_is_paged_newest_first_without_gap_or_repeat(customer) -> None:
    alice, bob = customer("alice", USDT=100, BTC=1), customer("bob", USDT=5)
    journal.post([freeze("a", alice.id, 30), freeze("b", bob.id, 1), unfreeze("c", alice.id, 10)], NOW)

    pages, before = [], selectors._END
    while page := selectors.user_journal(alice.id, before=before, limit=3):
        pages += page
        before = (page[-1].entry_id, page[-1].n)

    assert [(line.kind, line.account, line.asset, line.amount) for line in pages] == [
        ("ORDER_UNFREEZE", "wallet.order_hold", "USDT", Decimal(-10)),
        ("ORDER_UNFREEZE", "wallet.available", "USDT", Decimal(10)),
        ("ORDER_FREEZE", "wallet.available", "USDT", Decimal(-30)),
        ("ORDER_FREEZE", "wallet.order_hold", "USDT", Decimal(30)),
        ("DEPOSIT", "external", "BTC", Decimal(-1)),
        ("DEPOSIT", "wallet.available", "BTC", Decimal(1)),
        ("DEPOSIT", "external", "USDT", Decimal(-100)),
        ("DEPOSIT", "wallet.available", "USDT", Decimal(100)),
    ]
    assert [line.balance_after for line in pages[:2]] == [20, 80]


def test_a_users_journal_can_be_narrowed_to_an_asset(customer) -> None:
    alice = customer("alice", USDT=100, BTC=1)

    lines = selectors.user_journal(alice.id, asset="BTC")

    assert {line.asset for line in lines} == {"BTC"}
    assert len(lines) == 2


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_page_has_a_limit(db, limit) -> None:
    with pytest.raises(InvariantViolationError, match="a page of"):
        selectors.user_journal(1, limit=limit)


def test_an_accounts_lines_are_in_the_view_of_its_owner(customer) -> None:
    alice = customer("alice", USDT=100)
    wallet, custody = AccountKey(alice.id, "1010", "USDT"), AccountKey(None, "1110", "USDT", "main")
    ids = accounts.ids([wallet, custody])

    [wallet_line] = selectors.account_lines(ids[wallet])
    [custody_line] = selectors.account_lines(ids[custody])

    assert (wallet_line.account, wallet_line.amount, wallet_line.root) == ("wallet.available", Decimal(100), "ASSET")
    assert (custody_line.account, custody_line.amount, custody_line.sub) == ("custody", Decimal(100), "main")


def test_both_journals_are_complete_double_entry_journals(customer) -> None:
    alice = customer("alice", USDT=100)
    [entry] = journal.post([freeze("a", alice.id, 30)], NOW)

    user = selectors.entry_in_user_journals(entry.id)
    platform = selectors.entry_in_platform_journal(entry.id)

    assert [(line.account, line.amount, line.balance_after) for line in user] == [
        ("wallet.order_hold", Decimal(30), Decimal(30)),
        ("wallet.available", Decimal(-30), Decimal(70)),
    ]
    assert [(line.account, line.amount, line.balance_after) for line in platform] == [
        ("user.order_hold", Decimal(-30), Decimal(-30)),
        ("user.available", Decimal(30), Decimal(-70)),
    ]


def test_rows_are_estimated_from_statistics(db) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE ledger_line")

    assert selectors.estimated_rows("ledger_line") == 0


def test_a_debt_began_with_its_first_line_since_it_was_last_nothing(customer, django_assert_num_queries) -> None:
    alice = customer("alice", USDT=20)
    customer("bob", USDT=20)
    journal.post([freeze("f", alice.id, 20), event(EventKind.DEBT_CHARGE, "first", alice.id, 10)], NOW)
    alice.deposit(USDT=10)
    again = journal.post(
        [event(EventKind.DEBT_CHARGE, key, alice.id, 5) for key in ("again", "and again")],
        datetime(2999, 1, 1, tzinfo=UTC),
    )
    began = JournalEntry.objects.get(pk=again[0].id).recorded_at

    with django_assert_num_queries(1):
        assert selectors.debts_since(alice.id) == {"USDT": began}

    alice.deposit(USDT=10)
    assert selectors.debts_since(alice.id) == {}
