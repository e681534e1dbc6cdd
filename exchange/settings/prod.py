"""Production: what is secret or site-specific comes from the environment, or nothing starts."""

import os
import re

from django.core.exceptions import ImproperlyConfigured

from exchange.settings.base import *  # noqa: F403 -- settings modules build on each other by design
from exchange.settings.base import DB_ROLE, LOGGING, RESERVES_PUBLISHING, RESERVES_SIGNING_KEY

DEBUG = False
DEMO = False
LOGGING = {**LOGGING, "form": "json"}


def _required(name: str) -> str:
    """Return an environment variable that production cannot do without."""
    value = os.environ.get(name, "")
    if not value:
        message = f"{name} must be set in production."
        raise ImproperlyConfigured(message)
    return value


SECRET_KEY = _required("SECRET_KEY")
if len(SECRET_KEY) < 50:  # noqa: PLR2004 -- Django's own measure of a long enough secret
    message = "SECRET_KEY must have at least 50 characters."
    raise ImproperlyConfigured(message)
_required("DATABASE_URL")
_required("REDIS_URL")
ALLOWED_HOSTS = _required("ALLOWED_HOSTS").split(",")
if "*" in ALLOWED_HOSTS:
    message = "ALLOWED_HOSTS must name the hosts; '*' is refused."
    raise ImproperlyConfigured(message)
CSRF_TRUSTED_ORIGINS = [f"https://{host}" for host in ALLOWED_HOSTS]

if RESERVES_PUBLISHING and DB_ROLE == "exchange_back_office":  # the process that signs; others need no key
    _required("RESERVES_SIGNING_KEY")
    if not re.fullmatch(r"[0-9a-f]{64}", RESERVES_SIGNING_KEY):
        message = (
            "RESERVES_SIGNING_KEY must be 64 hexadecimal digits; without proofs of reserves set EXCHANGE_RESERVES=0."
        )
        raise ImproperlyConfigured(message)

SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = True
SECURE_HSTS_SECONDS = 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
