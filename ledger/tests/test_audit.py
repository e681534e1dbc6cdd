import threading

import pytest
from django.db import connection, transaction

from ledger import audit
from ledger.posting_rules import EventKind
from ledger.services import accounts, journal
from ledger.tests.factories import NOW, event, freeze, unfreeze


def _broken() -> list[str]:
    return [invariant.name for invariant in audit.invariants() if not invariant.ok]


def test_clean_books_hold_every_invariant_and_say_what_was_counted(customer) -> None:
    alice = customer("alice", USDT=100)
    journal.post([freeze("a", alice.id, 30)], NOW)

    results = audit.invariants()

    assert [result.name for result in results] == list(audit.CHECKS)
    assert {result.ok for result in results} == {True}
    assert {result.detail for result in results} == {"2 entries, 5 lines, 4 accounts"}


def test_empty_books_hold_every_invariant(db) -> None:
    assert _broken() == []


FORGERIES = {
    "UPDATE ledger_line SET amount = amount + 1 WHERE entry_id = 2 AND n = 1": {
        "entries balance in the user's view",
        "entries balance in the platform's view",
        "balances equal the sum of their lines",
        "running balances follow from their lines",
        "the hash chain is whole",
    },
    "UPDATE ledger_account SET balance = balance + 1e-18 WHERE code = '1010'": {
        "balances equal the sum of their lines",
        "what users own equals what the platform owes",
        "every user's own books balance",
    },
    "UPDATE ledger_account SET owner_id = owner_id + 1 WHERE code = '3010'": {
        "entries balance in the user's view",
        "every user's own books balance",
        "every deposit has its entry",
    },
    "UPDATE ledger_account SET asset = 'NOSUCH' WHERE code = '1110'": {
        "entries balance in the platform's view",
        "what users own equals what the platform owes",
        "every account has a known asset",
    },
    "UPDATE ledger_entry SET trace = 'other' WHERE id = 1": {"the hash chain is whole"},
    "UPDATE ledger_entry SET effective_at = effective_at + interval '1 microsecond' WHERE id = 1": {
        "the hash chain is whole"
    },
    "UPDATE ledger_entry SET recorded_at = recorded_at - interval '1 day' WHERE id = 2": {
        "entries are in order of recording",
        "the hash chain is whole",
        "the head is the last entry",
    },
    "UPDATE ledger_entry SET id = 3 WHERE id = 2": {
        "entry numbers have no gap",
        "the hash chain is whole",
        "the head is the last entry",
        "every entry has lines, every line an entry and an account",
    },
    "UPDATE ledger_account SET last_entry_id = 1 WHERE code = '1010'": {"accounts know their last change"},
    "DELETE FROM ledger_line WHERE entry_id = 2": {
        "balances equal the sum of their lines",
        "accounts know their last change",
        "the hash chain is whole",
        "every entry has lines, every line an entry and an account",
    },
    "UPDATE ledger_head SET entry_id = 1": {"the head is the last entry"},
    "UPDATE ledger_head SET hash = sha256('other')": {"the head is the last entry"},
    "UPDATE ledger_depositnotice SET amount = amount + 1": {"every deposit has its entry"},
    "UPDATE ledger_line SET balance_after = -1 WHERE entry_id = 2 AND n = 2": {
        "running balances follow from their lines",
        "no account ever passed its bound",
        "the hash chain is whole",
    },
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forgery_past_every_trigger_is_found_by_name(customer, forgery) -> None:
    alice = customer("alice", USDT=100)
    journal.post([freeze("a", alice.id, 30)], NOW)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # only a superuser can
        cursor.execute(forgery)

    assert set(_broken()) == FORGERIES[forgery]


def test_a_negative_wallet_and_a_doubled_key_are_found_by_name(customer) -> None:
    customer("alice", USDT=100)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("ALTER TABLE ledger_account DROP CONSTRAINT ledger_account_bound")
        cursor.execute("ALTER TABLE ledger_entry DROP CONSTRAINT ledger_entry_key")
        cursor.execute("UPDATE ledger_account SET balance = -5 WHERE code = '1010'")
        cursor.execute(
            "INSERT INTO ledger_entry SELECT 2, kind, key, effective_at, late, recorded_at, trace, NULL,"
            " transaction_id, hash FROM ledger_entry"
        )

    assert {"users' wallets are at or above zero", "every key posted once"} <= set(_broken())


def test_a_debtor_who_has_something_available_is_found_by_name(customer) -> None:
    alice = customer("alice", USDT=100)
    journal.post([event(EventKind.DEBT_CHARGE, "c", alice.id, 30)], NOW)

    assert _broken() == ["nobody owes while having something available"]


def test_an_entry_of_people_without_two_of_them_is_found_by_name(customer) -> None:
    alice = customer("alice", USDT=100)
    journal.post([freeze("a", alice.id, 30)], NOW)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("UPDATE ledger_entry SET reverses = 1 WHERE id = 2")

    assert set(_broken()) == {
        "the hash chain is whole",
        "entries that people make were approved by another",
        "reversals negate their entries",
    }


def test_what_is_broken_is_said_and_long_lists_are_cut(customer) -> None:
    for number in range(8):
        customer(f"user{number}", USDT=1)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("UPDATE ledger_account SET balance = 2 WHERE code = '1010'")

    [found] = [result for result in audit.invariants() if result.name == "balances equal the sum of their lines"]

    assert found.detail.count("has 2.000000000000000000, its lines 1.000000000000000000") == 5
    assert found.detail.endswith("; and more")


@pytest.mark.django_db(transaction=True)
def test_an_audit_while_others_post_raises_no_false_alarm(customer, books) -> None:
    alice = customer("alice", USDT=100)
    stop = threading.Event()
    posted = []

    def poster() -> None:
        number = 0
        try:
            while not stop.is_set():
                number += 1
                with transaction.atomic():
                    accounts.lock([alice.id])
                    journal.post([freeze(f"f{number}", alice.id, 7), unfreeze(f"u{number}", alice.id, 7)], NOW)
                posted.append(number)
        finally:
            connection.close()

    thread = threading.Thread(target=poster)
    thread.start()
    try:
        results = [audit.invariants() for _ in range(15)]
    finally:
        stop.set()
        thread.join()

    assert [invariant for result in results for invariant in result if not invariant.ok] == []
    assert len(posted) > 15
    assert len({result[0].detail for result in results}) > 1


@pytest.mark.django_db(transaction=True)
def test_an_audit_cannot_write(customer) -> None:
    with pytest.raises(Exception, match="read-only"), audit.snapshot(), connection.cursor() as cursor:
        cursor.execute("UPDATE ledger_gate SET event_sequence = 1")
