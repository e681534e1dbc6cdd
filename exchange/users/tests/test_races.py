"""Two requests at the same moment: only one of them may have what there is once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from threading import Barrier
from typing import Any

import pytest
from django.db import connection

from exchange.api.errors import TokenInvalidError
from exchange.kernel.clock import utc_now
from exchange.kernel.errors import DomainError
from exchange.users import faucet, services
from exchange.users.models import FaucetGrant, User
from ledger.tests.fixtures import make_asset

pytestmark = pytest.mark.django_db(transaction=True)

THREADS = 4


def _together(action: Callable[[], Any]) -> list[Any]:
    """Return what each of several threads got that began at once."""
    start = Barrier(THREADS)

    def run(_: int) -> Any:
        start.wait()
        try:
            return action()
        except DomainError as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS)))


def test_a_refresh_token_sent_many_times_at_once_works_once(customer: Any) -> None:
    refresh = services.issue_tokens(customer("alice").user).refresh

    results = _together(lambda: services.rotate_tokens(refresh))

    assert sum(isinstance(result, services.TokenPair) for result in results) == 1
    assert results.count(TokenInvalidError()) == THREADS - 1


@pytest.mark.usefixtures("books")
def test_a_faucet_request_sent_many_times_at_once_gives_once(customer: Any) -> None:
    make_asset("USDT")
    alice = customer("alice")

    results = _together(lambda: faucet.give(alice.id, request_key="one", now=utc_now()))

    assert sorted(result.repeated for result in results) == [False, True, True, True]
    assert alice.balance("USDT") == Decimal(100_000)
    assert FaucetGrant.objects.count() == 1


def test_a_name_asked_for_many_times_at_once_is_given_once() -> None:
    results = _together(lambda: services.register(username="Carol", password="correct horse battery", now=utc_now()))

    assert sum(isinstance(result, User) for result in results) == 1
    assert results.count(services.UsernameTakenError(username="carol")) == THREADS - 1
