"""The statements of the road find rows by their keys, whatever their tables held when they were planned."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from exchange.kernel.clock import utc_now
from trading.models import Order
from trading.services import orders
from trading.services.requests import AmendOrder, Submission
from trading.tests.contracts import make_contract
from trading.tests.road import limit, make_instrument, place, worker

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]

SMALL = {
    "command_stream",
    "instrument_state",
    "outbox_head",
    "risk_reviewlimit",
    "risk_risktier",
    "settlement_cursor",
    "worker_sleep",
}
"""Tables that have rows for each market, shard or tier, and may be read whole."""


@pytest.fixture
def statements() -> Iterator[set[str]]:
    """Return what is sent in pipelines, without a cursor, in the course of a test."""
    sent: set[str] = set()

    def note(execute: Any, sql: str, params: Any, many: Any, context: dict[str, Any]) -> Any:
        if context["cursor"] is None and sql.lstrip().startswith(("SELECT", "WITH", "UPDATE", "INSERT")):
            sent.add(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield sent


def read_whole(sql: str) -> list[str]:
    """Return the tables that a statement would read whole, planned once for all parameters as the road's roles do."""
    first, *others = sql.split("%s")
    numbered = first + "".join(f"${number}{text}" for number, text in enumerate(others, start=1))
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("EXPLAIN (GENERIC_PLAN, FORMAT JSON) " + numbered.replace("%%", "%"))
        [[found]] = cursor.fetchall()
    plans = json.loads(found) if isinstance(found, str) else found
    return [node["Relation Name"] for node in nodes(plans[0]["Plan"]) if is_whole(node)]


def _whole(statements: set[str]) -> set[tuple[str, str]]:
    """Return the tables that grow and would be read whole, and by which statements."""
    return {(table, sql) for sql in statements for table in read_whole(sql) if table not in SMALL}


def change(owner_id: int, request: AmendOrder) -> None:
    """Ask for a change."""
    [result] = orders.submit([Submission(owner_id, request)], now=utc_now())
    assert isinstance(result, Order)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return a plan and what is below it."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def is_whole(node: dict[str, Any]) -> bool:
    """Tell whether a plan's node reads a table, and not by keys."""
    by_keys = "Index Cond" in node or node["Node Type"] == "Bitmap Heap Scan"
    return node["Node Type"].endswith("Scan") and "Relation Name" in node and not by_keys


def test_no_statement_of_the_road_reads_a_table_whole_that_grows(customer, tmp_path: Path, statements) -> None:
    make_instrument()
    make_contract()
    alice, bob = customer("alice", USDT=100_000), customer("bob", BTC=1, USDT=100_000)
    with worker(tmp_path) as shard:
        for symbol, quantity, price in (("BTCUSDT", "0.0010", "50000.00"), ("BTC-PERP", "1", "100")):
            for turn in range(2):
                asks = [
                    limit(symbol, "sell", quantity, price, client_order_id=f"{symbol} {turn} {n}") for n in range(3)
                ]
                *_, kept, moved = place(bob.id, *asks)
                place(alice.id, limit(symbol, "buy", quantity, price))
                shard.step(now=utc_now())
                orders.cancel(bob.id, [kept.id], now=utc_now())
                change(bob.id, AmendOrder(moved.id, price=Decimal(price) + 1))
                shard.step(now=utc_now())

    assert len(statements) > 20
    assert _whole(statements) == set()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")  # as the server does when it likes: then it knows how little there is
    assert _whole(statements) == set()
