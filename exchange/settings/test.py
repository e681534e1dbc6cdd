"""Tests: the real PostgreSQL and Redis, started by conftest.py in a temporary folder of this run."""

import os
import tempfile
from pathlib import Path

os.environ.setdefault("EXCHANGE_DATA_DIR", str(Path(tempfile.gettempdir()) / f"exchange-test-{os.getpid()}"))

from exchange.settings.base import *  # noqa: F403 -- the folder must be named before

DEBUG = False
DEMO = True
SECRET_KEY = "only-for-tests-0123456789-0123456789-0123456789"  # noqa: S105 -- protects nothing
RESERVES_SIGNING_KEY = "5e" * 32
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
CELERY_TASK_ALWAYS_EAGER = True
CELERY_TASK_EAGER_PROPAGATES = True
WHITENOISE_AUTOREFRESH = True
WHITENOISE_USE_FINDERS = True
