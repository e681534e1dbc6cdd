"""The short way to an order takes what the serializer takes, with the same outcome, and nothing else."""

from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework.serializers import ValidationError

from exchange.kernel.errors import DomainError
from marketdata.tests import factories
from trading import plain_orders
from trading.models import OrderType, SelfTradePrevention, Side, TimeInForce, TriggerBy
from trading.serializers import BATCH_ORDERS_MAX, OrderBatchRequest, OrderRequest

ODD: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    5,
    10**18,
    10**18 + 1,
    0.5,
    "",
    " ",
    "0",
    "0.0",
    "-1",
    "+1",
    "1e3",
    "1.",
    ".5",
    "٣",
]
ODD += ["1\n", "NaN", "buy\n", "BUY", "x" * 25, "a\x00b", "é", [], {}, ["buy"], "2026-01-01T00:00:00Z"]
GOOD: dict[str, list[Any]] = {
    "symbol": ["BTCUSDT", "NOWHERE"],
    "side": Side.values,
    "type": OrderType.values,
    "quantity": ["1", "0.5", "0.123456789012345678", 3],
    "quote_quantity": ["100", "100.001"],
    "price": ["100", "0.01", "100.001", 7],
    "stop_price": ["90"],
    "trigger_by": TriggerBy.values,
    "time_in_force": TimeInForce.values,
    "expires_at": ["2099-01-01T00:00:00Z"],
    "post_only": [True, False],
    "display_quantity": ["0.1"],
    "callback_rate": ["0.01"],
    "activation_price": ["95"],
    "reduce_only": [True, False],
    "close_position": [True, False],
    "self_trade_prevention": SelfTradePrevention.values,
    "client_order_id": ["a", "A.b:c_1-2", "x" * 64, "x" * 65],
    "unheard": ["of"],
}
NEEDED = {name: st.sampled_from(GOOD[name]) for name in ("symbol", "side", "type", "quantity")}
ORDERS = st.fixed_dictionaries(
    NEEDED, optional={name: st.sampled_from(GOOD[name]) for name in GOOD if name not in NEEDED}
)
SPOILED = st.tuples(ORDERS, st.sampled_from(sorted(GOOD)), st.sampled_from([*ODD, "nothing at all"]))


def _outcome(data: Any) -> Any:
    """Return what reading an order comes to: the order, or the refusal."""
    try:
        return OrderRequest.read(data)
    except DomainError as error:
        return error
    except ValidationError as error:
        return error.detail


def _by_serializer(data: Any) -> Any:
    """Return what it comes to without the short way."""
    with patch.object(plain_orders, "read", return_value=None):
        return _outcome(data)


@pytest.fixture(autouse=True)
def _market(monkeypatch, db) -> None:
    """Trade one market, under one trace."""
    factories.bitcoin()
    monkeypatch.setattr(plain_orders, "current_trace", lambda: "0" * 24)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=ORDERS)
def test_an_order_of_good_words_is_the_serializers(order) -> None:
    assert _outcome(order) == _by_serializer(order)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spoiled=SPOILED)
def test_an_order_with_an_odd_word_comes_to_what_the_serializer_says(spoiled) -> None:
    order, name, value = spoiled
    changed = {key: kept for key, kept in order.items() if key != name}
    if value != "nothing at all":
        changed[name] = value

    assert _outcome(changed) == _by_serializer(changed)


@pytest.mark.parametrize("data", [None, [], "BTCUSDT", 7])
def test_what_is_no_object_is_left_to_the_serializer(data) -> None:
    assert plain_orders.read(data) is None


def test_an_ordinary_order_goes_the_short_way() -> None:
    order = {"symbol": "BTCUSDT", "side": "buy", "type": "limit", "quantity": "1", "price": "100"}

    assert plain_orders.read(order) is not None


BATCHES: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([None, [], "orders", 7, {}, {"orders": None}, {"orders": {}}, {"orders": [1], "x": 1}, {"x": [1]}]),
    st.lists(st.sampled_from([None, {}, 1, "text", [1], {"symbol": "BTCUSDT"}]), max_size=BATCH_ORDERS_MAX + 1).map(
        lambda orders: {"orders": orders}
    ),
    st.just({"orders": [None] * BATCH_ORDERS_MAX}),
    st.just({"orders": [None] * (BATCH_ORDERS_MAX + 1)}),
)


@given(data=BATCHES)
def test_a_batch_is_read_as_its_form_reads_it(data) -> None:
    form = OrderBatchRequest(data=data)
    if form.is_valid():
        assert OrderBatchRequest.read(data) == form.validated_data["orders"]
    else:
        with pytest.raises(ValidationError) as refused:
            OrderBatchRequest.read(data)
        assert refused.value.detail == form.errors
