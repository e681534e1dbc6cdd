"""`replay_road` and `audit_books` as an operator runs them: processes, a file, one line of JSON."""

import json
import subprocess
import sys

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from trading.tests.processes import Scratch

pytestmark = pytest.mark.django_db

FLOW = """seq,cmd,id,side,price,qty,ts
1,N,101,B,5850000,100,34200.0
2,N,102,S,5860000,50,34200.1
3,N,103,S,5860000,70,34200.2
4,X,104,B,5860000,80,34200.3
5,R,103,S,5860000,10,34200.4
6,C,101,B,5850000,100,34200.5
7,N,105,B,5870000,60,34200.6
"""


@pytest.fixture(name="_django_db_helper")
def _no_transaction_around(django_db_setup) -> None:
    """Wrap nothing around the tests of this module: each has a database of its own, and really commits."""


def _manage(scratch: Scratch, *argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", *argv]
    return subprocess.run(
        command, cwd=settings.BASE_DIR, env=scratch.env, capture_output=True, text=True, timeout=300, check=False
    )


def test_recorded_flow_goes_down_the_road_and_the_audit_is_clean(scratch: Scratch) -> None:
    file = scratch.folder / "flow.csv"
    file.write_text(FLOW)

    done = _manage(scratch, "replay_road", str(file), "--json")

    assert done.returncode == 0, done.stderr
    [line] = done.stdout.splitlines()
    figures = json.loads(line)
    speed = (figures.pop("seconds"), figures.pop("commands_per_second"))
    assert min(speed) > 0
    assert figures == {
        "commands": 7,
        "accepted": 7,
        "refused": 0,
        "trades": 3,
        "trades_settled": 3,
        "audit_ok": True,
    }


def test_a_limit_cuts_the_file_and_people_get_words(scratch: Scratch) -> None:
    file = scratch.folder / "flow.csv"
    file.write_text(FLOW)

    done = _manage(scratch, "replay_road", str(file), "--limit", "4")

    assert done.returncode == 0, done.stderr
    assert "2 of 2 settled once" in done.stdout
    assert "audit: clean" in done.stdout


@pytest.mark.parametrize(
    ("content", "words"),
    [("seq,cmd,id,side,price,qty,ts\n1,Z,1,B,1,1,0\n", "line 2"), ("", "flow.csv")],
)
def test_a_bad_file_is_one_clear_line(scratch: Scratch, content: str, words: str) -> None:
    file = scratch.folder / "flow.csv"
    file.write_text(content)

    done = _manage(scratch, "replay_road", str(file))

    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_audit_books_names_what_is_broken_and_exits_1(scratch: Scratch) -> None:
    clean = _manage(scratch, "audit_books", "--json")
    current = connection.settings_dict
    with psycopg.connect(host=current["HOST"], user=current["USER"], dbname=current["NAME"]) as raw:
        raw.execute("UPDATE command_stream SET sequence = 5")

    broken = _manage(scratch, "audit_books", "--json")

    assert clean.returncode == 0, clean.stderr
    assert json.loads(clean.stdout)["ok"] is True
    report = json.loads(broken.stdout)
    assert broken.returncode == 1
    assert report["ok"] is False
    assert [item["name"] for item in report["invariants"] if not item["ok"]] == [
        "the command log is dense and its chain whole"
    ]
