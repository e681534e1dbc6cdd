from datetime import timedelta
from typing import Any

import pytest
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken
from rest_framework_simplejwt.tokens import RefreshToken

from exchange.celery import app
from exchange.kernel.clock import utc_now
from exchange.users.tasks import flush_expired_tokens


@pytest.mark.django_db
def test_only_tokens_that_have_run_out_are_forgotten(customer: Any) -> None:
    user = customer("alice").user
    old, new = RefreshToken.for_user(user), RefreshToken.for_user(user)
    old.blacklist()
    new.blacklist()
    OutstandingToken.objects.filter(jti=old["jti"]).update(expires_at=utc_now() - timedelta(seconds=1))

    flush_expired_tokens.delay(sent_by="a newer caller")

    assert [token.jti for token in OutstandingToken.objects.all()] == [new["jti"]]
    assert BlacklistedToken.objects.count() == 1


def test_everything_on_the_schedule_exists() -> None:
    app.loader.import_default_modules()

    assert {entry["task"] for entry in app.conf.beat_schedule.values()} <= set(app.tasks)
