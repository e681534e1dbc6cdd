"""Each invariant of contracts holds where everything has happened, and names what is damaged."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from ledger.tests.reconciling import damage
from trading import audit
from trading.models import Order, OrderPart, Position, PositionStep, Trade
from trading.tests.contracts import SYMBOL, Desk, desk, make_contract, position, set_mark

pytestmark = pytest.mark.django_db


def everything_that_happens(at: Desk, alice: Any, maker: Any) -> None:
    """Open, close, turn around, rob and compensate; leave orders with both kinds of parts."""
    at.trade(alice, maker, 10, 100)
    set_mark("105")
    at.order(maker, "buy", 15, 110)
    at.order(alice, "sell", 15, 110)
    at.settle()
    resting = at.order(alice, "buy", 3, 100)
    at.order(maker, "sell", 10, 101)
    at.order(alice, "buy", 10, 101)
    at.settle()
    at.order(maker, "sell", 3, 100)
    at.settle()
    assert OrderPart.objects.get(order_id=resting.id, kind="REDUCE").state == "STOLEN"
    at.order(alice, "sell", 5, 140)
    at.order(alice, "buy", 7, 90)
    at.order(alice, "sell", 3, 130, reduce_only=True)
    at.order(maker, "buy", 4, 120)
    at.order(alice, "sell", 4, 120)
    at.settle()


@pytest.fixture
def story(customer, tmp_path: Path) -> dict[str, Any]:
    """Return what the damages name."""
    alice, maker = customer("alice", USDT=100_000), customer("maker", USDT=1_000_000)
    make_contract(contract_size=Decimal("0.1"), maker_fee_rate=Decimal("0.00021"), taker_fee_rate=Decimal("0.00053"))
    with desk(tmp_path) as at:
        everything_that_happens(at, alice, maker)
    assert position(alice)[0] == 4
    trade = Trade.objects.order_by("number")[1]
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM ledger_entry WHERE key = %s", [f"trade:{trade.id}:sell:FLIP_OPEN"])
        [entry] = cursor.fetchone()
    reserving = OrderPart.objects.get(user_id=alice.id, kind="REDUCE", state="TRIED")
    return {
        "alice": alice.id,
        "trade": trade.id,
        "entry": entry,
        "reserving": reserving.order_id,
        "opening": Order.objects.get(user_id=alice.id, price=90).id,
        "step": PositionStep.objects.filter(user_id=alice.id).latest("version").version,
        "contract": Position.objects.get(user_id=alice.id).instrument_id,
    }


def broken() -> dict[str, str]:
    return {item.name: item.detail for item in audit.invariants() if not item.ok}


def test_every_invariant_holds_where_everything_has_happened(story) -> None:
    assert broken() == {}
    assert set(PositionStep.objects.values_list("change", flat=True)) == {"OPEN", "CLOSE"}


ZERO = "positions of each contract add up to zero"
CLEARING = "clearing accounts equal the positions' signed open cost"
RESULTS = "realised and unrealised results of each contract add up to zero"
MARGIN = "margin wallets equal the positions' margin"
HISTORY = "positions are what their history adds up to"
RESERVED = "live reservations are the positions' and never exceed them"
PARTS = "open parts are what their orders have open and hold"
TRADES = "every contract trade moves both positions once"
ENTRIES = "every step of a position has its entry, and every contract entry its step"
REPLAY = "replay of shard 0's log reproduces hash, trades, open orders and positions"
BALANCES = "balances equal the sum of their lines"
OWED = "what users own equals what the platform owes"
CHAIN = "the hash chain is whole"
HOLDS = "open holds equal the order_hold wallets"
ORDERS = "orders have what their trades say"

OF_ALICE = "WHERE user_id = {alice} AND instrument_id = {contract}"
DAMAGES: dict[str, tuple[str, set[str]]] = {
    "a position of another size": (
        f"UPDATE positions SET quantity = quantity + 1 {OF_ALICE}",
        {ZERO, RESULTS, HISTORY, REPLAY},
    ),
    "a position that cost another amount": (
        f"UPDATE positions SET open_cost = open_cost + 0.000001 {OF_ALICE}",
        {CLEARING, RESULTS, HISTORY},
    ),
    "a margin that is not in the wallet": (
        f"UPDATE positions SET margin = margin + 0.000001 {OF_ALICE}",
        {MARGIN, HISTORY},
    ),
    "a margin wallet that has another amount": (
        "UPDATE ledger_account SET balance = balance + 1 WHERE owner_id = {alice} AND code = '1040'",
        {MARGIN, BALANCES, OWED, "every user's own books balance"},
    ),
    "a clearing account that has another amount": (
        "UPDATE ledger_account SET balance = balance - 1 WHERE code = '2110'",
        {CLEARING, BALANCES, OWED},
    ),
    "another realised profit": (f"UPDATE positions SET realised_pnl = realised_pnl + 1 {OF_ALICE}", {HISTORY, RESULTS}),
    "another leverage": (f"UPDATE positions SET leverage = leverage + 1 {OF_ALICE}", {HISTORY}),
    "a step that is gone": (
        "DELETE FROM position_events WHERE user_id = {alice} AND version = {step}",
        {HISTORY, TRADES, ENTRIES},
    ),
    "a step with another result": (
        "UPDATE position_events SET result = result + 1 WHERE user_id = {alice} AND version = {step}",
        {HISTORY, TRADES, ENTRIES},
    ),
    "a step with another fee": (
        "UPDATE position_events SET fee = fee + 0.000001 WHERE user_id = {alice} AND version = {step}",
        {TRADES, ENTRIES},
    ),
    "a reservation that the position does not know": (
        f"UPDATE positions SET reserved = reserved - 1 {OF_ALICE}",
        {RESERVED},
    ),
    "a reservation beyond the position": (
        "UPDATE order_parts SET quantity_left = quantity_left + 1 WHERE order_id = {reserving} AND kind = 'REDUCE'",
        {RESERVED, PARTS},
    ),
    "a reservation in the position's own direction": (
        "UPDATE orders SET side = 'buy' WHERE id = {reserving}",
        {RESERVED},
    ),
    "a part that holds other funds than its order": (
        "UPDATE order_parts SET funds_left = funds_left - 0.000001 WHERE order_id = {opening} AND kind = 'INCREASE'",
        {PARTS},
    ),
    "an order that holds other funds than its wallet": (
        "UPDATE orders SET hold_remaining = hold_remaining + 1 WHERE id = {opening}",
        {PARTS, HOLDS},
    ),
    "a part of no order": (
        "UPDATE order_parts SET order_id = 1 WHERE order_id = {opening} AND kind = 'INCREASE'",
        {PARTS},
    ),
    "a trade with another fee": (
        "UPDATE trades SET seller_fee = seller_fee + 0.000001 WHERE id = {trade}",
        {TRADES, ORDERS},
    ),
    "a trade with another notional": (
        "UPDATE trades SET notional = notional + 1 WHERE id = {trade}",
        {TRADES, ORDERS},
    ),
    "a trade without its entry": (
        "UPDATE ledger_entry SET key = 'other' WHERE id = {entry}",
        {ENTRIES, CHAIN},
    ),
    "an entry of another kind": (
        "UPDATE ledger_entry SET kind = 'OPEN_FILL' WHERE id = {entry}",
        {ENTRIES, CHAIN},
    ),
    "another mark at the cursor": (
        "UPDATE instrument_state SET settled_mark = settled_mark + 1 WHERE instrument_id = {contract}",
        {REPLAY},
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_row_is_named_by_its_invariant(story, name: str) -> None:
    statement, expected = DAMAGES[name]
    damage(*statement.format(**story).split("; "))

    found = broken()

    assert set(found) == expected


def test_candles_of_a_contract_add_up_what_its_trades_were_worth(story) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT sum(turnover) FROM klines_1m WHERE symbol = %s), sum(notional), sum(price * quantity) / 10"
            " FROM trades WHERE symbol = %s",
            [SYMBOL, SYMBOL],
        )
        turnover, notional, worth = cursor.fetchone()

    assert turnover == notional == worth
