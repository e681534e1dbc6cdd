"""Development and demo: DEBUG on, loopback only, a secret made on first use and kept in the data folder."""

import os
import secrets

from exchange.settings.base import *  # noqa: F403 -- settings modules build on each other by design
from exchange.settings.base import DATA_DIR

DEBUG = True
DEMO = os.environ.get("EXCHANGE_DEMO", "1") == "1"
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", "testserver"]


def _kept_secret() -> str:
    """Return this data folder's secret, made on first use, readable by its owner only."""
    path = DATA_DIR / "secret_key"
    try:
        return path.read_text()
    except FileNotFoundError:
        DATA_DIR.mkdir(parents=True, exist_ok=True)
        draft = DATA_DIR / f"secret_key.{os.getpid()}"
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(50))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        return path.read_text()


SECRET_KEY = os.environ.get("SECRET_KEY") or _kept_secret()
