"""Amends of orders that wait for their trigger, and amends that the engine refuses, down the whole road."""

from decimal import Decimal
from typing import Any

import pytest

from exchange.kernel.clock import utc_now
from marketdata.models import Instrument, InstrumentStatus
from matching_worker import shard
from risk.services.checks import BelowMinimumNotionalError, InsufficientFundsError, PriceOutsideBandError
from trading import audit, errors
from trading.models import Command, Order
from trading.services import mark_price, orders, trading_state
from trading.services.mark_price import MarkPrice
from trading.services.requests import AmendOrder, PlaceOrder, Submission
from trading.tests.road import fresh, limit, make_instrument, place, run_worker_once

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]


@pytest.fixture
def traders(customer):
    """Two traders on a market whose last trade was at 50,000."""
    make_instrument()
    alice, bob = customer("alice", USDT=10_000, BTC=2), customer("bob", USDT=100_000, BTC=2)
    place(bob.id, limit("BTCUSDT", "sell", "0.0010", "50000"))
    place(bob.id, limit("BTCUSDT", "buy", "0.0010", "50000"))
    run_worker_once()
    yield alice, bob
    assert [item for item in audit.invariants() if not item.ok] == []


def _order(kind: str, side: str, **fields: Any) -> PlaceOrder:
    words = {"trigger_by", "time_in_force", "post_only"}
    values: dict[str, Any] = {name: one if name in words else Decimal(one) for name, one in fields.items()}
    values.setdefault("time_in_force", "gtc" if kind.endswith("limit") else "ioc")
    return PlaceOrder("BTCUSDT", side, kind, values.pop("quantity", Decimal("0.0100")), **values)


def _amend(owner_id: int, order: Order, **changes: str) -> Any:
    request = AmendOrder(order.id, **{name: Decimal(value) for name, value in changes.items()})
    [result] = orders.submit([Submission(owner_id, request)], now=utc_now())
    return result


def _trade(bob: Any, price: str) -> None:
    place(bob.id, limit("BTCUSDT", "sell", "0.0010", price), limit("BTCUSDT", "buy", "0.0010", price))


def test_price_stop_price_and_quantity_of_a_stop_limit_change_while_it_waits(traders) -> None:
    alice, bob = traders
    [stop] = place(alice.id, _order("stop_limit", "buy", stop_price="51000", price="51100"))
    run_worker_once()

    assert _amend(alice.id, stop, stop_price="52000", price="52100", quantity="0.0200").id == stop.id
    run_worker_once()

    stop = fresh(stop)
    assert (stop.status, stop.price, stop.stop_price, stop.quantity) == (
        "untriggered",
        Decimal(52100),
        Decimal(52000),
        Decimal("0.0200"),
    )
    assert (stop.amend_requested_at, stop.amend_hold, stop.amend_refusal) == (None, 0, "")
    assert alice.balances("USDT")["order_hold"] == Decimal(1042) + Decimal("0.2084")
    _trade(bob, "51500")
    run_worker_once()
    assert fresh(stop).triggered_at is None
    _trade(bob, "52000")
    run_worker_once()
    assert (fresh(stop).status, fresh(stop).triggered_at is not None) == ("new", True)


def test_the_bound_and_the_hold_of_a_market_stop_follow_its_stop_price(traders) -> None:
    alice, bob = traders
    [stop] = place(alice.id, _order("stop", "buy", stop_price="51000"))
    run_worker_once()

    _amend(alice.id, stop, stop_price="52000")
    run_worker_once()

    stop = fresh(stop)  # 52,000 x 1.05 = 54,600: 546 and the fee 0.1092
    assert (stop.price, stop.stop_price, stop.worst_price) == (None, Decimal(52000), Decimal(54600))
    assert alice.balances("USDT")["order_hold"] == Decimal("546.1092")
    place(bob.id, limit("BTCUSDT", "sell", "0.0100", "54600"))
    _trade(bob, "52000")
    run_worker_once()
    assert (fresh(stop).status, fresh(stop).filled_notional) == ("filled", Decimal(546))
    assert alice.balances("USDT")["order_hold"] == 0


def test_a_lower_stop_price_gives_back_what_it_needs_no_more(traders) -> None:
    alice, _ = traders
    [stop] = place(alice.id, _order("take_profit", "buy", stop_price="49000"))
    run_worker_once()

    _amend(alice.id, stop, stop_price="48000", quantity="0.0050")
    run_worker_once()

    # 48,000 x 1.05 x 0.005 = 252, fee 0.0504
    assert alice.balances("USDT")["order_hold"] == Decimal("252.0504")


def test_another_quantity_alone_leaves_the_bound_where_it_was(traders) -> None:
    alice, _ = traders
    [stop] = place(alice.id, _order("stop", "buy", stop_price="51000"))
    run_worker_once()
    Instrument.objects.update(market_slippage_rate=Decimal("0.01"))
    Instrument.revision += 1

    _amend(alice.id, stop, quantity="0.0200")
    run_worker_once()

    assert (fresh(stop).worst_price, fresh(stop).quantity) == (Decimal(53550), Decimal("0.0200"))
    assert alice.balances("USDT")["order_hold"] == Decimal(1071) + Decimal("0.2142")


def test_a_trailing_stop_changes_its_quantity_and_follows_on(traders) -> None:
    alice, bob = traders
    [trailing] = place(alice.id, _order("trailing_stop", "sell", callback_rate="0.02"))
    _trade(bob, "52000")
    run_worker_once()

    _amend(alice.id, trailing, quantity="0.0040")
    run_worker_once()

    assert (fresh(trailing).status, fresh(trailing).quantity) == ("untriggered", Decimal("0.0040"))
    assert alice.balances("BTC")["order_hold"] == Decimal("0.0040")
    place(bob.id, limit("BTCUSDT", "buy", "0.0100", "50950"))
    place(bob.id, limit("BTCUSDT", "sell", "0.0010", "50950"))
    run_worker_once()
    assert (fresh(trailing).status, fresh(trailing).filled_quantity) == ("filled", Decimal("0.0040"))


def test_a_stop_price_that_the_market_has_passed_wakes_the_order(traders) -> None:
    alice, bob = traders
    place(bob.id, limit("BTCUSDT", "sell", "0.0100", "50100"))
    [stop] = place(alice.id, _order("stop", "buy", stop_price="51000"))
    run_worker_once()

    _amend(alice.id, stop, stop_price="50000")
    run_worker_once()

    assert (fresh(stop).status, fresh(stop).filled_notional) == ("filled", Decimal(501))
    assert fresh(stop).stop_price == Decimal(50000)
    assert alice.balances("USDT")["order_hold"] == 0


def test_an_order_that_watches_the_mark_price_goes_on_watching_it(traders) -> None:
    alice, bob = traders
    mark_price.publish([MarkPrice("BTCUSDT", Decimal(50000))], now=utc_now())
    [stop] = place(alice.id, _order("stop_limit", "sell", stop_price="49000", price="48000", trigger_by="mark"))

    _amend(alice.id, stop, stop_price="48500")
    _trade(bob, "48000")
    run_worker_once()
    assert (fresh(stop).status, fresh(stop).stop_price) == ("untriggered", Decimal(48500))

    mark_price.publish([MarkPrice("BTCUSDT", Decimal(48500))], now=utc_now())
    run_worker_once()
    assert fresh(stop).triggered_at is not None


def test_a_trigger_that_came_first_refuses_another_stop_price_and_gives_the_hold_back(traders) -> None:
    alice, bob = traders
    [stop] = place(alice.id, _order("stop_limit", "buy", stop_price="51000", price="51100"))
    run_worker_once()
    _trade(bob, "51000")

    _amend(alice.id, stop, stop_price="52000", price="52100")
    run_worker_once()

    stop = fresh(stop)
    assert (stop.status, stop.price, stop.stop_price) == ("new", Decimal(51100), Decimal(51000))
    assert (stop.amend_refusal, stop.amend_hold) == ("BAD_TRIGGER", 0)
    assert alice.balances("USDT")["order_hold"] == stop.hold_remaining == Decimal(511) + Decimal("0.1022")
    assert isinstance(_amend(alice.id, stop, stop_price="52000"), errors.OrderTriggeredError)
    assert _amend(alice.id, stop, price="51200").id == stop.id
    run_worker_once()
    assert (fresh(stop).price, fresh(stop).amend_refusal) == (Decimal(51200), "")


@pytest.mark.parametrize(
    ("request_", "changes", "refusal"),
    [
        (_order("stop", "buy", stop_price="51000"), {"price": "51000"}, errors.PriceNotAllowedError),
        (_order("trailing_stop", "sell", callback_rate="0.02"), {"price": "51000"}, errors.PriceNotAllowedError),
        (
            _order("trailing_stop", "sell", callback_rate="0.02"),
            {"stop_price": "49000"},
            errors.StopPriceNotAllowedError,
        ),
        (_order("limit", "buy", price="49000"), {"stop_price": "51000"}, errors.StopPriceNotAllowedError),
        (_order("stop", "buy", stop_price="51000"), {"stop_price": "51000"}, errors.AmendEmptyError),
        (_order("stop", "buy", stop_price="51000"), {"quantity": "0.0100"}, errors.AmendEmptyError),
        (_order("stop", "buy", stop_price="51000"), {}, errors.AmendEmptyError),
        (_order("stop", "buy", stop_price="51000"), {"quantity": "1.0000"}, InsufficientFundsError),
        (_order("stop", "sell", stop_price="49000"), {"stop_price": "9.99"}, BelowMinimumNotionalError),
        (
            _order("stop_limit", "buy", stop_price="51000", price="51000"),
            {"stop_price": "70000"},
            PriceOutsideBandError,
        ),
        (
            _order("limit", "sell", price="51000", quantity="1", display_quantity="0.0010"),
            {"quantity": "1.0001"},
            errors.DisplayQuantityError,
        ),
    ],
    ids=str,
)
def test_what_an_order_cannot_become_is_refused_and_changes_nothing(
    traders, request_: PlaceOrder, changes: dict[str, str], refusal: type[Exception]
) -> None:
    alice, _ = traders
    [order] = place(alice.id, request_)
    run_worker_once()
    before, row, commands = alice.balances("USDT"), fresh(order), Command.objects.count()

    assert isinstance(_amend(alice.id, order, **changes), refusal)

    after = fresh(order)
    assert {field.name: getattr(after, field.name) for field in Order._meta.concrete_fields} == {
        field.name: getattr(row, field.name) for field in Order._meta.concrete_fields
    }
    assert (alice.balances("USDT"), Command.objects.count()) == (before, commands)


def test_a_post_only_amend_that_would_trade_is_refused_with_its_reason(traders) -> None:
    alice, bob = traders
    place(bob.id, limit("BTCUSDT", "sell", "0.0100", "50000"))
    [order] = place(alice.id, _order("limit", "buy", price="49000", post_only=True))
    run_worker_once()

    _amend(alice.id, order, price="50000")
    run_worker_once()

    assert (fresh(order).amend_refusal, fresh(order).price) == ("POST_ONLY_WOULD_TAKE", Decimal(49000))
    assert alice.balances("USDT")["order_hold"] == Decimal("490.098")


def test_an_order_that_the_engine_rejects_gives_back_what_an_amend_behind_it_holds(
    traders, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = traders
    monkeypatch.setattr(shard, "SETTLE_MAX", 1)  # the order and its amend in settlements of their own
    place(bob.id, limit("BTCUSDT", "sell", "0.0100", "50000"))
    before = alice.balances("USDT")
    [order] = place(alice.id, _order("limit", "buy", price="50000", post_only=True))
    _amend(alice.id, order, quantity="0.0300")

    run_worker_once()

    order = fresh(order)
    assert (order.status, order.reason, order.amend_refusal) == ("rejected", "POST_ONLY_WOULD_TAKE", "UNKNOWN_ORDER")
    assert (order.hold_remaining, order.amend_hold, order.amend_requested_at) == (0, 0, None)
    assert alice.balances("USDT") == before


def test_an_amend_on_its_way_when_the_halt_comes_is_refused_with_its_reason(traders) -> None:
    alice, _ = traders
    [order] = place(alice.id, _order("stop", "buy", stop_price="51000"))
    trading_state.change("BTCUSDT", InstrumentStatus.HALTED, now=utc_now())
    Instrument.objects.update(status="TRADING")  # as a web process sees it that has not heard of the halt yet
    Instrument.revision += 1

    _amend(alice.id, order, stop_price="52000")
    run_worker_once()

    assert (fresh(order).amend_refusal, fresh(order).stop_price) == ("NOT_TRADING", Decimal(51000))
