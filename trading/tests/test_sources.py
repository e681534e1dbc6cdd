"""From a line of the books to the trade, its orders and the command that made it, as an auditor follows it."""

import re

import pytest
from django.test import Client

from ledger.access import Role
from ledger.models import JournalEntry
from ledger.services import roles
from trading.models import Order, Trade
from trading.tests.road import limit, make_instrument, place, run_worker_once

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.usefixtures("books"),
    pytest.mark.filterwarnings("ignore:No directory at:UserWarning"),  # whitenoise: static files are not collected
]


@pytest.fixture
def trade(customer):
    make_instrument()
    alice, bob = customer("alice", USDT=1000), customer("bob", BTC=1)
    place(bob.id, limit("BTCUSDT", "sell", "0.0100", "50000.00"))
    place(alice.id, limit("BTCUSDT", "buy", "0.0100", "50000.00"))
    run_worker_once()
    return Trade.objects.get()


@pytest.fixture
def auditor(django_user_model):
    user = django_user_model.objects.create_user("auditor", password="x", is_staff=True)
    roles.grant(user.pk, Role.AUDITOR)
    client = Client()
    client.force_login(user)
    return client


def test_an_auditor_follows_a_fee_to_the_command_that_caused_it(trade, auditor) -> None:
    lines = auditor.get("/admin/finance/general-ledger", {"code": "4110", "asset": "USDT"}).content.decode()
    [link] = set(re.findall(r'href="(/admin/trading/trade/\d+/change/)"', lines))

    page = auditor.get(link).content.decode()

    assert link == f"/admin/trading/trade/{trade.pk}/change/"
    for order_id in (trade.buy_order_id, trade.sell_order_id):
        assert f'href="/admin/trading/order/{order_id}/change/"' in page
        assert auditor.get(f"/admin/trading/order/{order_id}/change/").status_code == 200
    for name, value in (("kind", "PLACE"), ("side", "BUY"), ("order_id", trade.buy_order_id), ("price_ticks", 5000000)):
        assert f"<dt>{name}</dt><dd>{value}</dd>" in page
    entry = auditor.get("/admin/ledger/journalentry/", {"q": f"trade:{trade.pk}"})
    assert [found.pk for found in entry.context["cl"].result_list] == [JournalEntry.objects.get(kind="SPOT_FILL").pk]


def test_an_auditor_changes_nothing_of_orders_and_trades(trade, auditor) -> None:
    order = Order.objects.get(pk=trade.buy_order_id)

    for name, row in (("order", order), ("trade", trade)):
        assert 'name="action"' not in auditor.get(f"/admin/trading/{name}/").content.decode()
        assert auditor.post(f"/admin/trading/{name}/{row.pk}/change/", {"status": "new"}).status_code == 403
        assert auditor.post(f"/admin/trading/{name}/{row.pk}/delete/", {"post": "yes"}).status_code == 403
    for action in ("approve", "refuse", "cancel"):
        auditor.post("/admin/trading/order/", {"action": action, "_selected_action": [order.pk]})

    assert Order.objects.get(pk=order.pk).status == order.status


def test_traders_do_not_see_the_admin(trade, customer) -> None:
    client = Client()
    client.force_login(customer("carol").user)

    assert client.get(f"/admin/trading/trade/{trade.pk}/change/").status_code == 302
