"""A PostgreSQL of a benchmark's own, with the schema of the books in it, and Django pointed at it."""

import contextlib
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path


@contextlib.contextmanager
def server(
    data_dir: Path | None = None, *, durable: bool = True, settings: Mapping[str, str] | None = None
) -> Iterator[Path]:
    """Start a server in a folder of its own and set Django up as in production; no Redis is started.

    Call it before Django's settings are read.

    Args:
        data_dir: Kept at the end, and used again by a later run; None is a temporary folder.
        durable: Whether commits wait for the disk; a benchmark that only reads needs not.
        settings: Of PostgreSQL, instead of those made for a laptop.
    """
    from exchange.embedded import addresses, folder, postgres

    if "django.conf" in sys.modules and sys.modules["django.conf"].settings.configured:
        raise RuntimeError("a scratch server is started before Django's settings are read")
    chosen = data_dir or Path(tempfile.mkdtemp(prefix="exchange-benchmark-"))
    os.environ.pop("EXCHANGE_DB_ROLE", None)
    os.environ |= {
        "EXCHANGE_DATA_DIR": str(chosen),
        "EXCHANGE_LOG_LEVEL": "WARNING",
        "DJANGO_SETTINGS_MODULE": "exchange.settings.prod",
        "DATABASE_URL": addresses.postgres_url(chosen),
        "REDIS_URL": addresses.redis_url(chosen),
        "SECRET_KEY": secrets.token_urlsafe(50),
        "ALLOWED_HOSTS": "testserver",
    }
    chosen.mkdir(parents=True, exist_ok=True)
    chosen.chmod(0o711)  # run by root, the server's account walks through it
    folder.prepare(chosen)
    with folder.locked(chosen, "a benchmark"):
        running = postgres.start(chosen, durable=durable, settings=settings or {})
        try:
            _migrated()
            yield chosen
        finally:
            from django.db import connections

            connections.close_all()
            postgres.stop(running, chosen)
    if data_dir is None:
        folder.discard(chosen)


def _migrated() -> None:
    """Set Django up and bring the database up to date."""
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0, interactive=False)
