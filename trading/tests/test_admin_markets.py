"""Markets in the admin: their state reaches the engine, and all their orders can be ended, after a second question."""

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from marketdata.models import Instrument
from matching_worker.protocol import CommandKind, TradingState
from trading.models import Command, Order
from trading.services import command_log
from trading.tests.road import fresh, limit, make_instrument, place, run_worker_once

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]

LIST = "admin:marketdata_instrument_changelist"


def _signed_in(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def root() -> Client:
    return _signed_in(get_user_model().objects.create_superuser("root"))


@pytest.fixture
def resting(customer: Any) -> list[Order]:
    """Two open orders of two traders."""
    make_instrument()
    traders = customer("alice", USDT=1000), customer("bob", USDT=1000)
    return [place(trader.id, limit("BTCUSDT", "buy", "0.0100", "49000"))[0] for trader in traders]


def _form(instrument: Instrument, **changes: Any) -> dict[str, Any]:
    names = [field.name for field in Instrument._meta.fields if field.name not in {"id", "is_demo"}]
    values = {name: getattr(instrument, f"{name}_id", None) or getattr(instrument, name) for name in names}
    brackets = {"brackets-TOTAL_FORMS": 0, "brackets-INITIAL_FORMS": 0}
    return {name: "" if value is None else value for name, value in (values | brackets | changes).items()}


def _ask(client: Client, **more: str) -> Any:
    chosen = [str(one.pk) for one in Instrument.objects.all()]
    return client.post(reverse(LIST), {"action": "cancel_all_orders", "_selected_action": chosen, **more}, follow=True)


def _last_command() -> tuple[int, int]:
    commands, _ = command_log.read(0, 0, 100)
    return int(commands["kind"][-1]), int(commands["qty_lots"][-1])


def test_it_asks_once_more_and_says_how_many_orders_there_are(root: Client, resting: list[Order]) -> None:
    before = Command.objects.count()

    page = _ask(root)

    text = page.content.decode()
    assert page.status_code == 200
    assert "BTCUSDT" in text
    assert "2 open orders" in text
    assert 'name="post" value="yes"' in text
    assert reverse(LIST) in text
    assert Command.objects.count() == before
    run_worker_once()


def test_confirmed_it_ends_them_all_and_is_logged(root: Client, resting: list[Order]) -> None:
    page = _ask(root, post="yes")
    run_worker_once()

    assert "BTCUSDT: 2 orders asked to be cancelled." in page.content.decode()
    assert {(fresh(order).status, fresh(order).reason) for order in resting} == {("cancelled", "OPERATOR")}
    entry = LogEntry.objects.get()
    assert (entry.user.get_username(), entry.object_repr) == ("root", "BTCUSDT")
    assert "2 orders asked to be cancelled" in entry.get_change_message()


@pytest.mark.parametrize(("right", "works"), [("change_instrument", False), ("change_order", True)])
def test_only_who_may_decide_on_orders_may_end_them(resting: list[Order], right: str, works: Any) -> None:
    clerk = get_user_model().objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=["view_instrument", "change_instrument", right]))

    _ask(_signed_in(clerk), post="yes")
    run_worker_once()

    assert {fresh(order).status for order in resting} == ({"cancelled"} if works else {"new"})
    assert LogEntry.objects.exists() is works


def test_a_customer_cannot_even_ask(resting: list[Order]) -> None:
    _ask(_signed_in(get_user_model().objects.get(username="alice")), post="yes")
    run_worker_once()

    assert {fresh(order).status for order in resting} == {"new"}


def test_a_state_changed_in_the_form_reaches_the_engine(root: Client, resting: list[Order]) -> None:
    market = Instrument.objects.get()
    address = reverse("admin:marketdata_instrument_change", args=[market.pk])

    assert root.post(address, _form(market, status="HALTED")).status_code == 302

    assert Instrument.objects.get().status == "HALTED"
    assert _last_command() == (CommandKind.SET_STATE, TradingState.HALTED)
    market.refresh_from_db()
    root.post(address, _form(market, status="AUCTION"))
    market.refresh_from_db()
    root.post(address, _form(market, status="TRADING", band_rate="0.1"))
    assert _last_command() == (CommandKind.UNCROSS, TradingState.CONTINUOUS)
    assert str(Instrument.objects.get().band_rate) == "0.10000000"
    run_worker_once()


def test_another_change_tells_the_engine_nothing(root: Client, resting: list[Order]) -> None:
    before = Command.objects.count()
    market = Instrument.objects.get()

    root.post(reverse("admin:marketdata_instrument_change", args=[market.pk]), _form(market, band_rate="0.1"))

    assert Command.objects.count() == before
    run_worker_once()


def test_a_new_market_may_begin_closed(root: Client) -> None:
    draft = make_instrument()
    Instrument.objects.all().delete()

    answer = root.post(reverse("admin:marketdata_instrument_add"), _form(draft, status="CLOSED"))

    assert answer.status_code == 302
    assert Instrument.objects.get().status == "CLOSED"
    assert _last_command() == (CommandKind.SET_STATE, TradingState.CLOSED)
    run_worker_once()
