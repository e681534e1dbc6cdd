"""Mark prices down the whole road: stored, told to the engine, and watched by the orders that say so."""

from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from exchange.kernel.clock import utc_now
from marketdata import selectors
from marketdata.models import InstrumentState
from marketdata.selectors import UnknownInstrumentError
from marketdata.units import NotPositiveError, PriceOffTickError
from matching_worker import protocol
from trading import audit, errors
from trading.models import Command
from trading.services import command_log, mark_price
from trading.services.mark_price import MarkPrice
from trading.services.requests import PlaceOrder
from trading.tests.road import fresh, limit, make_asset, make_instrument, place, run_worker_once

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]


@pytest.fixture
def traders(customer):
    """Two traders on a market whose last trade was at 50,000, with bids down to 45,000 and asks up to 55,000."""
    make_instrument()
    alice, bob = customer("alice", USDT=10_000, BTC=2), customer("bob", USDT=100_000, BTC=2)
    place(bob.id, limit("BTCUSDT", "sell", "0.0010", "50000"))
    place(alice.id, limit("BTCUSDT", "buy", "0.0010", "50000"))
    for side, prices in (("sell", ("50100", "51000", "55000")), ("buy", ("49900", "49000", "45000"))):
        place(bob.id, *(limit("BTCUSDT", side, "0.0100", price) for price in prices))
    run_worker_once()
    yield alice, bob
    assert [item for item in audit.invariants() if not item.ok] == []


def _mark(price: str) -> None:
    [result] = mark_price.publish([MarkPrice("BTCUSDT", Decimal(price))], now=utc_now())
    assert result == selectors.instrument("BTCUSDT")


def _waiting(kind: str, side: str, **fields: Any) -> PlaceOrder:
    decimals = {"price", "stop_price", "callback_rate", "activation_price"}
    values: dict[str, Any] = {name: Decimal(one) if name in decimals else one for name, one in fields.items()}
    values.setdefault("time_in_force", "gtc" if kind.endswith("limit") else "ioc")
    return PlaceOrder("BTCUSDT", side, kind, Decimal("0.0100"), trigger_by="mark", **values)


WAITING = [
    (_waiting("stop", "sell", stop_price="49000"), "49000.01", "49000"),
    (_waiting("stop", "buy", stop_price="51000"), "50999.99", "51000"),
    (_waiting("stop_limit", "sell", stop_price="49000", price="48000"), "49000.01", "49000"),
    (_waiting("take_profit", "sell", stop_price="51000"), "50999.99", "51000"),
    (_waiting("take_profit_limit", "buy", stop_price="49000", price="50100"), "49000.01", "49000"),
    (_waiting("trailing_stop", "sell", callback_rate="0.02"), "49000.01", "49000"),
]


@pytest.mark.parametrize(("request_", "before", "at"), WAITING, ids=[row[0].type + row[0].side for row in WAITING])
def test_an_order_that_watches_the_mark_price_wakes_by_it_and_by_nothing_else(
    traders, request_: PlaceOrder, before: str, at: str
) -> None:
    alice, bob = traders
    _mark("50000")
    [order] = place(alice.id, request_)
    place(bob.id, limit("BTCUSDT", "sell", "0.0100", "49900"))  # the last trade is 49,900 now
    place(bob.id, limit("BTCUSDT", "sell", "0.0100", "49000"), limit("BTCUSDT", "buy", "0.0200", "51000"))
    _mark(before)
    run_worker_once()
    assert (order.trigger_by, fresh(order).status) == ("mark", "untriggered")

    _mark(at)
    run_worker_once()

    assert fresh(order).triggered_at is not None


def test_an_order_that_watches_the_last_price_does_not_see_the_mark(traders) -> None:
    alice, _ = traders
    _mark("50000")
    [order] = place(
        alice.id, PlaceOrder("BTCUSDT", "sell", "stop", Decimal("0.01"), None, "ioc", stop_price=Decimal(49000))
    )

    _mark("40000")
    run_worker_once()

    assert (fresh(order).trigger_by, fresh(order).status) == ("last", "untriggered")


def test_an_order_already_through_the_mark_wakes_at_once(traders) -> None:
    alice, _ = traders
    _mark("48000")

    [order] = place(alice.id, _waiting("stop", "sell", stop_price="49000"))
    run_worker_once()

    assert fresh(order).triggered_at is not None


def test_a_trailing_buy_by_mark_holds_for_what_follows_from_the_mark(traders) -> None:
    alice, _ = traders
    before = alice.balances("USDT")["available"]
    _mark("48000")

    place(alice.id, _waiting("trailing_stop", "buy", callback_rate="0.01"))

    # 48,000 x 1.01 x 1.05 = 50,904: 0.01 of it and the fee
    assert alice.balances("USDT")["available"] == before - Decimal("509.04") - Decimal("0.101808")


def test_without_any_mark_price_an_order_that_watches_it_is_refused(traders) -> None:
    alice, _ = traders
    before, commands = alice.balances("BTC"), Command.objects.count()

    [refusal] = place(alice.id, _waiting("stop", "sell", stop_price="49000"))

    assert isinstance(refusal, errors.MarkPriceUnknownError)
    assert (refusal.code, refusal.data["field"]) == (3023, "trigger_by")
    assert (alice.balances("BTC"), Command.objects.count()) == (before, commands)


@pytest.mark.parametrize("kind", ["limit", "market"])
@pytest.mark.parametrize("word", ["last", "mark"])
def test_an_order_that_waits_for_nothing_watches_nothing(traders, kind: str, word: str) -> None:
    alice, _ = traders
    price = Decimal(50000) if kind == "limit" else None

    [refusal] = place(alice.id, PlaceOrder("BTCUSDT", "sell", kind, Decimal("0.01"), price, "ioc", trigger_by=word))

    assert isinstance(refusal, errors.TriggerByNotAllowedError)


def test_a_batch_is_one_statement_and_one_append_and_a_refused_price_stops_no_other(
    traders, django_assert_num_queries
) -> None:
    make_instrument("ETHUSDT", base=make_asset("ETH", 8), reference_price=Decimal(3000))
    selectors.instruments()
    now = utc_now()
    head = command_log.stream_head(0)[1]

    with django_assert_num_queries(5):  # the savepoint of this test's transaction, the prices, the log, the events
        results = mark_price.publish(
            [
                MarkPrice("BTCUSDT", Decimal(50010)),
                MarkPrice("NONE", Decimal(1)),
                MarkPrice("ETHUSDT", Decimal("3000.005")),
                MarkPrice("ETHUSDT", Decimal(0)),
                MarkPrice("ETHUSDT", Decimal(3010)),
                MarkPrice("BTCUSDT", Decimal(50020)),
            ],
            now=now,
        )

    refused = [type(results[number]) for number in (1, 2, 3)]
    assert refused == [UnknownInstrumentError, PriceOffTickError, NotPositiveError]
    bitcoin, ether = selectors.instrument("BTCUSDT"), selectors.instrument("ETHUSDT")
    assert [results[number] for number in (0, 4, 5)] == [bitcoin, ether, bitcoin]
    commands, _ = command_log.read(0, head, 10)
    assert commands["kind"].tolist() == [protocol.CommandKind.MARK_PRICE] * 3
    assert commands["price_ticks"].tolist() == [5_001_000, 301_000, 5_002_000]
    states = selectors.states([bitcoin.id, ether.id])
    assert [(state.mark_price, state.marked_at) for state in states.values()] == [
        (Decimal(50020), now),
        (Decimal(3010), now),
    ]
    assert states[bitcoin.id].last_price == 50000
    run_worker_once()


def test_only_refused_prices_write_nothing(traders, django_assert_num_queries) -> None:
    with django_assert_num_queries(0):
        [refusal] = mark_price.publish([MarkPrice("NONE", Decimal(1))], now=utc_now())

    assert isinstance(refusal, UnknownInstrumentError)


def test_the_audit_names_a_stored_mark_price_that_is_not_the_logs(traders) -> None:
    _mark("50010")
    InstrumentState.objects.update(mark_price=Decimal(50011))

    broken = [item for item in audit.invariants() if not item.ok]

    assert len(broken) == 1
    assert "mark price" in broken[0].detail
    InstrumentState.objects.update(mark_price=Decimal(50010))


@pytest.fixture
def _servers_run(settings) -> None:
    """Let commands use the servers that run, as they would in production."""
    settings.EMBEDDED_POSTGRES = settings.EMBEDDED_REDIS = False


@pytest.mark.usefixtures("_servers_run")
def test_an_operator_sets_it_by_command(traders) -> None:
    out = StringIO()

    call_command("set_mark_price", "BTCUSDT", "50010.5", stdout=out)

    assert out.getvalue() == "BTCUSDT: mark price 50010.5\n"
    assert InstrumentState.objects.get().mark_price == Decimal("50010.5")


@pytest.mark.parametrize(
    ("symbol", "price"), [("NONE", "1"), ("BTCUSDT", "50010.001"), ("BTCUSDT", "-1"), ("BTCUSDT", "x")]
)
@pytest.mark.usefixtures("_servers_run")
def test_a_price_that_cannot_be_is_told_to_the_operator(traders, symbol: str, price: str) -> None:
    before = Command.objects.count()

    with pytest.raises(CommandError):
        call_command("set_mark_price", "--", symbol, price)

    assert Command.objects.count() == before
