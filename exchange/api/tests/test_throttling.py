import itertools
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

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


def test_the_api_answers_at_most_the_set_number_of_requests_a_second(api: Api, settings) -> None:
    settings.REQUESTS_PER_SECOND_AND_IP = 5

    answers = [api.get("/no-such-call") for _ in range(6)]

    assert [answer.status for answer in answers] == [404] * 5 + [429]
    assert answers[-1].code == 1007
    assert answers[-1].error == "TOO_MANY_REQUESTS"
    assert answers[-1].headers["Retry-After"] == "1"
