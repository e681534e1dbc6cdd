"""House rules that a linter does not know: one clock, no floats for money, files that fit a head, READMEs, layout."""

import re
import subprocess
from pathlib import Path

import pytest
from django.conf import settings

ROOT: Path = settings.BASE_DIR
LINES_MAX = 450
APPS = ("exchange", "ledger", "trading", "risk", "marketdata", "matching_worker")
AT_THE_ROOT = {
    *APPS,
    "templates",
    "manage.py",
    "requirements.txt",
    "README.md",
    "LICENSE",
    "conftest.py",
    "pyproject.toml",
    ".ci",
    ".gitignore",
}
MAY_READ_THE_CLOCK = {"exchange/kernel/clock.py"}
MAY_USE_FLOATS = {
    "exchange/demo/client.py",  # seconds to wait
    "exchange/management/status_file.py",  # a process's start
    "matching_worker/counting.py",  # a metric for charts
}
CLOCK = re.compile(r"datetime\.now\(|utcnow\(|time\.time\(|time_ns\(\)|timezone\.now\(|date\.today\(")


def _tracked(pattern: str) -> list[str]:
    """Return the project's own files, as git knows them."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: there is no list of the project's files")
    done = subprocess.run(["git", "ls-files", pattern], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.split() if (ROOT / name).exists()]


def _product() -> list[str]:
    """Return the product's own modules: no tests, no migrations, no benchmarks, which measure seconds."""
    beside = ("/tests/", "/migrations/", "/benchmarks/")
    return [name for name in _tracked("*.py") if not any(part in name for part in beside)]


def test_one_module_reads_the_clock() -> None:
    readers = {name for name in _product() if re.search(CLOCK, (ROOT / name).read_text())}

    assert readers <= MAY_READ_THE_CLOCK | {"matching_worker/engine.py"}  # the engine only names a property so


def test_floats_stay_out_but_where_named() -> None:
    users = {name for name in _product() if re.search(r"\bfloat\(", (ROOT / name).read_text())}

    assert users <= MAY_USE_FLOATS


def test_files_fit_a_head() -> None:
    long = {
        name: len((ROOT / name).read_text().splitlines()) for name in _tracked("*.py") if "/migrations/" not in name
    }

    assert {name: lines for name, lines in long.items() if lines > LINES_MAX} == {}


@pytest.mark.parametrize("app", APPS)
def test_every_app_explains_itself_and_has_tests(app: str) -> None:
    assert len((ROOT / app / "README.md").read_text().splitlines()) > 5
    assert list((ROOT / app).rglob("tests/test_*.py"))


def test_nothing_else_stands_at_the_root() -> None:
    assert {name.split("/")[0] for name in _tracked("*")} <= AT_THE_ROOT


def test_links_of_the_documents_lead_somewhere() -> None:
    links = [
        (name, target)
        for name in _tracked("*.md")
        for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / name).read_text())
        if "://" not in target
    ]

    broken = [(name, target) for name, target in links if not (ROOT / name).parent.joinpath(target).exists()]
    assert broken == []
