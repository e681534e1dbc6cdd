"""Scenarios restated from the tests of other engines, as far as today's order types reach.

They are not part of the project; where they are absent the test says so and skips.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from matching_worker.protocol import EventKind, OrderType, Reason, Rows, Side, TimeInForce
from matching_worker.tests.factories import MAX_PRICE, Desk

FILE = Path(__file__).parents[2].parent / "shared" / "data" / "scenarios.json"
TAGS_OF_TODAY = {"market", "amend", "ioc", "reduce"}
REASONS = {
    "unknown_order": Reason.UNKNOWN_ORDER,
    "duplicate_id": Reason.DUPLICATE_ORDER_ID,
    "bad_qty": Reason.BAD_QTY,
    "bad_price": Reason.BAD_PRICE,
    "qty_below_filled": Reason.BAD_QTY,
}


def scenarios() -> list[Any]:
    """Return the scenarios that need nothing but what the engine has today."""
    if not FILE.is_file():
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"no scenarios at {FILE}"))]
    found = json.loads(FILE.read_text())["scenarios"]
    return [pytest.param(one, id=one["id"]) for one in found if set(one["needs"]) <= TAGS_OF_TODAY]


class Player:
    """Plays the steps of one scenario; its ids are words, the engine's are numbers."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.ids: dict[str, int] = {}
        self.filled: dict[int, int] = {}

    def order_id(self, word: str) -> int:
        return self.ids.setdefault(word, len(self.ids) + 1)

    def word(self, order_id: int) -> str:
        return next(word for word, number in self.ids.items() if number == order_id)

    def play(self, command: dict[str, Any]) -> list[dict[str, Any]]:
        """Send one step's command; returns the events that scenarios speak of."""
        return self.told(getattr(self, command["op"])(command, self.order_id(command["id"])))

    def new(self, command: dict[str, Any], order_id: int) -> Rows:
        side = Side[command["side"].upper()]
        order_type = OrderType[command["type"].upper()]
        price = command.get("price", MAX_PRICE if side == Side.BUY else 1)
        return self.desk.limit(
            side,
            order_id,
            command["qty"],
            price,
            order_type=order_type,
            time_in_force=TimeInForce[command.get("tif", "GTC")],
        )

    def cancel(self, command: dict[str, Any], order_id: int) -> Rows:
        return self.desk.cancel(order_id)

    def reduce(self, command: dict[str, Any], order_id: int) -> Rows:
        return self.desk.reduce(order_id, command["qty"])

    def amend(self, command: dict[str, Any], order_id: int) -> Rows:
        order = self.desk.engine.order(order_id)
        price, open_qty = (order.price_ticks, order.open_lots) if order else (1, 1)
        if "total_qty" in command:
            open_qty = command["total_qty"] - self.filled.get(order_id, 0)
        return self.desk.amend(order_id, command.get("open_qty", open_qty), command.get("price", price))

    def told(self, events: Rows) -> list[dict[str, Any]]:
        """Return events as scenarios write them."""
        told: list[dict[str, Any]] = []
        for event in events:
            kind, word = EventKind(event["kind"]), self.word(event["order_id"])
            price, qty = int(event["price_ticks"]), int(event["qty_lots"])
            if kind == EventKind.FILL:
                maker_id = int(event["maker_order_id"])
                for order_id in (int(event["order_id"]), maker_id):
                    self.filled[order_id] = self.filled.get(order_id, 0) + qty
                told.append({"event": "fill", "taker": word, "maker": self.word(maker_id), "price": price, "qty": qty})
            elif kind == EventKind.CANCELLED:
                told.append({"event": "canceled", "id": word, "qty": qty})
            elif kind == EventKind.REDUCED:
                told.append({"event": "reduced", "id": word, "qty": qty})
            elif kind == EventKind.REJECTED:
                told.append({"event": "rejected", "reason": Reason(event["reason"])})
        return told


@pytest.mark.parametrize("scenario", scenarios())
def test_the_engine_does_what_the_scenario_says(scenario: dict[str, Any]) -> None:
    player = Player()

    for step in scenario["steps"]:
        expected = [
            event | {"reason": REASONS[event["reason"]]} if event["event"] == "rejected" else event
            for event in step["expect"]
        ]
        assert player.play(step["cmd"]) == expected, step

    book = player.desk.book()
    for side in ("bids", "asks"):
        found = [[price, qty, [player.word(order_id) for order_id in ids]] for price, qty, ids in book[side]]
        assert found == scenario["final"][side]
    for word, status in scenario["orders"].items():
        assert status == "filled"
        assert player.desk.engine.order(player.order_id(word)) is None
        assert player.filled[player.order_id(word)] > 0


def test_the_scenarios_of_today_are_not_fewer_than_known() -> None:
    if not FILE.is_file():
        pytest.skip(f"no scenarios at {FILE}")

    assert len(scenarios()) == 30
