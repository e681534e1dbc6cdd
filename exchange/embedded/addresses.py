"""Where the embedded servers of a data folder live and listen, known without asking a running server.

The only place that names their folders and sockets: settings, `up` and the tests all derive them
from here, so that no process needs to be told.

Note [Whose servers]
    PostgreSQL refuses to run as root, and Redis need not. The servers run as the owner of the data
    folder; where that is root, as `nobody`. That account must be able to walk to their files: if a
    folder above the data folder (such as /root) is closed to it, nothing is opened up. Instead the
    servers' files live in /var/lib/exchange/<digest of the data folder's path>, or in /tmp for a data
    folder that is temporary itself; all else stays in the data folder. The data folder
    itself only gains the right to be walked through (o+x). Programs below a closed folder are copied out.
"""

import hashlib
import os
import stat
from pathlib import Path

SOCKET_PATH_BYTES_MAX = 100
"""Linux allows 107 bytes in a Unix socket's path; macOS 103."""

POSTGRES_SOCKET_NAME = ".s.PGSQL.5432"
REDIS_SOCKET_NAME = "redis.sock"
DATABASE_NAME = "exchange"
OWNER_ROLE = "postgres"
ROOT_HOME = Path("/var/lib/exchange")
TEMPORARY = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 -- only compared
SHORT_SOCKETS = Path("/tmp")  # noqa: S108 -- not $TMPDIR: every shell must find the same; ours is made 0700


def _digest(data_dir: Path) -> str:
    """Return a short name for a data folder, the same for every process."""
    return hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:16]


def walkable_by_others(path: Path) -> bool:
    """Tell whether any account may walk to `path` and through it; missing folders count as open."""
    for folder in (path, *path.parents):
        try:
            if not folder.stat().st_mode & stat.S_IXOTH:
                return False
        except FileNotFoundError:
            continue
        except PermissionError:
            return False
    return True


def owner_id(data_dir: Path) -> int:
    """Return the user id that the data folder belongs to; ours when it is still to be made."""
    try:
        return data_dir.stat().st_uid
    except OSError:
        return os.geteuid()


def home(data_dir: Path) -> Path:
    """Return the folder that holds the servers' own files: Note [Whose servers]."""
    resolved = data_dir.resolve()
    if os.geteuid() == 0 and owner_id(resolved) == 0 and not walkable_by_others(resolved.parent):
        if any(resolved.is_relative_to(folder) for folder in TEMPORARY):
            return SHORT_SOCKETS / f"exchange-{_digest(resolved)}"
        return ROOT_HOME / _digest(resolved)
    return resolved


def socket_dir(data_dir: Path) -> Path:
    """Return the folder of both sockets: beside the servers' files, or a short one where that is too long."""
    inside = home(data_dir) / "sockets"
    if len(str(inside / POSTGRES_SOCKET_NAME).encode()) <= SOCKET_PATH_BYTES_MAX:
        return inside
    return SHORT_SOCKETS / f"exchange-{_digest(data_dir)}"


def postgres_dir(data_dir: Path) -> Path:
    """Return the folder of the PostgreSQL cluster."""
    return home(data_dir) / "postgres"


def redis_dir(data_dir: Path) -> Path:
    """Return the folder of Redis' append-only file."""
    return home(data_dir) / "redis"


def postgres_url(data_dir: Path, *, role: str = OWNER_ROLE, database: str = DATABASE_NAME) -> str:
    """Return the libpq URL of the embedded PostgreSQL."""
    host = str(socket_dir(data_dir)).replace("/", "%2F")
    return f"postgresql://{role}@{host}/{database}"


def redis_socket(data_dir: Path) -> Path:
    """Return the path of the embedded Redis' Unix socket."""
    return socket_dir(data_dir) / REDIS_SOCKET_NAME


def redis_url(data_dir: Path, *, db: int = 0) -> str:
    """Return the redis-py URL of the embedded Redis."""
    return f"unix://{redis_socket(data_dir)}?db={db}"
