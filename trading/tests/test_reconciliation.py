"""Each check of the road fails when what it watches is damaged, by name, and passes again when it is repaired."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from exchange.kernel.clock import utc_now
from ledger.reconciliation import checks, runner
from ledger.reconciliation.models import BreakEvent, CheckMark, RunKind
from ledger.tests.reconciling import BOOKS, analyze, damage, everything, full, look, rows_read, unresolved
from trading.models import Order, Trade
from trading.reconciliation import positions, replay
from trading.services import orders
from trading.services.requests import AmendOrder, PlaceOrder, ReduceOrder, Submission
from trading.tests.road import limit, make_instrument, market, place, run_worker_once

pytestmark = [pytest.mark.django_db]

Compare = Callable[..., set[tuple[str, str]]]


@pytest.fixture
def names(customer) -> dict[str, Any]:
    """A market in which everything has happened that changes a hold; what the expected subjects stand for."""
    make_instrument()
    alice, bob = customer("alice", USDT=10_000), customer("bob", BTC=1)
    place(
        bob.id,
        limit("BTCUSDT", "sell", "0.0100", "50000.00"),
        limit("BTCUSDT", "sell", "0.0100", "50100.00"),
        limit("BTCUSDT", "sell", "0.0300", "51000.00"),
    )
    [first, amended, reduced] = place(
        alice.id,
        limit("BTCUSDT", "buy", "0.0150", "50050.00"),
        limit("BTCUSDT", "buy", "0.0200", "49000.00"),
        limit("BTCUSDT", "buy", "0.0200", "48000.00"),
    )
    run_worker_once()
    orders.submit(
        [
            Submission(alice.id, AmendOrder(amended.id, price=Decimal("49500.00"), quantity=Decimal("0.0250"))),
            Submission(alice.id, ReduceOrder(reduced.id, Decimal("0.0040"))),
        ],
        now=utc_now(),
    )
    run_worker_once()
    place(alice.id, market("BTCUSDT", "buy", "0.0100"))
    place(alice.id, PlaceOrder("BTCUSDT", "buy", "market", time_in_force="ioc", quote_quantity=Decimal("300.00")))
    place(bob.id, market("BTCUSDT", "sell", "0.0300"))
    run_worker_once()
    orders.cancel(alice.id, [first.id], now=utc_now())
    run_worker_once()
    trades = list(Trade.objects.order_by("number"))
    assert len(trades) >= 4
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM ledger_entry WHERE key = %s", [f"trade:{trades[0].id}"])
        entry = cursor.fetchone()[0]
    return {
        "alice": alice.id,
        "bob": bob.id,
        "trade": trades[0].id,
        "order": trades[0].buy_order_id,
        "entry": entry,
        "minute": f"{trades[0].executed_at:%Y-%m-%d %H:%M}",
        "instrument": trades[0].instrument_id,
        "resting": Order.objects.get(user_id=bob.id, price=51000).id,
    }


def test_a_road_on_which_everything_has_happened_agrees_with_every_check(names) -> None:
    assert look(*everything()) == set()
    assert full(*everything()) == set()
    assert CheckMark.objects.filter(behind__gt=0).count() == 0
    assert CheckMark.objects.get(pk="log.replay").items > 5


class Case:
    """A check, what damages what it watches, what repairs it, and the subjects of its breaks."""

    def __init__(self, check: str, damaging: str, repairing: str, *subjects: str, full_only: bool = False) -> None:
        self.check = check
        self.damaging = damaging
        self.repairing = repairing
        self.subjects = subjects
        self.full_only = full_only


CASES = {
    "an entry that the books refused": Case(
        "settlement.suspense",
        "INSERT INTO suspended_entries (key, kind, effective_at, trace, lines, held, refusal, instrument_id, shard,"
        " sequence, state, created_at) VALUES ('trade:{trade}', 'SPOT_FILL', now(), '', '[]', '[]', 'no', 1, 0, 1,"
        " 'OPEN', now())",
        "UPDATE suspended_entries SET state = 'POSTED'",
        "trade:{trade}",
    ),
    "a hold that nobody can explain": Case(
        "holds.left_behind",
        "INSERT INTO hold_sweeps (order_id, user_id, instrument_id, symbol, shard, cause, since, state, log_head,"
        " hold_asset, why, trace, version, noted_at, updated_at) VALUES (1, 1, 1, 'BTCUSDT', 0, 'ENDED', now(),"
        " 'BROKEN', 0, 'USDT', 'why', '', 1, now(), now())",
        "UPDATE hold_sweeps SET state = 'CLOSED', why = ''",
        "order 1",
    ),
    "a command with another content": Case(
        "log.chain",
        "UPDATE commands SET payload = set_byte(payload, 120, 1) WHERE sequence = 2",
        "UPDATE commands SET payload = set_byte(payload, 120, 0) WHERE sequence = 2",
        "command 0:2",
    ),
    "a command that is gone": Case(
        "log.chain",
        "UPDATE commands SET sequence = 1000 WHERE sequence = 3",
        "UPDATE commands SET sequence = 3 WHERE sequence = 1000",
        "command 0:3",
        "command 0:4",
        "shard 0",
    ),
    "a head that stands elsewhere": Case(
        "log.chain",
        "UPDATE command_stream SET sequence = sequence - 1",
        "UPDATE command_stream SET sequence = sequence + 1",
        "shard 0",
    ),
    "a trade at another price than the engine's": Case(
        "log.replay",
        "UPDATE trades SET price = price + 1 WHERE number = 1",
        "UPDATE trades SET price = price - 1 WHERE number = 1",
        "match 1 of instrument {instrument}",
    ),
    "an entry with another line than the log makes": Case(
        "log.replay",
        "UPDATE ledger_line SET amount = amount - 0.01 WHERE entry_id = {entry} AND n = 1",
        "UPDATE ledger_line SET amount = amount + 0.01 WHERE entry_id = {entry} AND n = 1",
        "entry of trade:{trade}",
    ),
    "an entry that is not there": Case(
        "log.replay",
        "UPDATE ledger_entry SET key = 'other' WHERE id = {entry}",
        "UPDATE ledger_entry SET key = 'trade:{trade}' WHERE id = {entry}",
        "entry of trade:{trade}",
    ),
    "a freeze of another amount": Case(
        "log.replay",
        "UPDATE ledger_line SET amount = 2 * amount WHERE entry_id ="
        " (SELECT id FROM ledger_entry WHERE key = 'order:{order}:freeze')",
        "UPDATE ledger_line SET amount = amount / 2 WHERE entry_id ="
        " (SELECT id FROM ledger_entry WHERE key = 'order:{order}:freeze')",
        "entry of order:{order}:freeze",
    ),
    "another hash at the cursor": Case(
        "log.replay",
        "UPDATE settlement_cursor SET state_hash = state_hash - 1",
        "UPDATE settlement_cursor SET state_hash = state_hash + 1",
        "shard 0",
        full_only=True,
    ),
    "an order with another hold than the log makes": Case(
        "log.replay",
        "UPDATE orders SET hold_remaining = hold_remaining + 1 WHERE id = {resting}",
        "UPDATE orders SET hold_remaining = hold_remaining - 1 WHERE id = {resting}",
        "order {resting}",
        full_only=True,
    ),
    "two trades of one number": Case(
        "trades.numbers",
        "UPDATE trades SET number = 2 WHERE id = {trade}",
        "UPDATE trades SET number = 1 WHERE id = {trade}",
        "BTCUSDT trade 1",
        "BTCUSDT trade 2",
    ),
    "a trade without an entry": Case(
        "trades.entries",
        "UPDATE ledger_entry SET key = 'other' WHERE id = {entry}",
        "UPDATE ledger_entry SET key = 'trade:{trade}' WHERE id = {entry}",
        "trade {trade}",
    ),
    "a trade with another fee than its entry": Case(
        "trades.entries",
        "UPDATE trades SET buyer_fee = buyer_fee + 1 WHERE id = {trade}",
        "UPDATE trades SET buyer_fee = buyer_fee - 1 WHERE id = {trade}",
        "trade {trade}, platform, 4110 USDT",
        "trade {trade}, user {alice}, 5030 USDT",
        "trade {trade}, user {alice}, wallet USDT",
    ),
    "an entry without a trade": Case(
        "entries.trades",
        "UPDATE trades SET id = id + 1000 WHERE id = {trade}",
        "UPDATE trades SET id = id - 1000 WHERE id = {trade} + 1000",
        "entry {entry}",
    ),
    "an order that has filled more than its trades": Case(
        "orders.fills",
        "UPDATE orders SET filled_notional = filled_notional + 1 WHERE id = {order}",
        "UPDATE orders SET filled_notional = filled_notional - 1 WHERE id = {order}",
        "order {order}",
    ),
    "an order that holds more than the wallet": Case(
        "orders.holds",
        "UPDATE orders SET hold_remaining = hold_remaining + 1 WHERE id = {resting}",
        "UPDATE orders SET hold_remaining = hold_remaining - 1 WHERE id = {resting}",
        "user {bob}, BTC",
    ),
    "a trader who was not told something": Case(
        "private.events",
        "UPDATE private_messages SET channels = channels || '{{fills}}' WHERE user_id = {alice} AND sequence > 2",
        "UPDATE private_messages SET channels = trim_array(channels, 1) WHERE user_id = {alice} AND sequence > 2",
        "user {alice}",
    ),
    "a trade that others were not told": Case(
        "outbox.trades",
        "UPDATE outbox SET type = 'Other' WHERE type = 'TradeExecuted' AND aggregateid = '{trade}'",
        "UPDATE outbox SET type = 'TradeExecuted' WHERE type = 'Other'",
        "trade {trade}",
    ),
    "a trade that others were told twice": Case(
        "outbox.trades",
        "INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload, created_at)"
        " SELECT id + 1000000, aggregatetype, aggregateid, type, '{{}}', created_at FROM outbox"
        " WHERE type = 'TradeExecuted' AND aggregateid = '{trade}'",
        "DELETE FROM outbox WHERE payload = '{{}}'",
        "trade {trade}",
    ),
    "a candle with another volume": Case(
        "candles.trades",
        "UPDATE klines_1m SET volume = volume + 1 WHERE timestamp = '{minute}'",
        "UPDATE klines_1m SET volume = volume - 1 WHERE timestamp = '{minute}'",
        "BTCUSDT {minute}",
    ),
    "a candle without trades": Case(
        "candles.trades",
        "INSERT INTO klines_1m SELECT symbol, timestamp - interval '1 hour', open, high, low, close, volume, turnover,"
        " trade_count FROM klines_1m",
        "DELETE FROM klines_1m WHERE timestamp < timestamp '{minute}' - interval '30 minutes'",
        "BTCUSDT, candles without trades",
        full_only=True,
    ),
    "a holding at another cost": Case(
        "holdings.trades",
        "UPDATE risk_spotholding SET total_cost = total_cost + 1 WHERE user_id = {alice}",
        "UPDATE risk_spotholding SET total_cost = total_cost - 1 WHERE user_id = {alice}",
        "user {alice}, BTCUSDT",
    ),
    "a holding that is gone": Case(
        "holdings.trades",
        "UPDATE risk_spotholding SET user_id = 99999 WHERE user_id = {alice}",
        "UPDATE risk_spotholding SET user_id = {alice} WHERE user_id = 99999",
        "user {alice}, BTCUSDT",
        "user 99999, BTCUSDT",
        full_only=True,
    ),
    "an audit that fails": Case(
        "audit.road",
        "UPDATE orders SET fee = fee + 1 WHERE id = {order}",
        "UPDATE orders SET fee = fee - 1 WHERE id = {order}",
        "orders have what their trades say",
        full_only=True,
    ),
}


@pytest.mark.parametrize("compare", [look, full], ids=["look", "full"])
@pytest.mark.parametrize("what", CASES)
def test_a_check_finds_its_damage_and_passes_again(names, what: str, compare: Compare) -> None:
    case = CASES[what]
    if case.full_only and compare is look:
        compare = full  # a look covers what is new; this is only found by comparing everything
    damage(case.damaging.format(**names))

    assert compare(case.check) == {(case.check, subject.format(**names)) for subject in case.subjects}

    damage(case.repairing.format(**names))
    assert compare(case.check) == set()
    assert set(BreakEvent.objects.values_list("kind", flat=True)) == {"FOUND", "PASSED"}


def test_every_check_of_the_road_is_damaged_by_a_case() -> None:
    of_the_road = {check.name for check in checks.registered() if check.look is not None or check.name == "audit.road"}

    of_contracts = {check.name for check in positions.CHECKS}  # damaged in test_reconciliation_contracts.py

    assert {case.check for case in CASES.values()} == of_the_road - set(BOOKS) - of_contracts


OF_BOUNDED_SIZE = (
    "private_messages",  # read by ranges of 128 pages, of which this test does not fill one
    "marketdata_instrument",  # instruments and assets are read again after a second
    "ledger_asset",
)


def test_a_look_reads_as_many_rows_after_a_long_history_as_after_a_short_one(customer) -> None:
    make_instrument()
    alice, bob = customer("alice", USDT=100_000), customer("bob", BTC=10)
    memory: dict[str, dict[str, Any]] = {}
    read = []
    for history in (4, 60):
        for _ in range(history):
            trade(alice.id, bob.id)
        damage(  # let it be long ago
            "UPDATE private_messages SET created_at = created_at - interval '1 day'",
            "UPDATE outbox SET created_at = created_at - interval '1 day'",
        )
        look_once(memory)
        trade(alice.id, bob.id)
        analyze()
        before = rows_read(*OF_BOUNDED_SIZE)
        look_once(memory)
        read.append(rows_read(*OF_BOUNDED_SIZE) - before)

    assert read[0] > 100
    assert read[1] < 1.5 * read[0]  # of fifteen times the history; small tables are read in one way or another


def trade(buyer_id: int, seller_id: int) -> None:
    """Let one trade happen, of new orders."""
    place(seller_id, limit("BTCUSDT", "sell", "0.0010", "50000.00"))
    place(buyer_id, limit("BTCUSDT", "buy", "0.0010", "50000.00"))
    run_worker_once()


def look_once(memory: dict[str, dict[str, Any]]) -> None:
    """Make one round of all checks, in one process."""
    run = runner.start(RunKind.CONTINUOUS, now=utc_now())
    results = runner.look(run, now=utc_now(), due_only=False, memory=memory)
    assert results is not None
    assert [(result.name, result.failure, result.behind) for result in results if result.failure or result.behind] == []
    assert unresolved() == set()


def test_a_process_without_a_shadow_follows_the_log_before_it_compares_what_is_new(customer, monkeypatch) -> None:
    make_instrument()
    alice, bob = customer("alice", USDT=100_000), customer("bob", BTC=10)
    for _ in range(3):
        trade(alice.id, bob.id)
    look("log.replay")
    trade(alice.id, bob.id)
    monkeypatch.setattr(replay, "COMMANDS_MAX", 3)
    memory: dict[str, dict[str, Any]] = {}
    run = runner.start(RunKind.CONTINUOUS, now=utc_now())

    rounds = [runner.look(run, now=utc_now(), names=["log.replay"], due_only=False, memory=memory) for _ in range(4)]

    assert [(result.items, result.behind) for results in rounds for result in results or ()] == [
        (0, 5),
        (0, 2),
        (2, 0),
        (0, 0),
    ]


def test_a_shadow_that_is_ahead_of_what_was_written_down_begins_again(customer) -> None:
    make_instrument()
    alice, bob = customer("alice", USDT=100_000), customer("bob", BTC=10)
    trade(alice.id, bob.id)
    memory: dict[str, dict[str, Any]] = {}
    look_once(memory)
    first = memory["log.replay"]["0"]
    CheckMark.objects.filter(name="log.replay").update(position={"shards": {"0": 1}})
    damage("UPDATE trades SET price = price + 1")
    run = runner.start(RunKind.CONTINUOUS, now=utc_now())

    runner.look(run, now=utc_now(), names=["log.replay"], due_only=False, memory=memory)

    assert memory["log.replay"]["0"] is not first
    assert unresolved() == {("log.replay", f"match 1 of instrument {Trade.objects.get().instrument_id}")}
