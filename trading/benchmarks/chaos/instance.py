"""An exchange of the run's own, in a folder of its own, as `manage.py up` starts and supervises it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import redis

from exchange.embedded import addresses, folder, process
from exchange.management import status_file
from exchange.management.supervisor import RUNNING
from trading.benchmarks.chaos.kinds import OTHERS, STALL_SECONDS, WORKERS, Kind

START_SECONDS_MAX = 300.0
WHOLE_SECONDS_MAX = 180.0
STOP_SECONDS_MAX = 90.0
POLL_SECONDS = 0.02
PORT_FIRST, PORT_LAST, WORKER_PORT_OFFSET = 21_000, 32_600, 80
LOG_SHOWN = 4_000
READY = "The exchange is ready."
INHERITED_NOT = (
    "DJANGO_SETTINGS_MODULE",
    "DATABASE_URL",
    "REDIS_URL",
    "EXCHANGE_DB_ROLE",
    "SECRET_KEY",
    "EXCHANGE_DEMO",
)


class NotRecoveredError(Exception):
    """The exchange has not come back by itself."""


class Instance:
    """A running exchange whose processes can be killed."""

    def __init__(self, data_dir: Path, port: int) -> None:
        self.data_dir, self.url = data_dir, f"http://127.0.0.1:{port}"
        self._log = data_dir.with_suffix(".up.log")
        command = [sys.executable, str(folder.DEFAULT.parent / "manage.py"), "up", "--standby", "--port", str(port)]
        with self._log.open("wb") as output:
            self._up = process.spawn(command, output=output, cwd=folder.DEFAULT.parent, environment=os.environ)

    def wait_started(self) -> None:
        """Wait until everything is ready for the first time."""
        self._wait(lambda: READY in self.said(), START_SECONDS_MAX, "start")

    def said(self) -> str:
        """Return what `up` has printed."""
        return self._log.read_text(errors="replace")

    def strike(self, kind: Kind, leader: int) -> int | None:
        """Do what a kind says to a process; return its id. Processes it has started itself live on.

        Args:
            leader: The id of the matching worker that has the lease; where it runs no more, nothing is done.
        """
        pids: dict[str, int] = {child["name"]: child["pid"] for child in self._children()}
        if leader not in {pids[name] for name in WORKERS}:
            return None
        pid = _struck(kind, leader, pids)
        if kind is Kind.STALL:
            os.kill(pid, signal.SIGSTOP)
            waking = threading.Timer(STALL_SECONDS, _wake, (pid,))
            waking.daemon = True
            waking.start()
        elif kind is Kind.EMPTIED:
            with contextlib.closing(redis.Redis.from_url(addresses.redis_url(self.data_dir))) as client:
                client.flushall()
        else:
            os.kill(pid, signal.SIGINT if kind is Kind.RESTART else signal.SIGKILL)
        return pid

    def wait_whole(self, without: int | None) -> None:
        """Wait until every process runs.

        Args:
            without: One that has been killed, which the list may name for a moment more.

        Raises:
            NotRecoveredError: One has not come back.
        """
        self._wait(lambda: self._is_whole(without), WHOLE_SECONDS_MAX, "come back whole")

    def stop(self) -> None:
        """Stop everything."""
        if self._up.poll() is None:
            self._up.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._up.wait(STOP_SECONDS_MAX)
        process.end(self._up, signal.SIGKILL, 1)

    def discard(self) -> None:
        """Remove the folder and the log."""
        folder.discard(self.data_dir)
        self._log.unlink()

    def _is_whole(self, without: int | None) -> bool:
        return all(
            child["state"] == RUNNING and child["pid"] != without and process.alive(child["pid"])
            for child in self._children()
        )

    def _children(self) -> list[dict[str, Any]]:
        """Return the processes as the supervisor lists them."""
        body = status_file.read(self.data_dir)
        return body["children"] if body else []

    def _wait(self, what: Callable[[], bool], seconds_max: float, words: str) -> None:
        deadline = time.monotonic() + seconds_max
        while not what():
            if self._up.poll() is not None or time.monotonic() > deadline:
                raise NotRecoveredError(f"The exchange did not {words}; it said:\n{self.said()[-LOG_SHOWN:]}")
            time.sleep(POLL_SECONDS)


def _struck(kind: Kind, leader: int, pids: dict[str, int]) -> int:
    """Return the process that a kind means; which of the two workers is the standby changes."""
    if kind in {Kind.WORKER, Kind.STALL}:
        return leader
    if kind is Kind.STANDBY:
        [other] = {pids[name] for name in WORKERS} - {leader}
        return other
    return pids[OTHERS.get(kind, kind.value)]


def _wake(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def _free_port() -> int:
    """Return a port that is free, as are the two workers' that belong to it; below those of outgoing connections."""
    for port in range(PORT_FIRST + os.getpid() % 10_000, PORT_LAST):
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            for one in (port, port + WORKER_PORT_OFFSET, port + WORKER_PORT_OFFSET + 1):
                held.enter_context(socket.socket()).bind(("127.0.0.1", one))
            return port
    raise NotRecoveredError("No port is free.")


@contextlib.contextmanager
def started() -> Iterator[Instance]:
    """Run an exchange for the body, and point this process's Django, not yet set up, at its database.

    The folder is removed, unless the body has raised something: then it is kept for a look.
    """
    data_dir = Path(tempfile.mkdtemp(prefix="exchange-chaos-"))
    data_dir.chmod(0o711)  # run by root, the servers' account walks through it
    for name in INHERITED_NOT:
        os.environ.pop(name, None)
    os.environ |= {
        folder.VARIABLE: str(data_dir),
        "DJANGO_SETTINGS_MODULE": "exchange.settings.dev",
        "EXCHANGE_LOG_LEVEL": "WARNING",
    }
    instance = Instance(data_dir, _free_port())
    try:
        instance.wait_started()
        yield instance
    finally:
        instance.stop()
    instance.discard()
