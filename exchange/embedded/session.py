"""Servers for the duration of a management command: the running ones, or its own.

A command that reads or writes the database wraps its work:

    with session.servers("audit_books"):
        ...
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from exchange.embedded import folder, postgres, redis
from exchange.embedded.errors import EmbeddedServerError


@contextlib.contextmanager
def servers(what: str, *, migrate: bool = True) -> Iterator[None]:
    """Make sure that PostgreSQL and Redis run while the body does.

    With `up` running on the data folder, or DATABASE_URL and REDIS_URL set, those servers are used and
    nothing is started. Else the embedded ones are started, and stopped at the end; a second command
    that comes meanwhile uses them too, and the first waits for it before it stops them.

    Args:
        what: The command's name, shown to whoever finds the folder in use.
        migrate: Bring the database up to date when we start the servers.

    Raises:
        django.core.management.CommandError: The servers cannot be started; why, in one line.
    """
    from django.conf import settings
    from django.core.management import CommandError, call_command

    if not (settings.EMBEDDED_POSTGRES or settings.EMBEDDED_REDIS):
        yield
        return
    data_dir = settings.DATA_DIR
    with contextlib.ExitStack() as stack:
        try:
            folder.prepare(data_dir)
            if folder.holder(data_dir) is None:
                stack.enter_context(folder.locked(data_dir, what))
                if settings.EMBEDDED_POSTGRES:
                    database = postgres.start(data_dir)
                    stack.callback(postgres.stop, database, data_dir)
                if settings.EMBEDDED_REDIS:
                    store = redis.start(data_dir)
                    stack.callback(redis.stop, store, data_dir)
                stack.callback(_close_connections)
                stack.callback(_wait_for_guests, data_dir)
                if migrate:
                    call_command("migrate", verbosity=0, interactive=False)
            else:
                stack.enter_context(_guest(data_dir))
        except EmbeddedServerError as error:
            raise CommandError(str(error)) from error
        yield


def _close_connections() -> None:
    """Give our own connections back before the server stops, so that it has nothing to cut."""
    from django.db import connections

    connections.close_all()


def _guests_file(data_dir: Path) -> Path:
    return data_dir / "run" / "guests"


@contextlib.contextmanager
def _guest(data_dir: Path) -> Iterator[None]:
    """Use servers that another process started, and let it see that we do."""
    descriptor = os.open(_guests_file(data_dir), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def _wait_for_guests(data_dir: Path) -> None:
    """Wait until no other command uses our servers."""
    descriptor = os.open(_guests_file(data_dir), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)
