"""Balance sheets of a history worked out by hand: every figure, both identities, every moment."""

from collections.abc import Iterator
from decimal import Decimal

import pytest
from django.contrib.auth import get_user_model

from ledger.access import Role
from ledger.chart import AccountCode, Root
from ledger.control_models import PeriodAction
from ledger.entries import AccountKey, EntryDraft
from ledger.posting_rules import EventKind
from ledger.reports import moments, scopes, unrealised
from ledger.reports.scopes import Scope
from ledger.reports.sheet import AssetSheet, BalanceSheet, balance_sheet
from ledger.services import periods, roles
from ledger.tests import history
from ledger.tests.factories import event, freeze
from ledger.tests.history import just_before, march

pytestmark = pytest.mark.usefixtures("books")


@pytest.fixture(autouse=True)
def _positions_are_not_valued() -> Iterator[None]:
    """Begin with nobody who values positions: an app above the ledger does, as soon as it is there."""
    before = unrealised.valuer()
    unrealised.provide(None)
    yield
    unrealised.provide(before)


def usdt(sheet: BalanceSheet) -> AssetSheet:
    return next(item for item in sheet.sheets if item.asset == "USDT")


def figures(sheet: AssetSheet, column: int = 0) -> dict[str, Decimal]:
    return {row.code: row.amounts[column] for section in sheet.sections.values() for row in section.rows}


def test_the_platforms_sheet_shows_what_it_holds_owes_and_earned(people) -> None:
    sheet = usdt(balance_sheet(Scope.PLATFORM, [None]))

    assert figures(sheet) == {
        "1110": Decimal(10_103),  # 1,000 + 10,000 + 100 - 995 - 2
        "5120": Decimal(2),
        "1010": Decimal(8798),  # alice 4,799, bob 3,999
        "1020": Decimal(300),
        "3110": Decimal(1000),
        "4110": Decimal(2),
        "4120": Decimal(5),
    }
    assert sheet.sections[Root.ASSET].totals == (Decimal(10_103),)
    assert sheet.sections[Root.LIABILITY].totals == (Decimal(9098),)
    assert sheet.result == (Decimal(5),)
    assert sheet.equity_after_closing == (Decimal(1005),)


def test_both_identities_are_computed_from_both_sides(people) -> None:
    sheet = usdt(balance_sheet(Scope.PLATFORM, [None]))

    assert (sheet.as_it_stands.left, sheet.as_it_stands.right) == ((Decimal(10_105),), (Decimal(10_105),))
    assert (sheet.after_closing.left, sheet.after_closing.right) == ((Decimal(10_103),), (Decimal(10_103),))
    assert sheet.holds


def test_the_users_sheet_is_the_mirror_of_what_the_platform_owes(people) -> None:
    sheet = usdt(balance_sheet(Scope.USERS, [None]))

    assert figures(sheet) == {
        "1010": Decimal(8798),
        "1020": Decimal(300),
        "3010": Decimal(9105),  # 10,000 + 100 - 995
        "5030": Decimal(2),
        "5050": Decimal(5),
    }
    assert sheet.holds


def test_one_users_sheet_counts_that_users_accounts_alone(people) -> None:
    alice, bob = people

    sheets = {owner.id: balance_sheet(Scope.USERS, [None], owner_id=owner.id) for owner in people}

    assert figures(usdt(sheets[alice.id])) == {
        "1010": Decimal(4799),
        "1020": Decimal(300),
        "3010": Decimal(10_100),
        "3020": Decimal(-5000),
        "5030": Decimal(1),
    }
    assert figures(usdt(sheets[bob.id])) == {
        "1010": Decimal(3999),
        "3010": Decimal(-995),
        "3020": Decimal(5000),
        "5030": Decimal(1),
        "5050": Decimal(5),
    }
    assert all(sheet.holds for sheet in sheets.values())


def test_consolidated_what_one_side_owes_the_other_falls_away(people) -> None:
    sheet = usdt(balance_sheet(Scope.CONSOLIDATED, [None]))

    assert figures(sheet) == {
        "1110": Decimal(10_103),
        "5120": Decimal(2),
        "3010": Decimal(9105),
        "3110": Decimal(1000),
    }
    assert sheet.eliminations == [
        ("1010", "1010", (Decimal(8798),)),
        ("1020", "1020", (Decimal(300),)),
        ("5030", "4110", (Decimal(2),)),
        ("5050", "4120", (Decimal(5),)),
    ]
    assert sheet.holds


@pytest.mark.parametrize("scope", Scope)
@pytest.mark.parametrize("day", range(1, 8))
def test_every_scope_balances_at_every_moment(people, scope, day) -> None:
    sheet = balance_sheet(scope, [march(day, hour) for hour in (0, 8, 9, 12, 18, 23)])

    assert sheet.holds


def test_a_late_entry_counts_from_when_it_happened(people) -> None:
    sheet = usdt(balance_sheet(Scope.PLATFORM, [just_before(march(2, 18)), march(2, 18), march(4), march(5)]))

    custody = next(row for row in sheet.sections[Root.ASSET].rows if row.code == "1110")
    assert custody.amounts == (Decimal(11_000), Decimal(11_100), Decimal(10_103), Decimal(10_103))


def test_an_entry_counts_at_the_very_moment_of_its_recording(people) -> None:
    sheet = usdt(balance_sheet(Scope.PLATFORM, [just_before(march(1)), march(1)]))

    assert sheet.sections[Root.ASSET].totals == (Decimal(1000), Decimal(11_000))


def test_before_the_first_entry_there_is_nothing(people) -> None:
    sheet = balance_sheet(Scope.PLATFORM, [march(1, 7)])

    assert sheet.sheets == []
    assert sheet.holds


def test_accounts_at_zero_are_left_out_unless_asked_for(people) -> None:
    short = usdt(balance_sheet(Scope.PLATFORM, [None]))
    long = usdt(balance_sheet(Scope.PLATFORM, [None], zeros=True))

    assert "1030" not in figures(short)
    assert set(figures(long)) == {row.code.value for row in scopes.accounts(Scope.PLATFORM)}
    assert (figures(long)["1030"], figures(long)["2130"]) == (Decimal(0), Decimal(0))
    assert long.as_it_stands == short.as_it_stands


def test_an_account_kept_in_parts_shows_them(people) -> None:
    sheet = usdt(balance_sheet(Scope.PLATFORM, [None, march(1)]))

    [custody] = sheet.sections[Root.ASSET].rows
    assert custody.parts == (("main", (Decimal(10_103), Decimal(11_000))),)


def test_one_asset_can_be_asked_for(people) -> None:
    sheet = balance_sheet(Scope.PLATFORM, [None], asset="BTC")

    assert [item.asset for item in sheet.sheets] == ["BTC"]
    assert figures(sheet.sheets[0]) == {"1110": Decimal(1), "1010": Decimal(1)}


def test_a_report_is_two_statements_whatever_its_columns(people, django_assert_num_queries) -> None:
    with django_assert_num_queries(2):
        balance_sheet(Scope.PLATFORM, [None])
    with django_assert_num_queries(2):
        balance_sheet(Scope.USERS, [None, *(march(day) for day in range(1, 20))])
    with django_assert_num_queries(3):
        balance_sheet(Scope.CONSOLIDATED, [None, march(1)])


def test_what_is_posted_after_the_cut_was_made_is_not_counted(people) -> None:
    [cut] = moments.cuts([None])
    alice, _ = people
    history.post(freeze("order:4:freeze", alice.id, 50), march(7))

    assert moments.cuts([None])[0].entry_id == cut.entry_id + 1
    assert usdt(balance_sheet(Scope.PLATFORM, [march(6)])).holds


def test_a_broken_identity_is_told_and_not_hidden(people) -> None:
    sheet = usdt(balance_sheet(Scope.PLATFORM, [None]))
    broken = AssetSheet("USDT", {**sheet.sections, Root.EQUITY: sheet.sections[Root.REVENUE]})

    assert not broken.holds
    assert broken.as_it_stands.differences == (Decimal(993),)
    assert broken.after_closing.differences == (Decimal(993),)


class Valued:
    """Values one contract whose winners win 30 and whose losers lose 70, as of now only."""

    def contracts(self, at):
        return [unrealised.ContractAtMark("BTCUSDT-PERP", "USDT", Decimal(30), Decimal(70))] if at is None else None

    def positions(self, owner_id, at):
        return [unrealised.PositionAtMark("BTCUSDT-PERP", "USDT", Decimal(-30))]


@pytest.fixture
def valued():
    unrealised.provide(Valued())
    yield
    unrealised.provide(None)


def test_without_anybody_to_value_positions_nothing_is_said_of_them(people) -> None:
    sheet = balance_sheet(Scope.PLATFORM, [None])

    assert not sheet.marked
    assert usdt(sheet).at_mark == []


def test_clearing_that_positions_do_not_explain_is_told(people, valued) -> None:
    sheet = balance_sheet(Scope.PLATFORM, [None])

    [mark] = usdt(sheet).at_mark
    assert (mark.winning, mark.losing, mark.cleared) == (Decimal(30), Decimal(70), Decimal(0))
    assert mark.difference == Decimal(40)
    assert not sheet.holds


def test_clearing_is_what_losing_positions_owe_less_what_winning_ones_are_owed(people, valued) -> None:
    alice, _ = people
    profit = [
        (AccountKey(alice.id, AccountCode.AVAILABLE, "USDT"), Decimal(40)),
        (AccountKey(alice.id, AccountCode.GAIN_REALISED, "USDT"), Decimal(-40)),
        (AccountKey(None, AccountCode.CLEARING, "USDT", "BTCUSDT-PERP"), Decimal(40)),
    ]
    history.post(EntryDraft("CLOSE_FILL", "profit", march(7), "trace-1", profit), march(7))

    sheet = balance_sheet(Scope.PLATFORM, [None])

    [mark] = usdt(sheet).at_mark
    assert (mark.cleared, mark.difference) == (Decimal(-40), Decimal(0))
    assert sheet.holds


def test_a_users_loss_stands_apart_from_the_books(people, valued) -> None:
    alice, _ = people

    sheet = usdt(balance_sheet(Scope.USERS, [None], owner_id=alice.id))

    [mark] = sheet.at_mark
    assert (mark.winning, mark.losing, mark.cleared) == (Decimal(0), Decimal(30), None)
    assert sheet.holds


def test_a_moment_whose_marks_nobody_knows_is_not_valued(people, valued) -> None:
    assert not balance_sheet(Scope.PLATFORM, [march(3)]).marked


# --- Closed periods -----------------------------------------------------------------------------


@pytest.fixture
def closed(people, approver_of_periods):
    """Close everything before 4 March."""
    periods.ask(approver_of_periods, PeriodAction.CLOSE, march(4, 0), "month end", now=march(20))
    assert periods.carry_out(march(20)) == 1
    return people


@pytest.fixture
def approver_of_periods(db):
    user = get_user_model().objects.create_user("approver", password="x", is_staff=True)
    roles.grant(user.pk, Role.APPROVER)
    return user


def test_the_result_of_closed_periods_is_equity(closed) -> None:
    alice, _ = closed
    history.post(event(EventKind.MAKER_REBATE, "rebate:1", alice.id, "0.5"), march(7))

    sheet = usdt(balance_sheet(Scope.PLATFORM, [None, just_before(march(4, 0))]))

    now, then = figures(sheet), figures(sheet, 1)
    assert {code: now[code] for code in ("4110", "4120", "5110", "5120", "3110", "retained")} == {
        "4110": Decimal(0),
        "4120": Decimal(0),
        "5110": Decimal("0.5"),
        "5120": Decimal(0),
        "3110": Decimal(1000),
        "retained": Decimal(5),
    }
    assert (then["4110"], then["4120"], then["5120"], then["retained"]) == tuple(map(Decimal, (2, 5, 2, 0)))
    assert sheet.equity_after_closing == (Decimal("1004.5"), Decimal(1005))
    assert sheet.holds


def test_what_is_posted_late_into_a_closed_period_does_not_change_its_figures(closed) -> None:
    alice, _ = closed
    ends = [just_before(march(4, 0)), march(4, 0)]
    before = figures(usdt(balance_sheet(Scope.PLATFORM, ends)))

    history.post(freeze("order:4:freeze", alice.id, 50), march(21), happened_at=march(3))

    sheet = usdt(balance_sheet(Scope.PLATFORM, ends))
    assert {code: amount for code, amount in figures(sheet).items() if amount or code in before} == before
    assert (figures(sheet)["1010"], figures(sheet, 1)["1010"]) == (Decimal(9098), Decimal(9048))


def test_a_sheet_after_a_close_is_a_constant_number_of_statements(closed, django_assert_num_queries) -> None:
    with django_assert_num_queries(4):
        balance_sheet(Scope.PLATFORM, [None, march(1), march(5)])
