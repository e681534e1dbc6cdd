"""Commands beside each other on one data folder; each is a process of its own, as in life."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from exchange.embedded import addresses, folder

ROOT = folder.DEFAULT.parent
SCRIPT = """
import sys
import django
django.setup()
from django.db import connection
from exchange.embedded import session
with session.servers(sys.argv[1], migrate=False):
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_postmaster_start_time()")
        print(cursor.fetchone()[0].isoformat(), flush=True)
    sys.stdin.readline()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        print("still there", flush=True)
print("out", flush=True)
"""


@pytest.fixture
def data_dir() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="exchange-test-session-"))
    yield path
    folder.discard(path)


class Session:
    """A command that uses servers until it is told to end."""

    def __init__(self, name: str, data_dir: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=ROOT, env={"PATH": "/usr/bin:/bin", folder.VARIABLE: str(data_dir),
                           "DJANGO_SETTINGS_MODULE": "exchange.settings.dev"},
        )  # fmt: skip
        self.server_started_at = self.line()

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def close(self) -> int:
        return self.process.wait(timeout=60) if self.process.communicate() else 1


def test_a_second_command_uses_the_firsts_servers_which_stay_until_it_is_done(data_dir: Path) -> None:
    first = Session("first", data_dir)
    second = Session("second", data_dir)

    first.end()
    assert first.line() == "still there"
    second.end()
    assert [second.line(), second.line(), first.line()] == ["still there", "out", "out"]

    assert second.server_started_at == first.server_started_at != ""
    assert [first.close(), second.close()] == [0, 0]
    assert not addresses.socket_dir(data_dir).exists()
    assert folder.holder(data_dir) is None
