"""What an exported journal says of entries, days and corrections, line by line, and what it refuses to say."""

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from django.db import connection

from exchange.kernel.errors import InvariantViolationError
from exchange.kernel.money import EXACT
from ledger.chart import AccountCode
from ledger.entries import AccountKey, EntryDraft
from ledger.exports import journal, names, reading
from ledger.exports.formats import FORMATS, MomentFormatError, first_moment, last_moment
from ledger.exports.journal import NothingToExportError, PeriodError, TooManyDigitsError
from ledger.exports.names import View
from ledger.reports.scopes import Scope
from ledger.reports.trial import trial_balance
from ledger.services import accounts
from ledger.services import journal as door
from ledger.tests.fixtures import make_asset
from ledger.tests.random_history import History

pytestmark = pytest.mark.usefixtures("books")

MONDAY = datetime(2025, 1, 6, 9, tzinfo=UTC)
TUESDAY = MONDAY + timedelta(days=1)
WEDNESDAY = MONDAY + timedelta(days=2)
WRITTEN = datetime(2025, 2, 1, tzinfo=UTC)


def deposit(key: str, amount: str, *, at: datetime, recorded_at: datetime | None = None, asset: str = "USDT") -> int:
    """Post a deposit of user 7 and return its entry's number."""
    make_asset(asset)
    accounts.open_gates([7])
    worth = Decimal(amount)
    lines = [
        (AccountKey(7, AccountCode.AVAILABLE, asset), worth),
        (AccountKey(7, AccountCode.EXTERNAL, asset), worth.copy_negate()),
        (AccountKey(None, AccountCode.CUSTODY, asset, "main"), worth),
    ]
    [entry] = door.post([EntryDraft("DEPOSIT", key, at, f"trace-{key}", lines)], recorded_at or at)
    return entry.id


def text(form: str = "beancount", view: View = View.USER, **period: datetime | None) -> str:
    return "".join(journal.pieces(journal.scope(view, **period), FORMATS[form], WRITTEN))


def last_hash() -> str:
    head = reading.head(None)
    assert head is not None
    return head.hash


def block(whole: str, beginning: str) -> list[str]:
    """Return the lines of the block that begins so."""
    [found] = [block for block in whole.split("\n\n") if block.strip().startswith(beginning)]
    return found.strip().splitlines()


def test_an_entry_of_a_users_journal_as_beancount_has_it() -> None:
    deposit("bank:1", "100.5", at=MONDAY)
    hashed = last_hash()

    assert block(text(), '2025-01-06 * "DEPOSIT"') == [
        '2025-01-06 * "DEPOSIT"',
        "  entry: 1",
        '  kind: "DEPOSIT"',
        '  key: "bank:1"',
        '  trace: "trace-bank:1"',
        '  effective_at: "2025-01-06 09:00:00.000000"',
        '  recorded_at: "2025-01-06 09:00:00.000000"',
        f'  hash: "{hashed}"',
        "  owner: 7",
        "  Assets:U7:Wallet:Available  100.50000000 USDT",
        "  Equity:U7:External  -100.50000000 USDT",
    ]


def test_an_entry_of_the_platforms_journal_as_hledger_has_it() -> None:
    deposit("bank, of 100 %", "100.5", at=MONDAY)
    hashed = last_hash()

    assert block(text("hledger", View.PLATFORM), "2025-01-06 * (1)") == [
        "2025-01-06 * (1) DEPOSIT",
        "    ; entry: 1",
        "    ; kind: DEPOSIT",
        "    ; key: bank%2C of 100 %25",
        "    ; trace: trace-bank%2C of 100 %25",
        "    ; effective_at: 2025-01-06 09:00:00.000000",
        "    ; recorded_at: 2025-01-06 09:00:00.000000",
        f"    ; hash: {hashed}",
        '    Liabilities:User:Available:U7  -100.50000000 "USDT"',
        '    Assets:Custody:X-main  100.50000000 "USDT"',
    ]


def test_the_head_says_what_the_file_is_and_up_to_which_hash() -> None:
    deposit("bank:1", "1", at=MONDAY)
    deposit("bank:2", "1", at=TUESDAY)
    last = last_hash()

    head = block(text(as_of=MONDAY), "; Entries")

    assert head[0] == "; Entries from the first to entry 1, 2025-01-06 09:00:00.000000 UTC."
    assert head[1].startswith("; Known: entry 1, hash ")
    assert last not in head[1]
    assert head[2] == "; Written at 2025-02-01 00:00:00.000000 UTC. Days are UTC; debit is positive."
    assert f"; Known: entry 2, hash {last}." in text()


def test_a_late_entry_counts_for_the_day_on_which_it_happened() -> None:
    deposit("monday", "1", at=MONDAY)
    deposit("tuesday", "10", at=TUESDAY)
    deposit("forgotten", "100", at=MONDAY + timedelta(hours=1), recorded_at=WEDNESDAY)

    whole = text()

    found = block(whole, '2025-01-06 * "DEPOSIT"\n  entry: 3')
    assert "  late: TRUE" in found
    assert '  recorded_at: "2025-01-08 09:00:00.000000"' in found
    assert "2025-01-07 balance Assets:U7:Wallet:Available  101.00000000 ~ 0 USDT" in whole
    assert "2025-01-09 balance Assets:U7:Wallet:Available  111.00000000 ~ 0 USDT" in whole
    numbers = [int(line.split()[1]) for line in whole.splitlines() if line.startswith("  entry: ")]
    assert numbers == [1, 3, 2]


def test_as_of_a_moment_the_books_do_not_know_later_corrections() -> None:
    deposit("monday", "1", at=MONDAY)
    deposit("tuesday", "10", at=TUESDAY)
    deposit("forgotten", "100", at=MONDAY + timedelta(hours=1), recorded_at=WEDNESDAY)

    known = text(as_of=TUESDAY)
    corrected = text(last=TUESDAY)

    assert "2025-01-08 balance Assets:U7:Wallet:Available  11.00000000 ~ 0 USDT" in known
    assert "2025-01-08 balance Assets:U7:Wallet:Available  111.00000000 ~ 0 USDT" in corrected


def test_a_period_opens_with_what_was_there_the_day_before() -> None:
    deposit("monday", "1", at=MONDAY)
    deposit("tuesday", "10", at=TUESDAY)
    deposit("forgotten", "100", at=MONDAY + timedelta(hours=1), recorded_at=WEDNESDAY)

    whole = text("beancount", View.PLATFORM, first=first_moment("2025-01-07"), last=last_moment("2025-01-07"))

    assert block(whole, "2025-01-06 * ") == [
        '2025-01-06 * "OPENING BALANCE"',
        "  opening: TRUE",
        "  entry: 1",
        "  Assets:Custody:X-main  101.00000000 USDT",
        "  Liabilities:User:Available:U7  -101.00000000 USDT",
    ]
    assert whole.count('"DEPOSIT"') == 2  # once as title, once as kind
    assert "2025-01-06 open Assets:Custody:X-main  USDT\n" in whole
    assert "2025-01-08 balance Assets:Custody:X-main  111.00000000 ~ 0 USDT" in whole


def test_an_empty_period_still_shows_what_there_is() -> None:
    deposit("monday", "1", at=MONDAY)
    deposit("wednesday", "10", at=WEDNESDAY)

    whole = text(first=first_moment("2025-01-07"), last=last_moment("2025-01-07"))

    assert '"DEPOSIT"' not in whole
    assert "2025-01-08 balance Assets:U7:Wallet:Available  1.00000000 ~ 0 USDT" in whole
    assert whole.endswith("\n; End of the file: 1 transactions.\n")


def test_nothing_is_exported_from_before_the_books() -> None:
    deposit("monday", "1", at=MONDAY)

    with pytest.raises(NothingToExportError):
        text(as_of=MONDAY - timedelta(seconds=1))


def test_a_period_that_ends_before_it_begins_is_refused() -> None:
    deposit("monday", "1", at=MONDAY)

    with pytest.raises(PeriodError):
        text(first=TUESDAY, last=MONDAY)


def test_what_beancount_would_round_is_refused_for_beancount_alone() -> None:
    """Both lines of a deposit move 28 digits; with one quantum more they would move 29."""
    longest, longer = "49999999999999999999.99999999", "50000000000000000000.00000000"
    deposit("a", longest, at=MONDAY)
    assert f"Assets:U7:Wallet:Available  {longest} USDT" in text("beancount")

    deposit("b", longer, at=MONDAY, asset="BTC")

    assert longer in text("hledger")
    with pytest.raises(TooManyDigitsError, match="28 digits"):
        text("beancount")


def test_an_amount_finer_than_its_asset_stops_the_export() -> None:
    make_asset("TWD")
    deposit("a", "0.005", at=MONDAY, asset="TWD")

    with pytest.raises(InvariantViolationError, match="no whole quantum"):
        text()


@pytest.mark.parametrize("view", View)
def test_accounts_are_named_as_the_view_of_the_journal_names_them(view) -> None:
    History(users=range(1, 9), seed=5).play(400)

    with connection.cursor() as cursor:
        cursor.execute(f"SELECT DISTINCT code, account FROM {view}_journal")
        found = dict(cursor.fetchall())

    assert {code: names.title(view, AccountCode(code)) for code in found} == found


@pytest.mark.parametrize("view", View)
def test_balances_are_those_of_the_trial_balance_at_every_moment(view) -> None:
    history = History(users=range(1, 9), seed=4)
    history.play(400)
    known = history.posted[-1].id

    for entry in history.posted[::57]:
        moment = entry.recorded_at + timedelta(hours=1)
        ours: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
        for balance in reading.balances(view, reading.cut(moment, known)):
            place = balance.code, balance.asset, balance.sub
            ours[place] = EXACT.add(ours[place], balance.amount)

        scope = Scope.USERS if view == View.USER else Scope.PLATFORM
        statement = trial_balance(scope, None, moment)

        assert {
            (row.code, sheet.asset, row.sub): row.closing
            for sheet in statement.sheets
            for row in sheet.rows
            if row.closing
        } == {place: amount for place, amount in ours.items() if amount}


def test_pages_of_entries_and_accounts_meet_without_gap_or_repeat(monkeypatch) -> None:
    History(users=range(1, 9), seed=5).play(400)
    whole = text("beancount", View.PLATFORM)

    monkeypatch.setattr(reading, "ENTRIES_A_PAGE", 7)
    monkeypatch.setattr(reading, "ACCOUNTS_A_PAGE", 5)
    monkeypatch.setattr(journal, "ASSERTIONS_A_PIECE", 3)

    paged = text("beancount", View.PLATFORM)
    in_order = ("  entry:", "  Assets", "  Liabilities")
    assert Counter(filter(None, paged.splitlines())) == Counter(filter(None, whole.splitlines()))
    assert [line for line in paged.splitlines() if line.startswith(in_order)] == [
        line for line in whole.splitlines() if line.startswith(in_order)
    ]


def test_the_number_of_statements_follows_pages_not_entries(django_assert_max_num_queries) -> None:
    for number in range(60):
        deposit(f"d{number}", "1", at=MONDAY + timedelta(seconds=number))

    with django_assert_max_num_queries(17):
        text()


@pytest.mark.parametrize(
    ("written", "first", "last"),
    [
        ("", None, None),
        ("2025-01-06", datetime(2025, 1, 6, tzinfo=UTC), datetime(2025, 1, 6, 23, 59, 59, 999999, tzinfo=UTC)),
        ("2025-01-06T09:00", MONDAY, MONDAY),
        ("2025-01-06T17:00:00+08:00", MONDAY, MONDAY),
    ],
)
def test_a_date_means_its_first_or_its_last_moment(written, first, last) -> None:
    assert (first_moment(written), last_moment(written)) == (first, last)


@pytest.mark.parametrize("written", ["yesterday", "2025-13-01", "2025-01-06T99", "0001-01-01T00:00:00+14:00"])
def test_what_is_no_moment_is_refused(written) -> None:
    with pytest.raises(MomentFormatError):
        first_moment(written)


def test_moments_of_merged_entries_never_go_back() -> None:
    History(users=range(1, 9), seed=6).play(400)

    days = [line[:10] for line in text("hledger", View.PLATFORM).splitlines() if line[:2] == "20"]

    assert all(one <= other for one, other in pairwise(days))
