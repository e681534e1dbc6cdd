"""What a trader has, by REST: account, holdings, fills; and the public tape."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from exchange.api.tests.fixtures import Api
from ledger.models import JournalEntry
from ledger.posting_rules import EventKind
from ledger.services import journal
from ledger.tests.factories import NOW, event, freeze
from trading.models import Trade
from trading.tests.road import make_asset, make_instrument, run_worker_once

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]

BUY = {"symbol": "BTCUSDT", "side": "buy", "type": "limit", "quantity": "0.001", "price": "50000"}


@pytest.fixture
def alice(api: Api, customer: Any) -> Api:
    make_instrument()
    return api.as_user(customer("alice", USDT=1000).user)


@pytest.fixture
def bob(api: Api, customer: Any, alice: Api) -> Api:
    return api.as_user(customer("bob", USDT=1000, BTC=1).user)


def _trade(alice: Api, bob: Api, *, quantity: str = "0.001", price: str = "50000") -> None:
    bob.post("/orders", {**BUY, "side": "sell", "quantity": quantity, "price": price})
    alice.post("/orders", {**BUY, "quantity": quantity, "price": price})
    run_worker_once()


def test_an_account_shows_what_is_available_and_what_orders_hold(alice: Api) -> None:
    alice.post("/orders", BUY)

    answer = alice.get("/account")

    assert answer.status == 200
    assert answer.data["balances"] == [
        {
            "asset": "USDT",
            "balance": "949.99",
            "frozen_balance": "50.01",
            "margin": "0",
            "net_balance": "1000",
            "debt": "0",
            "debt_flagged": False,
            "debt_due_at": None,
        }
    ]
    assert (answer.data["daily_order_count"], answer.data["daily_order_limit"]) == (1, 1000)


def test_holdings_show_quantity_and_average_cost(alice: Api, bob: Api) -> None:
    _trade(alice, bob, price="50000")
    _trade(alice, bob, price="50100")
    alice.post("/orders", {**BUY, "side": "sell", "quantity": "0.0005", "price": "55000"})

    answer = alice.get("/positions")

    assert answer.data == [
        {
            "symbol": "BTCUSDT",
            "kind": "SPOT",
            "quantity": "0.002",
            "available_quantity": "0.0015",
            "frozen_quantity": "0.0005",
            "avg_price": "50050",
            "total_cost": "100.1",
        }
    ]


def test_what_was_deposited_is_held_without_cost(bob: Api) -> None:
    [holding] = bob.get("/positions").data

    assert (holding["quantity"], holding["avg_price"], holding["total_cost"]) == ("1", None, "0")


def test_a_newcomer_has_nothing(api: Api, customer: Any) -> None:
    carol = api.as_user(customer("carol").user)

    assert carol.get("/account").data["balances"] == []
    assert carol.get("/positions").data == []
    assert carol.get("/fills").data == {"items": [], "next_cursor": None}


def test_fills_are_listed_newest_first_and_only_ones_own(alice: Api, bob: Api, customer: Any) -> None:
    for price in ("50000", "50010", "50020"):
        _trade(alice, bob, price=price)

    first = alice.get("/fills?limit=2").data
    rest = alice.get(f"/fills?limit=2&cursor={first['next_cursor']}").data

    assert [fill["price"] for fill in first["items"] + rest["items"]] == ["50020", "50010", "50000"]
    assert {fill["side"] for fill in first["items"]} == {"buy"}
    assert {fill["role"] for fill in first["items"]} == {"taker"}
    assert rest["next_cursor"] is None
    assert {fill["role"] for fill in bob.get("/fills").data["items"]} == {"maker"}
    assert alice.as_user(customer("carol").user).get("/fills").data["items"] == []


def test_the_tape_is_public_and_names_nobody(alice: Api, bob: Api, api: Api) -> None:
    _trade(alice, bob, price="50000")
    _trade(alice, bob, price="50100")

    answer = api.get("/trades/BTCUSDT?limit=1")

    trade = Trade.objects.get(number=2)
    executed_at = answer.data[0].pop("executed_at")
    assert answer.data == [{"trade_id": trade.id, "price": "50100", "quantity": "0.001", "side": "buy", "sequence": 2}]
    assert executed_at.startswith(trade.executed_at.strftime("%Y-%m-%dT%H:%M:%S."))


@pytest.mark.parametrize(("path", "status"), [("/trades/NONE", 404), ("/trades/BTCUSDT?limit=0", 400)])
def test_a_faulty_question_for_the_tape_is_refused(alice: Api, api: Api, path: str, status: int) -> None:
    assert api.get(path).status == status


def test_minor_units_show_as_integers_in_holdings(api: Api, customer: Any) -> None:
    make_instrument(
        "2330.TW",
        base=make_asset("2330", 0, "STOCK"),
        quote=make_asset("TWD", 2, "FIAT"),
        tick_size=Decimal(1),
        lot_size=Decimal(1),
        min_notional=Decimal(100),
        reference_price=Decimal(600),
        minor_unit_decimals=2,
    )
    alice = api.as_user(customer("alice", TWD=100_000).user)
    bob = api.as_user(customer("bob", **{"2330": 100}).user)
    order = {"symbol": "2330.TW", "type": "limit", "quantity": 10, "price": 60000}
    bob.post("/orders", {**order, "side": "sell"})
    alice.post("/orders", {**order, "side": "buy"})
    run_worker_once()

    [holding] = alice.get("/positions").data

    assert holding == {
        "symbol": "2330.TW",
        "kind": "SPOT",
        "quantity": 10,
        "available_quantity": 10,
        "frozen_quantity": 0,
        "avg_price": 60000,
        "total_cost": 600000,
    }
    assert api.get("/trades/2330.TW").data[0]["price"] == 60000


def test_a_debt_is_flagged_and_due_a_week_after_it_began(api: Api, customer: Any) -> None:
    alice = customer("alice", USDT=50)
    alice_id = alice.id
    journal.post([freeze("f", alice_id, 50), event(EventKind.DEBT_CHARGE, "c", alice_id, 30)], NOW)
    began = JournalEntry.objects.latest("id").recorded_at

    [usdt] = api.as_user(alice.user).get("/account").data["balances"]

    assert usdt == {
        "asset": "USDT",
        "balance": "0",
        "frozen_balance": "50",
        "margin": "0",
        "net_balance": "20",
        "debt": "30",
        "debt_flagged": True,
        "debt_due_at": f"{began + timedelta(days=7):%Y-%m-%dT%H:%M:%S.%fZ}",
    }
