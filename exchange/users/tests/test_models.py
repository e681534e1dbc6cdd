import pytest

from exchange.users.models import User


@pytest.mark.django_db
def test_a_user_is_not_a_demo_user_unless_made_so() -> None:
    user = User.objects.create_user("alice")

    assert not user.is_demo
