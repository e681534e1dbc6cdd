"""Positions are rebuilt from their history and from what orders reserve, exactly; neither of them changes."""

from decimal import Decimal
from pathlib import Path

import pytest

from ledger.tests.reconciling import damage
from ledger.tests.test_rebuild import table
from trading import audit, rebuild_positions
from trading.tests.contracts import desk, make_contract
from trading.tests.test_contract_audit import everything_that_happens

pytestmark = pytest.mark.django_db


@pytest.fixture
def story(customer, tmp_path: Path) -> int:
    """Trade everything that happens; return whose positions are damaged."""
    alice, maker = customer("alice", USDT=100_000), customer("maker", USDT=1_000_000)
    make_contract(contract_size=Decimal("0.1"), maker_fee_rate=Decimal("0.00021"), taker_fee_rate=Decimal("0.00053"))
    with desk(tmp_path) as at:
        everything_that_happens(at, alice, maker)
    return int(alice.id)


def state() -> dict[str, list[tuple]]:
    """Return positions but for the moment of their last update, and what they are derived from."""
    return {
        "positions": [row[:-1] for row in table("positions", "user_id, instrument_id")],
        "events": table("position_events", "user_id, instrument_id, version"),
        "parts": table("order_parts", "order_id, kind"),
    }


DAMAGES = {
    "another cost": "UPDATE positions SET open_cost = open_cost + 1 WHERE user_id = {alice}",
    "another size, margin and version": "UPDATE positions SET quantity = quantity + 1, margin = margin + 1,"
    " version = version + 1 WHERE user_id = {alice}",
    "another reservation": "UPDATE positions SET reserved = reserved - 1 WHERE user_id = {alice}",
    "another leverage and result": "UPDATE positions SET leverage = 3, realised_pnl = 0 WHERE user_id = {alice}",
    "a position that is gone": "DELETE FROM positions WHERE user_id = {alice}",
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_position_is_named_and_put_right(story, what: str) -> None:
    whole = state()
    damage(DAMAGES[what].format(alice=story))

    compared = rebuild_positions.positions(write=False, show=lambda _done, _total: None)
    assert (compared.rows, compared.different) == (2, 1)
    assert compared.named == [f"position of user {story} in BTC-PERP"]
    assert state() != whole

    assert rebuild_positions.positions(write=True, show=lambda _done, _total: None).different == 1
    assert state() == whole
    assert [item for item in audit.invariants() if not item.ok] == []
    assert rebuild_positions.positions(write=True, show=lambda _done, _total: None).different == 0
