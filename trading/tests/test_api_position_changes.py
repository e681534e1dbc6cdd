"""What traders change of their positions by REST: leverage and margin, and the road of margin that goes out."""

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
from ledger.services import office_rounds
from marketdata import selectors as instruments
from trading.margin_models import MarginRequest
from trading.models import Order, Outbox, PositionStep, PrivateEvent
from trading.services import margin_removals, position_changes
from trading.services.position_changes import MarginChange
from trading.tests.contracts import SYMBOL, Desk, desk, make_contract, position, set_mark

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
    assert office_rounds.standing().waiting == {"margin_removals": 1}

    with acting("exchange_back_office"):
        tasks.carry_out()
    assert alice.get(f"{PATH}/margin").data["items"][0]["state"] == "waiting"
    at.settle()
    with acting("exchange_back_office"):
        tasks.carry_out()
        tasks.carry_out()

    [done, _] = alice.get(f"{PATH}/margin").data["items"]
    assert (done["request_id"], done["state"], done["client_margin_id"]) == (asked.data["request_id"], "done", "out")
    assert office_rounds.standing().waiting == {}
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


# --- cost ------------------------------------------------------------------------------------------------
def test_a_change_takes_the_same_statements_with_one_order_open_and_with_twenty(
    people: Any, at: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instruments, "SPEC_SECONDS", 3600)  # read anew once a second, which is not a change's cost
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
