"""A batch leaves no reference cycles: what it made is freed at its end, and a search for cycles finds nothing of it."""

import gc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError
from trading.models import Trade
from trading.services import orders
from trading.tests.contracts import SYMBOL, make_contract
from trading.tests.road import limit, make_instrument, place, worker

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]

OF_A_BATCH = {"Order", "OrderState", "EntryDraft", "TradeFact", "PositionState", "Part", "CommandRow", "Submission"}


@pytest.fixture
def unsearched() -> Iterator[None]:
    """Let nothing that is in a cycle be freed meanwhile."""
    gc.collect()
    gc.disable()
    yield
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


def left_behind() -> Counter[str]:
    """Return what was in cycles that nobody refers to, as far as a batch makes such things."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    return Counter(name for one in gc.garbage if (name := type(one).__name__) in OF_A_BATCH)


@pytest.mark.usefixtures("unsearched")
@pytest.mark.parametrize(("symbol", "quantity", "price"), [("BTCUSDT", "0.0100", "50000.00"), (SYMBOL, "10", "100")])
def test_admission_and_settlement_leave_no_cycle(
    customer: Any, tmp_path: Path, symbol: str, quantity: str, price: str
) -> None:
    make_instrument()
    make_contract()
    alice, bob = customer("alice", USDT=1_000_000), customer("bob", USDT=1_000_000, BTC=1)
    with worker(tmp_path) as shard:
        [bid] = [order.id for order in place(alice.id, limit(symbol, "buy", quantity, price))]
        assert len(place(bob.id, limit(symbol, "sell", quantity, price))) == 1
        shard.step(now=utc_now())

        # Refused, since it is filled, unknown or too much: a refusal is a result, and keeps no traceback.
        assert isinstance(orders.cancel(alice.id, [bid], now=utc_now())[0], DomainError)
        refused = place(alice.id, limit("NOSUCH", "buy", "1", "1"), limit(symbol, "buy", "1000000", price))
        assert all(isinstance(result, DomainError) for result in refused)
        del refused
    del shard

    assert Trade.objects.count() == 1
    assert left_behind() == Counter()
