"""`manage.py status` names what the exchange depends on, and what stops without it."""

import json
from typing import Any

import pytest
from django.core.management import call_command

from exchange.management import dependencies, health

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for answers as long as a busy machine needs."""
    monkeypatch.setattr(health, "ANSWER_SECONDS_MAX", 60.0)


def _said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run the command where no `up` runs; return what it says."""
    with pytest.raises(SystemExit) as ended:
        call_command("status", *words)
    assert ended.value.code == 1
    return capsys.readouterr().out


def test_each_dependency_is_told_and_whether_orders_are_taken(capsys: pytest.CaptureFixture[str]) -> None:
    found: dict[str, Any] = json.loads(_said(capsys, "--json"))

    told = {one["name"]: one for one in found["dependencies"]}
    assert {"postgres", "migrations", "room", "worker_shard_0", "back_office", "redis", "wal_disk"} <= told.keys()
    assert told["postgres"]["ok"]
    assert told["worker_shard_0"] == {
        "name": "worker_shard_0",
        "ok": False,
        "needed": False,
        "detail": "no worker, 0 commands behind",
    }
    assert (found["ok"], found["takes_orders"]) == (False, False)  # nobody serves


def test_people_are_told_what_stops_without_it(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")

    text = _said(capsys)

    assert "no orders are taken" in text
    assert dependencies.WITHOUT["worker"] in text
    assert dependencies.WITHOUT["redis"] not in text
