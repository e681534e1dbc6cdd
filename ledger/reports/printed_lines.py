"""Lays out what is listed line by line: the lines behind a figure, the accounts behind it, the general ledger."""

from collections.abc import Iterator, Mapping
from decimal import Decimal

from django.urls import reverse
from django.utils.translation import gettext

from ledger.reports import balances, lines, printed, scopes, sources, titles, wording
from ledger.reports.balances import AccountBalance
from ledger.reports.document import Cell, Column, ColumnKind, Document, Figure, Name, Row, RowKind, Words
from ledger.reports.lines import BookLine, LinePage
from ledger.reports.moments import Period
from ledger.reports.selection import Selection

Decimals = Mapping[str, int]


def _line_columns(*, is_of_one: bool, adds_up: bool) -> list[Column]:
    """Return the columns of a list of lines.

    Args:
        is_of_one: Whether a title says already which account of the chart it is.
        adds_up: Whether there is a running balance; amounts of several assets have none.
    """
    late, debit, credit = titles.TERMS["late"], titles.TERMS["debit"], titles.TERMS["credit"]
    signs = gettext("Debit balances are positive, credit balances negative.")
    part, account = Column(gettext("Part"), ColumnKind.TEXT, 14), Column(gettext("Account"), ColumnKind.TEXT, 36)
    balance = Column(gettext("Balance"), ColumnKind.AMOUNT, 24, signs)
    return [
        Column(gettext("Counts from, UTC"), ColumnKind.MOMENT, 24),
        Column(gettext("Entry"), ColumnKind.TEXT, 28),
        Column(gettext("Key"), ColumnKind.TEXT, 32),
        Column(late.title, ColumnKind.TEXT, 9, late.meaning),
        part if is_of_one else account,
        Column(gettext("User"), ColumnKind.TEXT, 12),
        Column(debit.title, ColumnKind.AMOUNT, 22, debit.meaning),
        Column(credit.title, ColumnKind.AMOUNT, 22, credit.meaning),
        balance if adds_up else Column(gettext("Asset"), ColumnKind.TEXT, 10),
    ]


def _columns_of(selection: Selection) -> list[Column]:
    return _line_columns(is_of_one=_is_of_one(selection), adds_up=selection.adds_up)


def _is_of_one(selection: Selection) -> bool:
    """Tell whether the title says already which account it is."""
    return len(selection.codes) == 1


def _line(selection: Selection, line: BookLine, last: Cell, decimals: int) -> Row:
    """Lay out one line; `last` is its balance or its asset."""
    entry = Name(
        f"#{line.entry_id}.{line.n} {titles.kind(line.kind)}",
        "",
        "",
        reverse("admin:ledger_journalentry_change", args=[line.entry_id]),
    )
    made_by = sources.source(line.key)
    key = Name(line.key, made_by.title, "", made_by.url) if made_by else line.key
    debit = Figure(line.amount) if line.amount > 0 else None
    credit = Figure(scopes.negated(line.amount)) if line.amount < 0 else None
    about: tuple[Cell, ...] = (
        line.counts_at,
        entry,
        key,
        titles.TERMS["late"].title if line.late else "",
        line.sub if _is_of_one(selection) else printed.account_name(selection.scope, line.code, line.sub),
        "" if line.owner_id is None else str(line.owner_id),
    )
    return Row(RowKind.PLAIN, (*about, debit, credit, last), decimals)


def _balance_row(title: str, amount: Decimal, decimals: int, kind: RowKind) -> Row:
    return Row(kind, (title, *(None,) * 7, Figure(amount)), decimals)


def page_of_lines(
    selection: Selection, period: Period, page: LinePage, decimals: Decimals, *, is_first: bool
) -> Document:
    """Lay out one page of lines, with the balance carried in and, on the last page, out."""
    places = decimals.get(selection.asset or "", 0)
    rows: list[Row] = []
    if page.opening is not None:
        title = gettext("Opening balance") if is_first else gettext("Carried forward")
        rows.append(_balance_row(title, page.opening, places, RowKind.SUM))
    for place, line in enumerate(page.lines):
        last: Cell = Figure(page.running[place]) if page.running else line.asset
        rows.append(_line(selection, line, last, decimals.get(line.asset, 0)))
    if page.opening is not None and page.next is None:
        rows.append(
            _balance_row(gettext("Closing balance"), (page.running or [page.opening])[-1], places, RowKind.TOTAL)
        )
    return Document("lines", gettext("Lines"), _about(selection, period), _columns_of(selection), rows)


def all_lines(selection: Selection, period: Period, decimals: Decimals) -> Document:
    """Lay out every line behind a figure; read as it is written."""
    places = decimals.get(selection.asset or "", 0)

    def rows() -> Iterator[Row]:
        if not selection.adds_up:
            for line in lines.every(selection, period):
                yield _line(selection, line, line.asset, decimals.get(line.asset, 0))
            return
        opening = lines.before(selection, period, lines.beginning(period))
        balance = scopes.total(tuple(opening.values()))
        yield _balance_row(gettext("Opening balance"), balance, places, RowKind.SUM)
        for line in lines.every(selection, period):
            balance = scopes.total((balance, line.amount))
            yield _line(selection, line, Figure(balance), places)
        yield _balance_row(gettext("Closing balance"), balance, places, RowKind.TOTAL)

    columns = _columns_of(selection)
    return Document("lines", gettext("Lines"), _about(selection, period), columns, rows(), long=True)


def general_ledger(selection: Selection, period: Period, decimals: Decimals) -> Document:
    """Lay out the general ledger: account by account, every line of the period; read as it is written."""

    def rows() -> Iterator[Row]:
        for holding in sorted(balances.totals(selection, period), key=lambda item: (item.asset, item.code, item.sub)):
            own = Selection(selection.scope, selection.owner_id, (holding.code,), asset=holding.asset, sub=holding.sub)
            name = printed.account_name(selection.scope, holding.code, holding.sub)
            yield Row(RowKind.HEADING, (f"{holding.asset}  {name.code}  {name.title}",))
            yield from all_lines(own, period, decimals).rows

    columns = _line_columns(is_of_one=True, adds_up=True)
    about = _about(selection, period)
    return Document("general-ledger", gettext("General ledger"), about, columns, rows(), long=True)


def page_of_accounts(selection: Selection, period: Period, found: list[AccountBalance], decimals: Decimals) -> Document:
    """Lay out one page of the accounts behind a figure, each with its lines."""
    columns = [
        Column(gettext("Account"), ColumnKind.TEXT, 44),
        Column(gettext("User"), ColumnKind.TEXT, 14),
        Column(gettext("Asset"), ColumnKind.TEXT, 12),
        Column(gettext("Opening"), ColumnKind.AMOUNT, 24),
        Column(gettext("Change"), ColumnKind.AMOUNT, 24),
        Column(gettext("Closing"), ColumnKind.AMOUNT, 24),
    ]
    rows = []
    for account in found:
        opening, closing = account.amounts
        query = {"scope": selection.scope.value, "account": str(account.account_id)}
        query |= printed.drill(selection.scope, None, period.start.at, period.end.at)
        figures = (opening, scopes.total((closing, scopes.negated(opening))), closing)
        name = printed.account_name(selection.scope, account.code, account.sub)
        owner = "" if account.owner_id is None else str(account.owner_id)
        cells: tuple[Cell, ...] = (name, owner, account.asset, *(Figure(amount, query) for amount in figures))
        rows.append(Row(RowKind.PLAIN, cells, decimals.get(account.asset, 0)))
    return Document("accounts", gettext("Accounts"), _about(selection, period), columns, rows)


def _about(selection: Selection, period: Period) -> list[Words]:
    """Say what is listed."""
    parts = [printed.whose(selection.scope, selection.owner_id)]
    parts += [f"{name.code} {name.title}" for code in selection.codes for name in [_named(selection, code)]]
    if selection.asset:
        parts.append(selection.asset)
    if selection.account_id is not None:
        parts.append(gettext("Account %(id)s") % {"id": selection.account_id})
    return [" · ".join(parts), wording.between(period)]


def _named(selection: Selection, code: str) -> Name:
    return printed.account_name(selection.scope, code, selection.sub or "")
