import itertools
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from django.conf import LazySettings

from exchange.api import throttling
from exchange.api.errors import TooManyRequestsError
from exchange.api.tests.fixtures import Api
from exchange.api.throttling import Limit, give_back, site_of, take

_names = itertools.count()


def _limit(count: int, seconds: int = 60) -> Limit:
    return Limit(f"test-{next(_names)}", count, seconds)


def test_requests_beyond_the_limit_are_refused_and_told_when_to_return() -> None:
    limit = _limit(3)
    began = time.monotonic()
    for _ in range(3):
        take(limit, "caller")

    with pytest.raises(TooManyRequestsError) as refused:
        take(limit, "caller")

    passed = int(time.monotonic() - began)
    assert 59 - passed <= refused.value.data["retry_after"] <= 60


def test_each_caller_has_a_window_of_their_own() -> None:
    limit = _limit(1)
    take(limit, "one")

    take(limit, "another")

    with pytest.raises(TooManyRequestsError):
        take(limit, "one")


def test_the_window_slides() -> None:
    limit = _limit(1, seconds=1)
    take(limit, "caller")
    time.sleep(1.01)

    take(limit, "caller")


def test_many_threads_together_get_exactly_the_limit() -> None:
    limit = _limit(20)

    def passes(_: int) -> bool:
        try:
            take(limit, "caller")
        except TooManyRequestsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        passed = sum(pool.map(passes, range(100)))

    assert passed == 20


def test_what_is_given_back_can_be_taken_again() -> None:
    limit = _limit(1)
    take(limit, "caller")

    give_back(limit, "caller")

    take(limit, "caller")


def test_without_redis_requests_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = redis.Redis(unix_socket_path="/nonexistent/redis.sock")
    monkeypatch.setattr(throttling, "_client", lambda: nowhere)
    monkeypatch.setattr(throttling, "_take", lambda: nowhere.register_script("return '1'"))
    limit = _limit(1)

    for _ in range(3):
        take(limit, "caller")
    give_back(limit, "caller")


def test_an_ipv6_site_counts_as_one_caller() -> None:
    assert site_of("2001:db8:1:2:3::1") == site_of("2001:db8:1:2:4::1") == "2001:db8:1:2::/64"
    assert site_of("2001:db8:1:3::1") != site_of("2001:db8:1:2::1")
    assert site_of("::ffff:192.0.2.1") == site_of("192.0.2.1") == "192.0.2.1"


@pytest.fixture
def slow_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the windows of a second a minute long, for machines that are busy."""
    monkeypatch.setattr(throttling, "SECOND", 60)


@pytest.mark.usefixtures("slow_seconds")
def test_the_api_answers_at_most_the_set_number_of_requests_a_second(api: Api, settings: LazySettings) -> None:
    settings.REQUESTS_PER_SECOND_AND_IP = 5

    answers = [api.get("/no-such-call") for _ in range(6)]

    assert [answer.status for answer in answers] == [404] * 5 + [429]
    assert answers[-1].code == 1007
    assert answers[-1].error == "TOO_MANY_REQUESTS"
    assert answers[-1].headers["Retry-After"] in {"59", "60"}


@pytest.mark.usefixtures("slow_seconds")
def test_every_answer_tells_what_is_left(api: Api, settings: LazySettings) -> None:
    settings.REQUESTS_PER_SECOND_AND_IP = 3

    answers = [api.get("/no-such-call") for _ in range(4)]

    assert {answer.headers["RateLimit-Policy"] for answer in answers} == {'"ip";q=3;w=60'}
    found = [re.fullmatch(r'"ip";r=(\d);t=(59|60)', answer.headers["RateLimit"]) for answer in answers]
    assert [match and match[1] for match in found] == ["2", "1", "0", "0"]


def test_what_has_left_the_window_is_counted_no_more() -> None:
    limit = _limit(5, seconds=1)
    told: list[throttling.Standing] = []
    for _ in range(3):
        take(limit, "caller", told)
    time.sleep(1.01)

    take(limit, "caller", told)

    assert (told[0].remaining, told[-1].remaining) == (4, 4)


@pytest.mark.django_db
@pytest.mark.usefixtures("slow_seconds")
def test_a_user_has_a_limit_of_their_own_from_whatever_address(api: Api, customer: Any, settings: LazySettings) -> None:
    settings.REQUESTS_PER_SECOND_AND_USER = 2
    alice, bob = customer("alice").user, customer("bob").user

    answers = [api.as_user(alice).get("/account") for _ in range(3)]
    other = api.as_user(bob).get("/account")

    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[-1].code == 1007
    assert answers[-1].headers["Retry-After"] in {"59", "60"}
    assert answers[0].headers["RateLimit-Policy"] == '"ip";q=100;w=60, "user";q=2;w=60'
    assert other.status == 200
