"""Production settings: what must be there before a process starts, and who needs which secret."""

import os
import subprocess
import sys

import pytest
from django.conf import settings

COMPLETE = {
    "SECRET_KEY": "x" * 50,
    "DATABASE_URL": "postgresql://nowhere/exchange",
    "REDIS_URL": "redis://nowhere/0",
    "ALLOWED_HOSTS": "exchange.example",
    "EXCHANGE_DB_ROLE": "exchange_back_office",
    "RESERVES_SIGNING_KEY": "ab" * 32,
}


def _run(code: str, **changed: str) -> "subprocess.CompletedProcess[str]":
    """Run a line of Python in a process of its own, with complete settings."""
    dropped = {"DJANGO_SETTINGS_MODULE", "EXCHANGE_DATA_DIR", "EXCHANGE_RESERVES", *COMPLETE}
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=settings.BASE_DIR,
        env={**environment, **COMPLETE, **changed},
        capture_output=True,
        text=True,
        check=False,
    )


def load(**changed: str) -> str:
    """Load the settings; return what was wrong, nothing if they are complete."""
    done = _run("import exchange.settings.prod", **changed)
    return done.stderr.strip().splitlines()[-1] if done.returncode else ""


def test_complete_settings_load() -> None:
    assert load() == ""


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"SECRET_KEY": "short"}, "at least 50 characters"),
        ({"ALLOWED_HOSTS": "*"}, "'*' is refused"),
        ({"RESERVES_SIGNING_KEY": ""}, "RESERVES_SIGNING_KEY must be set in production."),
        ({"RESERVES_SIGNING_KEY": "secret"}, "must be 64 hexadecimal digits"),
    ],
)
def test_what_is_missing_or_unsafe_stops_the_start(changed, words) -> None:
    assert words in load(**changed)


@pytest.mark.parametrize(
    "changed",
    [
        {"EXCHANGE_DB_ROLE": "exchange_web"},
        {"EXCHANGE_DB_ROLE": "exchange_worker"},
        {"EXCHANGE_RESERVES": "0"},
    ],
)
def test_only_who_publishes_needs_the_signing_key(changed) -> None:
    assert load(RESERVES_SIGNING_KEY="", **changed) == ""


@pytest.mark.parametrize(("role", "after"), [("exchange_web", "5"), ("exchange_back_office", "None")])
def test_plans_are_kept_for_who_is_on_the_road_of_an_order(role, after) -> None:
    code = (
        "from exchange.settings.prod import DATABASES; print(DATABASES['default']['OPTIONS'].get('prepare_threshold'))"
    )

    assert _run(code, EXCHANGE_DB_ROLE=role).stdout.strip() == after
