"""The data folder: chosen before settings load, known as ours, held by one process, wiped on request."""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from exchange.embedded import account as accounts
from exchange.embedded import addresses
from exchange.embedded.errors import EmbeddedServerError

VARIABLE = "EXCHANGE_DATA_DIR"
OPTION = "--data-dir"
SHARDS_VARIABLE = "EXCHANGE_SHARDS"
SHARDS_OPTION = "--shards"
MARKER = "exchange-data-folder"
OURS = {
    MARKER,
    "postgres",
    "postgres.new",
    "redis",
    "sockets",
    "wal",
    "log",
    "run",
    "static",
    "attachments",
    "secret_key",
    "reserves_key",
}
"""What an exchange puts into its data folder; a folder with other things in it is somebody else's."""

DEFAULT = Path(__file__).resolve().parent.parent.parent / "var"
LOCK_TRIES = 10


def choose(arguments: Sequence[str]) -> None:
    """Hand `--data-dir`, `--no-demo` and `--shards` on to the settings, which load before a command reads its options.

    `up` checks its data folder here, since the settings of development already write into it.
    """
    for position, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        chosen = value if equals else next(iter(arguments[position + 1 :]), "")
        if name == OPTION and chosen:
            os.environ[VARIABLE] = str(Path(chosen).expanduser().resolve())
        if name == SHARDS_OPTION and "up" in arguments[:1]:
            os.environ[SHARDS_VARIABLE] = chosen
    if "--no-demo" in arguments:
        os.environ["EXCHANGE_DEMO"] = "0"
    if "up" in arguments[:1]:
        try:
            prepare(Path(os.environ.get(VARIABLE, DEFAULT)))
        except EmbeddedServerError as error:
            sys.stderr.write(f"{error}\n")
            raise SystemExit(1) from error


def _is_ours(data_dir: Path) -> bool:
    """Tell whether a folder is empty or holds only what an exchange makes."""
    names = {path.name for path in data_dir.iterdir()}
    return MARKER in names or all(
        name in OURS or name.startswith(("secret_key.", "reserves_key.", MARKER)) for name in names
    )


def prepare(data_dir: Path) -> None:
    """Make the data folder if there is none and check that it is ours and writable.

    Raises:
        EmbeddedServerError: It cannot be used; why, in one line.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o711)
        if not _is_ours(data_dir):
            raise EmbeddedServerError(
                f"{data_dir} holds files that are not an exchange's; choose an empty folder with {OPTION}."
            )
        mode = stat.S_IMODE(data_dir.stat().st_mode)
        if accounts.of(data_dir) is not None and addresses.home(data_dir) == data_dir.resolve():
            data_dir.chmod(mode | stat.S_IXOTH)
        for name in ("run", "log"):
            (data_dir / name).mkdir(exist_ok=True)
        _check_writable(data_dir)
        _mark(data_dir)
    except OSError as error:
        raise EmbeddedServerError(
            f"The data folder {data_dir} cannot be used: {error.strerror} ({error.filename})."
        ) from error


def _mark(data_dir: Path) -> None:
    """Put the same name on the data folder and on the servers' folder outside it, if there is one.

    A data folder that was removed and made anew must not find the servers' old files there: those
    are put aside, for whoever removed the data folder by mistake.
    """
    marker, home = data_dir / MARKER, addresses.home(data_dir)
    if not marker.exists():
        draft = marker.with_name(f"{MARKER}.{os.getpid()}")
        draft.write_text(f"{secrets.token_hex(8)}\nThe files of PostgreSQL and Redis are in {home}.\n")
        draft.rename(marker)
    if home == data_dir.resolve():
        return
    twin = home / MARKER
    if home.exists() and (not twin.exists() or twin.read_text() != marker.read_text()):
        home.rename(home.with_name(f"{home.name}.left-{secrets.token_hex(4)}"))
    if home.is_relative_to(addresses.ROOT_HOME):
        accounts.own_folder(addresses.ROOT_HOME, None, mode=0o755)
    accounts.own_folder(home, None, mode=0o755)
    twin.write_text(marker.read_text())


def _check_writable(data_dir: Path) -> None:
    """Write and remove a file: a full or read-only disk shows here, not in the middle of a start."""
    probe = data_dir / "run" / f"probe.{os.getpid()}"
    probe.write_bytes(b"x" * 4096)
    probe.unlink()


def wipe(data_dir: Path) -> None:
    """Remove all that the exchange keeps in its data folder, the servers' files included.

    Raises:
        EmbeddedServerError: The folder is not ours; nothing was removed.
    """
    if data_dir.exists():
        if not data_dir.is_dir() or not _is_ours(data_dir):
            raise EmbeddedServerError(f"{data_dir} is not an exchange's data folder; nothing was removed.")
        for path in data_dir.iterdir():
            if path.name != "run":  # it holds the lock that we hold
                _remove(path)
    home = addresses.home(data_dir)
    if home != data_dir.resolve():
        shutil.rmtree(home, ignore_errors=True)
    shutil.rmtree(addresses.socket_dir(data_dir), ignore_errors=True)


def discard(data_dir: Path) -> None:
    """Remove a data folder whole, for tests."""
    wipe(data_dir)
    shutil.rmtree(data_dir, ignore_errors=True)


def _remove(path: Path) -> None:
    """Remove a file or a folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _lock_file(data_dir: Path) -> Path:
    return data_dir / "run" / "lock"


def holder(data_dir: Path) -> dict[str, Any] | None:
    """Return what the process that holds the folder wrote about itself, or None when nobody holds it."""
    try:
        with _lock_file(data_dir).open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                with contextlib.suppress(ValueError):
                    found: dict[str, Any] = json.loads(file.read())
                    return found
                return {"pid": 0, "what": "another process"}
    except OSError:
        pass
    return None


@contextlib.contextmanager
def locked(data_dir: Path, what: str, **details: Any) -> Iterator[None]:
    """Hold the data folder: one process at a time runs servers on it. The kernel frees it at our death.

    Raises:
        EmbeddedServerError: Another process holds it.
    """
    path = _lock_file(data_dir)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _taken(descriptor):
            raise EmbeddedServerError(in_use(data_dir))
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "what": what, **details}).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    """Take the lock; try again for a moment, since `holder` takes it for an instant to look."""
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        else:
            return True
    return False


def in_use(data_dir: Path) -> str:
    """Return the line that says who holds the folder."""
    found = holder(data_dir) or {}
    where = f" at {found['url']}" if "url" in found else ""
    return (
        f"{data_dir} is in use by `{found.get('what', 'another process')}`{where} "
        f"(process {found.get('pid', '?')}); stop that one, or use another {OPTION} and --port."
    )
