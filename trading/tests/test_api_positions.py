"""Positions by REST: contract orders, what a trader holds, its history, closing and turning round."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from exchange.api.tests.fixtures import Api
from trading.models import Command, Order, Outbox, PrivateEvent
from trading.tests.contracts import SYMBOL, Desk, desk, make_contract, position, set_mark
from trading.tests.road import make_instrument

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]

PATH = f"/positions/{SYMBOL}"


@pytest.fixture
def people(customer: Any) -> tuple[Any, Any]:
    """Alice with 1,000 USDT, and the maker whom she trades with; the contract is open and marked at 100."""
    made = customer("alice", USDT=1000), customer("maker", USDT=1_000_000)
    make_contract()
    return made


@pytest.fixture
def at(tmp_path: Path) -> Any:
    with desk(tmp_path) as opened:
        yield opened


@pytest.fixture
def alice(people: Any, api: Api) -> Api:
    return api.as_user(people[0].user)


def long_10(people: Any, at: Desk) -> None:
    at.trade(people[0], people[1], 10, 100)


# --- orders ------------------------------------------------------------------------------------------
def test_a_contract_order_says_what_it_reserves_and_holds(alice: Api, people: Any, at: Desk) -> None:
    long_10(people, at)

    data = alice.post(
        "/orders", {"symbol": SYMBOL, "side": "sell", "type": "limit", "quantity": "15", "price": "110"}
    ).data

    assert (data["intent"], data["reduce_quantity"], data["increase_quantity"]) == ("reverse", "10", "5")
    assert (data["leverage"], data["reduce_only"], data["close_position"]) == (10, False, False)
    assert alice.get(PATH).data["reserved_quantity"] == "10"


def test_an_order_that_closes_the_position_names_no_quantity(alice: Api, people: Any, at: Desk) -> None:
    long_10(people, at)
    stop = {"symbol": SYMBOL, "side": "sell", "type": "stop", "stop_price": "95", "close_position": True}

    accepted, twice = alice.post("/orders", stop), alice.post("/orders", {**stop, "quantity": "10"})

    assert (accepted.status, accepted.data["quantity"], accepted.data["close_position"]) == (201, None, True)
    assert (twice.status, twice.code) == (422, 3042)


def test_a_reduce_only_order_without_a_position_is_refused(alice: Api) -> None:
    order = {"symbol": SYMBOL, "side": "sell", "type": "market", "quantity": "1", "reduce_only": True}

    answer = alice.post("/orders", order)

    assert (answer.status, answer.code) == (422, 3030)
    assert not Order.objects.exists()


def test_a_retry_with_reduce_only_changed_is_another_order(alice: Api, people: Any, at: Desk) -> None:
    long_10(people, at)
    order = {"symbol": SYMBOL, "side": "sell", "type": "limit", "quantity": "1", "price": "110", "client_order_id": "x"}

    alice.post("/orders", order)

    assert alice.post("/orders", {**order, "reduce_only": False}).status == 200
    assert alice.post("/orders", {**order, "reduce_only": True}).code == 3003


def test_what_an_order_reserves_is_told_as_a_domain_event_of_the_position(alice: Api, people: Any, at: Desk) -> None:
    long_10(people, at)
    before = Outbox.objects.latest("id").id

    order = {"symbol": SYMBOL, "side": "sell", "type": "limit", "quantity": "4", "price": "110"}
    number = alice.post("/orders", order).data["order_id"]
    alice.post("/orders", {**order, "side": "buy", "price": "90"})
    reserved = told_of_position(before)
    alice.delete(f"/orders/{number}")
    at.settle()

    assert [event["reserved_quantity"] for event in reserved] == ["4"]
    about = {"user_id": people[0].id, "trace": Order.objects.get(id=number).trace}
    assert reserved == [about | private_before_the_cancel(people[0])]
    assert [event["reserved_quantity"] for event in told_of_position(before)] == ["4", "0"]


def told_of_position(after: int) -> list[dict[str, Any]]:
    """Return what was told of positions after an event."""
    events = Outbox.objects.filter(id__gt=after, type="PositionUpdated").order_by("id")
    return [event.payload for event in events]


def private_before_the_cancel(owner: Any) -> dict[str, Any]:
    """Return what the owner's screen was told when the order reserved: the last but one of its position."""
    facts = PrivateEvent.objects.filter(user_id=owner.id, channel="positions").order_by("-sequence")
    return dict(facts[1].payload)


# --- what is held -------------------------------------------------------------------------------------
def test_positions_show_spot_holdings_and_contracts_valued_at_the_mark(alice: Api, people: Any, at: Desk) -> None:
    make_instrument()
    people[0].deposit(BTC=1)
    long_10(people, at)
    set_mark("105")

    spot, contract = alice.get("/positions").data

    assert (spot["symbol"], spot["kind"], spot["quantity"]) == ("BTCUSDT", "SPOT", "1")
    assert contract == {
        "symbol": SYMBOL,
        "kind": "PERP",
        "quantity": "10",
        "entry_price": "100",
        "mark_price": "105",
        "margin": "100",
        "margin_missing": "0",
        "leverage": 10,
        "unrealized_pnl": "50",
        "realized_pnl": "0",
        "margin_ratio": "0.035",
        "roe": "0.5",
        "liquidation_price": "90",
        "reserved_quantity": "0",
        "is_locked": False,
        "version": 1,
    }


def test_a_closed_position_is_not_listed_but_keeps_its_leverage(alice: Api) -> None:
    alice.put(f"{PATH}/leverage", {"leverage": 25})

    assert alice.get("/positions").data == []
    assert (alice.get(PATH).data["leverage"], alice.get(PATH).data["quantity"]) == (25, "0")


def test_another_traders_position_does_not_exist_here(people: Any, at: Desk, api: Api) -> None:
    long_10(people, at)
    maker = api.as_user(people[1].user)

    assert maker.get(PATH).data["quantity"] == "-10"
    assert [step["quantity"] for step in maker.get(f"{PATH}/history").data["items"]] == ["-10"]
    assert maker.get(f"{PATH}/margin").data["items"] == []


def test_steps_of_the_history_add_up_to_the_position_and_come_in_pages(alice: Api, people: Any, at: Desk) -> None:
    long_10(people, at)
    at.trade(people[1], people[0], 4, 110)
    alice.post(f"{PATH}/margin", {"amount": "20", "direction": "add"})

    first = alice.get(f"{PATH}/history?limit=2").data
    second = alice.get(f"{PATH}/history?limit=2&cursor={first['next_cursor']}").data

    steps = first["items"] + second["items"]
    assert [(step["version"], step["change"]) for step in steps] == [(3, "MARGIN_ADD"), (2, "CLOSE"), (1, "OPEN")]
    assert second["next_cursor"] is None
    assert (steps[1]["price"], steps[1]["realized_pnl"], steps[1]["quantity"]) == ("110", "40", "-4")
    sums = [sum(Decimal(step[name]) for step in steps) for name in ("quantity", "open_cost", "margin")]
    assert tuple(sums) == position(people[0]) == (6, Decimal(600), Decimal(80))


@pytest.mark.parametrize("tail", ["", "/history", "/margin"])
def test_a_spot_market_has_no_position(alice: Api, tail: str) -> None:
    make_instrument()

    answer = alice.get(f"/positions/BTCUSDT{tail}")

    assert (answer.status, answer.code) == (422, 3035)
    assert alice.get(f"/positions/NONE{tail}").code == 5001


@pytest.mark.parametrize("tail", ["", "/history", "/margin", "/leverage", "/close", "/reverse"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_nothing_of_a_position_is_open_to_the_public(people: Any, method: str, tail: str) -> None:
    answer = Api().send(method, f"{PATH}{tail}", {"leverage": 5} if method != "GET" else None)

    assert (answer.status, answer.code) == (401, 2001)


# --- closing and turning round ---------------------------------------------------------------------------
def test_closing_sells_what_there_is_at_the_market_once(alice: Api, people: Any, at: Desk) -> None:
    long_10(people, at)
    at.order(people[1], "buy", 20, 99)

    placed = alice.post(f"{PATH}/close", {"client_order_id": "bye"})
    again = alice.post(f"{PATH}/close", {"client_order_id": "bye"})
    at.settle()
    after = alice.post(f"{PATH}/close", {"client_order_id": "bye"})

    assert (placed.status, placed.data["side"], placed.data["type"]) == (201, "sell", "market")
    assert placed.data["close_position"] is True
    assert (again.status, again.data["order_id"]) == (200, placed.data["order_id"])
    assert (after.status, after.data["status"]) == (200, "filled")
    assert position(people[0]) == (0, Decimal(0), Decimal(0))
    assert alice.post(f"{PATH}/close", {}).code == 3030


def test_a_reversal_trades_twice_the_position(alice: Api, people: Any, at: Desk) -> None:
    long_10(people, at)
    at.order(people[1], "buy", 30, 100)

    placed = alice.post(f"{PATH}/reverse", {"client_order_id": "turn"})
    at.settle()

    assert (placed.status, placed.data["quantity"], placed.data["intent"]) == (201, "20", "reverse")
    assert position(people[0])[0] == -10
    assert alice.post(f"{PATH}/reverse", {"client_order_id": "turn"}).status == 200
    assert alice.post(f"{PATH}/close", {"client_order_id": "turn"}).code == 3003


def test_nothing_can_be_closed_on_a_spot_market(alice: Api) -> None:
    make_instrument()
    commands = Command.objects.count()

    assert alice.post("/positions/BTCUSDT/close", {}).code == 3035
    assert alice.post("/positions/NONE/reverse", {}).code == 5001
    assert alice.post(f"{PATH}/close", {"quantity": "1"}).code == 1004
    assert Command.objects.count() == commands
