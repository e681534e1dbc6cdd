"""Bad orders, by REST: each is refused in words, under its own code, and changes nothing at all."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from rest_framework_simplejwt.tokens import AccessToken

from exchange.api.tests.fixtures import Api
from trading.models import Order, OrderType
from trading.tests.road import make_asset, make_instrument, run_worker_once

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]

TABLES = (
    "orders",
    "order_keys",
    "commands",
    "ledger_entry",
    "ledger_line",
    "private_events",
    "outbox",
    "trades",
    "risk_traderprofile",
)
GOOD = {"symbol": "BTCUSDT", "side": "buy", "type": "limit", "quantity": "0.001", "price": "50000"}
MISSING = object()


def contents() -> dict[str, Any]:
    """Return how many rows each table has that an order could touch, and the wallets."""
    with connection.cursor() as cursor:
        counts = {}
        for table in TABLES:
            cursor.execute(f"SELECT count(*) FROM {table}")
            counts[table] = cursor.fetchone()[0]
        cursor.execute("SELECT owner_id, code, asset, balance FROM ledger_account ORDER BY 1, 2, 3")
        return {**counts, "balances": [row for row in cursor.fetchall() if row[3]]}


@pytest.fixture
def trader(api: Api, customer: Any) -> Api:
    """Return a client of a user with 1,000 USDT, on an exchange with two instruments."""
    make_instrument()
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
    return api.as_user(customer("alice", USDT=1000, TWD=100000).user)


def _changed(changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**GOOD, **changes}.items() if value is not MISSING}


FIELD_FAULTS: list[tuple[str, dict[str, Any], str]] = [
    ("a missing symbol", {"symbol": MISSING}, "symbol"),
    ("a missing side", {"side": MISSING}, "side"),
    ("a missing type", {"type": MISSING}, "type"),
    ("a missing quantity", {"quantity": MISSING}, "quantity"),
    ("an unknown field", {"leverage": 5}, "leverage"),
    ("reduce-only as word", {"reduce_only": "true"}, "reduce_only"),
    ("close-position as number", {"close_position": 1}, "close_position"),
    ("a quote quantity as float", {"quote_quantity": 99.5}, "quote_quantity"),
    ("a quote quantity of zero", {"quote_quantity": "0"}, "quote_quantity"),
    ("a negative quote quantity", {"quote_quantity": "-100"}, "quote_quantity"),
    ("a quote quantity with exponent", {"quote_quantity": "1e2"}, "quote_quantity"),
    ("a quote quantity that is null", {"quantity": MISSING, "quote_quantity": None}, "quote_quantity"),
    ("an unknown trigger", {"type": "stop_limit", "stop_price": "49000", "trigger_by": "index"}, "trigger_by"),
    ("a trigger as number", {"type": "stop_limit", "stop_price": "49000", "trigger_by": 1}, "trigger_by"),
    ("a stop price as float", {"type": "stop_limit", "stop_price": 49000.5}, "stop_price"),
    ("post-only as word", {"post_only": "true"}, "post_only"),
    ("post-only as number", {"post_only": 1}, "post_only"),
    ("an end without a zone", {"time_in_force": "gtd", "expires_at": "2099-01-01T00:00:00"}, "expires_at"),
    ("an end as number", {"time_in_force": "gtd", "expires_at": 4070908800}, "expires_at"),
    ("an end that is no date", {"time_in_force": "gtd", "expires_at": "tomorrow"}, "expires_at"),
    ("an unknown prevention", {"self_trade_prevention": "hope"}, "self_trade_prevention"),
    ("a display quantity of zero", {"display_quantity": "0"}, "display_quantity"),
    ("a misspelt field", {"timeinforce": "ioc"}, "timeinforce"),
    ("an owner of one's own choice", {"user_id": 1}, "user_id"),
    ("a status of one's own choice", {"status": "filled"}, "status"),
    ("a side of another spelling", {"side": "BUY"}, "side"),
    ("an unknown side", {"side": "hold"}, "side"),
    ("a side as number", {"side": 1}, "side"),
    ("a type as list", {"type": ["limit"]}, "type"),
    ("a symbol as number", {"symbol": 2330}, "symbol"),
    ("a symbol as object", {"symbol": {"a": 1}}, "symbol"),
    ("a symbol without end", {"symbol": "B" * 25}, "symbol"),
    ("an empty symbol", {"symbol": ""}, "symbol"),
    ("a symbol that is null", {"symbol": None}, "symbol"),
    ("a quantity as float", {"quantity": 0.001}, "quantity"),
    ("a quantity that is true", {"quantity": True}, "quantity"),
    ("a quantity that is null", {"quantity": None}, "quantity"),
    ("a quantity as list", {"quantity": ["1"]}, "quantity"),
    ("a quantity of zero", {"quantity": "0"}, "quantity"),
    ("a quantity of zero with decimals", {"quantity": "0.000"}, "quantity"),
    ("a quantity of integer zero", {"quantity": 0}, "quantity"),
    ("a negative quantity", {"quantity": "-0.001"}, "quantity"),
    ("a negative integer quantity", {"quantity": -1}, "quantity"),
    ("a quantity with a plus", {"quantity": "+1"}, "quantity"),
    ("a quantity that is NaN", {"quantity": "NaN"}, "quantity"),
    ("a quantity that is infinite", {"quantity": "Infinity"}, "quantity"),
    ("a quantity with exponent", {"quantity": "1e-3"}, "quantity"),
    ("a quantity of 40 digits", {"quantity": "1" * 40}, "quantity"),
    ("a quantity of 40 decimals", {"quantity": "0." + "0" * 39 + "1"}, "quantity"),
    ("a huge integer quantity", {"quantity": 10**30}, "quantity"),
    ("a quantity in words", {"quantity": "one"}, "quantity"),
    ("an empty quantity", {"quantity": ""}, "quantity"),
    ("a quantity with spaces", {"quantity": " 1 "}, "quantity"),
    ("a quantity with a line end", {"quantity": "1\n"}, "quantity"),
    ("a quantity with a comma", {"quantity": "1,000"}, "quantity"),
    ("a quantity with an underscore", {"quantity": "1_000"}, "quantity"),
    ("a quantity in other digits", {"quantity": "\u0661"}, "quantity"),
    ("a quantity that ends in a point", {"quantity": "1."}, "quantity"),
    ("a quantity that begins with a point", {"quantity": ".5"}, "quantity"),
    ("a hexadecimal quantity", {"quantity": "0x10"}, "quantity"),
    ("a price as float", {"price": 50000.5}, "price"),
    ("a price of zero", {"price": "0"}, "price"),
    ("a negative price", {"price": "-50000"}, "price"),
    ("a price that is NaN", {"price": "nan"}, "price"),
    ("a price with exponent", {"price": "5E4"}, "price"),
    ("a price of 40 digits", {"price": "9" * 40}, "price"),
    ("a price that is null", {"price": None}, "price"),
    ("a client_order_id as number", {"client_order_id": 5}, "client_order_id"),
    ("an empty client_order_id", {"client_order_id": ""}, "client_order_id"),
    ("a client_order_id too long", {"client_order_id": "x" * 65}, "client_order_id"),
    ("a client_order_id with a line end", {"client_order_id": "abc\n"}, "client_order_id"),
    ("a client_order_id with spaces", {"client_order_id": "a b"}, "client_order_id"),
    ("a time in force as number", {"time_in_force": 1}, "time_in_force"),
]


@pytest.mark.parametrize(("changes", "field"), [row[1:] for row in FIELD_FAULTS], ids=[row[0] for row in FIELD_FAULTS])
def test_a_faulty_field_is_named_and_nothing_is_stored(trader: Api, changes: dict[str, Any], field: str) -> None:
    before = contents()

    answer = trader.post("/orders", _changed(changes))

    assert (answer.status, answer.code, answer.error) == (400, 1004, "INVALID_FIELDS")
    assert list(answer.data["fields"]) == [field]
    assert all(isinstance(reason, str) and reason for reason in answer.data["fields"][field])
    assert contents() == before


REFUSALS: list[tuple[str, dict[str, Any], int, str]] = [
    ("an unknown symbol", {"symbol": "DOGEUSDT"}, 404, "UNKNOWN_INSTRUMENT"),
    ("a symbol in another case", {"symbol": "btcusdt"}, 404, "UNKNOWN_INSTRUMENT"),
    ("a price off the tick", {"price": "50000.001"}, 422, "PRICE_OFF_TICK"),
    ("a quantity off the lot", {"quantity": "0.00015"}, 422, "QUANTITY_OFF_LOT"),
    ("a price just below the band", {"price": "39999.99"}, 422, "PRICE_OUTSIDE_BAND"),
    ("a price just above the band", {"price": "60000.01"}, 422, "PRICE_OUTSIDE_BAND"),
    ("less than the minimum notional", {"quantity": "0.0001", "price": "49999.99"}, 422, "BELOW_MINIMUM_NOTIONAL"),
    ("a limit order without price", {"price": MISSING}, 422, "PRICE_REQUIRED"),
    ("a market order with price", {"type": "market"}, 422, "PRICE_NOT_ALLOWED"),
    ("an integer price where decimals are used", {"price": 50000}, 400, "NUMBER_FORMAT"),
    ("an integer quantity where decimals are used", {"quantity": 1}, 400, "NUMBER_FORMAT"),
    ("a type of another market", {"type": "pegged"}, 422, "UNSUPPORTED_ORDER_TYPE"),
    ("a trailing stop with a price", {"type": "trailing_stop"}, 422, "PRICE_NOT_ALLOWED"),
    ("a callback rate on a limit order", {"callback_rate": "0.01"}, 422, "CALLBACK_RATE"),
    ("a stop price on a limit order", {"stop_price": "49000"}, 422, "STOP_PRICE_NOT_ALLOWED"),
    ("a stop without its price", {"type": "stop_limit"}, 422, "STOP_PRICE_REQUIRED"),
    ("a stop price off the tick", {"type": "stop_limit", "stop_price": "49000.001"}, 422, "PRICE_OFF_TICK"),
    ("a limit price far from the stop", {"type": "stop_limit", "stop_price": "70000"}, 422, "PRICE_OUTSIDE_BAND"),
    ("an end in the past", {"time_in_force": "gtd", "expires_at": "2020-01-01T00:00:00Z"}, 422, "EXPIRES_AT"),
    ("a gtd order without end", {"time_in_force": "gtd"}, 422, "EXPIRES_AT"),
    ("an ioc order that is post-only", {"time_in_force": "ioc", "post_only": True}, 422, "POST_ONLY_NOT_ALLOWED"),
    ("an iceberg above the water", {"display_quantity": "9"}, 422, "DISPLAY_QUANTITY"),
    ("an order for a quantity and an amount", {"quote_quantity": "100"}, 422, "ORDER_SIZE"),
    ("a limit order for an amount", {"quantity": MISSING, "quote_quantity": "100"}, 422, "ORDER_SIZE"),
    (
        "a market sale for an amount",
        {"type": "market", "side": "sell", "price": MISSING, "quantity": MISSING, "quote_quantity": "100"},
        422,
        "ORDER_SIZE",
    ),
    (
        "an amount in an integer where decimals are used",
        {"type": "market", "price": MISSING, "quantity": MISSING, "quote_quantity": 100},
        400,
        "NUMBER_FORMAT",
    ),
    (
        "an amount below the minimum notional",
        {"type": "market", "price": MISSING, "quantity": MISSING, "quote_quantity": "4.999999"},
        422,
        "BELOW_MINIMUM_NOTIONAL",
    ),
    ("a trigger on a limit order", {"trigger_by": "mark"}, 422, "TRIGGER_BY_NOT_ALLOWED"),
    (
        "a mark price that nobody knows",
        {"type": "stop_limit", "stop_price": "49000", "trigger_by": "mark"},
        422,
        "MARK_PRICE_UNKNOWN",
    ),
    ("reduce-only on a spot market", {"reduce_only": True}, 422, "CONTRACTS_ONLY"),
    (
        "close-position on a spot market, without a quantity",
        {"close_position": True, "quantity": MISSING},
        422,
        "CONTRACTS_ONLY",
    ),
    ("good till crossing", {"time_in_force": "gtx"}, 422, "UNSUPPORTED_TIME_IN_FORCE"),
    ("a quantity beyond the engine", {"quantity": "99999999999999999999"}, 422, "NUMBER_TOO_LARGE"),
    ("a price beyond the engine", {"price": "99999999999999999999"}, 422, "NUMBER_TOO_LARGE"),
]


@pytest.mark.parametrize(
    ("changes", "status", "error"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS]
)
def test_a_refused_order_has_its_own_code_and_nothing_is_stored(
    trader: Api, changes: dict[str, Any], status: int, error: str
) -> None:
    before = contents()

    answer = trader.post("/orders", _changed(changes))

    assert (answer.status, answer.error) == (status, error)
    assert answer.code >= 3000
    assert "%" not in answer.body["message"]
    assert contents() == before


@pytest.mark.parametrize("price", ["40000", "60000"])
def test_exactly_the_edge_of_the_band_passes(trader: Api, price: str) -> None:
    assert trader.post("/orders", {**GOOD, "price": price}).status == 201


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"price": "600.5"}, "PRICE_OFF_TICK"),
        ({"price": 60050}, "PRICE_OFF_TICK"),
        ({"quantity": "0.5"}, "QUANTITY_OFF_LOT"),
        ({"price": 47999}, "PRICE_OFF_TICK"),
        ({"price": 47900}, "PRICE_OUTSIDE_BAND"),
        ({"price": 72100}, "PRICE_OUTSIDE_BAND"),
        ({"quote_quantity": 60000}, "ORDER_SIZE"),
    ],
)
def test_minor_units_are_held_to_the_same_rules(trader: Api, changes: dict[str, Any], error: str) -> None:
    before = contents()
    order = {"symbol": "2330.TW", "side": "buy", "type": "limit", "quantity": 1, "price": 60000}

    answer = trader.post("/orders", {**order, **changes})

    assert (answer.status, answer.error) == (422, error)
    assert contents() == before


def test_unsupported_types_are_answered_with_those_that_work(trader: Api) -> None:
    answer = trader.post("/orders", {**GOOD, "type": "pegged"})

    assert answer.data["supported"] == [str(word) for word in OrderType]
    assert answer.body["message"].startswith("Order type pegged is not supported; use one of: limit, market, ")


def test_insufficient_funds_store_a_rejected_order_and_move_no_money(trader: Api) -> None:
    before = contents()

    answer = trader.post("/orders", {**GOOD, "quantity": "1"})

    assert (answer.status, answer.code, answer.error) == (422, 6005, "INSUFFICIENT_FUNDS")
    order = Order.objects.get(pk=answer.data["order_id"])
    assert (order.status, order.hold_remaining) == ("rejected", 0)
    shown = trader.get(f"/orders/{order.id}").data
    assert (shown["status"], shown["reason"]) == ("rejected", "INSUFFICIENT_FUNDS")
    after = contents()
    assert after["orders"] == before["orders"] + 1
    for table in ("ledger_entry", "ledger_line", "commands", "balances"):
        assert after[table] == before[table], table
    with connection.cursor() as cursor:
        cursor.execute("SELECT aggregateid, type FROM outbox ORDER BY id")
        assert cursor.fetchall() == [(str(order.id), "FundsFreezeRequested"), (str(order.id), "FundsFreezeFailed")]


def test_the_same_client_order_id_with_the_same_body_returns_the_first_order(trader: Api) -> None:
    body = {**GOOD, "client_order_id": "mine-1"}
    first = trader.post("/orders", body)
    before = contents()

    again = trader.post("/orders", {**body, "price": "50000.00", "time_in_force": "gtc"})

    assert (first.status, again.status) == (201, 200)
    assert again.data == first.data
    assert contents() == before


@pytest.mark.parametrize(
    "changes", [{"price": "50001"}, {"quantity": "0.002"}, {"side": "sell"}, {"time_in_force": "ioc"}]
)
def test_the_same_client_order_id_with_another_body_is_refused(trader: Api, changes: dict[str, Any]) -> None:
    trader.post("/orders", {**GOOD, "client_order_id": "mine-1"})
    before = contents()

    answer = trader.post("/orders", {**GOOD, "client_order_id": "mine-1", **changes})

    assert (answer.status, answer.code, answer.error) == (409, 3003, "DUPLICATE_CLIENT_ORDER_ID")
    assert contents() == before


def test_client_order_ids_of_two_users_do_not_meet(trader: Api, customer: Any) -> None:
    body = {**GOOD, "client_order_id": "mine-1"}
    bob = trader.as_user(customer("bob", USDT=1000).user)

    assert trader.post("/orders", body).status == 201
    assert bob.post("/orders", body).status == 201


@pytest.mark.parametrize("order_id", [1, 2**53, 2**63, 10**40])
def test_cancelling_an_unknown_order_changes_nothing(trader: Api, order_id: int) -> None:
    before = contents()

    answer = trader.delete(f"/orders/{order_id}")

    assert (answer.status, answer.code, answer.error) == (404, 3001, "ORDER_NOT_FOUND")
    assert contents() == before


@pytest.mark.parametrize("order_id", ["abc", "-1", "1.0", "1e3", "%00"])
def test_an_order_id_that_is_none_finds_nothing(trader: Api, order_id: str) -> None:
    assert trader.delete(f"/orders/{order_id}").code == 1005
    assert trader.get(f"/orders/{order_id}").code == 1005


def test_another_traders_order_does_not_exist(trader: Api, customer: Any) -> None:
    mine = trader.post("/orders", GOOD).data["order_id"]
    bob = trader.as_user(customer("bob", USDT=1000).user)
    before = contents()

    answers = [
        bob.get(f"/orders/{mine}"),
        bob.delete(f"/orders/{mine}"),
        bob.post(f"/orders/{mine}/reduce", {"quantity": "0.0001"}),
    ]

    assert [(answer.status, answer.error) for answer in answers] == [(404, "ORDER_NOT_FOUND")] * 3
    assert contents() == before
    assert bob.get("/orders").data["items"] == []
    assert bob.delete("/orders").data == {"count": 0}


def test_cancelling_a_finished_order_is_refused_with_the_order(trader: Api) -> None:
    order = trader.post("/orders", {**GOOD, "time_in_force": "ioc"}).data
    run_worker_once()
    before = contents()

    answer = trader.delete(f"/orders/{order['order_id']}")

    assert (answer.status, answer.code, answer.error) == (409, 3002, "ORDER_NOT_OPEN")
    assert (answer.data["order_id"], answer.data["status"]) == (order["order_id"], "cancelled")
    assert contents() == before


@pytest.mark.parametrize("quantity", ["0", "-1", "0.00015", 1, 0.5, "1e-3", None, "2"])
def test_a_faulty_reduction_changes_nothing(trader: Api, quantity: Any) -> None:
    order = trader.post("/orders", GOOD).data
    before = contents()

    answer = trader.post(f"/orders/{order['order_id']}/reduce", {"quantity": quantity})

    assert answer.status in {400, 422}
    assert answer.error in {"INVALID_FIELDS", "NUMBER_FORMAT", "QUANTITY_OFF_LOT", "REDUCE_TOO_LARGE"}
    assert contents() == before


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", 1004),
        (b"{", 1001),
        (b"[1]", 1004),
        (b'{"quantity": NaN}', 1001),
        (b'{"symbol": "BTCUSDT", "symbol": "AAPL"}', 1001),
        (b'{"a":"' + b"x" * 10_000_000 + b'"}', 1002),
    ],
    ids=["empty", "broken", "a list", "NaN", "a key twice", "10 MB"],
)
def test_a_malformed_body_changes_nothing(trader: Api, raw: bytes, code: int) -> None:
    before = contents()

    answer = trader.send("POST", "/orders", raw=raw)

    assert answer.code == code
    assert contents() == before


def test_an_expired_token_changes_nothing(trader: Api, customer: Any) -> None:
    token = AccessToken.for_user(customer("bob", USDT=1000).user)
    token.set_exp(lifetime=-timedelta(seconds=1))
    before = contents()

    answer = trader.post("/orders", GOOD, authorization=f"Bearer {token}")

    assert (answer.status, answer.code, answer.error) == (401, 2002, "TOKEN_EXPIRED")
    assert contents() == before


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/orders"),
        ("GET", "/orders"),
        ("DELETE", "/orders"),
        ("POST", "/orders/batch"),
        ("GET", "/orders/1"),
        ("DELETE", "/orders/1"),
        ("POST", "/orders/1/reduce"),
        ("GET", "/fills"),
        ("GET", "/account"),
        ("GET", "/positions"),
    ],
)
def test_nothing_of_a_trader_is_open_to_the_public(trader: Api, method: str, path: str) -> None:
    before = contents()

    answer = Api().send(method, path, GOOD if method == "POST" else None)

    assert (answer.status, answer.code) == (401, 2001)
    assert contents() == before


@pytest.mark.parametrize("query", ["symbl=BTCUSDT", "symbol=BTCUSDT&all=1"])
def test_a_misspelt_filter_does_not_cancel_everything(trader: Api, query: str) -> None:
    trader.post("/orders", GOOD)
    before = contents()

    answer = trader.delete(f"/orders?{query}")

    assert (answer.status, answer.code) == (400, 1004)
    assert contents() == before


def test_a_halted_instrument_takes_no_orders(trader: Api) -> None:
    make_instrument("ETHUSDT", base=make_asset("ETH", 8), status="HALTED")
    before = contents()

    answer = trader.post("/orders", {**GOOD, "symbol": "ETHUSDT"})

    assert (answer.status, answer.error) == (422, "INSTRUMENT_NOT_TRADING")
    assert contents() == before
