from decimal import Decimal

import pytest
from django.db import connection, transaction

from exchange.kernel.errors import InvariantViolationError
from ledger.models import Account, Gate
from ledger.services import accounts
from ledger.services.accounts import AccountKey

pytestmark = pytest.mark.usefixtures("books")


def test_missing_accounts_are_opened_and_found_again(customer) -> None:
    alice = customer("alice", USDT=100)
    keys = [
        AccountKey(alice.id, "1020", "USDT"),
        AccountKey(None, "4110", "USDT"),
        AccountKey(None, "2110", "USDT", "BTC-PERP"),
        AccountKey(alice.id, "1010", "USDT"),
    ]

    first = accounts.ids([*keys, keys[0]])
    again = accounts.ids(reversed(keys))

    assert first == again
    assert len(set(first.values())) == 4
    opened = Account.objects.get(pk=first[keys[2]])
    assert (opened.owner_id, opened.code, opened.asset_id, opened.sub) == (None, "2110", "USDT", "BTC-PERP")


@pytest.mark.django_db(transaction=True)
def test_committed_accounts_are_remembered_without_a_statement(customer, django_assert_num_queries) -> None:
    alice = customer("alice", USDT=100)
    keys = [AccountKey(alice.id, "1020", "USDT"), AccountKey(None, "4110", "USDT")]

    with django_assert_num_queries(2):
        opened = accounts.ids(keys)
    with django_assert_num_queries(0):
        assert accounts.ids(keys) == opened


@pytest.mark.django_db(transaction=True)
def test_the_accounts_of_a_group_are_looked_at_once_unless_their_opening_was_rolled_back(customer) -> None:
    alice = customer("alice", USDT=100)
    asked = []

    def keys_of(group: tuple[int, int]) -> list[AccountKey]:
        asked.append(group)
        return [AccountKey(group[0], "1020", "USDT"), AccountKey(None, "4110", "USDT")]

    with transaction.atomic():
        accounts.open_groups({(alice.id, 1)}, keys_of)
        transaction.set_rollback(True)
    accounts.open_groups({(alice.id, 1)}, keys_of)
    accounts.open_groups({(alice.id, 1)}, keys_of)

    assert asked == [(alice.id, 1)] * 2
    assert Account.objects.filter(owner_id=alice.id, code="1020").count() == 1


@pytest.mark.django_db(transaction=True)
def test_an_account_whose_opening_was_rolled_back_is_not_remembered(customer) -> None:
    alice = customer("alice", USDT=100)
    key = AccountKey(alice.id, "1020", "USDT")

    with transaction.atomic():
        accounts.ids([key])
        transaction.set_rollback(True)
    opened = accounts.ids([key])

    assert Account.objects.filter(pk=opened[key]).exists()


def test_an_account_of_an_unknown_asset_or_code_is_not_opened(customer) -> None:
    alice = customer("alice", USDT=100)

    for key in (AccountKey(alice.id, "1010", "NOSUCH"), AccountKey(alice.id, "9999", "USDT")):
        with pytest.raises(Exception, match=r"known asset|no such account"), transaction.atomic():
            accounts.ids([key])

    assert not Account.objects.filter(asset_id="NOSUCH").exists()


def test_balances_are_one_statement_and_zero_where_nothing_is_open(customer, django_assert_num_queries) -> None:
    alice = customer("alice", USDT="12.5")
    have, none = AccountKey(alice.id, "1010", "USDT"), AccountKey(alice.id, "1010", "BTC")
    custody = AccountKey(None, "1110", "USDT", "main")

    with django_assert_num_queries(1):
        balances = accounts.balances([have, none, custody])

    assert balances == {have: Decimal("12.5"), none: Decimal(0), custody: Decimal("12.5")}


def test_accounts_that_most_traders_lack_are_asked_for_by_their_owners(customer, django_assert_num_queries) -> None:
    alice, bob = customer("alice", USDT=100), customer("bob", USDT=100)
    lacking = [AccountKey(owner.id, code, "USDT") for owner in (alice, bob) for code in ("2010", "1030")]
    accounts.ids([lacking[0]])

    with django_assert_num_queries(1) as asked:
        found = accounts.balances(lacking)

    assert "owner_id = ANY" in asked.captured_queries[0]["sql"]
    assert found == dict.fromkeys(lacking, Decimal(0))


@pytest.mark.django_db(transaction=True)
def test_accounts_that_are_known_and_those_that_are_rare_are_one_statement(customer, django_assert_num_queries) -> None:
    alice = customer("alice", USDT=100)
    available, held = AccountKey(alice.id, "1010", "USDT"), AccountKey(alice.id, "1030", "USDT")
    accounts.ids([available, held])
    accounts.forget_ids()
    accounts.ids([available])

    with django_assert_num_queries(1):
        found = accounts.balances([available, held, AccountKey(alice.id, "2010", "USDT")])
    with django_assert_num_queries(0):
        accounts.ids([held])  # it was found, by its owner

    assert list(found.values()) == [Decimal(100), Decimal(0), Decimal(0)]


def test_opening_a_gate_again_keeps_its_sequence(customer) -> None:
    alice = customer("alice")
    Gate.objects.filter(pk=alice.id).update(event_sequence=7)

    accounts.open_gates([alice.id, alice.id])

    assert Gate.objects.get(pk=alice.id).event_sequence == 7


def test_gates_are_locked_in_order_of_id_in_one_statement(customer, django_assert_num_queries) -> None:
    people = [customer(name) for name in ("alice", "bob", "carol")]

    with transaction.atomic(), django_assert_num_queries(1) as captured:
        accounts.lock([person.id for person in reversed(people)])

    assert "ORDER BY owner_id FOR NO KEY UPDATE" in captured.captured_queries[0]["sql"]


def test_locking_a_trader_without_a_gate_is_a_bug(customer) -> None:
    alice = customer("alice")

    with pytest.raises(InvariantViolationError, match=r"no gate for \[999999\]"), transaction.atomic():
        accounts.lock([alice.id, 999_999])


@pytest.mark.django_db(transaction=True)
def test_locking_outside_a_transaction_is_a_bug(customer) -> None:
    alice = customer("alice")

    with pytest.raises(InvariantViolationError, match="inside a transaction"):
        accounts.lock([alice.id])


def test_lookups_use_the_index_for_the_platform_too(customer) -> None:
    customer("alice", USDT=1)

    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(
            "EXPLAIN SELECT 1 FROM ledger_account"
            " WHERE owner_id IS NULL AND code = '1110' AND asset = 'USDT' AND sub = ''"
        )
        plan = " ".join(row[0] for row in cursor.fetchall())

    assert "ledger_account_key" in plan
