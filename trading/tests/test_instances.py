"""Orders that are made at once are what Django would have made."""

from decimal import Decimal

from exchange.kernel.clock import utc_now
from trading.models import Order
from trading.services.orders import ORDER_COLUMNS
from trading.tests.road import limit, make_instrument, place

VALUES = {"id": 7, "user_id": 3, "symbol": "BTCUSDT", "side": "buy", "price": Decimal("1.5"), "created_at": utc_now()}


def test_orders_that_have_something_in_common_are_apart_in_the_rest() -> None:
    common = Order.common(**{name: value for name, value in VALUES.items() if name != "id"})

    one, other = Order.like(common), Order.like(common)
    one.id = 7

    assert {**vars(one), "_state": None} == {**vars(Order(**VALUES)), "_state": None}
    assert (vars(other)["id"], other.symbol, one._state is other._state) == (None, "BTCUSDT", False)
    assert (one._state.adding, one._state.db) == (True, None)


def test_a_row_becomes_what_django_reads_of_it(customer) -> None:
    make_instrument()
    [order] = place(customer("alice", USDT=1000).id, limit("BTCUSDT", "buy", "0.01", "50000"))
    values = Order.objects.values_list(*ORDER_COLUMNS).get(id=order.id)

    made, read = Order.from_db("default", ORDER_COLUMNS, values), Order.objects.get(id=order.id)

    usual = Order(*values)
    assert {**vars(made), "_state": None} == {**vars(read), "_state": None} == {**vars(usual), "_state": None}
    assert (read._state.adding, read._state.db) == (False, "default")


def test_an_order_read_in_part_asks_for_the_rest(customer, django_assert_num_queries) -> None:
    make_instrument()
    [order] = place(customer("alice", USDT=1000).id, limit("BTCUSDT", "buy", "0.01", "50000"))
    found = Order.objects.only("id", "symbol").get(id=order.id)

    with django_assert_num_queries(1):
        assert found.side == "buy"
