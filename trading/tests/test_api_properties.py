"""Whatever a client sends as an order, the answer is an order or a refusal, and a refusal leaves no trace."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exchange.api.tests.fixtures import Api
from trading.tests.road import make_instrument
from trading.tests.test_api_bad_input import GOOD, contents

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
AMOUNTS = (
    st.decimals(allow_nan=True, allow_infinity=True).map(str)
    | st.decimals(min_value=0, max_value=100_000, places=4).map(lambda amount: format(amount, "f"))
    | st.from_regex(r"[-+0-9.eE_, ]{0,45}", fullmatch=True)
)
WORDS = ("time_in_force", "client_order_id", "stop_price", "quote_quantity", "trigger_by", "reduce_only", "user_id")
FIELDS = st.sampled_from([*GOOD, *WORDS])
CHANGES = st.dictionaries(FIELDS, ANYTHING | AMOUNTS, min_size=1, max_size=3)


@pytest.fixture
def trader(api: Api, customer: Any, settings: Any) -> Api:
    settings.REQUESTS_PER_SECOND_AND_IP = 100_000
    make_instrument()
    return api.as_user(customer("alice", USDT=1000).user)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(changes=CHANGES)
def test_an_order_of_any_form_is_placed_or_refused_without_a_trace(trader: Api, changes: dict[str, Any]) -> None:
    before = contents()

    answer = trader.post("/orders", {**GOOD, **changes})

    if answer.status in {200, 201}:
        assert answer.data["status"] == "new"
    elif answer.error == "INSUFFICIENT_FUNDS":
        assert {**contents(), "orders": 0, "outbox": 0, "private_events": 0, "order_keys": 0} == {
            **before,
            "orders": 0,
            "outbox": 0,
            "private_events": 0,
            "order_keys": 0,
            "risk_traderprofile": contents()["risk_traderprofile"],
        }
    else:
        assert 400 <= answer.status < 500
        assert contents() == before


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(body=st.binary(max_size=200) | ANYTHING.map(lambda value: repr(value).encode("utf-8", "surrogatepass")))
def test_a_body_of_any_bytes_is_refused_without_a_trace(trader: Api, body: bytes) -> None:
    before = contents()

    answer = trader.send("POST", "/orders", raw=body)

    assert answer.status == 400
    assert contents() == before
