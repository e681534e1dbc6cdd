"""The way in of orders: what one batch decides over, beside the whole roads in exchange/tests/test_flow_spot.py."""

import pytest

from marketdata.selectors import UnknownInstrumentError
from risk.services import limits
from trading.models import Order
from trading.tests.road import limit, make_instrument, place

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]


def test_an_instrument_made_while_a_batch_is_read_is_unknown_to_that_batch_only(
    customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_instrument()
    alice = customer("alice", USDT=1000)
    load = limits.load_statement

    def late(owners: list[int]) -> object:
        make_instrument("BTCUSDT2")
        return load(owners)

    monkeypatch.setattr(limits, "load_statement", late)
    wanted = [limit("BTCUSDT", "buy", "0.0010", "50000.00"), limit("BTCUSDT2", "buy", "0.0010", "50000.00")]
    known, unknown = place(alice.id, *wanted)
    monkeypatch.undo()
    [after] = place(alice.id, wanted[1])

    assert isinstance(known, Order)
    assert unknown == UnknownInstrumentError(symbol="BTCUSDT2")
    assert isinstance(after, Order)
