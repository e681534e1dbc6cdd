from typing import Any

import pytest
from django.test import Client

from exchange.users.models import FaucetGrant, User
from ledger.models import Gate

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"


@pytest.fixture
def admin() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root", password=PASSWORD))
    return client


def test_a_user_made_in_the_admin_can_trade_and_has_the_one_spelling(admin: Client) -> None:
    form = {"username": "Carol", "usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}

    response = admin.post("/admin/users/user/add/", form)

    carol = User.objects.get(username="carol")
    assert response.status_code == 302
    assert carol.check_password(PASSWORD)
    assert Gate.objects.filter(owner_id=carol.pk).exists()


def test_users_are_switched_off_and_never_deleted(admin: Client, customer: Any) -> None:
    alice = customer("alice").user

    response = admin.post(f"/admin/users/user/{alice.pk}/delete/", {"post": "yes"})

    assert response.status_code == 403
    assert User.objects.filter(pk=alice.pk).exists()


def test_helpings_of_demo_funds_are_shown_and_cannot_be_changed(admin: Client) -> None:
    assert admin.get("/admin/users/faucetgrant/").status_code == 200
    assert admin.get("/admin/users/faucetgrant/add/").status_code == 403
    assert not FaucetGrant.objects.exists()


@pytest.mark.parametrize("path", ["/admin/", "/admin/users/user/"])
def test_a_trader_is_not_let_in(customer: Any, path: str) -> None:
    client = Client()
    client.force_login(customer("alice").user)

    response = client.get(path)

    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/")
