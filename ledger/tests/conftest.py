"""Fixtures of the tests of statements and of their pages."""

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from ledger.access import Role
from ledger.services import roles
from ledger.tests import history

for name in ("market", "market_books", "market_run"):
    pytest.register_assert_rewrite(f"ledger.tests.{name}")  # so that they say what differs


@pytest.fixture
def people(customer):
    """Alice and bob, and the books of `history`."""
    alice, bob = customer("alice"), customer("bob")
    history.write(alice.id, bob.id)
    return alice, bob


@pytest.fixture
def signed_in(django_user_model):
    """Return a maker of signed-in staff: of a role, or with a single right."""

    def sign_in(role: Role | None, right: str = "") -> Client:
        user = django_user_model.objects.create_user(f"staff-{role}{right}", password="x", is_staff=True)
        if role is not None:
            roles.grant(user.pk, role)
        if right:
            user.user_permissions.add(Permission.objects.get(codename=right))
        client = Client()
        client.force_login(user)
        return client

    return sign_in
