"""Candles and holdings are rebuilt from trades exactly, and trades never change."""

import json
from contextlib import nullcontext
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from exchange.embedded import session
from exchange.kernel.clock import utc_now
from ledger.reconciliation import runner
from ledger.reconciliation.models import RunKind
from ledger.tests.reconciling import damage, unresolved
from ledger.tests.test_rebuild import table
from trading import rebuild
from trading.reconciliation import scope
from trading.tests.road import limit, make_instrument, market, place, run_worker_once

pytestmark = pytest.mark.django_db


@pytest.fixture
def market_of_three_minutes(customer, monkeypatch):
    """Two instruments, trades in several minutes, sales of what was bought and of what was not."""
    monkeypatch.setattr(scope, "TRADES_MAX", 3)
    make_instrument()
    make_instrument("BTCUSD", quote=_asset("USD", 2), tick_size=1, lot_size="0.01")
    alice, bob = customer("alice", USDT=100_000, BTC=1), customer("bob", USDT=100_000, USD=100_000, BTC=10)
    for price in ("50000.00", "50010.00", "49990.00", "50000.00", "50005.00"):
        place(bob.id, limit("BTCUSDT", "sell", "0.0030", price))
        place(alice.id, market("BTCUSDT", "buy", "0.0030"))
        run_worker_once()
    place(bob.id, limit("BTCUSDT", "buy", "0.0100", "49990.00"))
    place(alice.id, market("BTCUSDT", "sell", "0.0100"))
    run_worker_once()
    # let the trades and their candles lie in three minutes
    damage(
        "UPDATE trades SET executed_at = first.minute + (number / 3) * interval '1 minute'"
        " FROM (SELECT date_trunc('minute', min(executed_at)) AS minute FROM trades) first",
        "DELETE FROM klines_1m",
    )
    rebuild.candles(write=True, show=_silent)
    assert len(table("klines_1m", "symbol, timestamp")) == 3
    return alice, bob


def _asset(code: str, decimals: int):
    from trading.tests.road import make_asset

    return make_asset(code, decimals, "FIAT")


def _silent(_done: int, _total: int) -> None:
    """Show nothing."""


def state() -> dict[str, list[tuple]]:
    """Return the derived tables, without the moment of their last update, and what they are derived from."""
    return {
        "candles": table("klines_1m", "symbol, timestamp"),
        "holdings": [row[:4] for row in table("risk_spotholding", "user_id, instrument_id")],
        "trades": table("trades", "id"),
    }


DAMAGES = {
    "a wrong volume": ("candles", "UPDATE klines_1m SET volume = volume + 1", 3),
    "a candle that is gone": (
        "candles",
        "DELETE FROM klines_1m WHERE timestamp = (SELECT min(timestamp) FROM klines_1m)",
        1,
    ),
    "the last candle is gone": (
        "candles",
        "DELETE FROM klines_1m WHERE timestamp = (SELECT max(timestamp) FROM klines_1m)",
        1,
    ),
    "candles of minutes without trades": (
        "candles",
        (
            "INSERT INTO klines_1m SELECT symbol, timestamp + h * interval '1 hour', open, high, low, close, volume,"
            " turnover, trade_count FROM klines_1m, unnest(ARRAY[-1, 1]) AS h"
        ),
        6,
    ),
    "candles of what is no instrument": (
        "candles",
        (
            "INSERT INTO klines_1m SELECT 'NOSUCH', timestamp, open, high, low, close, volume, turnover, trade_count"
            " FROM klines_1m"
        ),
        3,
    ),
    "all candles are gone": ("candles", "DELETE FROM klines_1m", 3),
    "a wrong cost": ("holdings", "UPDATE risk_spotholding SET total_cost = total_cost + 1", 2),
    "a wrong quantity": ("holdings", "UPDATE risk_spotholding SET quantity = quantity / 2 WHERE quantity > 0", 2),
    "all holdings are gone": ("holdings", "DELETE FROM risk_spotholding", 2),
    "a holding of somebody who never traded": (
        "holdings",
        (
            "INSERT INTO risk_spotholding SELECT 99999, instrument_id, quantity, total_cost, updated_at"
            " FROM risk_spotholding LIMIT 1"
        ),
        1,
    ),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_table_is_rebuilt_exactly(market_of_three_minutes, what: str) -> None:
    name, statement, different = DAMAGES[what]
    before = state()
    damage(statement)
    assert state() != before

    done = getattr(rebuild, name)(write=True, show=_silent)

    assert state() == before
    assert done.different == different
    assert getattr(rebuild, name)(write=True, show=_silent).different == 0


@pytest.mark.parametrize("name", ["candles", "holdings"])
def test_what_is_right_is_left_alone(market_of_three_minutes, name: str) -> None:
    before = state()

    done = getattr(rebuild, name)(write=True, show=_silent)

    assert (done.different, state()) == (0, before)
    assert done.rows == (3 if name == "candles" else 2)


def test_after_a_rebuild_the_check_of_holdings_begins_again_and_agrees(market_of_three_minutes) -> None:
    _look()
    damage(
        "UPDATE risk_spotholding SET total_cost = total_cost + 1",
        """UPDATE ledger_checkmemory SET value = '["1", "1"]'""",
    )

    rebuild.holdings(write=True, show=_silent)

    for _ in range(3):
        _look()
    assert unresolved() == set()


def _look() -> None:
    run = runner.start(RunKind.CONTINUOUS, now=utc_now())
    runner.look(run, now=utc_now(), names=["holdings.trades"], due_only=False)


@pytest.mark.parametrize("name", ["balances", "candles", "holdings"])
def test_the_command_compares_rebuilds_and_says_so(market_of_three_minutes, monkeypatch, name: str) -> None:
    monkeypatch.setattr(session, "servers", lambda _: nullcontext())  # the run's own servers are running
    damage(
        "UPDATE klines_1m SET volume = volume + 1",
        "UPDATE risk_spotholding SET total_cost = total_cost + 1",
        "UPDATE ledger_account SET balance = balance + 1 WHERE code = '1010'",
    )
    output = StringIO()
    with pytest.raises(CommandError) as refused:
        call_command("rebuild", name, "--check", "--json", stdout=output)
    found = json.loads(output.getvalue())
    assert refused.value.returncode == 1
    assert (found["table"], found["changed"], found["left"]) == (name, 0, 0)
    assert found["different"] > 0

    output = StringIO()
    call_command("rebuild", name, stdout=output)

    assert f"{found['different']} put right" in output.getvalue()
    call_command("rebuild", name, "--check", stdout=StringIO())
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('pg_temp.folded_holding') IS NULL")
        assert cursor.fetchone()[0] is True
