"""Market buys by quote amount down the whole road: never a quantum more than was given, and the rest comes back."""

from decimal import Decimal
from typing import Any

import pytest

from exchange.kernel.clock import utc_now
from exchange.kernel.money import InexactAmountError
from marketdata.units import NotionalTooLargeError
from risk.models import ReviewLimit
from risk.services.checks import BelowMinimumNotionalError, InsufficientFundsError
from trading import audit, errors
from trading.models import Command, Trade
from trading.services import orders, review
from trading.services.requests import AmendOrder, PlaceOrder, ReduceOrder, Submission
from trading.tests.road import fresh, limit, make_instrument, place, run_worker_once

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]


@pytest.fixture
def traders(customer):
    """A buyer with 1,000 USDT and a seller; the last trade was at 50,000; fees are 0.02 %."""
    make_instrument()
    alice, bob = customer("alice", USDT=1000, BTC=1), customer("bob", USDT=1000, BTC=1)
    place(bob.id, limit("BTCUSDT", "sell", "0.0010", "50000"))
    place(bob.id, limit("BTCUSDT", "buy", "0.0010", "50000"))
    run_worker_once()
    yield alice, bob
    assert [item for item in audit.invariants() if not item.ok] == []


def _spend(amount: str, **fields: Any) -> PlaceOrder:
    values = {"time_in_force": "ioc", "quote_quantity": Decimal(amount), **fields}
    return PlaceOrder("BTCUSDT", "buy", "market", **values)


def _asks(seller, *levels: tuple[str, str]) -> None:
    place(seller.id, *(limit("BTCUSDT", "sell", quantity, price) for quantity, price in levels))


def test_it_holds_exactly_the_amount_and_gives_back_what_buys_no_further_lot(traders) -> None:
    alice, bob = traders
    _asks(bob, ("0.0100", "50000"))

    [order] = place(alice.id, _spend("100"))

    assert (order.quantity, order.quote_quantity, order.hold_remaining) == (None, Decimal(100), Decimal(100))
    assert alice.balances("USDT") == {"available": Decimal(900), "order_hold": Decimal(100)}
    run_worker_once()
    order = fresh(order)  # 99.98 may go into prices: 19 lots at 5 each, and 0.019 of fee
    assert (order.status, order.reason, order.quantity) == ("filled", "", None)
    assert (order.filled_quantity, order.filled_notional, order.fee) == (
        Decimal("0.0019"),
        Decimal(95),
        Decimal("0.019"),
    )
    assert order.filled_at is not None
    assert order.cancelled_at is None
    assert alice.balances("USDT") == {"available": Decimal(1000) - Decimal("95.019"), "order_hold": Decimal(0)}
    assert alice.balances("BTC")["available"] == Decimal("1.0019")


def test_it_goes_through_several_prices_and_pays_the_fee_on_all_of_them(traders) -> None:
    alice, bob = traders
    _asks(bob, ("0.0010", "50000"), ("0.0010", "50500"), ("0.0100", "51000"))

    [order] = place(alice.id, _spend("300"))
    run_worker_once()

    order = fresh(order)  # 50 + 50.5 + 39 x 5.1 = 299.4, and one lot more would be 304.5
    assert (order.status, order.filled_notional, order.fee) == ("filled", Decimal("299.4"), Decimal("0.05988"))
    assert Trade.objects.filter(buy_order_id=order.id).count() == 3
    assert alice.balances("USDT")["available"] == Decimal(1000) - Decimal("299.45988")


def test_an_amount_whose_fee_fits_to_the_quantum_is_spent_to_the_quantum(traders) -> None:
    alice, bob = traders
    _asks(bob, ("0.0100", "50000"))

    exact, less = place(alice.id, _spend("50.01"), _spend("50.009999"))
    run_worker_once()

    assert (fresh(exact).filled_notional, fresh(exact).fee) == (Decimal(50), Decimal("0.01"))
    assert fresh(less).filled_notional == Decimal(45)
    assert alice.balances("USDT")["available"] == Decimal(1000) - Decimal("50.01") - Decimal("45.009")


def test_it_is_filled_when_the_rest_buys_a_lot_at_the_last_price_but_none_at_the_next(traders) -> None:
    alice, bob = traders
    _asks(bob, ("0.0001", "50000"), ("0.0100", "52000"))

    [order] = place(alice.id, _spend("10.11"))
    run_worker_once()

    assert (fresh(order).status, fresh(order).reason, fresh(order).filled_notional) == ("filled", "", Decimal(5))
    assert alice.balances("USDT") == {"available": Decimal("994.999"), "order_hold": Decimal(0)}


def test_it_is_cancelled_where_the_book_or_the_bound_ends(traders) -> None:
    alice, bob = traders
    _asks(bob, ("0.0010", "50000"), ("0.0100", "52500.01"))

    [order] = place(alice.id, _spend("100"))
    run_worker_once()

    assert (fresh(order).status, fresh(order).reason) == ("cancelled", "IOC_REMAINDER")
    assert (fresh(order).filled_notional, fresh(order).hold_remaining) == (Decimal(50), 0)
    assert alice.balances("USDT")["available"] == Decimal("949.99")


def test_an_amount_that_buys_not_one_lot_comes_back_whole(traders) -> None:
    alice, bob = traders
    _asks(bob, ("0.0100", "50000"))

    [order] = place(alice.id, _spend("5"))
    run_worker_once()

    assert (fresh(order).status, fresh(order).reason, fresh(order).filled_quantity) == ("cancelled", "BUDGET_SPENT", 0)
    assert alice.balances("USDT") == {"available": Decimal(1000), "order_hold": Decimal(0)}


@pytest.mark.parametrize(
    ("mode", "status", "reason", "notional", "own_left"),
    [
        ("none", "filled", "", "95", "0.0000"),
        ("cancel_maker", "filled", "", "95", "cancelled"),
        ("cancel_taker", "cancelled", "SELF_TRADE", "25", "0.0010"),
        ("cancel_both", "cancelled", "SELF_TRADE", "25", "cancelled"),
        ("decrement", "filled", "", "45", "cancelled"),
    ],
)
def test_it_meets_an_order_of_its_own_trader(
    traders, mode: str, status: str, reason: str, notional: str, own_left: str
) -> None:
    alice, bob = traders
    _asks(bob, ("0.0005", "50000"))
    [own] = place(alice.id, limit("BTCUSDT", "sell", "0.0010", "50000"))
    _asks(bob, ("0.0100", "50000"))

    [order] = place(alice.id, _spend("100", self_trade_prevention=mode))
    run_worker_once()

    order, own = fresh(order), fresh(own)
    assert (order.status, order.reason, order.filled_notional) == (status, reason, Decimal(notional))
    assert own_left == ("cancelled" if own.status == "cancelled" else f"{own.quantity - own.filled_quantity:.4f}")
    assert alice.balances("USDT")["order_hold"] == 0


def test_a_decremented_amount_may_end_with_its_own_order(traders) -> None:
    alice, _ = traders
    [own] = place(alice.id, limit("BTCUSDT", "sell", "0.0100", "50000"))

    [order] = place(alice.id, _spend("100", self_trade_prevention="decrement"))
    run_worker_once()

    assert (fresh(order).status, fresh(order).reason, fresh(order).filled_quantity) == ("cancelled", "SELF_TRADE", 0)
    assert (fresh(own).status, fresh(own).quantity) == ("new", Decimal("0.0081"))
    assert alice.balances("USDT") == {"available": Decimal(1000), "order_hold": Decimal(0)}


def test_an_amount_above_the_review_limit_waits_for_a_person(traders) -> None:
    alice, bob = traders
    _asks(bob, ("0.0100", "50000"))
    ReviewLimit.objects.create(tier_id="STANDARD", asset_id="USDT", notional=100)

    at_limit, above = place(alice.id, _spend("100"), _spend("100.01"))
    assert (at_limit.status, above.status) == ("new", "pending_review")
    review.approve([above.id], now=utc_now())
    run_worker_once()

    assert (fresh(above).status, fresh(above).reason, fresh(above).filled_notional) == ("filled", "", Decimal(95))


@pytest.mark.parametrize(
    ("request_", "refusal"),
    [
        (_spend("100", quantity=Decimal("0.01")), errors.OrderSizeError),
        (_spend("100", time_in_force="fok"), errors.OrderSizeError),
        (PlaceOrder("BTCUSDT", "buy", "market", time_in_force="ioc"), errors.OrderSizeError),
        (
            PlaceOrder("BTCUSDT", "sell", "market", time_in_force="ioc", quote_quantity=Decimal(9)),
            errors.OrderSizeError,
        ),
        (PlaceOrder("BTCUSDT", "buy", "limit", None, Decimal(50000), quote_quantity=Decimal(9)), errors.OrderSizeError),
        (
            PlaceOrder(
                "BTCUSDT", "buy", "stop", None, None, "ioc", stop_price=Decimal(51000), quote_quantity=Decimal(9)
            ),
            errors.OrderSizeError,
        ),
        (_spend("4.999999"), BelowMinimumNotionalError),
        (_spend("10.0000001"), InexactAmountError),
        (_spend("99999999999999999999"), NotionalTooLargeError),
    ],
    ids=str,
)
def test_what_is_no_amount_to_spend_is_refused_and_changes_nothing(traders, request_, refusal) -> None:
    alice, _ = traders
    before, commands = alice.balances("USDT"), Command.objects.count()

    [result] = place(alice.id, request_)

    assert isinstance(result, refusal)
    assert alice.balances("USDT") == before
    assert Command.objects.count() == commands


def test_without_the_amount_it_is_stored_as_rejected(traders) -> None:
    alice, _ = traders

    [result] = place(alice.id, _spend("1000.000001"))

    assert isinstance(result, InsufficientFundsError)
    assert (result.data["required"], result.data["available"]) == ("1000.000001", "1000")
    assert alice.balances("USDT") == {"available": Decimal(1000), "order_hold": Decimal(0)}


def test_it_can_be_neither_reduced_nor_amended_on_its_way(traders) -> None:
    alice, _ = traders
    [order] = place(alice.id, _spend("100"))

    results = orders.submit(
        [
            Submission(alice.id, ReduceOrder(order.id, Decimal("0.0001"))),
            Submission(alice.id, AmendOrder(order.id, quantity=Decimal("0.0001"))),
        ],
        now=utc_now(),
    )

    assert [type(result) for result in results] == [errors.AmendNotAllowedError] * 2
    run_worker_once()
