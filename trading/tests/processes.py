"""Real processes for tests: a database of the test's own, and workers that can be killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.db import connection, connections

from ledger.services import accounts
from marketdata.models import Instrument
from trading import selectors

SETTLED_SECONDS = 180.0


@dataclass
class Scratch:
    """A database cloned for one test, and the environment in which processes find it."""

    env: dict[str, str]
    folder: Path
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_worker(self, *argv: str) -> subprocess.Popen[bytes]:
        """Start a matching worker, or the given script in its place."""
        command = list(argv) or ["manage.py", "run_matching_worker", "--http-port", "0"]
        with (self.folder / "worker.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=settings.BASE_DIR,
                env={**self.env, "EXCHANGE_DB_ROLE": "exchange_worker"},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.workers.append(process)
        return process

    def wait_settled(self) -> None:
        """Wait until everything in the log is in the books."""
        deadline = time.monotonic() + SETTLED_SECONDS
        while sum(shard.lag for shard in selectors.lag()):
            alive = self.workers and self.workers[-1].poll() is None
            if time.monotonic() > deadline or not alive:
                pytest.fail(f"not settled: {selectors.lag()}\n{(self.folder / 'worker.log').read_text()[-4000:]}")
            time.sleep(0.01)

    def stop_all(self) -> None:
        """End every worker, by its own process id, also one that a test has left stopped."""
        for process in self.workers:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.send_signal(signal.SIGCONT)
        for process in self.workers:
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=60)


@contextmanager
def scratch_database(folder: Path) -> Iterator[Scratch]:
    """Clone the test database, point this process and its children at the clone, and drop it at the end."""
    current = connection.settings_dict
    template, clone = current["NAME"], f"{current['NAME']}_{os.getpid()}_{time.monotonic_ns()}"
    connections.close_all()
    with psycopg.connect(host=current["HOST"], user=current["USER"], dbname="postgres", autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{clone}" TEMPLATE "{template}"')
        current["NAME"] = clone
        accounts.forget_ids()
        Instrument.revision += 1
        host = current["HOST"].replace("/", "%2F")
        env = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "exchange.settings.test",
            "DATABASE_URL": f"postgresql://{current['USER']}@{host}/{clone}",
            "REDIS_URL": settings.REDIS_URL,
            "EXCHANGE_DATA_DIR": str(folder),
        }
        scratch = Scratch(env, folder)
        try:
            yield scratch
        finally:
            try:
                scratch.stop_all()
            finally:  # whatever has failed here, the next test has the database that it expects
                connections.close_all()
                current["NAME"] = template
                accounts.forget_ids()
                Instrument.revision += 1
            admin.execute(f'DROP DATABASE "{clone}" WITH (FORCE)')
