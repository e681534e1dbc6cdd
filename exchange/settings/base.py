"""Settings shared by every mode; what differs is in the module of the mode."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import dj_database_url
from django.templatetags.static import static
from django.utils.translation import gettext_lazy

from exchange.embedded import addresses
from exchange.settings import shards

BASE_DIR = Path(__file__).resolve().parent.parent.parent
DATA_DIR = Path(os.environ.get("EXCHANGE_DATA_DIR", BASE_DIR / "var")).resolve()

EMBEDDED_POSTGRES = "DATABASE_URL" not in os.environ
EMBEDDED_REDIS = "REDIS_URL" not in os.environ
DATABASE_URL = os.environ.get("DATABASE_URL", addresses.postgres_url(DATA_DIR))
REDIS_URL = os.environ.get("REDIS_URL", addresses.redis_url(DATA_DIR))

INSTALLED_APPS = [
    "daphne",
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "rest_framework_simplejwt.token_blacklist",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "djmoney",
    "django_celery_beat",
    "exchange",
    "exchange.users",
    "ledger",
    "marketdata",
    "risk",
    "trading",
    "matching_worker",
]

MIDDLEWARE = [
    "exchange.observability.middleware.RequestLog",
    "django.middleware.security.SecurityMiddleware",
    "exchange.web.middleware.ContentSecurityPolicy",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "exchange.api.middleware.ApiGuard",
]

ROOT_URLCONF = "exchange.urls"
ASGI_APPLICATION = "exchange.asgi.application"
APPEND_SLASH = False
AUTH_USER_MODEL = "users.User"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.debug",
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "exchange.web.context.site",
            ]
        },
    }
]

# --- Database ---------------------------------------------------------------------------------
# The process's role narrows what it may do (ledger tables are written through door functions
# only); without one, a command acts as the owner, as migrations must.
DB_ROLE = os.environ.get("EXCHANGE_DB_ROLE", "")
TRANSACTION_TIMEOUT_MS = 2000
"""A transaction that takes longer loses its connection."""
LOCK_TIMEOUT_MS = 1500
"""Shorter, so that waiting for a lock ends in an error that can be handled, before the connection is lost."""
ONLINE_ROLES = {"exchange_web", "exchange_worker"}
PREPARE_AFTER = 5
"""How often a connection of theirs runs a statement before the database keeps its plan; in a pipeline it is kept from
the first time on (`exchange.pipeline`). Without, each is planned anew: two fifths of the database's processor time for
an order that comes alone, measured."""


def _connection_options(role: str) -> str:
    """Return the libpq options of a process: its role, and short timeouts for those that hold locks."""
    flags = ["-c timezone=UTC", f"-c lock_timeout={LOCK_TIMEOUT_MS}"]
    if role:
        flags.append(f"-c role={role}")
    if role in ONLINE_ROLES:
        flags.append(f"-c idle_in_transaction_session_timeout={TRANSACTION_TIMEOUT_MS}")
        flags.append(f"-c transaction_timeout={TRANSACTION_TIMEOUT_MS}")
        # Their statements find rows by key, however many, so that one plan fits all numbers of rows: PREPARE_AFTER.
        # A plan may have been kept when its tables were nearly empty, and reading such a table whole looked cheapest:
        # within minutes it is not, and the plan would stay until the next ANALYZE. Keys have indexes, so they are used.
        flags.append("-c plan_cache_mode=force_generic_plan -c enable_seqscan=off")
    return " ".join(flags)


NETWORK_OPTIONS = {
    "connect_timeout": 3,
    "keepalives_idle": 3,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "tcp_user_timeout": 6000,
}
"""A network that has been cut is an error after six seconds, not after the hours that systems allow; sockets of one
machine know none of it. Source: PostgreSQL 18, 34.1.2, parameter key words; seconds, the last one milliseconds."""

DATABASES: dict[str, Any] = {"default": dj_database_url.parse(DATABASE_URL, engine="exchange.postgresql")}
DATABASES["default"]["OPTIONS"] = {
    **NETWORK_OPTIONS,
    **DATABASES["default"].get("OPTIONS", {}),
    "options": _connection_options(DB_ROLE),
}
if DB_ROLE in ONLINE_ROLES:
    DATABASES["default"]["OPTIONS"]["prepare_threshold"] = PREPARE_AFTER
if DB_ROLE == "exchange_web":  # many threads, few of which ask the database at once: connections are pooled
    # A connection that cannot be made is given up after two attempts and begun anew: left alone the pool pauses ever
    # longer, and after a long outage would go on pausing for as long again.
    DATABASES["default"]["OPTIONS"]["pool"] = {
        "min_size": 1,
        "max_size": 16,
        "timeout": 5,
        "reconnect_timeout": 1,
        "reconnect_failed": lambda pool: pool.check(),
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Redis: cache, push, background work --------------------------------------------------------
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "exchange",
    }
}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL], "prefix": "push"},
    }
}
CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://").replace("?db=", "?virtual_host=")
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_TIMEZONE = "UTC"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False

# --- Reconciliation -----------------------------------------------------------------------------
RECONCILIATION_SEVERITY = dict(
    pair.strip().split("=", 1) for pair in os.environ.get("EXCHANGE_RECONCILIATION_SEVERITY", "").split(",") if pair
)
"""What a break of a check does, where not what the check says: `check=watch`, `alert` or `stop`, by commas."""

# --- Logs ---------------------------------------------------------------------------------------
LOGGING_CONFIG = "exchange.observability.logs.configure"
LOGGING: dict[str, Any] = {
    "form": os.environ.get("EXCHANGE_LOG_FORM", "console"),
    "level": os.environ.get("EXCHANGE_LOG_LEVEL", "INFO"),
}

# --- Languages and time -------------------------------------------------------------------------
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hant", "繁體中文")]
LOCALE_PATHS = [BASE_DIR / "exchange" / "locale"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"

# --- Money: ledger asset codes are longer than ISO 4217's three letters ---------------------------
CURRENCY_CODE_MAX_LENGTH = 16

# --- Static files -------------------------------------------------------------------------------
STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
ATTACHMENTS_DIR = DATA_DIR / "attachments"
"""Files that staff attach to journal entries, by their hash; back it up with the database."""
STATICFILES_DIRS = [BASE_DIR / "exchange" / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}

# --- REST ---------------------------------------------------------------------------------------
REQUEST_BODY_BYTES_MAX = 1024 * 1024
DATA_UPLOAD_MAX_MEMORY_SIZE = REQUEST_BODY_BYTES_MAX
REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_SCHEMA_CLASS": "exchange.api.schema.EnvelopeSchema",
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "exchange.api.authentication.JwtAuthentication",
        "exchange.api.authentication.PageSessionAuthentication",
    ],
    "DEFAULT_THROTTLE_CLASSES": ["exchange.api.throttling.UserThrottle"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["exchange.api.requests.StrictJsonParser"],
    "DEFAULT_RENDERER_CLASSES": ["exchange.api.requests.EnvelopeRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "exchange.api.requests.JsonOnly",
    "DEFAULT_METADATA_CLASS": None,
    "EXCEPTION_HANDLER": "exchange.api.envelope.exception_handler",
    "DATETIME_FORMAT": None,
    "COERCE_DECIMAL_TO_STRING": False,
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Exchange API",
    "VERSION": "1",
    "DESCRIPTION": "Every answer is {code, message, data}; code 0 is success. The error table is at /api/v1/errors.",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": False,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "POSTPROCESSING_HOOKS": ["exchange.api.schema.add_refusal_shape"],
}
SIMPLE_JWT: dict[str, Any] = {
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=15),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=7),
    "CHECK_REVOKE_TOKEN": True,  # a changed password ends every token
}
REQUESTS_PER_SECOND_AND_IP = 100
REQUESTS_PER_SECOND_AND_USER = 100
LOGINS_FAILED_PER_MINUTE_AND_IP = 10
LOGINS_FAILED_PER_QUARTER_HOUR_AND_USER = 20
REGISTRATIONS_PER_MINUTE_AND_IP = 60
TRUSTED_PROXY_COUNT = int(os.environ.get("TRUSTED_PROXY_COUNT", "0"))
CSRF_FAILURE_VIEW = "exchange.api.handlers.csrf_failure"

# --- Sign-in ------------------------------------------------------------------------------------
LOGIN_URL = "/login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"

# What an authenticator app calls the codes of a second factor.
OTP_TOTP_ISSUER = "Exchange"

# --- Deposits -----------------------------------------------------------------------------------
DEPOSIT_WEBHOOK_SECRETS = dict(
    pair.split("=", 1) for pair in os.environ.get("EXCHANGE_DEPOSIT_WEBHOOK_SECRETS", "").split(",") if "=" in pair
)
"""By provider, the secret that its webhook calls are signed with: `provider=secret,...`; without one it cannot call."""

# --- Mail: without a host nobody is mailed; notices are on the page all the same -----------------
EMAIL_HOST = os.environ.get("EMAIL_HOST", "")
EMAIL_PORT = int(os.environ.get("EMAIL_PORT", "587"))
EMAIL_HOST_USER = os.environ.get("EMAIL_HOST_USER", "")
EMAIL_HOST_PASSWORD = os.environ.get("EMAIL_HOST_PASSWORD", "")
EMAIL_USE_TLS = os.environ.get("EMAIL_USE_TLS", "1") == "1"
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = os.environ.get("DEFAULT_FROM_EMAIL", "exchange@localhost")
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if EMAIL_HOST else 'dummy'}.EmailBackend"

# --- Admin --------------------------------------------------------------------------------------
UNFOLD = {
    "SITE_TITLE": gettext_lazy("Exchange administration"),
    "SITE_HEADER": gettext_lazy("Exchange administration"),
    "SITE_URL": "/",
    "SHOW_HISTORY": True,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda _request: static("img/icon.svg")}],
    "DASHBOARD_CALLBACK": "exchange.web.office_dashboard.callback",
    "SIDEBAR": {
        "show_search": True,
        "show_all_applications": lambda request: request.user.is_superuser,
        "navigation": "exchange.web.office_menu.navigation",
    },
}

# --- Demo ---------------------------------------------------------------------------------------
DEMO = False
"""Demo users, faucet and makers. Only ever true with DEBUG, and `up` then binds to loopback."""

# --- Proof of reserves ----------------------------------------------------------------------------
RESERVES_PUBLISHING = os.environ.get("EXCHANGE_RESERVES", "1") == "1"
"""Whether this exchange publishes proofs of reserves."""
RESERVES_SIGNING_KEY = os.environ.get("RESERVES_SIGNING_KEY", "")
"""64 hexadecimal digits: the Ed25519 seed that statements are signed with. Only the back office's process needs it."""

# --- Matching worker ----------------------------------------------------------------------------
SHARDS, INSTRUMENT_SHARDS = shards.read(os.environ)
"""Matching workers, numbered from 0, each with its own log; and the shard of new instruments, `SYMBOL=SHARD,...`."""
WAL_DIR = DATA_DIR / "wal"
WAL_SYNC_POLICY = os.environ.get("EXCHANGE_WAL_SYNC", "always")
"""`always`, or `interval:<ms>`, which may lose published trades in a power cut: Note [Sync policy] in wal.py."""
WAL_SYNC_LOSS_ALLOWED = os.environ.get("EXCHANGE_WAL_SYNC_LOSS_ALLOWED", "") == "1"
"""Without DEBUG, `interval` is refused unless this says that the loss has been accepted."""
WAL_RETENTION_DAYS = int(os.environ.get("EXCHANGE_WAL_RETENTION_DAYS", "7"))
SNAPSHOTS_KEPT = int(os.environ.get("EXCHANGE_SNAPSHOTS_KEPT", "4"))
SNAPSHOT_COMMANDS = int(os.environ.get("EXCHANGE_SNAPSHOT_COMMANDS", "1000000"))
SNAPSHOT_SECONDS = int(os.environ.get("EXCHANGE_SNAPSHOT_SECONDS", "600"))
"""A snapshot is due after so many commands, or after so long if there was any command."""
SHARD_LAG_MAX = int(os.environ.get("EXCHANGE_SHARD_LAG_MAX", "20000"))
"""Commands of a shard that may be in the log and not in the books, before new orders are refused for a while."""
TRADER_LAG_MAX = int(os.environ.get("EXCHANGE_TRADER_LAG_MAX", "2000"))
"""Orders of one trader that may wait so."""
LEASE_SECONDS = int(os.environ.get("EXCHANGE_LEASE_SECONDS", "1"))
"""A matching worker that has not renewed its lease for so long has stalled; the same for both workers of a shard."""
WORKER_HTTP_PORT = int(os.environ.get("EXCHANGE_WORKER_PORT", "8080"))
"""Health and metrics of shard 0's worker; shard N's are on the Nth port after it."""
