"""Positions by REST: contract orders, what a trader holds, its history, leverage, margin, closing and turning round."""

from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import ProgrammingError, connection
from django.test.utils import CaptureQueriesContext

from exchange.api.tests.fixtures import Api
from ledger import tasks
from ledger.models import JournalEntry
from trading.models import Command, MarginRequest, Order, Outbox, PositionStep, PrivateEvent
from trading.services import margin_removals, position_changes
from trading.services.position_changes import MarginChange
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


@contextmanager
def acting(role: str) -> Any:
    """Run as a process of this role would."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET ROLE {role}")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET ROLE")


def long_10(people: Any, at: Desk) -> None:
    at.trade(people[0], people[1], 10, 100)


def nothing_changed(owner: Any, before: Any) -> bool:
    return (position(owner), owner.balances("USDT"), JournalEntry.objects.count()) == before


def now_of(owner: Any) -> Any:
    return position(owner), owner.balances("USDT"), JournalEntry.objects.count()


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


# --- leverage -----------------------------------------------------------------------------------------
def test_a_lower_leverage_draws_the_missing_initial_margin_and_a_higher_one_releases_nothing(
    alice: Api, people: Any, at: Desk
) -> None:
    long_10(people, at)

    lower = alice.put(f"{PATH}/leverage", {"leverage": 5}).data
    higher = alice.put(f"{PATH}/leverage", {"leverage": 20}).data

    assert (lower["leverage"], lower["margin"]) == (5, "200")
    assert (higher["leverage"], higher["margin"]) == (20, "200")
    assert people[0].balances("USDT") == {"available": 800, "order_hold": 0}
    assert list(JournalEntry.objects.order_by("-id").values_list("kind", "key")[:1]) == [
        ("MARGIN_ADD", f"position:{people[0].id}:{SYMBOL}:3")
    ]
    assert list(PositionStep.objects.filter(user_id=people[0].id).order_by("version").values_list("change", flat=True))[
        1:
    ] == ["LEVERAGE", "MARGIN_ADD", "LEVERAGE"]
    told = PrivateEvent.objects.filter(user_id=people[0].id, channel="positions").order_by("-sequence")
    assert told[0].payload["leverage"] == 20
    assert Outbox.objects.filter(type="PositionLeverageChanged").count() == 2


def test_the_leverage_that_there_is_changes_nothing(alice: Api, people: Any, at: Desk) -> None:
    long_10(people, at)
    alice.put(f"{PATH}/leverage", {"leverage": 5})
    before = now_of(people[0])

    again = alice.put(f"{PATH}/leverage", {"leverage": 5})

    assert (again.status, again.data["version"]) == (200, 3)
    assert nothing_changed(people[0], before)


def test_a_leverage_that_available_cannot_pay_for_is_refused(alice: Api, people: Any, at: Desk) -> None:
    at.trade(people[0], people[1], 90, 100)
    before = now_of(people[0])

    answer = alice.put(f"{PATH}/leverage", {"leverage": 1})

    assert (answer.status, answer.code) == (422, 6005)
    assert nothing_changed(people[0], before)
    assert alice.get(PATH).data["leverage"] == 10


@pytest.mark.parametrize("status", ["new", "pending_review"])
def test_the_leverage_stays_while_orders_are_open(alice: Api, people: Any, at: Desk, status: str) -> None:
    order = at.order(people[0], "buy", 1, 90)
    Order.objects.filter(id=order.id).update(status=status)

    answer = alice.put(f"{PATH}/leverage", {"leverage": 5})

    assert (answer.status, answer.code) == (409, 3038)


def test_the_leverage_is_bounded_by_the_brackets_and_the_positions_value(customer: Any, api: Api, at: Desk) -> None:
    rich, maker = customer("rich", USDT=1_000_000), customer("other", USDT=1_000_000)
    make_contract()
    user = api.as_user(rich.user)

    assert user.put(f"{PATH}/leverage", {"leverage": 101}).data["maximum"] == 100
    assert user.put(f"{PATH}/leverage", {"leverage": 100}).status == 200
    assert user.put(f"{PATH}/leverage", {"leverage": 50}).status == 200
    at.trade(rich, maker, 1001, 100)
    above = user.put(f"{PATH}/leverage", {"leverage": 51})
    assert (above.status, above.code, above.data["maximum"]) == (422, 3036, 50)
    set_mark("99")
    assert user.put(f"{PATH}/leverage", {"leverage": 51}).status == 200


@pytest.mark.parametrize("body", [{}, {"leverage": 0}, {"leverage": "5"}, {"leverage": 5.5}, {"leverage": 5, "x": 1}])
def test_a_leverage_that_is_no_whole_number_is_refused_by_field(alice: Api, body: dict[str, Any]) -> None:
    answer = alice.put(f"{PATH}/leverage", body)

    assert (answer.status, answer.code) == (400, 1004)


# --- margin -------------------------------------------------------------------------------------------
def test_margin_is_added_at_once_and_a_retry_adds_no_more(alice: Api, people: Any, at: Desk) -> None:
    long_10(people, at)
    body = {"amount": "50.5", "direction": "add", "client_margin_id": "one"}

    first, again = alice.post(f"{PATH}/margin", body), alice.post(f"{PATH}/margin", body)
    other = alice.post(f"{PATH}/margin", {**body, "amount": "51"})

    assert (first.status, first.data["state"], first.data["asset"]) == (201, "done", "USDT")
    assert (again.status, again.data) == (200, first.data)
    assert (other.status, other.code) == (409, 3043)
    assert position(people[0]) == (10, Decimal(1000), Decimal("150.5"))
    assert people[0].balance("USDT") == Decimal("849.5")
    assert alice.get(PATH).data["liquidation_price"] == "85"


def test_added_margin_makes_good_what_the_opening_could_not_fund(people: Any, at: Desk) -> None:
    long_10(people, at)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE positions SET margin_missing = 30 WHERE user_id = %s", [people[0].id])

    position_changes.change_margin(
        people[0].id, MarginChange(SYMBOL, "add", Decimal(20)), now=Order.objects.latest("id").created_at
    )

    with connection.cursor() as cursor:
        cursor.execute("SELECT margin_missing FROM positions WHERE user_id = %s", [people[0].id])
        assert cursor.fetchone() == (10,)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"amount": "901", "direction": "add"}, 6005),
        ({"amount": "1", "direction": "remove"}, 3037),
        ({"amount": "0.000000001", "direction": "add"}, None),
        ({"amount": 5, "direction": "add"}, 1004),
        ({"amount": "-5", "direction": "add"}, 1004),
        ({"amount": "5", "direction": "sideways"}, 1004),
        ({"amount": "5"}, 1004),
        ({"amount": "5", "direction": "add", "client_margin_id": "not ok"}, 1004),
    ],
)
def test_a_change_of_margin_that_cannot_be_is_refused_and_changes_nothing(
    alice: Api, people: Any, at: Desk, body: dict[str, Any], code: int | None
) -> None:
    long_10(people, at)
    before = now_of(people[0])

    answer = alice.post(f"{PATH}/margin", body)

    assert answer.status in {400, 422}
    assert code in {None, answer.code}
    assert nothing_changed(people[0], before)
    assert not MarginRequest.objects.exists()


def test_margin_needs_a_position(alice: Api) -> None:
    assert alice.post(f"{PATH}/margin", {"amount": "5", "direction": "add"}).code == 3045
    assert alice.post(f"{PATH}/margin", {"amount": "5", "direction": "remove"}).code == 3045


def test_a_locked_position_is_left_alone(alice: Api, people: Any, at: Desk) -> None:
    long_10(people, at)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE positions SET is_locked = true")

    assert alice.post(f"{PATH}/margin", {"amount": "5", "direction": "add"}).code == 3031
    assert alice.put(f"{PATH}/leverage", {"leverage": 5}).code == 3031
    assert alice.post(f"{PATH}/close", {}).code == 3031


def test_margin_out_waits_for_the_books_and_is_posted_by_the_back_office(
    alice: Api, people: Any, at: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trading.api_positions.REMOVAL_WAIT_S", 0)
    monkeypatch.setattr(margin_removals, "WAIT_SECONDS", 0)
    long_10(people, at)
    with acting("exchange_web"):
        added = alice.post(f"{PATH}/margin", {"amount": "50", "direction": "add"})
        at.order(people[0], "buy", 1, 90)
        asked = alice.post(f"{PATH}/margin", {"amount": "30", "direction": "remove", "client_margin_id": "out"})
    assert (added.status, asked.status, asked.data["state"]) == (201, 202, "waiting")
    assert position(people[0])[2] == 150

    with acting("exchange_back_office"):
        tasks.carry_out()
    assert alice.get(f"{PATH}/margin").data["items"][0]["state"] == "waiting"
    at.settle()
    with acting("exchange_back_office"):
        tasks.carry_out()
        tasks.carry_out()

    [done, _] = alice.get(f"{PATH}/margin").data["items"]
    assert (done["request_id"], done["state"], done["client_margin_id"]) == (asked.data["request_id"], "done", "out")
    assert position(people[0])[2] == 120
    assert people[0].balance("USDT") == 1000 - 120 - 9
    assert PositionStep.objects.filter(user_id=people[0].id).latest("version").change == "MARGIN_REMOVE"
    assert JournalEntry.objects.filter(kind="MARGIN_REMOVE").count() == 1


def test_the_web_may_not_let_margin_out(people: Any, at: Desk) -> None:
    long_10(people, at)
    now = Order.objects.latest("id").created_at
    position_changes.change_margin(people[0].id, MarginChange(SYMBOL, "add", Decimal(50)), now=now)
    asked, _ = position_changes.change_margin(people[0].id, MarginChange(SYMBOL, "remove", Decimal(30)), now=now)

    with acting("exchange_web"), pytest.raises(ProgrammingError, match="exchange_web may not post MARGIN_REMOVE"):
        margin_removals.carry_out(now)

    asked.refresh_from_db()
    assert asked.state == "waiting"
    assert position(people[0])[2] == 150


def test_margin_out_is_judged_again_when_the_books_have_caught_up(
    alice: Api, people: Any, at: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trading.api_positions.REMOVAL_WAIT_S", 0)
    long_10(people, at)
    alice.post(f"{PATH}/margin", {"amount": "50", "direction": "add"})
    alice.post(f"{PATH}/margin", {"amount": "50", "direction": "remove"})

    set_mark("95")
    at.settle()
    tasks.carry_out()

    [asked, _] = alice.get(f"{PATH}/margin").data["items"]
    assert (asked["state"], asked["reason"]) == ("refused", "MARGIN_TOO_SMALL")
    assert position(people[0])[2] == 150
    assert alice.post(f"{PATH}/margin", {"amount": "5.000001", "direction": "remove"}).data["maximum"] == "5"


def test_margin_that_a_waiting_order_leans_on_stays(alice: Api, people: Any, at: Desk) -> None:
    long_10(people, at)
    alice.post(f"{PATH}/margin", {"amount": "400", "direction": "add"})
    stop = at.order(people[0], "sell", None, None, type="stop", stop_price=Decimal(60), close_position=True,
                    time_in_force="gtc")  # fmt: skip
    at.settle()

    answer = alice.post(f"{PATH}/margin", {"amount": "400", "direction": "remove"})

    assert (answer.status, answer.code, answer.data["order_id"]) == (409, 3044, stop.id)


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

    assert alice.post("/positions/BTCUSDT/close", {}).code == 3035
    assert alice.post("/positions/NONE/reverse", {}).code == 5001
    assert alice.post(f"{PATH}/close", {"quantity": "1"}).code == 1004
    assert Command.objects.filter(payload__isnull=False).count() == 2  # the opening of the contract and its mark


# --- cost ------------------------------------------------------------------------------------------------
def test_a_change_takes_the_same_statements_with_one_order_open_and_with_twenty(people: Any, at: Desk) -> None:
    long_10(people, at)
    now = Order.objects.latest("id").created_at
    counts = []
    for orders in (1, 19):
        for _ in range(orders):
            at.order(people[0], "buy", 1, 50)
        with CaptureQueriesContext(connection) as captured:
            position_changes.change_margin(people[0].id, MarginChange(SYMBOL, "add", Decimal(1)), now=now)
        counts.append(len(captured))

    assert counts == [18, 18]
