"""An instrument that moves to another shard: whole or not at all, with positions, prices and numbers."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, ProgrammingError, transaction

from exchange.kernel.clock import utc_now
from ledger.reconciliation import checks
from marketdata.models import CandleRow, Instrument, InstrumentStatus
from matching_worker.engine import Engine
from matching_worker.protocol import CommandKind
from trading import audit
from trading.management.commands import move_instrument
from trading.models import Order, Trade
from trading.move_models import InstrumentMove
from trading.services import command_log, instrument_moves, lease, settlement, trading_state
from trading.services.instrument_moves import InstrumentNotMovableError
from trading.tests.contracts import make_contract, position, set_mark
from trading.tests.road import fresh, limit, make_instrument, place, worker
from trading.tracing import commands

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]

SPOT, CONTRACT = "BTCUSDT", "BTC-PERP"


class Exchange:
    """Two shards, their workers run when asked; a worker whose lease has ended is followed by another one."""

    def __init__(self, folder: Path, customer: Callable[..., Any]) -> None:
        self.folder = folder
        lease.open_shard(1)
        make_instrument(SPOT)
        make_contract(CONTRACT)
        self.alice, self.bob = (customer(name, USDT=100_000, BTC=10) for name in ("alice", "bob"))

    def settle(self) -> list[Engine]:
        """Start both workers, let them settle what waits, stop them; return their engines."""
        with ExitStack() as stack:
            shards = [stack.enter_context(worker(self.folder / f"{number}", number)) for number in (0, 1)]
            while sum([shard.step(now=utc_now()) for shard in shards]):
                pass
            return [shard.engine for shard in shards]

    def trade(self, symbol: str, quantity: str, price: str) -> None:
        """Let alice buy from bob."""
        place(self.bob.id, limit(symbol, "sell", quantity, price))
        place(self.alice.id, limit(symbol, "buy", quantity, price))
        self.settle()

    def halt(self, symbol: str) -> None:
        trading_state.change(symbol, InstrumentStatus.HALTED, now=utc_now())

    def reopen(self, symbol: str) -> None:
        trading_state.change(symbol, InstrumentStatus.TRADING, now=utc_now())

    def move(self, symbol: str, to: int = 1) -> instrument_moves.Moved:
        """Do what the command does, the workers running when it waits for them."""
        spec = instrument_moves.check(symbol, to)
        assert spec is not None
        instrument_moves.ask_for_cancels(spec, now=utc_now())
        self.settle()
        moved = instrument_moves.attempt(spec, to, now=utc_now())
        assert moved is not None
        return moved


@pytest.fixture
def exchange(tmp_path: Path, customer, settings, monkeypatch) -> Any:
    settings.SHARDS = 2
    monkeypatch.setattr(move_instrument, "SPEC_SECONDS", 0)  # no other process has a copy
    settings.EMBEDDED_POSTGRES = settings.EMBEDDED_REDIS = False  # the command uses the servers of the tests
    made = Exchange(tmp_path, customer)
    made.settle()
    yield made
    made.settle()
    require_clean()


def require_clean() -> None:
    """Assert that every invariant holds, and that a full reconciliation finds nothing."""
    assert [item for item in audit.invariants() if not item.ok] == []
    replay = checks.named("log.replay")
    assert replay is not None
    assert replay.full(lambda *_: None).findings == []


def test_orders_end_positions_and_numbers_go_on(exchange: Exchange) -> None:
    alice, bob = exchange.alice, exchange.bob
    exchange.trade(CONTRACT, "4", "100")
    exchange.trade(CONTRACT, "2", "101")
    set_mark("102", CONTRACT)
    [resting] = place(alice.id, limit(CONTRACT, "buy", "3", "90"))
    exchange.settle()
    before = position(alice, CONTRACT)

    exchange.halt(CONTRACT)
    moved = exchange.move(CONTRACT)
    require_clean()  # nothing of the move is settled yet
    old, new = exchange.settle()
    require_clean()

    spec_id = Instrument.objects.get(symbol=CONTRACT).pk
    assert (fresh(resting).status, fresh(resting).reason, moved.positions) == ("cancelled", "OPERATOR", 2)
    assert (old.positions(), new.positions()) == ({}, {(alice.id, spec_id): 6, (bob.id, spec_id): -6})
    told = (new.trade_number(spec_id), new.last_price_ticks(spec_id), new.mark_price_ticks(spec_id))
    assert (told, new.trading_state(spec_id).name) == ((2, 101, 102), "HALTED")
    assert old.trading_state(spec_id).name == "CLOSED"
    assert position(alice, CONTRACT) == before

    exchange.reopen(CONTRACT)
    taken = place(bob.id, limit(CONTRACT, "buy", "6", "110")) + place(alice.id, limit(CONTRACT, "sell", "6", "110"))
    exchange.settle()
    assert [fresh(order).status for order in taken] == ["filled", "filled"]

    rows = list(Trade.objects.order_by("number").filter(symbol=CONTRACT).values_list("number", "shard"))
    assert rows == [(1, 0), (2, 0), (3, 1)]
    assert len(set(Trade.objects.values_list("id", flat=True))) == 3
    assert (position(alice, CONTRACT)[0], position(bob, CONTRACT)[0]) == (0, 0)
    assert sum(CandleRow.objects.filter(symbol=CONTRACT).values_list("trade_count", flat=True)) == 3


def test_an_instrument_comes_back_and_the_other_is_not_disturbed(exchange: Exchange) -> None:
    exchange.trade(SPOT, "0.0100", "50000")
    exchange.trade(CONTRACT, "4", "100")
    [untouched] = place(exchange.alice.id, limit(SPOT, "buy", "0.0100", "49000"))
    for to in (1, 0):
        exchange.halt(CONTRACT)
        exchange.move(CONTRACT, to)
        exchange.reopen(CONTRACT)
        exchange.trade(CONTRACT, "1", "100")
        require_clean()

    assert list(Trade.objects.filter(symbol=CONTRACT).order_by("number").values_list("number", "shard")) == [
        (1, 0),
        (2, 1),
        (3, 0),
    ]
    assert fresh(untouched).status == "new"
    assert list(InstrumentMove.objects.order_by("id").values_list("from_shard", "to_shard")) == [(0, 1), (1, 0)]


def test_the_continuous_reconciler_follows_positions_from_log_to_log(exchange: Exchange) -> None:
    replay = checks.named("log.replay")
    assert replay is not None
    assert replay.look is not None
    follow = replay.look
    memory: dict[str, Any] = {}
    seen = checks.Seen([], {}, 0)

    def look() -> None:
        nonlocal seen
        seen = follow(checks.Scope(seen.position, [], utc_now(), memory))
        assert (seen.findings, seen.behind) == ([], 0)

    for to in (1, 0):
        exchange.trade(CONTRACT, "4", "100")
        look()
        exchange.halt(CONTRACT)
        exchange.move(CONTRACT, to)
        look()  # its log ends beyond the cursor
        exchange.settle()
        look()
        exchange.reopen(CONTRACT)
    place(exchange.alice.id, limit(CONTRACT, "sell", "5", "110"))
    place(exchange.bob.id, limit(CONTRACT, "buy", "5", "110"))
    exchange.settle()
    look()
    assert position(exchange.alice, CONTRACT)[0] == 3


def test_a_spot_market_moves_and_its_story_lies_in_two_logs(exchange: Exchange) -> None:
    exchange.trade(SPOT, "0.0100", "50000")
    exchange.halt(SPOT)
    exchange.move(SPOT)
    exchange.reopen(SPOT)
    exchange.trade(SPOT, "0.0200", "50000")

    for trade, shard in zip(Trade.objects.order_by("number"), (0, 1), strict=True):
        orders = Order.objects.filter(id__in=[trade.buy_order_id, trade.sell_order_id])
        assert {row[0] for row in commands.of_story(list(orders), [trade], {})} == {shard}


def test_who_still_thinks_that_it_is_on_the_old_shard_reads_anew(exchange: Exchange, monkeypatch) -> None:
    exchange.halt(CONTRACT)
    spec = instrument_moves.check(CONTRACT, 1)
    assert spec is not None
    exchange.move(CONTRACT)

    row = instrument_moves._row(spec, CommandKind.CANCEL, utc_now())
    with pytest.raises(OperationalError, match="on another shard than 0"), transaction.atomic():
        command_log.append(0, [row], now=utc_now())
    command_log.append(1, [row], now=utc_now())
    exchange.settle()


def test_an_instrument_that_trades_or_a_shard_that_is_not_there_is_refused(exchange: Exchange) -> None:
    with pytest.raises(InstrumentNotMovableError, match="halted"):
        instrument_moves.check(SPOT, 1)
    exchange.halt(SPOT)
    for shard in (-1, 2):
        with pytest.raises(InstrumentNotMovableError, match="no worker matches"):
            instrument_moves.check(SPOT, shard)
    lease.open_shard(2)
    with pytest.raises(InstrumentNotMovableError, match="no worker matches"):
        instrument_moves.check(SPOT, 2)
    with worker(exchange.folder / "2", 2):
        assert instrument_moves.check(SPOT, 2) is not None
    assert instrument_moves.check(SPOT, 0) is None
    with pytest.raises(CommandError, match="cannot be moved to shard 2"):
        call_command("move_instrument", SPOT, to=2)


def test_what_is_not_settled_is_waited_for(exchange: Exchange) -> None:
    exchange.halt(CONTRACT)
    spec = instrument_moves.check(CONTRACT, 1)
    assert spec is not None

    assert instrument_moves.attempt(spec, 1, now=utc_now()) is None
    with pytest.raises(CommandError, match="Nothing was moved"):
        call_command("move_instrument", CONTRACT, to=1, wait=0)
    exchange.settle()
    set_mark("103", CONTRACT)
    assert instrument_moves.attempt(spec, 1, now=utc_now()) is None
    exchange.settle()
    assert Instrument.objects.get(symbol=CONTRACT).shard == 0
    assert instrument_moves.attempt(spec, 1, now=utc_now()) is not None


@pytest.mark.parametrize("statement", ["_HEADS", "_LEAVE", "_FENCE"])
def test_killed_at_any_step_it_is_where_it_was_and_repeated_it_moves(
    exchange: Exchange, monkeypatch, statement: str
) -> None:
    exchange.trade(CONTRACT, "4", "100")
    place(exchange.alice.id, limit(CONTRACT, "buy", "3", "90"))
    exchange.halt(CONTRACT)
    spec = instrument_moves.check(CONTRACT, 1)
    assert spec is not None
    instrument_moves.ask_for_cancels(spec, now=utc_now())
    exchange.settle()
    heads = [command_log.stream_head(shard) for shard in (0, 1)]

    with monkeypatch.context() as broken:
        broken.setattr(instrument_moves, statement, "killed here")
        with pytest.raises(ProgrammingError):
            instrument_moves.attempt(spec, 1, now=utc_now())

    assert Instrument.objects.get(symbol=CONTRACT).shard == 0
    assert not InstrumentMove.objects.exists()
    assert [command_log.stream_head(shard) for shard in (0, 1)] == heads
    call_command("move_instrument", CONTRACT, to=1)
    call_command("move_instrument", CONTRACT, to=1)
    assert (Instrument.objects.get(symbol=CONTRACT).shard, InstrumentMove.objects.count()) == (1, 1)


def test_a_worker_of_before_the_move_can_settle_nothing_more(exchange: Exchange) -> None:
    with worker(exchange.folder / "0") as old:
        exchange.halt(CONTRACT)
        while old.step(now=utc_now()):
            pass
        spec = instrument_moves.check(CONTRACT, 1)
        assert spec is not None
        assert instrument_moves.attempt(spec, 1, now=utc_now()) is not None

        with pytest.raises(Exception, match="taken from epoch"):
            lease.renew(0, old.epoch)
        with pytest.raises(settlement.FencedError):
            old.step(now=utc_now())
