"""Order books as domain events: once a settlement, what now stands at each price that it touched."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from exchange.kernel.clock import utc_now
from trading.models import Outbox
from trading.services import cancel_all
from trading.tests.road import limit, make_instrument, market, place, require_told_books, told_book, worker

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]


@pytest.fixture
def traders(customer: Callable[..., Any]) -> tuple[int, int]:
    make_instrument()
    return customer("alice", USDT=1_000_000, BTC=10).id, customer("bob", USDT=1_000_000, BTC=10).id


def told() -> list[dict[str, Any]]:
    return list(Outbox.objects.filter(type="OrderBookUpdated").order_by("id").values_list("payload", flat=True))


def test_one_event_tells_what_a_whole_settlement_left_at_each_price(traders, tmp_path: Path) -> None:
    alice, bob = traders
    with worker(tmp_path) as shard:
        place(alice, limit("BTCUSDT", "buy", "0.3", "49000"), limit("BTCUSDT", "buy", "0.2", "49000"))
        place(alice, limit("BTCUSDT", "buy", "0.1", "48999.5"))
        shard.step(now=utc_now())
        _, last = place(bob, market("BTCUSDT", "sell", "0.5"), limit("BTCUSDT", "sell", "0.4", "50500"))
        shard.step(now=utc_now())

        first, second = told()
        assert (first["symbol"], first["sequence"]) == ("BTCUSDT", 3)
        assert (first["bids"], first["asks"]) == ([["48999.5", "0.1"], ["49000", "0.5"]], [])
        assert (second["bids"], second["asks"]) == ([["49000", "0"]], [["50500", "0.4"]])
        assert (second["sequence"], second["trace"]) == (5, last.trace)
        require_told_books(shard.engine)


def test_what_is_hidden_is_not_told(traders, tmp_path: Path) -> None:
    alice, _ = traders
    with worker(tmp_path) as shard:
        place(alice, limit("BTCUSDT", "sell", "2", "51000", display_quantity=Decimal("0.5")))
        shard.step(now=utc_now())

    assert told_book("BTCUSDT") == [{}, {Decimal(51000): Decimal("0.5")}]


def test_a_settlement_that_changes_no_book_tells_nothing(traders, tmp_path: Path) -> None:
    alice, _ = traders
    with worker(tmp_path) as shard:
        place(alice, market("BTCUSDT", "buy", "0.1"))
        shard.step(now=utc_now())
        assert told() == []

        place(alice, limit("BTCUSDT", "buy", "0.1", "49000"))
        shard.step(now=utc_now())
        cancel_all.of_trader(alice, now=utc_now())
        shard.step(now=utc_now())

        assert [payload["bids"] for payload in told()] == [[["49000", "0.1"]], [["49000", "0"]]]
        assert told_book("BTCUSDT") == [{}, {}]
