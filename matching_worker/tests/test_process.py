import re
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from prometheus_client import generate_latest

from exchange.kernel.clock import utc_now
from exchange.observability.metrics import REGISTRY
from ledger.services import accounts, transfers
from marketdata import books, feed
from marketdata.models import InstrumentStatus
from matching_worker import protocol
from matching_worker.engine import Engine
from matching_worker.outlet import CALL_DTYPE, Matched
from matching_worker.process import _count, _marks
from matching_worker.protocol import CommandKind, Rows
from matching_worker.tests.failing_worker import WORK
from trading import audit
from trading.models import Order, Trade
from trading.services import trading_state
from trading.services.requests import PlaceOrder
from trading.tests.processes import Scratch, scratch_database
from trading.tests.road import make_instrument, place

pytestmark = pytest.mark.django_db


@pytest.fixture(name="_django_db_helper")
def _no_transaction_around(django_db_setup) -> None:
    """Wrap nothing around the tests of this module: each has a database of its own, and really commits."""


@pytest.fixture
def scratch(django_db_setup, django_db_blocker, tmp_path: Path) -> Iterator[Scratch]:
    with django_db_blocker.unblock(), scratch_database(tmp_path) as made:
        yield made


def _trader(name: str) -> int:
    user = get_user_model().objects.create_user(name)
    accounts.open_gates([user.pk])
    now = utc_now()
    amounts = (("USDT", 1_000_000), ("BTC", 10))
    transfers.deposit(
        [transfers.Deposit(user.pk, asset, Decimal(amount), f"{name}:{asset}", "test") for asset, amount in amounts],
        now,
    )
    return user.pk


@pytest.mark.parametrize("stage", WORK)
def test_a_stage_that_fails_ends_the_process_and_the_next_worker_does_what_was_left(
    scratch: Scratch, stage: str
) -> None:
    make_instrument()
    alice, bob = _trader("alice"), _trader("bob")
    [sell] = place(alice, PlaceOrder("BTCUSDT", "sell", "limit", Decimal("0.0010"), Decimal(50_000)))

    failing = scratch.start_worker("-m", "matching_worker.tests.failing_worker", stage)
    [buy] = place(bob, PlaceOrder("BTCUSDT", "buy", "limit", Decimal("0.0010"), Decimal(50_000)))
    code = failing.wait(timeout=120)

    log = re.sub(r"\x1b\[[0-9;]*m", "", (scratch.folder / "worker.log").read_text())
    assert code == 1, log
    [said] = [line for line in log.splitlines() if "worker_thread_failed" in line]
    assert f"thread={stage}" in said

    scratch.start_worker("manage.py", "run_matching_worker", "--http-port", "0", "--cores", "match=0")
    scratch.wait_settled()

    assert [item for item in audit.invariants() if not item.ok] == []
    assert set(Order.objects.filter(id__in=[sell.id, buy.id]).values_list("status", flat=True)) == {"filled"}


def _until(condition: Callable[[], Any]) -> Any:
    """Wait for something that another process does; return what came."""
    deadline = time.monotonic() + 180
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def test_after_a_kill_and_an_emptied_redis_state_and_price_of_an_auction_are_told_again(scratch: Scratch) -> None:
    make_instrument()
    alice, bob = _trader("alice"), _trader("bob")
    worker = scratch.start_worker()
    trading_state.change("BTCUSDT", InstrumentStatus.AUCTION, now=utc_now())
    place(alice, PlaceOrder("BTCUSDT", "buy", "limit", Decimal("0.0030"), Decimal(50_100)))
    place(bob, PlaceOrder("BTCUSDT", "sell", "limit", Decimal("0.0010"), Decimal(49_900)))

    def told() -> dict[str, Any] | None:
        kept = books.latest_message("auction.BTCUSDT")
        return kept if kept and kept["price"] else None

    before = _until(told)
    worker.kill()
    worker.wait()
    redis.Redis.from_url(settings.REDIS_URL).delete(
        feed.latest_key("auction.BTCUSDT"), feed.latest_key("ticker.BTCUSDT"), feed.book_key("BTCUSDT")
    )
    scratch.start_worker()

    assert _until(told) == before
    assert (before["state"], before["quantity"], before["imbalance"]) == ("auction", "0.001", "0.002")
    ticker = books.latest_message("ticker.BTCUSDT")
    assert ticker is not None
    assert ticker["state"] == "auction"
    trading_state.change("BTCUSDT", InstrumentStatus.TRADING, now=utc_now())
    after = _until(lambda: not told() and books.latest_message("auction.BTCUSDT"))
    assert (after["state"], after["price"]) == ("continuous", None)
    scratch.wait_settled()
    assert Trade.objects.get().price == Decimal(before["price"])


def _matched(commands: Rows) -> Matched:
    return Matched(commands, Engine(0, 0).apply(commands), np.zeros(0, CALL_DTYPE))


def test_a_worker_refuses_processors_for_a_stage_that_does_not_exist() -> None:
    with pytest.raises(CommandError, match="no stage 'matching'"):
        call_command("run_matching_worker", cores="matching=1")


def test_of_the_prices_and_trade_numbers_of_a_batch_those_that_the_engine_took_are_published() -> None:
    kinds = [CommandKind.MARK_PRICE, CommandKind.LAST_PRICE, CommandKind.MARK_PRICE, CommandKind.TRADE_NUMBER]
    commands = protocol.encode(
        kind=[*map(int, kinds)], instrument_id=1, order_id=0, price_ticks=[5, 6, 0, 0], sequence=[1, 2, 3, 4]
    )
    plain = protocol.encode(kind=int(CommandKind.TIME), instrument_id=0, order_id=0, timestamp_ns=1, sequence=1)

    marks = _marks(_matched(commands))

    assert marks is not None
    assert marks["sequence"].tolist() == [1, 2, 4]
    assert _marks(_matched(plain)) is None


@pytest.mark.parametrize(
    "commands",
    [
        protocol.encode(kind=int(CommandKind.TIME), instrument_id=0, order_id=0, timestamp_ns=1, sequence=1),
        protocol.encode(kind=int(CommandKind.PLACE), instrument_id=65_000, order_id=1, trader_id=1, sequence=1),
    ],
    ids=["for all instruments", "for an unknown one"],
)
def test_a_command_of_no_instrument_is_counted_for_none_and_stops_nothing(scratch: Scratch, commands: Rows) -> None:
    before = generate_latest(REGISTRY)

    _count(_matched(commands))

    after = generate_latest(REGISTRY)
    assert [line for line in after.splitlines() if line.startswith(b"exchange_orders")] == [
        line for line in before.splitlines() if line.startswith(b"exchange_orders")
    ]
