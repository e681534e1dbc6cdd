"""A debt over REST, from the loss that leaves it to the deposit that ends it: flag, due date, what it blocks."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from exchange.api.tests.fixtures import Api
from ledger.models import JournalEntry
from ledger.transfers.tests.conftest import Desk as BackOffice
from trading.models import Order
from trading.tests.contracts import SYMBOL, Desk, desk, make_contract, set_mark
from trading.wire import moment

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]

BUY = {"symbol": SYMBOL, "side": "buy", "type": "limit", "quantity": "1", "price": "90"}


@pytest.fixture
def people(customer: Any) -> tuple[Any, Any]:
    """Alice, who is about to lose more than she has, and the maker; the contract is marked at 60."""
    made = customer("alice", USDT=202), customer("maker", USDT=1_000_000)
    make_contract(mark="60")
    return made


@pytest.fixture
def alice(people: Any, api: Api) -> Api:
    return api.as_user(people[0].user)


@pytest.fixture
def at(tmp_path: Path) -> Any:
    with desk(tmp_path) as opened:
        yield opened


def lose(at: Desk, alice: Any, maker: Any) -> Order:
    """Let alice sell 12 at 60 and buy 13 at 95 before the sale is settled; return an order of hers that rests."""
    resting = at.order(alice, "buy", 1, 50)
    at.order(maker, "buy", 12, 60)
    at.order(alice, "sell", 12, 60)
    set_mark("95")
    at.order(maker, "sell", 13, 95)
    at.order(alice, "buy", 13, 95)
    at.settle()
    return resting


def usdt(client: Api) -> Any:
    [found] = [balance for balance in client.get("/account").data["balances"] if balance["asset"] == "USDT"]
    return found


def test_a_lost_position_leaves_a_debt_that_is_flagged_and_due_in_a_week(alice: Api, people: Any, at: Desk) -> None:
    resting = lose(at, *people)

    began = JournalEntry.objects.filter(lines__account__code="2010").earliest("id").recorded_at
    assert usdt(alice) == {
        "asset": "USDT",
        "balance": "0",
        "frozen_balance": "0",
        "margin": "9.5",
        "net_balance": "-218",  # 202 less the loss of 12 * (95 - 60)
        "debt": "227.5",
        "debt_flagged": True,
        "debt_due_at": moment(began + timedelta(days=7)),
    }
    ended = alice.get(f"/orders/{resting.id}").data
    assert (ended["status"], ended["reason"]) == ("cancelled", "IN_DEBT")


def test_a_debtor_opens_nothing_and_withdraws_nothing_but_may_close(alice: Api, people: Any, at: Desk) -> None:
    address = BackOffice().address(people[0])
    lose(at, *people)
    before = Order.objects.count(), JournalEntry.objects.count(), usdt(alice)

    opening = [
        alice.post("/orders", BUY),
        alice.post("/orders", {**BUY, "side": "sell", "quantity": "2", "price": "100"}),
        alice.post(f"/positions/{SYMBOL}/reverse", {}),
    ]
    foreseen = alice.post("/orders/preview", BUY).data["refusal"]
    leaving = alice.post(
        "/withdrawals", {"address_id": address.pk, "amount": "10", "password": "correct horse battery"}
    )

    assert [(answer.status, answer.code) for answer in opening] == [(422, 3033)] * 3
    assert foreseen["code"] == 3033
    assert (leaving.status, leaving.code) == (409, 4101)
    assert (Order.objects.count(), JournalEntry.objects.count(), usdt(alice)) == before
    assert alice.post(f"/positions/{SYMBOL}/close", {}).status == 201


def test_whatever_comes_repays_first_and_then_everything_is_as_before(alice: Api, people: Any, at: Desk) -> None:
    lose(at, *people)

    at.order(people[1], "buy", 1, 100)
    alice.post(f"/positions/{SYMBOL}/close", {})
    at.settle()
    assert (usdt(alice)["balance"], usdt(alice)["debt"]) == ("0", "213")  # margin 9.5 and a profit of 5
    people[0].deposit(USDT=300)

    free = usdt(alice)
    assert (free["balance"], free["debt"], free["debt_flagged"], free["debt_due_at"]) == ("87", "0", False, None)
    assert alice.post("/orders", BUY).status == 201
