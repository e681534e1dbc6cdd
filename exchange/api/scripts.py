"""Runs the Redis script that every call of the API waits for, on connections kept for nothing else.

Note [Beside the client]
    A call of a script by redis-py passes through its retries, its events, its metrics and its pool: on a processor that
    has had other work meanwhile these cost 0.18 ms of 0.46, measured. Here the script goes out
    on a connection of the library at once. Whatever is unusual (Redis is away or was restarted, and no longer has the
    script) is left to the client, who knows how to try again.
"""

import os
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry

LEFT_TO_THE_CLIENT = (redis.ConnectionError, redis.TimeoutError, NoScriptError)


class Script:
    """A script in Redis, for all threads of a process."""

    def __init__(self, client: redis.Redis, text: str) -> None:
        self._registered = client.register_script(text)
        self._pool = client.connection_pool
        self._idle: list[Any] = []

    def __call__(self, key: str, *args: int) -> Any:
        """Return what the script answers.

        Raises:
            redis.ConnectionError: Redis is away, after the client's retries.
            redis.TimeoutError: It does not answer, after the client's retries.
        """
        connection = self._connection()
        try:
            connection.send_command("EVALSHA", self._registered.sha, 1, key, *args)
            answer = connection.read_response()
        except LEFT_TO_THE_CLIENT:
            connection.disconnect()
            return self._registered(keys=[key], args=args)
        except BaseException:
            connection.disconnect()  # an answer that nobody read must not become another caller's
            raise
        self._idle.append(connection)
        return answer

    def _connection(self) -> Any:
        """Return a connection that no other thread uses, nor the process that this one was forked from."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = None
        if connection is None or connection.pid != os.getpid():
            how = {**self._pool.connection_kwargs, "retry": Retry(NoBackoff(), 0)}  # to try again is the client's
            return self._pool.connection_class(**how)
        return connection
