"""The administration's menu: what it leads to, and that nobody is led to what they may not open."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.utils.translation import override

from exchange.web import office_menu
from ledger.access import Role
from ledger.tests.factories import staff

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore:No directory at:UserWarning"),  # whitenoise: static files are not collected
]


def shown(client) -> dict[str, str]:
    """Return what a signed-in person's menu leads to: address -> title."""
    context = client.get("/admin/").context
    return {item["link"]: str(item["title"]) for group in context["sidebar_navigation"] for item in group["items"]}


@pytest.mark.parametrize("role", [*Role, None])
def test_everything_that_a_persons_menu_leads_to_opens(client, admin_user, role) -> None:
    client.force_login(staff(role) if role else admin_user)

    refused = [url for url in shown(client) if client.get(url).status_code != 200]

    assert refused == []


def test_an_administrators_menu_has_every_item(admin_client) -> None:
    expected = {item.url() for _, items in office_menu.MENU for item in items}

    assert set(shown(admin_client)) == expected


def test_every_list_of_our_own_models_is_in_the_menu() -> None:
    lists = {
        item.model.lower() for _, items in office_menu.MENU for item in items if isinstance(item, office_menu.Listing)
    }
    own = {"ledger", "trading", "risk", "marketdata", "users"}
    registered = {model._meta.label_lower for model in admin.site._registry if model._meta.app_label in own}

    assert registered <= lists


def test_support_is_not_led_to_the_books(client) -> None:
    client.force_login(staff(Role.SUPPORT))

    assert not {"/admin/finance/statements", "/admin/ledger/journalentry/"} & set(shown(client))


def test_a_single_right_shows_what_it_opens(client, django_user_model) -> None:
    user = django_user_model.objects.create_user("one", password="x", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="export_books"))
    client.force_login(user)

    assert set(shown(client)) == {"/admin/finance/export"}


def test_the_page_at_which_one_is_stands_out(admin_client) -> None:
    context = admin_client.get("/admin/finance/breaks").context

    active = [item["link"] for group in context["sidebar_navigation"] for item in group["items"] if item["active"]]
    assert active == ["/admin/finance/breaks"]


def test_the_menu_speaks_chinese(admin_client) -> None:
    with override("zh-hant"):
        titles = [str(title) for title, _ in office_menu.MENU]

    assert titles == ["帳務", "資金", "控管", "交易", "人員"]
