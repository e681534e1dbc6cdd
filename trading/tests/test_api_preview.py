"""What an order would cost, by REST: the same as what placing it then does, and nothing changes."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import connection

from exchange.api.tests.fixtures import Api
from marketdata import feed
from trading.models import Command, Order, Outbox, Position, PrivateEvent
from trading.tests.contracts import SYMBOL, Desk, desk, make_contract, set_mark
from trading.tests.road import make_instrument

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]

LIMIT = {"symbol": SYMBOL, "side": "buy", "type": "limit", "quantity": "10", "price": "110"}
SPOT = {"symbol": "BTCUSDT", "side": "buy", "type": "limit", "quantity": "0.001", "price": "50000"}


@pytest.fixture
def people(customer: Any) -> tuple[Any, Any]:
    make_contract(taker_fee_rate=Decimal("0.001"))
    return customer("alice", USDT=1000), customer("maker", USDT=1_000_000)


@pytest.fixture
def at(tmp_path: Path) -> Any:
    with desk(tmp_path) as opened:
        yield opened


@pytest.fixture
def alice(people: Any, api: Api) -> Api:
    return api.as_user(people[0].user)


def contents() -> list[Any]:
    """Return everything that an order could touch."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT last_value, is_called FROM orders_id_seq")
        counted = cursor.fetchone()
    tables = (Order, Command, Outbox, PrivateEvent, Position)
    return [counted, *(list(model.objects.order_by("pk").values()) for model in tables)]


def test_a_preview_says_what_placing_then_does(alice: Api, people: Any, at: Desk) -> None:
    at.trade(people[0], people[1], 4, 100)
    order = {**LIMIT, "side": "sell", "price": "95"}

    told = alice.post("/orders/preview", order).data
    placed = alice.post("/orders", order).data

    for name in ("intent", "reduce_quantity", "increase_quantity", "leverage", "side", "type", "quantity"):
        assert told[name] == placed[name], name
    assert Decimal(told["hold"]) == Order.objects.get(id=placed["order_id"]).hold_remaining
    assert (told["reduce_quantity"], told["increase_quantity"], told["intent"]) == ("4", "6", "reverse")
    assert (told["margin"], told["open_loss"], told["hold"]) == ("57", "30", "87.57")
    assert told["refusal"] is None


def test_a_preview_shows_the_position_as_it_would_be(alice: Api, people: Any, at: Desk) -> None:
    told = alice.post("/orders/preview", LIMIT).data
    at.order(people[1], "sell", 10, 110)
    alice.post("/orders", LIMIT)
    at.settle()

    position = alice.get(f"/positions/{SYMBOL}").data

    assert {**told["position"], "version": 1} == position
    assert told["liquidation_price"] == position["liquidation_price"] == "89"
    assert (told["cost"], told["taker_fee"], told["maker_fee"], told["fee_asset"]) == ("1100", "1.1", "0", "USDT")


def test_a_preview_changes_nothing(alice: Api, people: Any, at: Desk) -> None:
    at.trade(people[0], people[1], 4, 100)
    before = contents()

    for order in (LIMIT, {**LIMIT, "client_order_id": "x"}, {**LIMIT, "quantity": "100000"}, {**LIMIT, "side": "sell"}):
        assert alice.post("/orders/preview", order).status == 200

    assert contents() == before


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"quantity": "900"}, 6005),
        ({"quantity": "2000", "price": "100"}, 3032),
        ({"price": "191"}, 6002),
        ({"reduce_only": True}, 3030),
        ({"type": "stop", "stop_price": "90"}, 3006),
    ],
)
def test_a_preview_says_why_an_order_would_be_refused(alice: Api, at: Desk, change: dict[str, Any], code: int) -> None:
    alice.put(f"/positions/{SYMBOL}/leverage", {"leverage": 100})

    told = alice.post("/orders/preview", {**LIMIT, **change})
    placed = alice.post("/orders", {**LIMIT, **change})

    assert (told.status, told.data["refusal"]["code"], placed.code) == (200, code, code)
    assert told.data["refusal"]["message"] == placed.body["message"]


def test_a_close_beyond_bankruptcy_shows_its_clamp(alice: Api, people: Any, at: Desk) -> None:
    at.trade(people[0], people[1], 90, 100)
    order = {**LIMIT, "side": "sell", "quantity": "90", "price": "85"}

    told = alice.post("/orders/preview", order).data

    assert (told["is_clamped"], told["worst_price"], told["hold"]) == (True, "92", "0")
    assert alice.post("/orders", order).data["price"] == told["price"] == "92"


def test_a_market_order_is_valued_at_the_last_trade_within_its_bound(alice: Api, people: Any, at: Desk) -> None:
    at.trade(people[0], people[1], 1, 102)
    market = {"symbol": SYMBOL, "side": "sell", "type": "market", "close_position": True}

    told = alice.post("/orders/preview", market).data

    assert (told["price"], told["cost"], told["hold"], told["intent"]) == ("102", "102", "0", "reduce")
    assert (told["position"]["quantity"], told["position"]["realized_pnl"]) == ("0", "0")


def show_book(symbol: str, **levels: int) -> None:
    """Write a book as the publisher does: `a101=3` is an ask of three lots at 101 ticks."""
    client = redis.Redis.from_url(settings.REDIS_URL)
    fields: dict[Any, Any] = {f"{name[0]}:{name[1:]}": lots for name, lots in levels.items()}
    client.hset(feed.book_key(symbol), mapping={"epoch": 1, "sequence": 7, "timestamp": 1, **fields})
    client.close()


def test_a_market_order_is_valued_by_the_levels_that_it_would_take(alice: Api, people: Any, at: Desk) -> None:
    show_book(SYMBOL, a101=3, a103=4, a104=50, b99=5)

    told = alice.post("/orders/preview", {"symbol": SYMBOL, "side": "buy", "type": "market", "quantity": "8"}).data
    for price, lots in ((101, 3), (103, 4), (104, 50)):
        at.order(people[1], "sell", lots, price)
    order = alice.post("/orders", {"symbol": SYMBOL, "side": "buy", "type": "market", "quantity": "8"}).data
    at.settle()

    filled = alice.get(f"/orders/{order['order_id']}").data
    assert (told["price"], told["cost"], told["taker_fee"]) == (filled["avg_price"], "819", filled["fee"])
    assert (told["price"], told["reached_price"], told["fillable_quantity"]) == ("102.375", "104", "8")
    assert {**told["position"], "version": 3} == alice.get(f"/positions/{SYMBOL}").data


def test_a_market_order_is_told_what_the_book_lacks_for_it_within_its_bound(alice: Api, at: Desk) -> None:
    sell = {"symbol": SYMBOL, "side": "sell", "type": "market", "quantity": "8"}
    show_book(SYMBOL, b99=5, b98=1, b40=50)

    told = alice.post("/orders/preview", sell).data

    assert told["worst_price"] == "95"
    assert (told["reached_price"], told["fillable_quantity"], told["cost"]) == ("98", "6", "593")
    assert (told["price"], told["quantity"]) == ("98.833333", "8")


def test_a_market_order_without_a_book_is_valued_at_the_last_trade(alice: Api, people: Any, at: Desk) -> None:
    at.trade(people[0], people[1], 1, 102)
    buy = {"symbol": SYMBOL, "side": "buy", "type": "market", "quantity": "2"}

    unknown = alice.post("/orders/preview", buy).data
    show_book(SYMBOL, b99=5)
    empty = alice.post("/orders/preview", buy).data

    assert (unknown["price"], unknown["reached_price"], unknown["fillable_quantity"]) == ("102", None, None)
    assert (empty["price"], empty["reached_price"], empty["fillable_quantity"]) == ("102", None, "0")


def test_a_buy_by_amount_takes_whole_lots_of_each_level(alice: Api) -> None:
    make_instrument(lot_size=Decimal("0.001"), tick_size=Decimal(1), maker_fee_rate=0, taker_fee_rate=0)
    show_book("BTCUSDT", a50000=1, a50100=9)

    buy = {"symbol": "BTCUSDT", "side": "buy", "type": "market", "quote_quantity": "151"}
    told = alice.post("/orders/preview", buy).data

    assert (told["cost"], told["fillable_quantity"], told["reached_price"]) == ("150.2", "0.003", "50100")
    assert told["price"] == "50066.666666"


def test_a_limit_order_is_valued_at_its_limit_whatever_the_book(alice: Api) -> None:
    show_book(SYMBOL, a101=30)

    told = alice.post("/orders/preview", LIMIT).data

    assert (told["price"], told["reached_price"], told["fillable_quantity"]) == ("110", None, None)


def test_a_spot_order_shows_cost_hold_and_fee(alice: Api) -> None:
    make_instrument()

    bought = alice.post("/orders/preview", SPOT).data
    by_amount = {"symbol": "BTCUSDT", "side": "buy", "type": "market", "quote_quantity": "100"}
    spent = alice.post("/orders/preview", by_amount).data
    poor = alice.post("/orders/preview", {**SPOT, "side": "sell"}).data

    assert (bought["cost"], bought["hold"], bought["hold_asset"]) == ("50", "50.01", "USDT")
    assert (bought["taker_fee"], bought["available"], bought["position"]) == ("0.01", "1000", None)
    assert (spent["hold"], spent["cost"], spent["quantity"]) == ("100", "95", None)
    assert (poor["hold"], poor["hold_asset"], poor["refusal"]["code"]) == ("0.001", "BTC", 6005)


def test_a_contract_without_a_mark_says_so(alice: Api) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE instrument_state SET mark_price = NULL, marked_at = NULL")

    assert alice.post("/orders/preview", LIMIT).data["refusal"]["code"] == 3023


def test_bad_input_is_refused_as_an_orders_is(alice: Api) -> None:
    assert alice.post("/orders/preview", {**LIMIT, "price": "1e5"}).code == 1004
    assert alice.post("/orders/preview", {**LIMIT, "symbol": "NONE"}).code == 5001
    assert Api().post("/orders/preview", LIMIT).status == 401


def test_another_mark_moves_the_open_loss(alice: Api, people: Any, at: Desk) -> None:
    set_mark("105")

    assert alice.post("/orders/preview", LIMIT).data["open_loss"] == "50"
