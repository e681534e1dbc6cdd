"""Lays statements out: balance sheet, trial balance, income statement, cash flow, fees."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal

from django.utils.translation import gettext

from ledger.chart import Root
from ledger.reports import fees, scopes, titles, wording
from ledger.reports.balances import Amounts
from ledger.reports.cash import CashFlow, CustodyFlow
from ledger.reports.document import Cell, Column, ColumnKind, Document, Figure, Name, Row, RowKind
from ledger.reports.fees import FeeReport
from ledger.reports.income import AssetIncome, IncomeRow, IncomeStatement
from ledger.reports.moments import BEGINNING, Cut, Period
from ledger.reports.scopes import Scope
from ledger.reports.sheet import LEFT, RETAINED, RIGHT, AssetSheet, BalanceSheet, Identity
from ledger.reports.trial import AssetTrial, TrialBalance, Turnover

Decimals = Mapping[str, int]
NOTHING = Decimal(0)


def drill(
    scope: Scope, owner_id: int | None, start: datetime | None, end: datetime | None, **place: str
) -> dict[str, str]:
    """Return the query of the page of lines behind a figure.

    Args:
        start: What counts after it; None is the beginning of the books.
        end: What counts by then; None is the latest.
        place: `code`, `asset` and `sub`; a part "" is written as "-".
    """
    query = {"scope": scope.value} | {name: value or "-" for name, value in place.items()}
    if owner_id is not None:
        query["owner"] = str(owner_id)
    if start is not None and start > BEGINNING:
        query["from"] = wording.iso(start + wording.INSTANT)
    if end is not None:
        query["to"] = wording.iso(end)
    return query


def account_name(scope: Scope, code: str, sub: str = "") -> Name:
    """Return an account's name in a scope, with its part."""
    term = titles.account(scope, code)
    return Name(f"{term.title}: {sub}" if sub else term.title, term.meaning, "" if code == RETAINED else code)


def whose(scope: Scope, owner_id: int | None) -> str:
    """Say whose statement it is."""
    if owner_id is not None:
        return gettext("User %(id)s") % {"id": owner_id}
    return str(titles.SCOPES[scope].title)


# --- Balance sheet ------------------------------------------------------------------------------


def balance_sheet(sheet: BalanceSheet, decimals: Decimals) -> Document:
    """Lay a balance sheet out in report form: one column a moment, and the change between two."""
    columns = [Column(gettext("Account"), ColumnKind.TEXT, 46)]
    columns += [Column(wording.column(cut), ColumnKind.AMOUNT, 24) for cut in sheet.cuts]
    if len(sheet.cuts) > 1:
        columns.append(Column(gettext("Change"), ColumnKind.AMOUNT, 24))
    about = [whose(sheet.scope, sheet.owner_id), *(wording.as_of(cut) for cut in sheet.cuts)]
    return Document(
        "balance-sheet",
        gettext("Balance sheet"),
        list(about),
        columns,
        [row for item in sheet.sheets for row in _asset_sheet(sheet, item, decimals.get(item.asset, 0))],
        holds=sheet.holds,
    )


def _asset_sheet(whole: BalanceSheet, sheet: AssetSheet, decimals: int) -> Iterator[Row]:
    """Yield one asset's rows: the left side, the right side, the identities, and what stands apart."""
    yield Row(RowKind.HEADING, (sheet.asset,))
    for side in (LEFT, RIGHT):
        for root in side:
            section = sheet.sections[root]
            if not section.rows:
                continue
            yield Row(RowKind.HEADING, (Name(*titles.ROOTS[root]),))
            for row in section.rows:
                cells = figures(whole, row.root, row.code, sheet.asset, None, row.amounts)
                yield Row(RowKind.PLAIN, (account_name(whole.scope, row.code), *cells), decimals)
                for part in row.parts:
                    cells = figures(whole, row.root, row.code, sheet.asset, part.sub, part.amounts)
                    yield Row(RowKind.PART, (part.sub or "-", *cells), decimals)
            yield _total(gettext("Total: %(title)s") % {"title": titles.ROOTS[root].title}, section.totals, decimals)
        letters = gettext("A + X") if side == LEFT else gettext("L + E + R")
        yield _total(letters, sheet.side(side), decimals, RowKind.TOTAL)
    yield _total(titles.TERMS["result"].title, sheet.result, decimals)
    yield from _identity("as_it_stands", sheet.as_it_stands, decimals)
    yield from _identity("after_closing", sheet.after_closing, decimals)
    for item in sheet.eliminations:
        one, other = account_name(Scope.USERS, item.one), account_name(Scope.PLATFORM, item.other)
        pair = one.title if item.one == item.other else f"{one.title} / {other.title}"
        yield Row(RowKind.PART, (f"{titles.TERMS['elimination'].title}: {pair}", *with_change(item.amounts)), decimals)
    yield from _at_mark(whole, sheet, decimals)


def _at_mark(whole: BalanceSheet, sheet: AssetSheet, decimals: int) -> Iterator[Row]:
    """Yield what positions would win and lose at the mark, as of the first column."""
    if not sheet.at_mark:
        return
    empty = (None,) * (len(with_change(tuple(NOTHING for _ in whole.cuts))) - 1)
    yield Row(RowKind.HEADING, (Name(*titles.TERMS["at_mark"]),))
    for item in sheet.at_mark:
        for title, figure in (
            (gettext("Owed to winning positions: %(contract)s"), item.winning),
            (gettext("Owed by losing positions: %(contract)s"), item.losing),
        ):
            yield Row(RowKind.PLAIN, (title % {"contract": item.contract}, Figure(figure), *empty), decimals)
        if item.difference:
            text = gettext("The clearing of %(contract)s is off its positions by %(difference)s.")
            difference = wording.amount(item.difference, decimals)
            yield Row(RowKind.ALARM, (text % {"contract": item.contract, "difference": difference},))


def figures(
    whole: BalanceSheet, root: Root, code: str, asset: str, sub: str | None, amounts: Amounts
) -> tuple[Cell, ...]:
    """Return a row's amounts, each with the way to its lines."""
    place = {"code": code, "asset": asset} | ({} if sub is None else {"sub": sub})
    cells: list[Cell] = [
        Figure(
            amount,
            {} if code == RETAINED else drill(whole.scope, whole.owner_id, _since(root, cut), cut.at, **place),
        )
        for amount, cut in zip(amounts, whole.cuts, strict=True)
    ]
    return (*cells, *with_change(amounts)[len(amounts) :])


def _since(root: Root, cut: Cut) -> datetime | None:
    """Return since when a root's figure counts: revenue and expenses since the last closed period."""
    if root in {Root.REVENUE, Root.EXPENSE} and cut.closed_at is not None:
        return cut.closed_at - wording.INSTANT
    return None


def with_change(amounts: Amounts) -> tuple[Cell, ...]:
    """Return amounts, and with two of them what the first has more than the second."""
    change = [scopes.total((amounts[0], scopes.negated(amounts[1])))] if len(amounts) > 1 else []
    return tuple(Figure(amount) for amount in (*amounts, *change))


def _total(title: Cell, amounts: Amounts, decimals: int, kind: RowKind = RowKind.SUM) -> Row:
    return Row(kind, (title, *with_change(amounts)), decimals)


def _identity(name: str, identity: Identity, decimals: int) -> Iterator[Row]:
    """Yield an identity with both its sides, loudly where it is broken."""
    sides = (
        f"{wording.amount(left, decimals)} {'=' if left == right else '≠'} {wording.amount(right, decimals)}"
        for left, right in zip(identity.left, identity.right, strict=True)
    )
    text = f"{titles.TERMS[name].title}: {';  '.join(sides)}"
    yield Row(RowKind.NOTE if identity.holds else RowKind.ALARM, (text,))


# --- Trial balance ------------------------------------------------------------------------------


def trial_balance(trial: TrialBalance, decimals: Decimals) -> Document:
    """Lay a trial balance out: debit and credit, opening, moved and closing."""
    debit, credit = titles.TERMS["debit"].title, titles.TERMS["credit"].title
    moved = (gettext("Moved"),) if trial.in_full else ()
    pairs = (gettext("Opening"), *moved, gettext("Closing"))
    columns = [Column(gettext("Account"), ColumnKind.TEXT, 40)]
    columns += [Column(f"{pair}, {side}", ColumnKind.AMOUNT, 20) for pair in pairs for side in (debit, credit)]
    about = [whose(trial.scope, trial.owner_id), wording.between(trial.period)]
    if not trial.in_full:
        about.append(gettext("The period is long: its debits and credits are not added up, only balances are told."))
    rows = [row for item in trial.sheets for row in _asset_trial(trial, item, decimals.get(item.asset, 0))]
    return Document("trial-balance", gettext("Trial balance"), list(about), columns, rows, holds=trial.holds)


def _asset_trial(trial: TrialBalance, sheet: AssetTrial, decimals: int) -> Iterator[Row]:
    start, end = trial.period
    yield Row(RowKind.HEADING, (sheet.asset,))
    for row in sheet.rows:
        place = {"code": row.code, "asset": sheet.asset, "sub": row.sub}
        until = drill(trial.scope, trial.owner_id, None, start.at, **place)
        within = drill(trial.scope, trial.owner_id, start.at, end.at, **place)
        whole = drill(trial.scope, trial.owner_id, None, end.at, **place)
        cells = [*_sided(row.opening, until)]
        if row.turnover is not None:
            cells += [Figure(amount, within) if amount else None for amount in row.turnover]
        name = account_name(trial.scope, row.code, row.sub)
        yield Row(RowKind.PLAIN, (name, *cells, *_sided(row.closing, whole)), decimals)
    totals = sheet.totals
    pairs: list[Turnover] = [pair for pair in totals if pair is not None]
    yield Row(RowKind.TOTAL, (gettext("Total"), *(Figure(amount) for pair in pairs for amount in pair)), decimals)
    if not sheet.holds:
        yield Row(RowKind.ALARM, (gettext("Debits and credits differ."),))


def _sided(amount: Decimal, query: Mapping[str, str]) -> tuple[Cell, Cell]:
    """Put a balance into the debit or the credit column."""
    if not amount:
        return None, None
    return (Figure(amount, query), None) if amount > 0 else (None, Figure(scopes.negated(amount), query))


# --- Income statement ---------------------------------------------------------------------------


def income_statement(statement: IncomeStatement, decimals: Decimals) -> Document:
    """Lay an income statement out, one column a period."""
    columns = [Column(gettext("Account"), ColumnKind.TEXT, 46)]
    columns += [Column(wording.span(period), ColumnKind.AMOUNT, 24) for period in statement.periods]
    if len(statement.periods) > 1:
        columns.append(Column(gettext("Change"), ColumnKind.AMOUNT, 24))
    about = [whose(statement.scope, statement.owner_id), *(wording.between(period) for period in statement.periods)]
    rows = [row for item in statement.sheets for row in _asset_income(statement, item, decimals.get(item.asset, 0))]
    return Document("income-statement", gettext("Income statement"), list(about), columns, rows)


def _asset_income(statement: IncomeStatement, sheet: AssetIncome, decimals: int) -> Iterator[Row]:
    def listed(rows: list[IncomeRow]) -> Iterator[Row]:
        for row in rows:
            figures = [
                Figure(
                    amount,
                    drill(
                        statement.scope, statement.owner_id, period.start.at, period.end.at,
                        code=row.code, asset=sheet.asset,
                    ),
                )
                for amount, period in zip(row.amounts, statement.periods, strict=True)
            ]  # fmt: skip
            change = with_change(row.amounts)[len(row.amounts) :]
            yield Row(RowKind.PLAIN, (account_name(statement.scope, row.code), *figures, *change), decimals)

    yield Row(RowKind.HEADING, (sheet.asset,))
    yield Row(RowKind.HEADING, (titles.ROOTS[Root.REVENUE].title,))
    yield from listed(sheet.revenue)
    if sheet.deductions:
        yield _total(gettext("Gross revenue"), sheet.gross, decimals)
        yield Row(RowKind.HEADING, (gettext("Deducted from revenue"),))
        yield from listed(sheet.deductions)
    yield _total(gettext("Net revenue"), sheet.net_revenue, decimals)
    if sheet.expenses:
        yield Row(RowKind.HEADING, (titles.ROOTS[Root.EXPENSE].title,))
        yield from listed(sheet.expenses)
        yield _total(gettext("Total: %(title)s") % {"title": titles.ROOTS[Root.EXPENSE].title}, sheet.expense, decimals)
    yield _total(titles.TERMS["result"].title, sheet.result, decimals, RowKind.TOTAL)


# --- Cash flow ----------------------------------------------------------------------------------


def cash_flow(flow: CashFlow, decimals: Decimals) -> Document:
    """Lay the custody cash flow out, account by account."""
    columns = [
        Column(gettext("Why"), ColumnKind.TEXT, 50),
        Column(gettext("Movements"), ColumnKind.COUNT, 12),
        Column(gettext("In"), ColumnKind.AMOUNT, 22),
        Column(gettext("Out"), ColumnKind.AMOUNT, 22),
        Column(gettext("Balance"), ColumnKind.AMOUNT, 24),
    ]
    rows = [row for item in flow.accounts for row in _custody(flow.period, item, decimals.get(item.asset, 0))]
    about = [gettext("Custody of the platform"), wording.between(flow.period)]
    return Document("cash-flow", gettext("Cash flow of custody"), list(about), columns, rows, holds=flow.holds)


def _custody(period: Period, account: CustodyFlow, decimals: int) -> Iterator[Row]:
    place = {"code": "1110", "asset": account.asset, "sub": account.sub}
    until = drill(Scope.PLATFORM, None, None, period.start.at, **place)
    within = drill(Scope.PLATFORM, None, period.start.at, period.end.at, **place)
    whole = drill(Scope.PLATFORM, None, None, period.end.at, **place)
    yield Row(RowKind.HEADING, (f"{account.asset}: {account.sub}" if account.sub else account.asset,))
    yield Row(RowKind.PLAIN, (gettext("Opening balance"), None, None, None, Figure(account.opening, until)), decimals)
    activity = None
    for item in account.flows:
        if item.activity != activity:
            activity = item.activity
            yield Row(RowKind.HEADING, (titles.ACTIVITIES[activity],))
        is_charge = item.activity == "operations" and item.kind != "CUSTODY_CHARGE"
        title = titles.account(Scope.PLATFORM, "5120").title if is_charge else titles.kind(item.kind)
        moved = tuple(Figure(amount, within) if amount else None for amount in (item.incoming, item.outgoing))
        yield Row(RowKind.PLAIN, (title, item.lines, *moved, None), decimals)
    incoming = scopes.total([item.incoming for item in account.flows])
    outgoing = scopes.total([item.outgoing for item in account.flows])
    closing = (gettext("Closing balance"), None, Figure(incoming), Figure(outgoing), Figure(account.closing, whole))
    yield Row(RowKind.TOTAL, closing, decimals)
    if not account.holds:
        yield Row(RowKind.ALARM, (gettext("Opening balance and movements do not make the closing balance."),))


# --- Fees ---------------------------------------------------------------------------------------


def fee_report(report: FeeReport, decimals: Decimals) -> Document:
    """Lay the fee report out: by step, then who paid most."""
    codes = [code.value for code in (*fees.CHARGED, *fees.GIVEN_BACK)]
    columns = [Column(gettext("Time"), ColumnKind.TEXT, 36)]
    columns += [_headed(Scope.PLATFORM, code) for code in codes]
    columns.append(Column(gettext("Net"), ColumnKind.AMOUNT, 22))
    rows = []
    for sheet in report.sheets:
        places = decimals.get(sheet.asset, 0)
        rows.append(Row(RowKind.HEADING, (sheet.asset,)))
        for step in sheet.steps:
            if not any(step.amounts.values()):
                continue
            span = wording.days(step.start_at, step.end_at)
            figures = [
                Figure(
                    step.amounts.get(code, NOTHING),
                    drill(Scope.PLATFORM, None, step.start_at, step.end_at, code=code, asset=sheet.asset),
                )
                for code in codes
            ]
            rows.append(Row(RowKind.PLAIN, (span, *figures, Figure(step.net)), places))
        totals = [Figure(sheet.totals.get(code, NOTHING)) for code in codes]
        rows.append(Row(RowKind.TOTAL, (gettext("Total"), *totals, Figure(sheet.net)), places))
    about = [gettext("Fees of the platform"), wording.between(report.period)]
    return Document("fee-report", gettext("Fee report"), list(about), columns, rows)


def fee_payers(report: FeeReport, decimals: Decimals) -> Document:
    """Lay out who paid most over the period of a fee report."""
    codes = [code.value for code in fees.OF_A_USER]
    columns = [Column(gettext("User"), ColumnKind.TEXT, 20), Column(gettext("Asset"), ColumnKind.TEXT, 14)]
    columns += [_headed(Scope.USERS, code) for code in codes]
    columns.append(Column(gettext("Net"), ColumnKind.AMOUNT, 22))
    rows = []
    for payer in report.payers:
        start, end = report.period.start.at, report.period.end.at
        figures = [
            Figure(
                scopes.natural(scopes.root(Scope.USERS, code) or Root.EXPENSE, payer.amounts.get(code, NOTHING)),
                drill(Scope.USERS, payer.owner_id, start, end, code=code, asset=payer.asset),
            )
            for code in codes
        ]
        rows.append(
            Row(
                RowKind.PLAIN,
                (str(payer.owner_id), payer.asset, *figures, Figure(payer.net)),
                decimals.get(payer.asset, 0),
            )
        )
    about = [wording.between(report.period)]
    return Document("fee-payers", gettext("Who paid most fees"), list(about), columns, rows)


def _headed(scope: Scope, code: str) -> Column:
    """Return the column of an account."""
    term = titles.account(scope, code)
    return Column(term.title, ColumnKind.AMOUNT, 20, term.meaning)
