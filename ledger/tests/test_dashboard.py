"""The month and the counts on the administration's first page: right to the last digit, and cheap."""

from datetime import datetime
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ledger import dashboard, dashboard_plots
from ledger.access import Role
from ledger.chart import Root
from ledger.reports import moments, sheet
from ledger.reports.scopes import Scope
from ledger.tests.factories import staff
from ledger.tests.history import march

pytestmark = [
    pytest.mark.usefixtures("books"),
    pytest.mark.filterwarnings("ignore:No directory at:UserWarning"),  # whitenoise: static files are not collected
]
NOW = march(8)


def test_a_months_days_are_those_of_the_history(people) -> None:
    month = dashboard.month("USDT", now=NOW)

    days = {end.day: amounts for end, *amounts in zip(month.ends, month.held, month.owed, month.revenue, strict=True)}
    assert days[2] == [11_000, 10_000, 0]  # the end of 1 March
    assert days[3] == [11_100, 10_098, 2]  # 2 March: two fees, and what was recorded late
    assert days[4] == [10_103, 9_098, 5]  # 3 March: 995 and a network fee of 2 leave; the fee of 5 stays
    assert sum(month.revenue) == 7
    assert (month.ends[-1], len(month.ends)) == (NOW, dashboard.DAYS)


def test_every_days_liabilities_are_the_balance_sheets(people) -> None:
    month = dashboard.month("USDT", now=NOW)
    ends: list[datetime | None] = [moments.just_before(end) for end in month.ends[:-1]]
    full = sheet.balance_sheet(Scope.PLATFORM, [*ends, None], asset="USDT")

    [one] = full.sheets
    assert tuple(month.held) == one.side([Root.ASSET])
    assert tuple(month.owed) == one.side([Root.LIABILITY])


def test_an_unknown_asset_becomes_one_that_there_is_and_empty_books_have_none(people) -> None:
    assert dashboard.month("DOGE", now=NOW).asset == "USDT"


def test_empty_books_have_no_month(db) -> None:
    month = dashboard.month("USDT", now=NOW)

    assert (month.asset, month.assets) == ("", [])
    assert set(month.held) == {Decimal(0)}


def test_the_month_and_the_counts_take_the_same_few_statements_however_long_the_books(people) -> None:
    with CaptureQueriesContext(connection) as queries:
        dashboard.month("USDT", now=NOW)
        dashboard.waiting()

    assert len(queries) == 6


@pytest.mark.parametrize("role", list(Role))
def test_only_who_may_see_the_books_sees_them_on_the_first_page(client, people, role) -> None:
    client.force_login(staff(role))

    page = client.get("/admin/", {"asset": "USDT"})

    assert page.status_code == 200
    assert ("polyline" in page.content.decode()) == (role != Role.SUPPORT)
    if role != Role.SUPPORT:
        text = page.content.decode()
        assert "<details>" in text
        assert 'style="' not in text.split('class="finance dashboard"')[1].split("</details>")[0]


def test_lines_and_bars_stay_inside_their_drawing() -> None:
    amounts = [Decimal(5), Decimal(-3), Decimal(0)]
    to = dashboard_plots.scale(amounts, zero=True)

    assert dashboard_plots.line(amounts, to) == "0.0,8.0 300.0,152.0 600.0,98.0"
    assert [(bar.y, bar.height) for bar in dashboard_plots.bars(amounts, to)] == [
        ("8.0", "90.0"),
        ("98.0", "54.0"),
        ("98.0", "0.0"),
    ]
    assert dashboard_plots.line([Decimal(7)], dashboard_plots.scale([Decimal(7)])) == "0.0,80.0"
