"""What orders should do, restated from the tests of other engines, and the command that plays such files."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from matching_worker import scenarios
from matching_worker.tests.shared_data import shared_data

FILE = shared_data() / "scenarios.json"
SKIPPED = {"S031", "S032", "S073", "S074", "S076", "S077"}

SWEEP: dict[str, Any] = {
    "id": "one",
    "needs": [],
    "rules": {},
    "steps": [
        {"cmd": {"op": "new", "id": "a", "side": "sell", "type": "limit", "price": 10, "qty": 5}, "expect": []},
        {
            "cmd": {"op": "new", "id": "b", "side": "buy", "type": "limit", "price": 10, "qty": 2},
            "expect": [{"event": "fill", "taker": "b", "maker": "a", "price": 10, "qty": 2}],
        },
    ],
    "final": {"bids": [], "asks": [[10, 3, ["a"]]], "stops": []},
    "orders": {"b": "filled", "a": "open"},
}


def known() -> list[Any]:
    if not FILE.is_file():
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"no scenarios at {FILE}"))]
    return [pytest.param(one, id=one["id"]) for one in scenarios.read_scenarios(FILE)]


@pytest.mark.parametrize("scenario", known())
def test_the_engine_does_what_the_scenario_says(scenario: dict[str, Any]) -> None:
    result = scenarios.run([scenario])

    assert result.failures == []
    assert set(result.skipped) == {scenario["id"]} & SKIPPED


def test_the_scenarios_are_not_fewer_than_known() -> None:
    if not FILE.is_file():
        pytest.skip(f"no scenarios at {FILE}")

    result = scenarios.run(scenarios.read_scenarios(FILE))

    assert (len(result.passed), len(result.failures), set(result.skipped)) == (56, 0, SKIPPED)


def file_of(tmp_path: Path, *found: dict[str, Any]) -> Path:
    path = tmp_path / "scenarios.json"
    path.write_text(json.dumps({"schema": {}, "scenarios": found}))
    return path


def with_other(path: str, value: Any) -> dict[str, Any]:
    """Return the sweep with one thing changed, named by its place."""
    scenario = json.loads(json.dumps(SWEEP))
    at: Any = scenario
    *places, last = path.split(".")
    for place in places:
        at = at[int(place) if place.isdecimal() else place]
    at[last] = value
    return scenario


@pytest.mark.parametrize(
    ("path", "value", "detail"),
    [
        ("steps.1.expect", [], "step 2"),
        ("steps.0.expect", [{"event": "canceled", "id": "a", "qty": 5}], "step 1"),
        ("final.asks", [[10, 4, ["a"]]], "at the end asks"),
        ("final.stops", ["b"], "at the end stops"),
        ("orders.a", "filled", "at the end order a: filled was due, it is partially_filled"),
        ("steps.0.cmd.op", "explode", "cannot be understood: KeyError"),
        ("steps.0.cmd.type", "weird", "cannot be understood: KeyError"),
    ],
)
def test_a_difference_is_a_failure_with_its_reason(path: str, value: Any, detail: str) -> None:
    result = scenarios.run([SWEEP, with_other(path, value)])

    assert result.passed == ["one"]
    assert [failure.id for failure in result.failures] == ["one"]
    assert detail in result.failures[0].detail


def test_the_command_ends_with_one_line_of_json(tmp_path: Path) -> None:
    skipped = SWEEP | {"id": "two", "needs": ["aon"]}
    out, err = io.StringIO(), io.StringIO()

    call_command("run_scenarios", file_of(tmp_path, SWEEP, skipped), "--json", stdout=out, stderr=err)

    assert json.loads(out.getvalue()) == {"passed": 1, "failed": 0, "skipped": 1, "failures": []}
    assert out.getvalue().count("\n") == 1
    assert "skipped two: needs all-or-none" in err.getvalue()


def test_the_command_fails_when_a_scenario_does(tmp_path: Path) -> None:
    out = io.StringIO()

    with pytest.raises(CommandError, match="1 scenarios failed") as caught:
        call_command("run_scenarios", file_of(tmp_path, with_other("steps.1.expect", [])), "--json", stdout=out)

    assert caught.value.returncode == 1
    [failure] = json.loads(out.getvalue())["failures"]
    assert failure["id"] == "one"
    assert "step 2" in failure["detail"]


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"scenarios": {}}'])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "scenarios.json"
    path.write_text(content)

    with pytest.raises(CommandError, match=r"scenarios\.json") as caught:
        call_command("run_scenarios", path)

    assert caught.value.returncode == 2


def test_people_are_told_what_failed_and_what_was_left_out(tmp_path: Path) -> None:
    out = io.StringIO()
    path = file_of(tmp_path, SWEEP, SWEEP | {"id": "two", "needs": ["fok_budget"]})

    call_command("run_scenarios", path, stdout=out)

    assert out.getvalue().splitlines() == [
        "skipped two: needs fill-or-kill by budget, which this engine leaves out",
        "1 passed, 0 failed, 1 skipped",
    ]
