"""Every statement that has a page and files: what it is called, what may be asked of it, and how it is laid out."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from django.contrib.auth import get_user_model
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from ledger import statement_forms as forms
from ledger.models import Asset
from ledger.reports import cash, fees, income, moments, printed, printed_customer, printed_lines, sheet, trial
from ledger.reports.document import Document
from ledger.reports.selection import Selection

FEE_DAYS: Final = timedelta(days=30)
DAY: Final = timedelta(days=1)
Values = dict[str, Any]


class Statement(NamedTuple):
    """One statement.

    Args:
        document: It, laid out, from what was asked.
        listed: Whether it has a page of its own; else it stands on another's.
    """

    title: str | Promise
    meaning: str | Promise
    form: type[forms.StatementForm]
    document: Callable[[Values], Document]
    listed: bool = True


def decimals() -> dict[str, int]:
    """Return the decimals of each asset. One statement."""
    return dict(Asset.objects.values_list("code", "decimals"))


def sheet_of(asked: Values) -> sheet.BalanceSheet:
    """Return the balance sheet that was asked for."""
    compare = asked.get("compare")
    return sheet.balance_sheet(
        asked["scope"],
        [asked["at"]] if compare is None else [asked["at"], compare],
        owner_id=asked["owner"],
        asset=asked["asset"],
        zeros=asked["zeros"],
    )


def _balance_sheet(asked: Values) -> Document:
    return printed.balance_sheet(sheet_of(asked), decimals())


def _trial_balance(asked: Values) -> Document:
    found = trial.trial_balance(
        asked["scope"],
        asked["from"],
        asked["to"],
        owner_id=asked["owner"],
        asset=asked["asset"],
        zeros=asked["zeros"],
    )
    return printed.trial_balance(found, decimals())


def _income_statement(asked: Values) -> Document:
    start, end = asked["from"], asked["to"]
    periods = [(start, end), *compared(start, end, asked["compare"])]
    found = income.income_statement(
        asked["scope"], periods, owner_id=asked["owner"], asset=asked["asset"], zeros=asked["zeros"]
    )
    return printed.income_statement(found, decimals())


def compared(start: datetime | None, end: datetime | None, how: str) -> list[tuple[datetime, datetime]]:
    """Return the period to compare with: as long, just before, or a year before; none without both ends."""
    if start is None or end is None or not how:
        return []
    if how == "year":
        return [(_year_before(start), _year_before(end))]
    return [(start - (end - start), start)]


def _year_before(moment: datetime) -> datetime:
    """Return the same moment of the year before; of 29 February the day before."""
    if (moment.month, moment.day) == (2, 29):
        moment -= timedelta(days=1)
    return moment.replace(year=moment.year - 1)


def _cash_flow(asked: Values) -> Document:
    return printed.cash_flow(cash.cash_flow(asked["from"], asked["to"], asset=asked["asset"]), decimals())


def _fees(asked: Values) -> fees.FeeReport:
    """Read the fees of the period asked for; without one, of the last thirty days of the books, in whole days."""
    last_at = moments.life().last_at or moments.BEGINNING
    end = asked["to"] or moments.just_before(_midnight(last_at) + DAY)
    start = asked["from"] or moments.just_before(_midnight(end) - FEE_DAYS + DAY)
    return fees.fee_report(start, end, asked["step"], asset=asked["asset"])


def _midnight(moment: datetime) -> datetime:
    """Return the begin of a moment's day, in UTC."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _fee_report(asked: Values) -> Document:
    return printed.fee_report(_fees(asked), decimals())


def _fee_payers(asked: Values) -> Document:
    return printed.fee_payers(_fees(asked), decimals())


def customer_asked(asked: Values) -> printed_customer.Asked:
    """Return whose account statement was asked for, and of what."""
    user = get_user_model().objects.get(pk=asked["owner"])
    name = f"{user.get_username()} ({user.pk})"
    period = moments.period(asked["from"], asked["to"])
    return printed_customer.Asked(user.pk, name, period, asked["asset"], asked["holds"])


def _account_statement(asked: Values) -> Document:
    return printed_customer.whole(customer_asked(asked), decimals())


def selection_of(asked: Values) -> Selection:
    """Return the accounts whose lines were asked for."""
    return Selection(
        asked["scope"],
        owner_id=asked["owner"],
        codes=(asked["code"],) if asked["code"] else (),
        asset=asked["asset"],
        sub=asked["sub"],
        account_id=asked["account"],
    )


def _general_ledger(asked: Values) -> Document:
    selection, period = selection_of(asked), moments.period(asked["from"], asked["to"])
    if selection.codes or selection.account_id is not None:
        return printed_lines.all_lines(selection, period, decimals())
    return printed_lines.general_ledger(selection, period, decimals())


CATALOGUE: Final[dict[str, Statement]] = {
    "balance-sheet": Statement(
        _("Balance sheet"),
        _("What is owned, owed and earned, as of any moment, as a T; two moments side by side."),
        forms.BalanceSheetForm,
        _balance_sheet,
    ),
    "trial-balance": Statement(
        _("Trial balance"),
        _("Every account: opening, debits, credits, closing."),
        forms.TrialBalanceForm,
        _trial_balance,
    ),
    "general-ledger": Statement(
        _("General ledger"),
        _("Every line of every account, with the balance that it runs through."),
        forms.LinesForm,
        _general_ledger,
    ),
    "income-statement": Statement(
        _("Income statement"),
        _("Revenue less expenses of a period, beside an earlier one."),
        forms.IncomeForm,
        _income_statement,
    ),
    "cash-flow": Statement(
        _("Cash flow of custody"),
        _("What entered and left each wallet and bank account, and why."),
        forms.CashFlowForm,
        _cash_flow,
    ),
    "fee-report": Statement(
        _("Fee report"), _("Fees by day, week or month, and who paid most."), forms.FeesForm, _fee_report
    ),
    "fee-payers": Statement(_("Who paid most fees"), "", forms.FeesForm, _fee_payers, listed=False),
    "account-statement": Statement(
        _("Account statement of a user"),
        _("Every movement of one user's funds, with the balance after it."),
        forms.CustomerForm,
        _account_statement,
    ),
}
"""By the name in the page's address."""
