"""Orders and balances as clients see them: exact strings, integers only for minor-unit instruments."""

from dataclasses import replace
from decimal import Decimal

import pytest

from exchange.kernel.clock import utc_now
from risk.tests.test_checks import SPEC
from trading.models import Order
from trading.wire import average_price, balance_fields, order_fields

STOCK = replace(
    SPEC,
    symbol="2330.TW",
    base="2330",
    quote="TWD",
    base_decimals=0,
    quote_decimals=2,
    tick_size=Decimal(1),
    lot_size=Decimal(1),
    minor_unit_decimals=2,
)


def _order(**fields: object) -> Order:
    now = utc_now()
    values = {
        "id": 7,
        "symbol": "BTCUSDT",
        "side": "buy",
        "type": "limit",
        "time_in_force": "gtc",
        "price": Decimal("50000.000000000000000000"),
        "quantity": Decimal("0.010000000000000000"),
        "filled_quantity": Decimal(0),
        "filled_notional": Decimal(0),
        "fee": Decimal("0E-18"),
        "status": "new",
        "reason": "",
        "created_at": now,
        "updated_at": now,
    }
    return Order(**(values | fields))


def test_decimals_are_plain_strings_without_trailing_zeros() -> None:
    fields = order_fields(_order(), SPEC)

    assert (fields["price"], fields["quantity"], fields["filled_quantity"], fields["fee"]) == (
        "50000",
        "0.01",
        "0",
        "0",
    )
    assert fields["avg_price"] is None
    assert len(fields["created_at"]) == len("2025-05-18T10:30:00.123456Z")


def test_minor_unit_instruments_speak_integers() -> None:
    order = _order(
        price=Decimal(600), quantity=Decimal(1000), filled_quantity=Decimal(300), filled_notional=Decimal(179_700)
    )

    fields = order_fields(order, STOCK)

    assert (fields["price"], fields["quantity"], fields["filled_quantity"], fields["avg_price"]) == (
        60000,
        1000,
        300,
        59900,
    )


def test_a_market_order_shows_no_price() -> None:
    assert order_fields(_order(type="market", price=None), SPEC)["price"] is None


@pytest.mark.parametrize(
    ("notional", "quantity", "average"),
    [("100", "3", "33.333333"), ("0.000001", "0.0003", "0.003333"), ("2", "1", "2")],
)
def test_an_average_price_is_rounded_down(notional: str, quantity: str, average: str) -> None:
    assert average_price(SPEC, Decimal(notional), Decimal(quantity)) == average


def test_frozen_is_what_orders_and_withdrawals_hold() -> None:
    wallets = {"available": Decimal("1.50"), "order_hold": Decimal("0.25"), "withdraw_hold": Decimal("0.25")}

    assert balance_fields("BTC", wallets) == {"asset": "BTC", "balance": "1.5", "frozen_balance": "0.5"}
