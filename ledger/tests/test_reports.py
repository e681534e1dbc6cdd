"""Trial balance, income statement, cash flow, fees and a user's statement of a history worked out by hand."""

from decimal import Decimal

import pytest

from ledger.chart import CHART
from ledger.posting_rules import EventKind
from ledger.reports import balances, cash, customer, fees, income, lines, moments, scopes, titles, trial
from ledger.reports.cash import Activity
from ledger.reports.fees import Step, TooManyStepsError
from ledger.reports.moments import PeriodBackwardsError
from ledger.reports.scopes import Scope
from ledger.reports.selection import Selection
from ledger.tests import history
from ledger.tests.factories import event
from ledger.tests.history import just_before, march

pytestmark = pytest.mark.usefixtures("books")

D = Decimal


def of(sheets, asset="USDT"):
    return next(sheet for sheet in sheets if sheet.asset == asset)


# --- Trial balance ------------------------------------------------------------------------------


def test_the_trial_balance_shows_opening_debits_credits_and_closing(people) -> None:
    found = of(trial.trial_balance(Scope.PLATFORM, march(2, 8), march(4)).sheets)

    assert [(row.code, row.sub, row.opening, *row.turnover, row.closing) for row in found.rows] == [
        ("1110", "main", D(11_000), D(100), D(997), D(10_103)),
        ("1010", "", D(-10_000), D(6001), D(5099), D(-9098)),
        ("1020", "", D(0), D(5001), D(5001), D(0)),
        ("1030", "", D(0), D(1000), D(1000), D(0)),
        ("3110", "", D(-1000), D(0), D(0), D(-1000)),
        ("4110", "", D(0), D(0), D(2), D(-2)),
        ("4120", "", D(0), D(0), D(5), D(-5)),
        ("5120", "", D(0), D(2), D(0), D(2)),
    ]
    assert found.totals.opening == (D(11_000), D(11_000))
    assert found.totals.turnover == (D(12_104), D(12_104))
    assert found.totals.closing == (D(10_105), D(10_105))
    assert found.holds


@pytest.mark.parametrize("scope", Scope)
def test_the_trial_balance_of_every_scope_balances(people, scope) -> None:
    found = trial.trial_balance(scope, march(2), None)

    assert found.in_full
    assert found.holds


def test_over_a_long_period_only_the_net_change_is_told(people, monkeypatch) -> None:
    monkeypatch.setattr("ledger.reports.trial.TURNOVER_ENTRIES_MAX", 3)

    found = trial.trial_balance(Scope.PLATFORM, None, None)

    sheet = of(found.sheets)
    assert not found.in_full
    assert sheet.totals.turnover is None
    assert {row.code: (row.turnover, row.change) for row in sheet.rows}["1110"] == (None, D(10_103))
    assert found.holds


def test_a_trial_balance_with_zeros_shows_the_whole_chart(people) -> None:
    found = of(trial.trial_balance(Scope.USERS, None, None, zeros=True).sheets)

    assert {row.code for row in found.rows} == {row.code for row in CHART.values() if row.user_root}


def test_a_period_that_ends_before_it_begins_is_refused(people) -> None:
    with pytest.raises(PeriodBackwardsError):
        trial.trial_balance(Scope.PLATFORM, march(3), march(2))
    with pytest.raises(PeriodBackwardsError):
        income.income_statement(Scope.PLATFORM, [(march(3), march(2))])
    with pytest.raises(PeriodBackwardsError):
        fees.fee_report(march(3), march(2), Step.DAY)


# --- Income statement ---------------------------------------------------------------------------


def test_the_income_statement_compares_periods(people) -> None:
    first, second = (None, just_before(march(3, 0))), (just_before(march(3, 0)), None)

    found = of(income.income_statement(Scope.PLATFORM, [second, first]).sheets)

    assert [(row.code, row.amounts) for row in found.revenue] == [("4110", (D(0), D(2))), ("4120", (D(5), D(0)))]
    assert [(row.code, row.amounts) for row in found.expenses] == [("5120", (D(2), D(0)))]
    assert (found.gross, found.net_revenue, found.expense) == ((D(5), D(2)), (D(5), D(2)), (D(2), D(0)))
    assert found.result == (D(3), D(2))


def test_a_rebate_is_deducted_from_revenue(people) -> None:
    alice, _ = people
    history.post(event(EventKind.MAKER_REBATE, "rebate:1", alice.id, "0.5"), march(7))

    found = of(income.income_statement(Scope.PLATFORM, [(None, None)]).sheets)

    assert [(row.code, row.amounts) for row in found.deductions] == [("5110", (D("0.5"),))]
    assert (found.net_revenue, found.result) == ((D("6.5"),), (D("4.5"),))


def test_a_users_income_statement_is_of_that_user(people) -> None:
    _, bob = people

    found = of(income.income_statement(Scope.USERS, [(None, None)], owner_id=bob.id).sheets)

    assert [(row.code, row.amounts) for row in found.expenses] == [("5030", (D(1),)), ("5050", (D(5),))]
    assert found.result == (D(-6),)


# --- Cash flow ----------------------------------------------------------------------------------


def test_the_cash_flow_of_custody_tells_why_money_moved(people) -> None:
    found = cash.cash_flow(march(1, 9), None)

    usdt = next(account for account in found.accounts if account.asset == "USDT")
    assert (usdt.sub, usdt.opening, usdt.closing) == ("main", D(1000), D(10_103))
    assert usdt.flows == [
        (Activity.CUSTOMERS, "DEPOSIT", D(10_100), D(0), 2),
        (Activity.CUSTOMERS, "WITHDRAWAL_SETTLE", D(0), D(995), 1),
        (Activity.OPERATIONS, "WITHDRAWAL_SETTLE", D(0), D(2), 1),
    ]
    assert found.holds


def test_a_network_fee_as_large_as_the_payment_is_still_told_from_it(people) -> None:
    _, bob = people
    history.post(event(EventKind.WITHDRAWAL_HOLD, "withdrawal:2:hold", bob.id, 12), march(7))
    history.post(history.withdrawal("withdrawal:2:settle", bob.id, amount=12, fee=5, network_fee=7), march(7))

    [usdt] = cash.cash_flow(just_before(march(7)), None, asset="USDT").accounts

    assert [(flow.activity, flow.outgoing, flow.lines) for flow in usdt.flows] == [
        (Activity.CUSTOMERS, D(7), 1),
        (Activity.OPERATIONS, D(7), 1),
    ]


# --- Fees ---------------------------------------------------------------------------------------


def test_the_fee_report_shows_each_day_and_who_paid(people) -> None:
    alice, bob = people

    found = fees.fee_report(just_before(march(2, 0)), just_before(march(4, 0)), Step.DAY)

    [usdt] = found.sheets
    assert [(step.start_at, step.end_at, step.net) for step in usdt.steps] == [
        (just_before(march(2, 0)), just_before(march(3, 0)), D(2)),
        (just_before(march(3, 0)), just_before(march(4, 0)), D(3)),
    ]
    assert (usdt.totals["4110"], usdt.totals["4120"], usdt.totals["5120"], usdt.net) == (D(2), D(5), D(2), D(5))
    assert [(payer.owner_id, payer.asset, payer.net) for payer in found.payers] == [
        (bob.id, "USDT", D(6)),
        (alice.id, "USDT", D(1)),
    ]


def test_fees_by_week_and_month_are_cut_at_their_begin() -> None:
    weeks = fees.boundaries(march(4), march(17), Step.WEEK)
    months = fees.boundaries(march(4), march(31, 23), Step.MONTH)

    assert weeks == [march(4), just_before(march(9, 0)), just_before(march(16, 0)), march(17)]
    assert months == [march(4), march(31, 23)]


def test_a_fee_report_of_too_many_steps_is_refused() -> None:
    with pytest.raises(TooManyStepsError):
        fees.boundaries(march(1).replace(year=2020), march(1), Step.WEEK)


# --- Lines and a user's statement ---------------------------------------------------------------


def test_a_line_leads_to_its_entry_and_runs_through_the_balance(people) -> None:
    period = moments.period(march(1, 9), None)

    page = lines.page(Selection(Scope.PLATFORM, codes=("1110",), asset="USDT"), period)

    assert page.opening == D(1000)
    assert [(line.key, line.amount, after) for line, after in zip(page.lines, page.running, strict=True)] == [
        ("deposit:alice", D(10_000), D(11_000)),
        ("withdrawal:1:settle", D(-995), D(10_005)),
        ("withdrawal:1:settle", D(-2), D(10_003)),
        ("deposit:late", D(100), D(10_103)),
    ]


def test_lines_of_several_assets_have_no_running_balance(people) -> None:
    page = lines.page(Selection(Scope.PLATFORM, codes=("1110",)), moments.period(None, None))

    assert (page.opening, page.running, len(page.lines)) == (None, [], 6)


def test_a_users_statement_shows_movements_with_the_balance_after_each(people) -> None:
    alice, _ = people

    found = customer.statement(alice.id, moments.period(march(2, 0), None), asset="USDT")

    assert found.opening["USDT"].total == D(10_000)
    assert [(item.key, item.change.total, item.after) for item in found.movements] == [
        ("trade:1", D(-5001), (D(4999), D(0), D(0), D(0))),
        ("deposit:late", D(100), (D(5099), D(0), D(0), D(0))),
    ]
    assert found.closing == {"USDT": (D(4799), D(300), D(0), D(0))}


def test_a_statement_that_ends_before_a_late_entry_was_recorded_has_it(people) -> None:
    alice, _ = people

    found = customer.statement(alice.id, moments.period(march(2, 0), march(3)), asset="USDT", holds=True)

    assert [(item.key, item.late, item.after.total) for item in found.movements] == [
        ("order:1:freeze", False, D(10_000)),
        ("trade:1", False, D(4999)),
        ("deposit:late", True, D(5099)),
    ]
    assert found.closing["USDT"].total == D(5099)


def test_statements_cost_the_same_whatever_they_show(people, django_assert_max_num_queries) -> None:
    alice, _ = people
    whole = moments.period(None, march(4))
    with django_assert_max_num_queries(4):
        customer.statement(alice.id, whole)
    with django_assert_max_num_queries(4):
        lines.page(Selection(Scope.PLATFORM, codes=("1010",), asset="USDT"), whole)
    with django_assert_max_num_queries(3):
        trial.trial_balance(Scope.PLATFORM, None, None)
    with django_assert_max_num_queries(2):
        income.income_statement(Scope.CONSOLIDATED, [(None, march(2)), (march(2), None)])
    with django_assert_max_num_queries(3):
        cash.cash_flow(None, None)
    with django_assert_max_num_queries(3):
        fees.fee_report(march(1), march(31), Step.DAY)


def test_accounts_behind_a_figure_come_page_by_page(people) -> None:
    alice, bob = people
    selection = Selection(Scope.PLATFORM, codes=("1010",), asset="USDT")
    cut = moments.cuts([None])

    first = balances.accounts(selection, cut, limit=1)
    second = balances.accounts(selection, cut, limit=5, after_id=first[-1].account_id)

    assert [(row.owner_id, row.amounts) for row in first + second] == [
        (alice.id, (D(-4799),)),
        (bob.id, (D(-3999),)),
    ]


def test_every_account_of_the_chart_has_a_title_and_an_explanation() -> None:
    for scope in Scope:
        for account in scopes.accounts(scope):
            assert titles.account(scope, account.code.value).title
            assert titles.account(scope, account.code.value).meaning


def test_every_kind_of_entry_has_a_title() -> None:
    assert set(titles.KINDS) == {kind.value for kind in EventKind}
