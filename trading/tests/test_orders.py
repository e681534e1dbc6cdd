"""The way in of orders: what one batch decides over, beside the whole roads in exchange/tests/test_flow_spot.py."""

from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from exchange import database
from exchange.kernel.clock import utc_now
from ledger.models import AccountProfile
from marketdata.selectors import UnknownInstrumentError
from risk.services import limits
from risk.services.checks import AccountFrozenError
from trading.models import Order
from trading.services import orders
from trading.services.requests import AmendOrder, CancelOrder, PlaceOrder, Submission
from trading.tests.road import limit, make_instrument, place

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]


def test_an_instrument_made_while_a_batch_is_read_is_unknown_to_that_batch_only(
    customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_instrument()
    alice = customer("alice", USDT=1000)
    load = limits.load_statement

    def late(owners: list[int]) -> object:
        make_instrument("BTCUSDT2")
        return load(owners)

    monkeypatch.setattr(limits, "load_statement", late)
    wanted = [limit("BTCUSDT", "buy", "0.0010", "50000.00"), limit("BTCUSDT2", "buy", "0.0010", "50000.00")]
    known, unknown = place(alice.id, *wanted)
    monkeypatch.undo()
    [after] = place(alice.id, wanted[1])

    assert isinstance(known, Order)
    assert unknown == UnknownInstrumentError(symbol="BTCUSDT2")
    assert isinstance(after, Order)


def test_a_frozen_account_places_and_amends_nothing_but_may_cancel(customer: Any) -> None:
    make_instrument()
    alice = customer("alice", USDT=100_000)
    price, quantity = Decimal(50_000), Decimal("0.1")
    [open_order] = orders.place(alice.id, [PlaceOrder("BTCUSDT", "buy", "limit", quantity, price)], now=utc_now())
    assert isinstance(open_order, Order)
    AccountProfile.objects.create(owner_id=alice.id, frozen=True, reason="a court order", updated_at=utc_now())

    results = orders.submit(
        [
            Submission(alice.id, PlaceOrder("BTCUSDT", "buy", "limit", quantity, price)),
            Submission(alice.id, AmendOrder(open_order.id, price=Decimal(49_000))),
            Submission(alice.id, CancelOrder(open_order.id)),
        ],
        now=utc_now(),
    )

    assert results[:2] == [AccountFrozenError(), AccountFrozenError()]
    assert isinstance(results[2], Order)


def test_cancelling_what_is_in_the_book_reads_no_wallet_and_no_price(customer: Any) -> None:
    make_instrument()
    alice = customer("alice", USDT=100_000)
    [open_order] = place(alice.id, limit("BTCUSDT", "buy", "0.1000", "50000.00"))

    with CaptureQueriesContext(connection) as asked:
        [cancelled] = orders.cancel(alice.id, [open_order.id], now=utc_now())

    statements = " ".join(query["sql"] for query in asked)
    assert isinstance(cancelled, Order)
    assert cancelled.cancel_requested_at is not None
    assert "UPDATE orders SET cancel_requested_at" in statements
    assert "FROM ledger_account WHERE" not in statements
    assert "FROM instrument_state" not in statements


def test_new_orders_wait_for_their_rows_once_and_those_about_orders_twice(
    customer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_instrument()
    alice = customer("alice", USDT=1000)
    waits: list[bool] = []
    fetch = database.fetch

    def counted(*asked: Any) -> Any:
        waits.append(bool(asked))
        return fetch(*asked)

    monkeypatch.setattr(database, "fetch", counted)

    [first] = orders.place(
        alice.id, [limit("BTCUSDT", "buy", "0.0100", "50000.00", client_order_id="one")], now=utc_now()
    )
    assert isinstance(first, Order)
    to_place, waits[:] = sum(waits), []
    [amended] = orders.submit([Submission(alice.id, AmendOrder(first.id, price=Decimal(50001)))], now=utc_now())

    assert isinstance(amended, Order)
    assert to_place == 1  # what is read under the gates; the numbers of private events come with COMMIT
    assert sum(waits) == 2
