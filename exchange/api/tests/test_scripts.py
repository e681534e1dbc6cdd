"""Scripts on connections of their own answer as those of the client, and heal as they do."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from django.conf import settings

from exchange.api.scripts import Script

ECHO = "return {KEYS[1], ARGV[1]}"


@pytest.fixture
def client() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=5)


@pytest.fixture
def echo(client: redis.Redis) -> Script:
    return Script(client, ECHO)


def test_a_script_that_redis_does_not_know_is_loaded_and_run(client: redis.Redis, echo: Script) -> None:
    client.script_flush()

    assert echo("a", 1) == [b"a", b"1"]
    assert echo("b", 2) == [b"b", b"2"]


def test_a_connection_that_stands_is_used_again(client: redis.Redis, echo: Script) -> None:
    client.script_load(ECHO)
    echo("a", 1)
    [kept] = echo._idle

    echo("a", 2)

    assert echo._idle == [kept]


def test_a_connection_that_redis_has_closed_costs_no_answer(client: redis.Redis, echo: Script) -> None:
    client.script_load(ECHO)
    echo("a", 1)
    [kept] = echo._idle
    kept.send_command("CLIENT", "ID")
    client.client_kill_filter(_id=kept.read_response())

    assert echo("a", 2) == [b"a", b"2"]
    assert kept not in echo._idle


def test_an_answer_that_nobody_read_never_becomes_anothers(
    client: redis.Redis, echo: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.script_load(ECHO)
    echo("a", 1)
    [kept] = echo._idle

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(kept, "read_response", interrupted)
        with pytest.raises(KeyboardInterrupt):
            echo("a", 2)

    assert echo("a", 3) == [b"a", b"3"]


def test_a_connection_is_not_shared_with_the_process_that_this_one_came_from(client: redis.Redis, echo: Script) -> None:
    client.script_load(ECHO)
    echo("a", 1)
    [kept] = echo._idle
    kept.pid -= 1

    assert echo("a", 2) == [b"a", b"2"]
    assert kept not in echo._idle


def test_threads_get_their_own_answers(client: redis.Redis, echo: Script) -> None:
    client.script_load(ECHO)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: echo("a", number), range(400)))

    assert answers == [[b"a", str(number).encode()] for number in range(400)]


def test_without_redis_the_error_is_the_clients() -> None:
    away = redis.Redis(unix_socket_path="/nonexistent/redis.sock")

    with pytest.raises(redis.ConnectionError):
        Script(away, ECHO)("a", 1)
