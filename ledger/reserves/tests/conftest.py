"""People and publications, as the tests of proofs of reserves speak of them."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from ledger.access import Role
from ledger.reserves import publishing
from ledger.reserves.models import Publication
from ledger.services import roles

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def approver(db: None) -> Any:
    user = get_user_model().objects.create_user("approver", password="x", is_staff=True)
    roles.grant(user.pk, Role.APPROVER)
    return user


@pytest.fixture
def publish(approver: Any) -> Callable[[], Publication]:
    """Ask for a publication, and let the back office make it."""

    def ask() -> Publication:
        publication = publishing.request(approver, now=NOW)
        assert publishing.carry_out(NOW) == 1
        publication.refresh_from_db()
        return publication

    return ask
