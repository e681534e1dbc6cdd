"""Outside tools, written by others, check an exported journal, reckon our balances, and refuse a changed amount.

The history has `--history` entries, 600 unless told otherwise; in full:

    pytest ledger/tests/test_export_outside.py --history 5000
"""

import itertools
import random
import re
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django.db import transaction

from ledger import audit
from ledger.entries import AccountKey
from ledger.exports import journal
from ledger.exports.formats import FORMATS
from ledger.exports.names import View
from ledger.posting_rules import EventKind
from ledger.services import accounts
from ledger.tests import outside
from ledger.tests.outside import Balances
from ledger.tests.random_history import BEGIN, History

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAYS = 10
INSTANT = timedelta(microseconds=1)
NOONS = [BEGIN + timedelta(days=day, hours=12, minutes=34) for day in (0, 3, 6)]
PERIOD = BEGIN + timedelta(days=3), BEGIN + timedelta(days=7) - INSTANT
AMOUNT = re.compile(r'^( +[A-Z]\S*  )(-?[0-9.]+)( "?[A-Z][^"=\n]*"?)$', re.MULTILINE)
ASSERTED = re.compile(r'^(\S+ balance \S+  | +\S+  0 "\S+" = )(-?[0-9.]+)( .*)$', re.MULTILINE)

pytestmark = [pytest.mark.django_db, pytest.mark.parametrize("view", View), pytest.mark.parametrize("form", FORMATS)]


Snapshots = dict[date | None, dict[AccountKey, Decimal]]


class Exported:
    """A history's files and what it knows of its balances; the books themselves are gone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.balances: dict[str, Snapshots] = {}
        self.owners: Counter[int] = Counter()

    def path(self, form: str, view: View, name: str) -> Path:
        return self.folder / f"{name}-{view}.{FORMATS[form].SUFFIX}"

    def write(self, name: str, balances: Snapshots, **period: datetime) -> None:
        """Export a period in every format and view; note the balances before some days, and None: at its end."""
        self.balances[name] = balances
        for form, view in itertools.product(FORMATS, View):
            with self.path(form, view, name).open("w") as file:
                file.writelines(journal.pieces(journal.scope(view, **period), FORMATS[form], NOW))

    def expected(self, name: str, view: View) -> dict[date | None, Balances]:
        return {day: outside.expected(view, ours) for day, ours in self.balances[name].items()}


@pytest.fixture(scope="module")
def exported(request, django_db_setup, django_db_blocker, tmp_path_factory) -> Exported:
    """Play a history, audit it, export it, and undo it all."""
    files = Exported(tmp_path_factory.mktemp("exports"))
    with django_db_blocker.unblock():
        accounts.forget_ids()
        with transaction.atomic():
            history = History(users=range(1, 13), seed=20_260_301, days=DAYS)
            history.play(request.config.getoption("--history"))
            assert [invariant for invariant in audit.invariants() if not invariant.ok] == []
            _export(history, files)
            transaction.set_rollback(True)
        accounts.forget_ids()
    return files


def _export(history: History, files: Exported) -> None:
    assert {entry.draft.kind for entry in history.posted} == set(EventKind)
    midnights = [BEGIN + timedelta(days=day) for day in (1, 2, 5, 7, DAYS)]
    before: Snapshots = {midnight.date(): history.balances_at(midnight - INSTANT) for midnight in midnights}
    files.write("whole", {**before, None: history.balances})
    for noon in NOONS:
        files.write(f"{noon.date()}", {None: history.balances_at(noon, known_at=noon)}, as_of=noon)
    first, last = PERIOD
    opened: Snapshots = {first.date(): history.balances_at(first - INSTANT)}
    files.write("period", {**opened, None: history.balances_at(last)}, first=first, last=last)
    files.owners.update(
        owner_id
        for entry in history.posted
        for owner_id in {key.owner_id for key, _ in entry.draft.lines}
        if owner_id is not None
    )


@pytest.mark.parametrize("name", ["whole", *(f"{noon.date()}" for noon in NOONS), "period"])
def test_the_tool_accepts_the_file_and_has_our_balances_at_every_moment(exported, form, view, name) -> None:
    path = exported.path(outside.tool(form), view, name)

    assert outside.check(form, path) == ""
    for day, ours in exported.expected(name, view).items():
        assert len(ours) > 20
        assert outside.balances(form, path, day) == ours


def _changed(path: Path, pattern: re.Pattern[str], chosen: int, step: Decimal | None) -> Path:
    """Copy a file with one of its amounts moved by a step, None being one quantum."""
    text = path.read_text()
    places = list(pattern.finditer(text))
    found = places[chosen % len(places)]
    amount = Decimal(found[2])
    exponent = amount.as_tuple().exponent
    assert isinstance(exponent, int)
    moved = amount + (step or Decimal(1).scaleb(exponent))
    copy = path.with_name(f"changed-{path.name}")
    copy.write_text(f"{text[: found.start(2)]}{moved:f}{text[found.end(2) :]}")
    return copy


@pytest.mark.parametrize("step", [Decimal("0.00000001"), None, Decimal("0.000000000000000001")])
def test_one_amount_changed_is_refused(exported, form, view, step) -> None:
    path = exported.path(outside.tool(form), view, "period")
    chosen = random.Random(7)

    for _ in range(3):
        assert outside.check(form, _changed(path, AMOUNT, chosen.randrange(10**6), step)) != ""


def test_an_asserted_balance_off_by_a_quantum_is_refused(exported, form, view) -> None:
    path = exported.path(outside.tool(form), view, "period")

    for chosen in (0, -1):
        assert re.search("balance|assert", outside.check(form, _changed(path, ASSERTED, chosen, None)), re.IGNORECASE)


def test_a_changed_transaction_that_still_balances_is_refused_by_asserted_balances(exported, form, view) -> None:
    path = exported.path(outside.tool(form), view, "period")
    text = path.read_text()
    one, other = next(
        (one, other)
        for one, other in itertools.pairwise(AMOUNT.finditer(text))
        if one.end() + 1 == other.start() and one[3] == other[3] and Decimal(one[2]) == -Decimal(other[2])
    )
    doubled = "".join(f"{line[1]}{Decimal(line[2]) * 2:f}{line[3]}\n" for line in (one, other))
    copy = path.with_name(f"doubled-{path.name}")
    copy.write_text(f"{text[: one.start()]}{doubled}{text[other.end() + 1 :]}")

    assert re.search("balance|assert", outside.check(form, copy), re.IGNORECASE)


def test_in_the_users_journal_every_transaction_is_one_users(exported, form, view) -> None:
    blocks = exported.path(form, view, "whole").read_text().split("\n\n")

    owners = [set(re.findall(r":U(\d+)[:\s]", block)) for block in blocks if "kind: " in block]
    if view == View.USER:
        assert Counter(int(found.pop()) for found in owners if len(found) == 1) == exported.owners
        assert not any(owners)
    else:
        assert any(len(found) > 1 for found in owners)
