"""Development and demo: DEBUG on, loopback only, secrets made on first use and kept in the data folder."""

import os
import secrets
from collections.abc import Callable

from exchange.settings.base import *  # noqa: F403 -- settings modules build on each other by design
from exchange.settings.base import DATA_DIR

DEBUG = True
DEMO = os.environ.get("EXCHANGE_DEMO", "1") == "1"
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", "testserver"]


def _kept_secret(name: str, new: Callable[[], str]) -> str:
    """Return a secret of this data folder, made on first use, readable by its owner only."""
    path = DATA_DIR / name
    try:
        return path.read_text()
    except FileNotFoundError:
        DATA_DIR.mkdir(parents=True, exist_ok=True)
        draft = DATA_DIR / f"{name}.{os.getpid()}"
        draft.touch(mode=0o600)
        draft.write_text(new())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        return path.read_text()


SECRET_KEY = os.environ.get("SECRET_KEY") or _kept_secret("secret_key", lambda: secrets.token_urlsafe(50))
RESERVES_SIGNING_KEY = os.environ.get("RESERVES_SIGNING_KEY") or _kept_secret(
    "reserves_key", lambda: secrets.token_hex(32)
)
