"""Runs the outside tools on an exported journal: Beancount from its wheels, hledger where the machine has it."""

import csv
import io
import shutil
import subprocess
import sys
from collections import defaultdict
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from exchange.kernel.money import EXACT
from ledger.chart import CHART, AccountCode, Face
from ledger.entries import AccountKey
from ledger.exports import names
from ledger.exports.names import View

HLEDGER = shutil.which("hledger")
HLEDGER_MISSING = "hledger is not on this machine: install it (Debian: apt-get install hledger)"
Balances = dict[tuple[str, str], Decimal]


def tool(form: str) -> str:
    """Return the tool's name, or skip the test where hledger is missing; Beancount is in requirements.txt."""
    if form == "hledger" and HLEDGER is None:
        pytest.skip(HLEDGER_MISSING)
    return form


def _run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, env={"LANG": "C.UTF-8"}
    )


def _bean(name: str) -> Path:
    return Path(sys.executable).with_name(f"bean-{name}")


def check(form: str, path: Path) -> str:
    """Check a file as strictly as its tool can; return what the tool found wrong, nothing if it is content."""
    if form == "beancount":
        done = _run(_bean("check"), "--no-cache", path)
    else:
        done = _run(str(HLEDGER), "-f", path, "check", "-s", "ordereddates", "balancednoautoconversion")
    return (done.stdout + done.stderr) or (f"exit {done.returncode}" if done.returncode else "")


def balances(form: str, path: Path, before: date | None = None) -> Balances:
    """Return what the tool reckons every account to hold, before a day or at the end; no zeros."""
    if form == "beancount":
        condition = f"WHERE date < {before} " if before else ""
        query = f"SELECT account, currency, sum(number) {condition}GROUP BY account, currency"
        done = _run(_bean("query"), "--no-errors", "-f", "csv", path, query)
    else:
        until = ["-e", str(before)] if before else []
        done = _run(str(HLEDGER), "-f", path, "bal", "--flat", "-N", *until, "-O", "csv", "--layout=bare")
    assert done.returncode == 0, done.stderr
    rows = list(csv.reader(io.StringIO(done.stdout)))[1:]
    found = {(row[0].strip(), row[1].strip()): Decimal(row[2].strip()) for row in rows}
    return {place: amount for place, amount in found.items() if amount}


def expected(view: View, ours: dict[AccountKey, Decimal]) -> Balances:
    """Return our balances as the tool should have them: its names, and the signs of the view."""
    found: Balances = defaultdict(Decimal)
    for key, amount in ours.items():
        face = CHART[AccountCode(key.code)].face
        if amount and face in {Face.BOTH, Face(view.upper())}:
            signed = amount.copy_negate() if face == Face.BOTH and view == View.PLATFORM else amount
            place = names.account(view, AccountCode(key.code), key.sub, key.owner_id), names.commodity(key.asset)
            found[place] = EXACT.add(found[place], signed)
    return dict(found)
