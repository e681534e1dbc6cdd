"""Whatever is late, and wherever a period is cut, every way of reading it agrees with adding up lines by hand."""

import itertools
import random
from collections import defaultdict
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from ledger.models import Line
from ledger.posting_rules import EventKind
from ledger.reports import balances, cash, customer, lines, moments, trial
from ledger.reports.scopes import Scope
from ledger.reports.selection import Selection
from ledger.tests.factories import event, freeze
from ledger.tests.fixtures import make_asset
from ledger.tests.history import march, post

pytestmark = pytest.mark.usefixtures("books")

ENTRIES = 40
MOMENTS = [None, *(march(1) + timedelta(hours=13 * place) for place in range(-1, 5))]
PERIODS = [(start, end) for start, end in itertools.product(MOMENTS, MOMENTS) if not (start and end and end < start)]


@pytest.fixture(params=[1, 2])
def owners(request, customer):
    """Three users, and entries an hour apart of which every third happened up to two days before it was recorded."""
    chance = random.Random(request.param)
    owners = [customer(name).id for name in ("alice", "bob", "carol")]
    make_asset("USDT")
    make_asset("BTC")
    for number in range(ENTRIES):
        at = march(1) + timedelta(hours=number)
        happened_at = at - timedelta(minutes=chance.randrange(2, 2880)) if chance.random() < 0.33 else None
        owner, asset = chance.choice(owners), chance.choice(["USDT", "BTC"])
        amount = Decimal(chance.randrange(1, 10**9)).scaleb(-8)
        post(event(EventKind.DEPOSIT, f"deposit:{number}", owner, amount, asset), at, happened_at=happened_at)
        post(freeze(f"freeze:{number}", owner, amount / 2, asset), at, happened_at=happened_at)
    return owners


def counts_at(line: Line) -> datetime:
    return line.entry.effective_at if line.entry.late else line.entry.recorded_at


def stored() -> list[Line]:
    return list(Line.objects.select_related("entry", "account").order_by("entry_id", "n"))


def in_period(line: Line, start: datetime | None, end: datetime | None) -> bool:
    return (start is None or counts_at(line) > start) and (end is None or counts_at(line) <= end)


def added_up(found: list[Line], *fields: str) -> dict[tuple, Decimal]:
    sums: dict[tuple, Decimal] = defaultdict(Decimal)
    for line in found:
        sums[tuple(getattr(line.account, field) for field in fields)] += line.amount
    return {key: amount for key, amount in sums.items() if amount}


def test_balances_are_the_sums_of_the_lines_that_count(owners) -> None:
    everything = stored()

    cuts = moments.cuts(MOMENTS)
    users = balances.totals(Selection(Scope.USERS), cuts)
    platform = balances.totals(Selection(Scope.PLATFORM, codes=("1110",)), cuts)

    for column, at in enumerate(MOMENTS):
        found = {(row.code, row.asset): row.amounts[column] for row in users + platform}
        wanted = added_up([line for line in everything if in_period(line, None, at)], "code", "asset_id")
        assert {key: amount for key, amount in found.items() if amount} == wanted


@pytest.mark.parametrize("limit", [3, 200])
def test_pages_of_lines_run_from_the_opening_to_the_closing_balance(owners, limit) -> None:
    everything = stored()
    selection = Selection(Scope.USERS, codes=("1010",), asset="USDT")
    for start, end in PERIODS:
        period = moments.period(start, end)
        wanted = [
            line
            for line in everything
            if line.account.code == "1010" and line.account.asset_id == "USDT" and in_period(line, start, end)
        ]
        held = balances.totals(selection, period)
        opening, closing = held[0].amounts if held else (Decimal(0), Decimal(0))

        found: list[lines.BookLine] = []
        running, place, first = opening, None, True
        while first or place is not None:
            page = lines.page(selection, period, after=place, limit=limit)
            assert page.opening == running
            assert len(page.lines) <= limit
            found, running, place, first = found + page.lines, (page.running or [running])[-1], page.next, False

        assert [(line.entry_id, line.n, line.amount) for line in found] == [
            (line.entry_id, line.n, line.amount) for line in wanted
        ]
        assert [line.counts_at for line in found] == [counts_at(line) for line in wanted]
        assert running == closing


def test_lines_of_many_accounts_are_found_by_walking_the_journal(owners, monkeypatch) -> None:
    selection = Selection(Scope.PLATFORM, codes=("1010", "1020"), asset="BTC")
    periods = [moments.period(start, end) for start, end in PERIODS[::7]]
    few = [list(lines.every(selection, period)) for period in periods]
    monkeypatch.setattr("ledger.reports.lines.FEW_ACCOUNTS", 1)
    monkeypatch.setattr("ledger.reports.lines.WINDOW_ENTRIES", 10)

    many = [list(lines.every(selection, period)) for period in periods]

    assert many == few
    assert any(few)


@pytest.mark.parametrize("holds", [True, False])
@pytest.mark.parametrize("limit", [2, 500])
def test_a_users_statement_runs_from_opening_to_closing_whatever_its_pages(owners, holds, limit) -> None:
    everything = stored()
    owner = owners[0]
    for start, end in PERIODS:
        period = moments.period(start, end)
        mine = [line for line in everything if line.account.owner_id == owner and line.account.code in customer.FUNDS]
        before = added_up([line for line in mine if start is not None and in_period(line, None, start)], "asset_id")
        after = added_up([line for line in mine if in_period(line, None, end)], "asset_id")

        pages = [customer.statement(owner, period, holds=holds, limit=limit)]
        while pages[-1].next_entry_id is not None:
            pages.append(
                customer.statement(owner, period, holds=holds, limit=limit, after_entry_id=pages[-1].next_entry_id)
            )

        movements = [movement for page in pages for movement in page.movements]
        wanted = {line.entry_id for line in mine if in_period(line, start, end)}
        if not holds:
            wanted = {line.entry_id for line in mine if in_period(line, start, end) and line.entry.kind == "DEPOSIT"}
        assert [movement.entry_id for movement in movements] == sorted(wanted)
        assert totals(pages[0].opening) == before
        assert totals(pages[0].closing) == after
        running = dict(pages[0].opening)
        for movement in movements:
            running[movement.asset] = running.get(movement.asset, customer.NOTHING).plus(movement.change)
            assert movement.after.total == running[movement.asset].total
        assert totals(running) == after


def totals(funds: dict[str, customer.Funds]) -> dict[tuple, Decimal]:
    return {(asset,): held.total for asset, held in funds.items() if held.total}


def test_debits_and_credits_of_a_period_are_those_of_the_lines_that_count_in_it(owners) -> None:
    everything = stored()
    for start, end in PERIODS:
        found = trial.turnover(Selection(Scope.USERS), moments.period(start, end))

        mine = [line for line in everything if line.account.face != "PLATFORM" and in_period(line, start, end)]
        debits = added_up([line for line in mine if line.amount > 0], "code", "asset_id", "sub")
        owed = added_up([line for line in mine if line.amount < 0], "code", "asset_id", "sub")
        assert {key: item.debit for key, item in found.items() if item.debit} == debits
        assert {key: -item.credit for key, item in found.items() if item.credit} == owed


def test_the_cash_flow_adds_up_in_every_period(owners) -> None:
    for start, end in PERIODS:
        assert cash.cash_flow(start, end).holds
