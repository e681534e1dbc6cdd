"""Positions and changes of margin in the admin: to read, for those who may see the books, and nothing more."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from exchange.kernel.clock import utc_now
from ledger.access import Role
from ledger.services import roles
from trading.services import position_changes
from trading.services.position_changes import MarginChange
from trading.tests.contracts import SYMBOL, desk, make_contract

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]
LISTS = ["/admin/trading/positionrow/", "/admin/trading/marginrequest/"]


@pytest.fixture
def position(customer: Any, tmp_path: Path) -> Any:
    alice, maker = customer("alice", USDT=1000), customer("maker", USDT=100_000)
    make_contract()
    with desk(tmp_path) as at:
        at.trade(alice, maker, 10, 100)
    position_changes.change_margin(alice.id, MarginChange(SYMBOL, "add", Decimal(7)), now=utc_now())
    return alice


@pytest.mark.parametrize("path", LISTS)
def test_finance_people_read_them_and_change_nothing(position: Any, path: str) -> None:
    auditor = get_user_model().objects.create_user("auditor", password="a-long-secret-7", is_staff=True)
    roles.grant(auditor.pk, Role.AUDITOR)
    client = Client()
    client.force_login(auditor)

    page = client.get(path)

    assert page.status_code == 200
    assert SYMBOL in page.content.decode()
    assert client.get(f"{path}?q={position.id}").status_code == 200
    assert client.get(f"{path}add/").status_code == 403


@pytest.mark.parametrize("path", LISTS)
def test_traders_do_not_get_in(position: Any, path: str) -> None:
    client = Client()
    client.force_login(position.user)

    assert client.get(path).status_code == 302
