"""Every order type down the whole road: what it holds, what it does, what is left, to the last quantum."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from exchange.kernel.clock import utc_now
from risk.services.checks import InsufficientFundsError
from trading import audit, errors
from trading.services import expiry, orders
from trading.services.requests import AmendOrder, PlaceOrder, Submission
from trading.tests.road import fresh, limit, make_instrument, market, place, run_worker_once

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]


@pytest.fixture
def traders(customer):
    """Two traders on a market whose last trade was at 50,000."""
    make_instrument()
    alice, bob = customer("alice", USDT=100_000, BTC=2), customer("bob", USDT=100_000, BTC=2)
    place(bob.id, limit("BTCUSDT", "sell", "0.0010", "50000"))
    place(alice.id, limit("BTCUSDT", "buy", "0.0010", "50000"))
    run_worker_once()
    yield alice, bob
    assert [item for item in audit.invariants() if not item.ok] == []


NUMBERS = {"price", "stop_price", "display_quantity", "callback_rate", "activation_price"}


def _order(kind: str, side: str, quantity: str, **fields: Any) -> PlaceOrder:
    values: dict[str, Any] = {name: Decimal(value) if name in NUMBERS else value for name, value in fields.items()}
    values.setdefault("time_in_force", "gtc" if kind in {"limit", "stop_limit", "take_profit_limit"} else "ioc")
    return PlaceOrder("BTCUSDT", side, kind, Decimal(quantity), **values)


def test_a_stop_waits_with_its_hold_and_trades_at_the_market_when_the_price_gets_there(traders) -> None:
    alice, bob = traders
    before = alice.balances("USDT")["available"]
    [stop] = place(alice.id, _order("stop", "buy", "0.0100", stop_price="51000"))
    run_worker_once()
    # worst price 51,000 x 1.05 = 53,550; 535.5 and its fee 0.1071
    assert fresh(stop).status == "untriggered"
    assert alice.balances("USDT") == {"available": before - Decimal("535.6071"), "order_hold": Decimal("535.6071")}

    place(bob.id, limit("BTCUSDT", "sell", "0.0010", "51000"), limit("BTCUSDT", "sell", "0.0200", "51100"))
    place(alice.id, limit("BTCUSDT", "buy", "0.0010", "51000"))
    run_worker_once()

    stop = fresh(stop)
    assert (stop.status, stop.filled_notional) == ("filled", Decimal(511))
    assert stop.triggered_at is not None
    assert alice.balances("USDT")["order_hold"] == 0


def test_a_stop_limit_rests_at_its_price_after_it_woke(traders) -> None:
    alice, bob = traders
    [stop] = place(alice.id, _order("stop_limit", "sell", "0.0100", stop_price="49000", price="48900"))
    place(bob.id, limit("BTCUSDT", "sell", "0.0010", "49000"), limit("BTCUSDT", "buy", "0.0010", "49000"))
    run_worker_once()

    assert fresh(stop).status == "new"
    place(bob.id, limit("BTCUSDT", "buy", "0.0040", "48900"))
    run_worker_once()
    assert (fresh(stop).status, fresh(stop).filled_quantity) == ("partial_filled", Decimal("0.0040"))


def test_a_take_profit_already_through_fires_at_once(traders) -> None:
    alice, bob = traders
    place(bob.id, limit("BTCUSDT", "buy", "0.0100", "49900"))

    [profit] = place(alice.id, _order("take_profit", "sell", "0.0100", stop_price="49000"))
    run_worker_once()

    assert (fresh(profit).status, fresh(profit).filled_notional) == ("filled", Decimal(499))


def test_a_trailing_stop_follows_the_market_up_and_sells_when_it_falls_back(traders) -> None:
    alice, bob = traders
    [trailing] = place(alice.id, _order("trailing_stop", "sell", "0.0100", callback_rate="0.02"))
    for price in ("51000", "52000", "51000"):
        place(bob.id, limit("BTCUSDT", "sell", "0.0010", price), limit("BTCUSDT", "buy", "0.0010", price))
    run_worker_once()
    assert fresh(trailing).status == "untriggered"

    place(bob.id, limit("BTCUSDT", "buy", "0.0100", "50900"))
    place(bob.id, limit("BTCUSDT", "sell", "0.0010", "50900"))
    run_worker_once()

    trailing = fresh(trailing)  # 52,000 less two percent is 50,960
    assert (trailing.status, trailing.filled_notional) == ("cancelled", Decimal("0.0090") * 50900)
    assert trailing.triggered_at is not None


def test_a_trailing_buy_holds_for_the_worst_price_at_which_it_can_wake(traders) -> None:
    alice, _ = traders
    before = alice.balances("USDT")["available"]

    place(alice.id, _order("trailing_stop", "buy", "0.0100", callback_rate="0.01", activation_price="49000"))

    # 49,000 x 1.01 x 1.05 = 51,964.50
    assert alice.balances("USDT")["available"] == before - Decimal("519.645") - Decimal("0.103929")


def test_a_waiting_stop_can_be_cancelled_and_gives_everything_back(traders) -> None:
    alice, _ = traders
    before = alice.balances("USDT")
    [stop] = place(alice.id, _order("stop", "buy", "0.0100", stop_price="51000"))
    run_worker_once()

    orders.cancel(alice.id, [stop.id], now=utc_now())
    run_worker_once()

    assert fresh(stop).status == "cancelled"
    assert alice.balances("USDT") == before


def test_fok_trades_whole_or_not_at_all(traders) -> None:
    alice, bob = traders
    place(bob.id, limit("BTCUSDT", "sell", "0.0100", "50000"))

    [too_much] = place(alice.id, _order("limit", "buy", "0.0101", price="50000", time_in_force="fok"))
    [whole] = place(alice.id, _order("limit", "buy", "0.0100", price="50000", time_in_force="fok"))
    run_worker_once()

    assert (fresh(too_much).status, fresh(too_much).reason, fresh(too_much).filled_quantity) == (
        "cancelled",
        "FOK_UNFILLED",
        0,
    )
    assert fresh(whole).status == "filled"


def test_post_only_is_rejected_where_it_would_take_and_rests_where_not(traders) -> None:
    alice, bob = traders
    place(bob.id, limit("BTCUSDT", "sell", "0.0100", "50000"))
    before = alice.balances("USDT")

    [taking] = place(alice.id, _order("limit", "buy", "0.0100", price="50000", post_only=True))
    run_worker_once()
    assert (fresh(taking).status, fresh(taking).reason) == ("rejected", "POST_ONLY_WOULD_TAKE")
    assert alice.balances("USDT") == before

    [resting] = place(alice.id, _order("limit", "buy", "0.0100", price="49999.99", post_only=True))
    run_worker_once()
    assert fresh(resting).status == "new"


def test_an_iceberg_trades_beyond_what_it_shows(traders) -> None:
    alice, bob = traders
    [iceberg] = place(bob.id, _order("limit", "sell", "0.0500", price="50000", display_quantity="0.0100"))

    place(alice.id, limit("BTCUSDT", "buy", "0.0300", "50000"))
    run_worker_once()

    assert (fresh(iceberg).status, fresh(iceberg).filled_quantity) == ("partial_filled", Decimal("0.0300"))
    assert bob.balances("BTC")["order_hold"] == Decimal("0.0200")


@pytest.mark.parametrize(
    ("mode", "resting", "taking"),
    [
        ("cancel_maker", ("cancelled", "0.0100", "0"), ("new", "0.0150", "0")),
        ("cancel_taker", ("new", "0.0100", "0"), ("cancelled", "0.0150", "0")),
        ("cancel_both", ("cancelled", "0.0100", "0"), ("cancelled", "0.0150", "0")),
        ("decrement", ("cancelled", "0.0100", "0"), ("new", "0.0050", "0")),
        ("none", ("filled", "0.0100", "0.0100"), ("partial_filled", "0.0150", "0.0100")),
    ],
)
def test_a_taker_that_meets_its_own_order(traders, mode: str, resting, taking) -> None:
    alice, _ = traders
    [own] = place(alice.id, limit("BTCUSDT", "sell", "0.0100", "50000"))

    [taker] = place(alice.id, _order("limit", "buy", "0.0150", price="50000", self_trade_prevention=mode))
    run_worker_once()

    for order, (status, quantity, filled) in ((fresh(own), resting), (fresh(taker), taking)):
        assert (order.status, order.quantity, order.filled_quantity) == (status, Decimal(quantity), Decimal(filled))


def _midnight_after(now: datetime) -> datetime:
    """Return when the UTC day ends."""
    return (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)


def test_a_gtd_order_ends_when_it_says_and_a_day_order_with_the_day(traders) -> None:
    alice, _ = traders
    before, now = alice.balances("USDT"), utc_now()
    ends = now + (_midnight_after(now) - now) / 2  # before the day order's end, whatever time it is
    terms = ({"time_in_force": "gtd", "expires_at": ends}, {"time_in_force": "day"})
    gtd, day = place(alice.id, *(_order("limit", "buy", "0.0100", price="49000", **words) for words in terms), now=now)
    run_worker_once()

    assert not expiry.tell_time(0, now=ends - timedelta(seconds=1))
    assert expiry.tell_time(0, now=ends)
    run_worker_once()
    assert (fresh(gtd).status, fresh(gtd).reason) == ("expired", "EXPIRED")
    midnight = fresh(day).expires_at
    assert midnight is not None
    assert (midnight.hour, midnight.minute, midnight.date()) == (0, 0, (now + timedelta(days=1)).date())

    assert expiry.tell_time(0, now=max(midnight, ends) + timedelta(seconds=1))
    run_worker_once()
    assert fresh(day).status == "expired"
    assert alice.balances("USDT") == before


@pytest.mark.parametrize(
    "request_",
    [
        _order("stop", "buy", "0.0100", stop_price="51000"),
        _order("take_profit", "buy", "0.0100", stop_price="49000"),
        _order("trailing_stop", "buy", "0.0100", callback_rate="0.02"),
    ],
    ids=lambda request: request.type,
)
def test_an_order_that_waits_for_the_market_may_stop_waiting(traders, request_: PlaceOrder) -> None:
    alice, _ = traders
    before, now = alice.balances("USDT"), utc_now()
    ends = now + timedelta(hours=1)
    terms = ({"time_in_force": "gtd", "expires_at": ends}, {"time_in_force": "day"}, {"time_in_force": "gtc"})
    gtd, day, gtc = place(alice.id, *(replace(request_, **words) for words in terms))
    run_worker_once()
    assert {fresh(order).status for order in (gtd, day, gtc)} == {"untriggered"}

    midnight = fresh(day).expires_at
    assert midnight is not None
    expiry.tell_time(0, now=max(ends, midnight) + timedelta(seconds=1))
    run_worker_once()

    assert [(fresh(order).status, fresh(order).reason) for order in (gtd, day)] == [("expired", "EXPIRED")] * 2
    assert fresh(gtc).status == "untriggered"
    orders.cancel(alice.id, [gtc.id], now=utc_now())
    run_worker_once()
    assert alice.balances("USDT") == before


@pytest.mark.parametrize(("time_in_force", "filled"), [("fok", "0"), ("gtc", "0.0050"), ("day", "0.0050")])
def test_what_a_stop_does_when_it_wakes_it_does_at_once(traders, time_in_force: str, filled: str) -> None:
    alice, bob = traders
    [stop] = place(alice.id, _order("stop", "buy", "0.0100", stop_price="51000", time_in_force=time_in_force))
    place(bob.id, limit("BTCUSDT", "sell", "0.0060", "51000"))
    place(bob.id, limit("BTCUSDT", "buy", "0.0010", "51000"))

    run_worker_once()

    assert (fresh(stop).status, fresh(stop).filled_quantity) == ("cancelled", Decimal(filled))
    assert fresh(stop).reason == ("FOK_UNFILLED" if time_in_force == "fok" else "IOC_REMAINDER")


@pytest.mark.parametrize(
    ("request_", "refusal"),
    [
        (_order("stop", "buy", "0.01"), errors.StopPriceRequiredError),
        (_order("limit", "buy", "0.01", price="50000", stop_price="50000"), errors.StopPriceNotAllowedError),
        (_order("stop_limit", "buy", "0.01", stop_price="50000"), errors.PriceRequiredError),
        (_order("take_profit", "buy", "0.01", stop_price="50000", price="50000"), errors.PriceNotAllowedError),
        (_order("market", "buy", "0.01", time_in_force="gtc"), errors.TimeInForceNotAllowedError),
        (
            _order("limit", "buy", "0.01", price="50000", time_in_force="ioc", post_only=True),
            errors.PostOnlyNotAllowedError,
        ),
        (
            _order("stop_limit", "buy", "0.01", price="50000", stop_price="50000", post_only=True),
            errors.PostOnlyNotAllowedError,
        ),
        (_order("limit", "buy", "0.01", price="50000", display_quantity="0.02"), errors.DisplayQuantityError),
        (_order("limit", "buy", "2.00", price="50000", display_quantity="0.0001"), errors.DisplayQuantityError),
        (_order("limit", "buy", "0.01", price="50000", time_in_force="gtd"), errors.ExpiryError),
        (_order("trailing_stop", "buy", "0.01"), errors.CallbackRateError),
        (_order("trailing_stop", "buy", "0.01", callback_rate="0.6"), errors.CallbackRateError),
        (_order("trailing_stop", "buy", "0.01", callback_rate="0.0000001"), errors.CallbackRateError),
        (_order("limit", "buy", "0.01", price="50000", callback_rate="0.01"), errors.CallbackRateError),
        (_order("limit", "buy", "0.01", price="50000", expires_at=utc_now() + timedelta(days=9)), errors.ExpiryError),
        (_order("limit", "buy", "0.01", price="50000", time_in_force="gtd", expires_at=utc_now()), errors.ExpiryError),
    ],
    ids=str,
)
def test_words_that_do_not_go_together_are_refused_and_change_nothing(traders, request_, refusal) -> None:
    alice, _ = traders
    before = alice.balances("USDT")

    [result] = place(alice.id, request_)

    assert isinstance(result, refusal)
    assert alice.balances("USDT") == before


def test_a_market_order_may_be_fok(traders) -> None:
    alice, _ = traders

    [order] = place(alice.id, PlaceOrder("BTCUSDT", "buy", "market", Decimal("0.01"), time_in_force="fok"))
    [plain] = place(alice.id, market("BTCUSDT", "buy", "0.01"))
    run_worker_once()

    assert (fresh(order).reason, fresh(plain).reason) == ("FOK_UNFILLED", "IOC_REMAINDER")


def _amend(owner_id: int, order, **changes):
    request = AmendOrder(order.id, **{name: Decimal(value) for name, value in changes.items()})
    [result] = orders.submit([Submission(owner_id, request)], now=utc_now())
    return result


def test_an_amend_to_more_holds_more_at_once_and_is_trimmed_by_settlement(traders) -> None:
    alice, _ = traders
    before = alice.balances("USDT")["available"]
    [order] = place(alice.id, limit("BTCUSDT", "buy", "0.0100", "49000"))
    run_worker_once()

    assert _amend(alice.id, order, price="49500", quantity="0.0200").id == order.id
    # 990 and its fee 0.198 instead of 490 and 0.098, and two quanta until the engine has answered
    assert alice.balances("USDT")["order_hold"] == Decimal("990.198") + Decimal("0.000002")
    assert isinstance(_amend(alice.id, order, price="49600"), errors.AmendPendingError)
    run_worker_once()

    order = fresh(order)
    assert (order.price, order.quantity, order.amend_hold, order.amend_requested_at) == (
        49500,
        Decimal("0.02"),
        0,
        None,
    )
    assert alice.balances("USDT") == {"available": before - Decimal("990.198"), "order_hold": Decimal("990.198")}


def test_an_amend_to_less_gives_back_what_is_not_needed(traders) -> None:
    alice, bob = traders
    [order] = place(alice.id, limit("BTCUSDT", "sell", "0.0100", "51000"))
    place(bob.id, limit("BTCUSDT", "buy", "0.0030", "51000"))
    run_worker_once()

    _amend(alice.id, order, quantity="0.0050")
    run_worker_once()

    assert (fresh(order).quantity, fresh(order).filled_quantity) == (Decimal("0.0050"), Decimal("0.0030"))
    assert alice.balances("BTC")["order_hold"] == Decimal("0.0020")


def test_an_amend_that_crosses_trades(traders) -> None:
    alice, bob = traders
    place(bob.id, limit("BTCUSDT", "sell", "0.0100", "50100"))
    [order] = place(alice.id, limit("BTCUSDT", "buy", "0.0100", "49000"))
    run_worker_once()

    _amend(alice.id, order, price="50200")
    run_worker_once()

    assert (fresh(order).status, fresh(order).filled_notional) == ("filled", Decimal(501))
    assert alice.balances("USDT")["order_hold"] == 0


@pytest.mark.parametrize("filled", ["0.0040", "0.0100"])
def test_an_amend_that_a_fill_overtook_is_refused_and_gives_its_hold_back(traders, filled: str) -> None:
    alice, bob = traders
    [order] = place(alice.id, limit("BTCUSDT", "buy", "0.0100", "49000"))
    run_worker_once()
    place(bob.id, limit("BTCUSDT", "sell", filled, "49000"))

    _amend(alice.id, order, price="49500", quantity="0.0300")
    run_worker_once()

    order = fresh(order)
    left = Decimal("0.0100") - Decimal(filled)
    assert (order.price, order.quantity - order.filled_quantity) == (49000, left)
    assert (order.amend_hold, order.amend_requested_at) == (0, None)
    assert alice.balances("USDT")["order_hold"] == order.hold_remaining


def test_an_amend_without_funds_changes_nothing(traders) -> None:
    alice, _ = traders
    [order] = place(alice.id, limit("BTCUSDT", "buy", "0.0100", "49000"))
    run_worker_once()
    before = alice.balances("USDT")

    assert isinstance(_amend(alice.id, order, quantity="3.0000"), InsufficientFundsError)

    assert alice.balances("USDT") == before
    assert fresh(order).amend_requested_at is None


def test_an_amend_of_nothing_or_of_what_cannot_be_amended_is_refused(traders) -> None:
    alice, bob = traders
    [order] = place(alice.id, limit("BTCUSDT", "buy", "0.0100", "49000"))
    [stop] = place(alice.id, _order("stop", "buy", "0.0100", stop_price="51000"))
    run_worker_once()

    assert isinstance(_amend(alice.id, order, price="49000"), errors.AmendEmptyError)
    assert isinstance(_amend(alice.id, stop, price="49500"), errors.PriceNotAllowedError)
    assert isinstance(_amend(bob.id, order, price="49500"), errors.OrderNotFoundError)
