"""Starts a PostgreSQL and a Redis of its own for the test run, in a temporary folder, and stops them."""

import shutil

from django.conf import settings

from exchange.embedded import postgres, redis

_STARTED: list = []


def pytest_configure() -> None:
    settings.DATA_DIR.mkdir(mode=0o755)
    postgres.start(settings.DATA_DIR)
    _STARTED.append(redis.start(settings.DATA_DIR))


def pytest_unconfigure() -> None:
    if not _STARTED:
        return
    postgres.stop(settings.DATA_DIR)
    process = _STARTED.pop()
    process.terminate()
    process.wait()
    shutil.rmtree(settings.DATA_DIR)
