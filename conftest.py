"""Starts a PostgreSQL and a Redis of its own for the test run, in a temporary folder, and stops them.

With DATABASE_URL or REDIS_URL set, those servers are used instead. The embedded ones die with this
process, however it ends: exchange.embedded.process, Note [No orphans].
"""

import contextlib
import gc
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.conf import settings
from django.utils import translation

from exchange.embedded import folder, postgres, redis

pytest_plugins = ["ledger.tests.fixtures", "exchange.api.tests.fixtures"]

_STARTED = contextlib.ExitStack()

# The same examples in every run, and no limit of time on one: what fails here fails everywhere, however busy the
# machine. `--hypothesis-profile searching` looks for others.
_PATIENT = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("same", parent=_PATIENT, derandomize=True)
hypothesis.settings.register_profile("searching", parent=_PATIENT)
hypothesis.settings.load_profile("same")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--history", type=int, default=600, help="entries of the random history that outside tools check; in full 5000"
    )
    parser.addoption(
        "--scenes",
        choices=("some", "all"),
        default="some",
        help="which small scenes of contracts are tried in every order",
    )
    parser.addoption(
        "--machine-examples", type=int, default=8, help="random histories of traders and workers; in full 100"
    )
    parser.addoption(
        "--storm-seconds", type=int, default=10, help="how long threads fight for the same positions; in full 60"
    )
    parser.addoption("--ledger-events", type=int, default=60, help="entries of random events a seed; in full 10000")


def pytest_configure() -> None:
    _compile_engine()
    data_dir = settings.DATA_DIR
    try:
        folder.prepare(data_dir)
        _STARTED.callback(folder.discard, data_dir)
        if settings.EMBEDDED_POSTGRES:
            _STARTED.callback(postgres.stop, postgres.start(data_dir, durable=False), data_dir)
        if settings.EMBEDDED_REDIS:
            _STARTED.callback(redis.stop, redis.start(data_dir, durable=False), data_dir)
    except Exception as error:
        _STARTED.close()
        raise pytest.UsageError(str(error)) from error


@pytest.fixture(autouse=True)
def _empty_redis() -> None:
    """Begin with nothing in Redis, as with nothing in the database: it keeps epochs, limits, books.

    Only in the run's own Redis; what REDIS_URL names is not ours to empty.
    """
    if settings.EMBEDDED_REDIS:
        redis.empty(settings.DATA_DIR)


@pytest.fixture(autouse=True)
def _language_ends() -> Iterator[None]:
    """End the language of a test's requests with the test: Django leaves the last one's to whatever its thread does."""
    yield
    translation.deactivate()


_DONE = itertools.count(1)
COLLECTED_EVERY = 100


def pytest_runtest_teardown() -> None:
    """Collect garbage now and then: workers' books lie in cycles, and beside so many objects Python rarely looks."""
    if next(_DONE) % COLLECTED_EVERY == 0:
        gc.collect()


def _compile_engine() -> None:
    """Compile the engine before any test waits for it: half a minute, once for each version."""
    from matching_worker.book import compiled
    from matching_worker.engine import Engine

    if not compiled.is_cached():
        sys.stderr.write("Compiling the matching engine, once for this version ...\n")
        Engine(0, 0)


def pytest_unconfigure() -> None:
    _STARTED.close()


@pytest.fixture
def scratch(
    django_db_setup: None,  # noqa: ARG001 -- the database that is cloned
    django_db_blocker: Any,
    tmp_path: Path,
) -> Iterator[Any]:
    """A database of the test's own, cloned, for tests with several processes; they really commit."""
    from trading.tests.processes import scratch_database

    with django_db_blocker.unblock(), scratch_database(tmp_path) as made:
        yield made
