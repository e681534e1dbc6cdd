"""The story of a contract order tells its parts, what its fills did to the position, and every entry of its side."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ledger.tracing import story
from ledger.tracing.labels import LABELS
from ledger.tracing.views import TITLES
from trading.models import Trade
from trading.tests.contracts import desk, make_contract

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]


def details(of: story.Story, name: str) -> list[dict[str, Any]]:
    """Return the details of a section's facts."""
    return next(([fact.details for fact in part.facts] for part in of.sections if part.name == name), [])


def test_the_story_of_a_reversal_tells_parts_steps_and_both_entries(customer, tmp_path: Path) -> None:
    alice, maker = customer("alice", USDT=1_000), customer("maker", USDT=10_000)
    make_contract(taker_fee_rate=Decimal("0.0005"))
    with desk(tmp_path) as at:
        at.trade(alice, maker, 10, 100)
        at.order(maker, "buy", 15, 110)
        turning = at.order(alice, "sell", 15, 110)
        at.settle()
    trade = Trade.objects.latest("id")

    told = story.tell(f"order:{turning.id}", thorough=True)

    parts = {row["part"]: (row["quantity"], row["left"], row["state"]) for row in details(told, "order_parts")}
    assert parts == {"INCREASE": ("5", "0", "CONFIRMED"), "REDUCE": ("10", "0", "CONFIRMED")}
    steps = [(row["change"], row["quantity"], row["result"], row["fee"]) for row in details(told, "position_steps")]
    assert steps == [("CLOSE", "-10", "100", "0.55"), ("OPEN", "-5", "0", "0.275")]
    keys = [row["key"] for row in details(told, "entries")]
    assert keys[0] == f"order:{turning.id}:freeze"
    assert {f"trade:{trade.id}:sell:FLIP_CLOSE", f"trade:{trade.id}:sell:FLIP_OPEN"} <= set(keys)
    assert {part.name for part in told.sections} <= set(TITLES)
    names = {name for part in told.sections for fact in part.facts for name in fact.details}
    assert names <= set(LABELS)


def test_the_story_of_a_trade_tells_the_steps_of_both_sides(customer, tmp_path: Path) -> None:
    alice, maker = customer("alice", USDT=1_000), customer("maker", USDT=10_000)
    make_contract()
    with desk(tmp_path) as at:
        at.trade(alice, maker, 10, 100)
    trade = Trade.objects.get()

    told = story.tell(f"trade:{trade.id}", thorough=False)

    assert sorted((row["user"], row["quantity"]) for row in details(told, "position_steps")) == sorted(
        [(alice.id, "10"), (maker.id, "-10")]
    )
