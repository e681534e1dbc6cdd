import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import transaction

from exchange.users.models import User
from ledger.services import accounts


@pytest.mark.django_db
def test_a_user_is_not_a_demo_user_unless_made_so() -> None:
    user = User.objects.create_user("alice")

    assert not user.is_demo


@pytest.mark.django_db
def test_names_are_kept_and_found_in_lower_case() -> None:
    user = User.objects.create_user("Alice")

    assert user.username == "alice"
    assert User.objects.get_by_natural_key("ALICE") == user
    with pytest.raises(ValidationError, match="already exists"):
        User(username="aLiCe", password="x").full_clean()


@pytest.mark.django_db
def test_an_administrator_made_on_the_command_line_can_hold_funds() -> None:
    call_command("createsuperuser", username="root", email="root@example.com", interactive=False)

    root = User.objects.get_by_natural_key("root")
    assert root.is_superuser
    with transaction.atomic():
        accounts.lock([root.pk])
