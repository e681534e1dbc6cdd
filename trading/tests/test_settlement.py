"""Settlement: what its transaction may and may not do, beside the whole roads in exchange/tests/test_flow_spot.py."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from exchange import database
from exchange.kernel.clock import utc_now
from ledger.posting_rules import EventKind
from ledger.services import debts, journal
from ledger.tests.factories import NOW, event
from marketdata import selectors as instruments
from trading import audit
from trading.models import Order, Trade
from trading.services import orders, settlement
from trading.tests.contracts import SYMBOL, make_contract
from trading.tests.road import limit, make_instrument, place, worker

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]


def test_a_lone_command_that_cannot_be_cut_takes_the_time_that_it_needs(customer, tmp_path: Path) -> None:
    make_instrument()
    alice, bob = customer("alice", USDT=100_000), customer("bob", BTC=1)
    makers = settlement.LONG_EVENTS + 1
    place(bob.id, *[limit("BTCUSDT", "sell", "0.0010", "50000.00")] * makers)
    with worker(tmp_path) as shard:
        shard.step(now=utc_now())
        place(alice.id, limit("BTCUSDT", "buy", "1.0000", "50000.00"))
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL transaction_timeout = '2s'")

            shard.step(now=utc_now())

            cursor.execute("SELECT pg_sleep(2.1), current_setting('idle_in_transaction_session_timeout')")
            assert cursor.fetchone()[1] == "0"
    assert Trade.objects.count() == makers


def test_what_a_debtor_earns_repays_the_debt_in_the_same_entry(customer, tmp_path: Path) -> None:
    make_instrument()
    alice, bob = customer("alice", USDT=1000), customer("bob", BTC=1, USDT="10.5")
    place(bob.id, limit("BTCUSDT", "buy", "0.0002", "49000.00"), limit("BTCUSDT", "sell", "0.0100", "50000.00"))
    journal.post([event(EventKind.DEBT_CHARGE, "c", bob.id, 30)], NOW)
    journal.post([event(EventKind.DEBT_REPAYMENT, "p", bob.id, bob.balance("USDT"))], NOW)
    with worker(tmp_path) as shard:
        shard.step(now=utc_now())
        place(alice.id, limit("BTCUSDT", "buy", "0.0005", "50000.00"))
        shard.step(now=utc_now())
        [bid] = Order.objects.filter(user_id=bob.id, side="buy")
        orders.cancel(bob.id, [bid.id], now=utc_now())

        shard.step(now=utc_now())

    assert debts.owed([bob.id]).of(bob.id, "USDT") == 0
    assert bob.balances("USDT") == {"available": Decimal("5.495"), "order_hold": 0}
    assert [item for item in audit.invariants() if not item.ok] == []


def test_a_sweep_of_more_entries_than_the_door_takes_at_once_is_settled_whole(
    customer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_instrument()
    alice, bob = customer("alice", USDT=100_000), customer("bob", BTC=1)
    monkeypatch.setattr(journal, "ENTRIES_MAX", 4)
    with worker(tmp_path) as shard:
        for _ in range(3):
            place(bob.id, *[limit("BTCUSDT", "sell", "0.0010", "50000.00")] * 3)
            shard.step(now=utc_now())
        place(alice.id, limit("BTCUSDT", "buy", "0.0090", "50000.00"))

        shard.step(now=utc_now())

    assert Trade.objects.count() == 9
    assert alice.balances("BTC") == {"available": Decimal("0.009"), "order_hold": 0}
    assert [item for item in audit.invariants() if not item.ok] == []


def test_what_fills_of_both_kinds_need_is_read_in_three_round_trips(
    customer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_instrument()
    make_contract()
    monkeypatch.setattr(instruments, "SPEC_SECONDS", 3600)  # read anew once a second, which is not this batch's cost
    alice, bob = customer("alice", USDT=100_000), customer("bob", BTC=1, USDT=100_000)
    place(bob.id, limit("BTCUSDT", "sell", "0.0010", "50000.00"), limit(SYMBOL, "sell", "1", "100"))
    place(alice.id, limit("BTCUSDT", "buy", "0.0010", "50000.00"), limit(SYMBOL, "buy", "1", "100"))
    asked: list[int] = []
    fold, fetch = settlement.fold, database.fetch

    def fetched(*statements: database.Statement) -> Any:
        asked.append(len(statements))
        return fetch(*statements)

    def folded(*args: Any, **rest: Any) -> settlement.Folded:
        with monkeypatch.context() as counting:
            counting.setattr(database, "fetch", fetched)
            return fold(*args, **rest)

    monkeypatch.setattr(settlement, "fold", folded)
    with worker(tmp_path) as shard:
        shard.step(now=utc_now())

    assert Trade.objects.count() == 2
    assert asked == [5, 3, 2]  # cursor, gates, positions, who reserves them, marks; orders, parts, traces; the rest
