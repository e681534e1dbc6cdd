"""Notices of the ledger in the private stream, with the balances that changed."""

import pytest
from django.db import transaction

from exchange.kernel.clock import utc_now
from ledger.services import accounts
from ledger.transfers import notices as ledger_notices
from ledger.transfers.outside import OUTSIDE
from trading.models import PrivateEvent
from trading.services import notices

pytestmark = pytest.mark.django_db


def test_a_notice_reaches_the_stream_with_the_balance_it_speaks_of(customer) -> None:
    alice = customer("alice", USDT=100)

    with transaction.atomic():
        accounts.lock([alice.id])
        [given] = ledger_notices.give(
            [(alice.id, "DEPOSIT_CREDITED", {"amount": "100", "asset": "USDT"})], now=utc_now()
        )

    told, balance = PrivateEvent.objects.filter(user_id=alice.id).order_by("sequence")
    assert (told.sequence, told.channel, told.payload["notice_id"]) == (1, "notices", given.pk)
    assert told.payload["details"] == {"amount": "100", "asset": "USDT"}
    assert (balance.sequence, balance.channel) == (2, "balances")
    assert balance.payload == {"asset": "USDT", "balance": "100", "frozen_balance": "0"}


def test_a_notice_without_money_tells_no_balance_and_none_tells_nothing(customer) -> None:
    alice = customer("alice")

    ledger_notices.give([(alice.id, "ACCOUNT_RELEASED", {})], now=utc_now())
    notices.push([], now=utc_now())

    assert [event.channel for event in PrivateEvent.objects.all()] == ["notices"]


def test_many_notices_cost_no_more_statements_than_one(customer, django_assert_num_queries) -> None:
    people = [customer(f"user{number}", USDT=5) for number in range(20)]

    for size in (1, 20):
        told = [
            (person.id, {"notice_id": 1, "kind": "DEPOSIT_CREDITED", "details": {"asset": "USDT"}})
            for person in people[:size]
        ]
        with django_assert_num_queries(2):
            notices.push(told, now=utc_now())


def test_the_ledger_pushes_through_it() -> None:
    assert OUTSIDE.push == notices.push
