"""The vectors of VECTORS.md, traded as written through services and through REST; and what else positions leave."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from exchange.api.tests.fixtures import Api
from exchange.kernel.clock import utc_now
from exchange.vectors import page, play
from exchange.vectors.page import Vector
from exchange.vectors.rest import Rest
from exchange.vectors.road import Road
from exchange.vectors.services import Services
from ledger.models import JournalEntry
from trading import audit
from trading.models import Outbox
from trading.services import contract_books
from trading.tests.contracts import desk, make_contract, position

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]
VECTORS = page.read()


def through_services(symbol: str) -> Road:
    """Trade by the services."""
    return Services(symbol)


def through_rest(symbol: str) -> Road:
    """Trade over REST, each answer held against the OpenAPI document."""
    api = Api()

    def send(method: str, path: str, body: Any, headers: dict[str, str]) -> tuple[int, Any]:
        answer = api.send(method, path, body, headers=headers)
        return answer.status, answer.body

    return Rest(symbol, send)


def test_the_page_has_every_vector_of_the_design() -> None:
    assert [vector.title.partition(".")[0] for vector in VECTORS] == ["1", "2", "3", "4", "5", "6"]
    assert page.PAGE.read_text().count("```happens") == sum(len(vector.blocks) for vector in VECTORS)


@pytest.mark.parametrize("road", [through_services, through_rest])
@pytest.mark.parametrize("vector", VECTORS, ids=[vector.title.partition(".")[0] for vector in VECTORS])
def test_a_vector_trades_as_written(vector: Vector, road: Callable[[str], Road], tmp_path: Path) -> None:
    symbol = play.symbol_of(vector)
    with desk(tmp_path) as at:
        played = play.Play(symbol, road(symbol), at.settle)
        for block in vector.blocks:
            assert played.block(block.steps) == block.shows

    assert [item for item in audit.invariants() if not item.ok] == []


@pytest.fixture
def traders(customer):
    """Alice, and the maker whom she trades with."""
    return customer("alice", USDT=100_000), customer("maker", USDT=1_000_000)


def kinds(owner) -> list[str]:
    """Return what kinds of entries a trader's fills made, in order."""
    return list(
        JournalEntry.objects.filter(key__startswith="trade:", lines__account__owner_id=owner.id)
        .distinct()
        .order_by("id")
        .values_list("kind", flat=True)
    )


def test_lots_that_were_meant_to_close_and_open_are_told_as_compensation(traders, tmp_path: Path) -> None:
    alice, maker = traders
    make_contract()
    with desk(tmp_path) as at:
        at.trade(alice, maker, 8, 100)
        at.order(alice, "sell", 5, 101)
        at.settle()
        at.order(maker, "buy", 8, 100)
        at.order(alice, "sell", 8, 100)
        at.settle()
        at.order(maker, "buy", 5, 101)
        at.settle()

    assert kinds(alice) == ["OPEN_FILL", "OPEN_TO_CLOSE", "CLOSE_TO_OPEN"]
    assert position(alice) == (-5, Decimal(-505), Decimal("50.5"))
    told = Outbox.objects.get(type="PositionCloseToOpenCompensation")
    assert (told.payload["user_id"], told.payload["quantity"]) == (alice.id, "5")


def test_what_a_debtors_orders_would_open_is_taken_off_once_and_what_they_reduce_stays(traders, tmp_path: Path) -> None:
    alice, maker = traders
    make_contract()
    with desk(tmp_path) as at:
        at.trade(alice, maker, 10, 100)
        opening, mixed = at.order(alice, "buy", 3, 90), at.order(alice, "sell", 15, 120)
        at.settle()

        taken = contract_books.take_off_increases([alice.id], utc_now())

        assert [(item.order_id, item.lots, item.is_whole) for item in taken] == [
            (opening.id, 3, True),
            (mixed.id, 5, False),
        ]
        assert contract_books.take_off_increases([alice.id], utc_now()) == []
