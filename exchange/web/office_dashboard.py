"""The administration's first page: for who may see the books, a month of them and what waits for people."""

from typing import Any, Final

from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from exchange.kernel.clock import utc_now
from exchange.kernel.money import plain
from ledger import access, dashboard, dashboard_plots
from ledger.access import Right
from ledger.models import Asset
from ledger.reports import reading, wording

ASSET_LENGTH_MAX: Final = 16


def callback(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Return the page's context (`UNFOLD["DASHBOARD_CALLBACK"]`); without the right to see the books as it was."""
    if not access.may(request.user, Right.VIEW_BOOKS):
        return context
    waiting = dashboard.waiting()
    with reading.patiently():
        month = dashboard.month(request.GET.get("asset", "")[:ASSET_LENGTH_MAX], now=utc_now())
        decimals = dict(Asset.objects.filter(pk=month.asset).values_list("pk", "decimals")).get(month.asset, 0)
    both = dashboard_plots.scale(month.held, month.owed)
    earned = dashboard_plots.scale(month.revenue, zero=True)
    return context | {
        "waiting": [
            (_("Breaks that are not resolved"), waiting.breaks, "finance:breaks"),
            (_("Withdrawals that wait"), waiting.withdrawals, "finance:withdrawals"),
            (_("Deposits that wait"), waiting.deposits, "finance:deposits"),
            (_("Proposed entries that wait"), waiting.proposals, "finance:proposals"),
        ],
        "month": month,
        "width": dashboard_plots.WIDTH,
        "height": dashboard_plots.HEIGHT,
        "held_line": dashboard_plots.line(month.held, both),
        "owed_line": dashboard_plots.line(month.owed, both),
        "revenue_bars": dashboard_plots.bars(month.revenue, earned),
        "bounds": (plain(both.low), plain(both.high), plain(earned.low), plain(earned.high)),
        "days": [
            {
                "end": end,
                "held": wording.amount(held, decimals),
                "owed": wording.amount(owed, decimals),
                "revenue": wording.amount(revenue, decimals),
            }
            for end, held, owed, revenue in reversed(
                list(zip(month.ends, month.held, month.owed, month.revenue, strict=True))
            )
        ],
    }
