"""Where the embedded servers of a data folder listen, known without asking a running server.

The only place that names the sockets: settings, `up` and the tests all derive them from here.
"""

import hashlib
import tempfile
from pathlib import Path

SOCKET_PATH_BYTES_MAX = 100
"""Linux allows 107 bytes in a Unix socket's path; macOS 103."""

POSTGRES_SOCKET_NAME = ".s.PGSQL.5432"
DATABASE_NAME = "exchange"
OWNER_ROLE = "postgres"


def socket_dir(data_dir: Path) -> Path:
    """Return the folder of both sockets: inside the data folder, or a short one where that is too long."""
    inside = data_dir.resolve() / "run"
    if len(str(inside / POSTGRES_SOCKET_NAME).encode()) <= SOCKET_PATH_BYTES_MAX:
        return inside
    digest = hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"exchange-{digest}"


def postgres_url(data_dir: Path, *, role: str = OWNER_ROLE, database: str = DATABASE_NAME) -> str:
    """Return the libpq URL of the embedded PostgreSQL."""
    host = str(socket_dir(data_dir)).replace("/", "%2F")
    return f"postgresql://{role}@{host}/{database}"


def redis_socket(data_dir: Path) -> Path:
    """Return the path of the embedded Redis' Unix socket."""
    return socket_dir(data_dir) / "redis.sock"


def redis_url(data_dir: Path, *, db: int = 0) -> str:
    """Return the redis-py URL of the embedded Redis."""
    return f"unix://{redis_socket(data_dir)}?db={db}"
