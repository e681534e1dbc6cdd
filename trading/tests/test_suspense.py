"""What the books refuse goes to suspense: the rest is settled, people are told, and the way back is exact."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils.translation import override
from psycopg import errors
from structlog.testing import capture_logs

from exchange import database
from exchange.kernel.clock import utc_now
from ledger.models import Account, JournalEntry
from ledger.reconciliation.models import Break
from ledger.tests.reconciling import damage, look
from ledger.transfers import profiles, stops
from ledger.transfers.models import AccountProfile, Notice
from marketdata.models import Instrument
from risk.services.checks import AccountFrozenError, InstrumentNotTradingError
from trading.models import Command, SuspendedEntry, Trade
from trading.services import cancel_all, orders, suspense
from trading.tests.processes import Scratch
from trading.tests.road import fresh, limit, make_asset, make_instrument, market, place, worker
from trading.tests.suspending import broken, drain, refuse_the_first, suspended, two_buyers_and_two_sellers

pytestmark = pytest.mark.django_db


@pytest.fixture(name="_django_db_helper")
def _no_transaction_around(django_db_setup) -> None:
    """Wrap nothing around the tests of this module: a refusal undoes a real transaction."""


@pytest.fixture(autouse=True)
def _database_of_its_own(scratch) -> None:
    """Each test has a database of its own, and really commits."""


@pytest.fixture
def people(customer) -> dict[str, Any]:
    """A market, two buyers and two sellers."""
    return two_buyers_and_two_sellers(customer)


@pytest.fixture
def refused(people, tmp_path: Path) -> tuple[dict[str, Any], str]:
    """Two trades in one batch, of which the books refuse the first: alice's hold is gone."""
    return people, refuse_the_first(people, tmp_path)


def test_the_others_are_settled_and_the_refused_match_stands_in_suspense(refused) -> None:
    people, _ = refused
    alice, bob, carol, dave = (people[name] for name in ("alice", "bob", "carol", "dave"))

    [first, second] = Trade.objects.order_by("number")
    assert (first.buyer_id, first.seller_id, second.buyer_id, second.seller_id) == (alice.id, bob.id, carol.id, dave.id)
    assert list(JournalEntry.objects.filter(kind="SPOT_FILL").values_list("key", flat=True)) == [f"trade:{second.id}"]
    assert carol.balances("BTC") == {"available": Decimal("0.01"), "order_hold": 0}
    assert dave.balances("USDT")["available"] == Decimal("499.90")
    assert suspended("USDT") == {f"user:{alice.id}": Decimal(500), f"user:{bob.id}": Decimal(-500)}
    assert suspended("BTC") == {f"user:{bob.id}": Decimal("0.01"), f"user:{alice.id}": Decimal("-0.01")}
    # a fill is a fact: the orders say so; the wallets stay as they were
    assert (fresh(people["buy"]).status, fresh(people["other"]).status) == ("filled", "filled")
    assert bob.balances("BTC") == {"available": Decimal("0.99"), "order_hold": Decimal("0.01")}
    assert bob.balances("USDT")["available"] == 0
    assert alice.balances("BTC")["available"] == 0
    [row] = SuspendedEntry.objects.all()
    assert (row.key, row.kind, row.trade_id, row.state) == (f"trade:{first.id}", "SPOT_FILL", first.id, "OPEN")
    assert row.held == [[alice.id, "USDT", "500.1"], [bob.id, "BTC", "0.01"]]
    assert row.refusal.startswith("LedgerBoundError: The balance of account 1020 in USDT")


def test_the_traders_concerned_are_frozen_and_the_instrument_is_cancel_only(refused) -> None:
    people, _ = refused

    frozen = AccountProfile.objects.filter(frozen=True)
    assert set(frozen.values_list("owner_id", flat=True)) == {people["alice"].id, people["bob"].id}
    assert all("suspense: trade:" in profile.reason for profile in frozen)
    assert set(Notice.objects.filter(kind="ACCOUNT_FROZEN").values_list("owner_id", flat=True)) == {
        people["alice"].id,
        people["bob"].id,
    }
    assert Instrument.objects.get().status == "CANCEL_ONLY"
    [of_bob] = place(people["bob"].id, limit("BTCUSDT", "sell", "0.0100", "50000.00"))
    [of_carol] = place(people["carol"].id, limit("BTCUSDT", "buy", "0.0010", "50000.00"))
    assert (type(of_bob), type(of_carol)) == (InstrumentNotTradingError, InstrumentNotTradingError)
    Instrument.objects.update(status="TRADING")
    Instrument.revision += 1
    [of_bob] = place(people["bob"].id, limit("BTCUSDT", "sell", "0.0100", "50000.00"))
    assert isinstance(of_bob, AccountFrozenError)
    assert (of_bob.code, of_bob.status) == (6006, 403)


def test_the_engine_lets_nobody_trade_on_the_instrument_and_everybody_cancel(people, tmp_path: Path) -> None:
    alice, bob, _carol, dave = people.values()
    place(bob.id, limit("BTCUSDT", "sell", "0.0100", "50000.00"))
    [resting] = place(dave.id, limit("BTCUSDT", "sell", "0.0100", "51000.00"))
    with worker(tmp_path) as shard:
        shard.step(now=utc_now())
        place(alice.id, limit("BTCUSDT", "buy", "0.0100", "50000.00"))
        drain(alice, "USDT")
        shard.step(now=utc_now())
        shard.step(now=utc_now())

        assert shard.engine.trading_state(Instrument.objects.get().pk).name == "CANCEL_ONLY"
        orders.cancel(dave.id, [resting.id], now=utc_now())
        shard.step(now=utc_now())
    assert fresh(resting).status == "cancelled"
    assert dave.balances("BTC") == {"available": Decimal(1), "order_hold": 0}


def test_audit_and_reconciliation_tell_and_withdrawals_stop(refused) -> None:
    people, _ = refused
    [trade, _] = Trade.objects.order_by("number")

    assert broken() >= {
        "every spot trade is settled once, as it was made",
        "settlement has suspended nothing",
        "open holds equal the order_hold wallets",
    }
    assert "suspense of traders is what their suspended trades owe" not in broken()
    [row] = Break.objects.all()
    assert (row.check_name, row.subject, row.state) == ("settlement.suspense", f"trade:{trade.id}", "OPEN")
    with override("en"):
        assert "The books refused the SPOT_FILL entry of trade:" in row.told
    [stop] = stops.active()
    assert stop.reason == f"settlement.suspense: trade:{trade.id}"
    found = look("settlement.suspense", "trades.entries", "suspense.empty", "log.replay", "orders.holds")
    assert {name for name, _ in found} == {
        "settlement.suspense",
        "trades.entries",
        "suspense.empty",
        "log.replay",
        "orders.holds",
    }
    assert {subject for name, subject in found if name == "orders.holds"} == {f"user {people['alice'].id}, USDT"}
    assert Break.objects.get(check_name="orders.holds").amount == Decimal("-500.1")  # what was drained, to the cent


def test_of_one_command_with_many_fills_only_the_refused_one_is_suspended(people, tmp_path: Path) -> None:
    alice, bob, carol, dave = people.values()
    place(bob.id, limit("BTCUSDT", "sell", "0.0010", "50000.00"))
    place(dave.id, limit("BTCUSDT", "sell", "0.0010", "50000.00"))
    place(bob.id, limit("BTCUSDT", "sell", "0.0010", "50000.00"))
    with worker(tmp_path) as shard:
        shard.step(now=utc_now())
        drain(dave, "BTC")
        place(alice.id, market("BTCUSDT", "buy", "0.0030"))
        shard.step(now=utc_now())

    assert [trade.seller_id for trade in Trade.objects.order_by("number")] == [bob.id, dave.id, bob.id]
    assert [row.trade_id for row in SuspendedEntry.objects.all()] == [Trade.objects.get(number=2).id]
    assert JournalEntry.objects.filter(kind="SPOT_FILL").count() == 2
    assert alice.balances("BTC")["available"] == Decimal("0.002")
    assert suspended("BTC") == {f"user:{dave.id}": Decimal("0.001"), f"user:{alice.id}": Decimal("-0.001")}
    assert carol.balance("USDT") == Decimal(1_000)


def test_a_hold_that_cannot_be_given_back_stays_and_is_told(people, tmp_path: Path) -> None:
    alice = people["alice"]
    [buy] = place(alice.id, limit("BTCUSDT", "buy", "0.0100", "50000.00"))
    with worker(tmp_path) as shard:
        shard.step(now=utc_now())
        repair = drain(alice, "USDT")
        orders.cancel(alice.id, [buy.id], now=utc_now())
        shard.step(now=utc_now())

    assert fresh(buy).status == "cancelled"
    [row] = SuspendedEntry.objects.all()
    assert (row.key, row.trade_id, row.held) == (f"order:{buy.id}:unfreeze", None, [[alice.id, "USDT", "500.1"]])
    assert suspended("USDT") == {}
    damage(repair)
    suspense.repost([row.key], now=utc_now())
    assert alice.balances("USDT") == {"available": Decimal(1_000), "order_hold": 0}
    assert broken() == set()


def test_a_right_that_the_worker_has_lost_suspends_and_its_return_heals(people, scratch: Scratch) -> None:
    alice, bob, _, _ = people.values()
    place(bob.id, limit("BTCUSDT", "sell", "0.0100", "50000.00"))
    place(alice.id, limit("BTCUSDT", "buy", "0.0100", "50000.00"))
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM ledger_posting_right WHERE (role, kind) = ('exchange_worker', 'SPOT_FILL')")
    scratch.start_worker()  # a process of its own, under the worker's role
    scratch.wait_settled()

    [row] = SuspendedEntry.objects.all()
    assert "exchange_worker may not post SPOT_FILL" in row.refusal
    # all that goes with it is within the worker's rights
    assert [stop.reason for stop in stops.active()] == [f"settlement.suspense: {row.key}"]
    assert AccountProfile.objects.filter(frozen=True).count() == 2
    assert Instrument.objects.get().status == "CANCEL_ONLY"
    assert suspended("USDT") == {f"user:{alice.id}": Decimal(500), f"user:{bob.id}": Decimal(-500)}
    assert look("orders.holds") == {("settlement.suspense", row.key)}  # the holds stay, and are accounted for
    assert broken() == {"every spot trade is settled once, as it was made", "settlement has suspended nothing"}
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO ledger_posting_right (role, kind) VALUES ('exchange_worker', 'SPOT_FILL')")
    [done] = suspense.repost([], now=utc_now())
    assert done.refusal == ""
    assert broken() == set()


def test_settlement_halves_until_one_command_is_left(people, tmp_path: Path) -> None:
    alice, bob, carol, dave = people.values()
    place(dave.id, *[limit("BTCUSDT", "sell", "0.0010", "50000.00")] * 4)
    place(bob.id, limit("BTCUSDT", "sell", "0.0010", "49999.00"))
    with worker(tmp_path) as shard:
        shard.step(now=utc_now())
        place(alice.id, limit("BTCUSDT", "buy", "0.0010", "49999.00"))
        place(carol.id, *[limit("BTCUSDT", "buy", "0.0010", "50000.00")] * 4)
        drain(alice, "USDT")
        with capture_logs() as logs:
            shard.step(now=utc_now())
        assert shard.settled == shard.engine.sequence

    assert [line["commands"] for line in logs if line["event"] == "settlement_refused"] == [5, 2, 1]
    assert Trade.objects.count() == 5
    assert JournalEntry.objects.filter(kind="SPOT_FILL").count() == 4


def test_a_broken_assumption_still_stops_the_worker(people, tmp_path: Path) -> None:
    alice, bob, _, _ = people.values()
    [sell] = place(bob.id, limit("BTCUSDT", "sell", "0.0100", "50000.00"))
    with worker(tmp_path) as shard:
        shard.step(now=utc_now())
        damage(f"UPDATE orders SET filled_quantity = 0.001 WHERE id = {sell.id}")
        place(alice.id, limit("BTCUSDT", "buy", "0.0100", "50000.00"))

        with pytest.raises(Exception, match="books and engine disagree"):
            shard.step(now=utc_now())

        assert not SuspendedEntry.objects.exists()
        assert not Trade.objects.exists()
        damage(f"UPDATE orders SET filled_quantity = 0 WHERE id = {sell.id}")
    with worker(tmp_path) as shard:  # the next one finds it in the WAL
        assert shard.settled == shard.engine.sequence
    assert Trade.objects.count() == 1


def test_of_a_command_about_several_instruments_only_that_of_the_refused_release_is_stopped(
    people, tmp_path: Path
) -> None:
    alice = people["alice"]
    make_instrument("ETHUSDT", base=make_asset("ETH", 8), reference_price=Decimal(2_000))
    [cheap] = place(alice.id, limit("ETHUSDT", "buy", "0.0100", "2000.00"))
    [dear] = place(alice.id, limit("BTCUSDT", "buy", "0.0100", "50000.00"))
    with worker(tmp_path) as shard:
        shard.step(now=utc_now())
        account = Account.objects.get(owner_id=alice.id, code="1020", asset_id="USDT")
        damage(f"UPDATE ledger_account SET balance = 100 WHERE id = {account.pk}")
        assert cancel_all.of_trader(alice.id, now=utc_now()) == 2
        shard.step(now=utc_now())

    assert [row.key for row in SuspendedEntry.objects.all()] == [f"order:{dear.id}:unfreeze"]
    assert JournalEntry.objects.filter(key=f"order:{cheap.id}:unfreeze").exists()
    assert dict(Instrument.objects.values_list("symbol", "status")) == {"BTCUSDT": "CANCEL_ONLY", "ETHUSDT": "TRADING"}
    assert SuspendedEntry.objects.get().instrument_id == Instrument.objects.get(symbol="BTCUSDT").pk


def test_a_market_that_lets_nobody_trade_stays_in_its_state(people, tmp_path: Path) -> None:
    alice, bob, _, _ = people.values()
    with worker(tmp_path) as shard:
        place(bob.id, limit("BTCUSDT", "sell", "0.0100", "50000.00"))
        place(alice.id, limit("BTCUSDT", "buy", "0.0100", "50000.00"))
        drain(alice, "USDT")
        Instrument.objects.update(status="HALTED")  # by another process: this one does not know yet
        shard.step(now=utc_now())

    assert SuspendedEntry.objects.count() == 1
    assert Instrument.objects.get().status == "HALTED"
    assert Command.objects.count() == 2


def test_a_lock_that_does_not_come_in_time_is_waited_for_in_suspense_too(
    people, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob, _, _ = people.values()
    place(bob.id, limit("BTCUSDT", "sell", "0.0100", "50000.00"))
    place(alice.id, limit("BTCUSDT", "buy", "0.0100", "50000.00"))
    drain(alice, "USDT")
    freeze, asked = profiles.freeze, []

    def late(owners: Any, **options: Any) -> None:
        """Wait in vain, the first time."""
        asked.append(owners)
        if len(asked) == 1:
            raise OperationalError("canceling statement due to lock timeout") from errors.LockNotAvailable()
        freeze(owners, **options)

    monkeypatch.setattr(profiles, "freeze", late)
    with worker(tmp_path) as shard:
        shard.step(now=utc_now())

    assert asked == [[alice.id, bob.id]] * 2
    assert SuspendedEntry.objects.count() == 1
    assert JournalEntry.objects.filter(kind="SUSPENSE_SPOT_FILL").count() == 1
    assert [row.frozen for row in AccountProfile.objects.all()] == [True, True]


@pytest.mark.parametrize(
    ("error", "is_refusal"),
    [
        (errors.CheckViolation(), True),
        (errors.NumericValueOutOfRange(), True),
        (errors.InsufficientPrivilege(), True),
        (errors.UndefinedFunction(), False),
        (errors.TransactionTimeout(), False),
        (errors.LockNotAvailable(), False),
        (errors.AdminShutdown(), False),
        (errors.DataCorrupted(), False),
        (ValueError(), False),
        (None, False),
    ],
    ids=repr,
)
def test_only_what_was_given_can_be_refused(error: Exception | None, *, is_refusal: bool) -> None:
    wrapped = RuntimeError()
    wrapped.__cause__ = error

    assert database.is_refusal(error) == is_refusal
    assert database.is_refusal(wrapped) == is_refusal
