"""Lays out a user's account statement, for the user and for staff."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from django.utils.translation import gettext

from ledger.reports import customer, titles, wording
from ledger.reports.customer import Funds, Movement, Statement
from ledger.reports.document import Column, ColumnKind, Document, Figure, Row, RowKind, Words
from ledger.reports.moments import Period

Decimals = Mapping[str, int]
FILE_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Asked:
    """Whose statement is asked for, and of what."""

    owner_id: int
    owner_name: str
    period: Period
    asset: str | None = None
    holds: bool = False

    def page(self, after_entry_id: int | None, limit: int) -> Statement:
        """Read one page."""
        return customer.statement(
            self.owner_id,
            self.period,
            asset=self.asset,
            holds=self.holds,
            after_entry_id=after_entry_id,
            limit=limit,
        )


def columns() -> list[Column]:
    """Return the columns of a statement."""
    return [
        Column(gettext("Time, UTC"), ColumnKind.MOMENT, 26),
        Column(gettext("What"), ColumnKind.TEXT, 30),
        Column(gettext("Reference"), ColumnKind.TEXT, 32),
        Column(gettext("Asset"), ColumnKind.TEXT, 10),
        Column(gettext("Change"), ColumnKind.AMOUNT, 22),
        Column(gettext("Available"), ColumnKind.AMOUNT, 22),
        Column(gettext("Held"), ColumnKind.AMOUNT, 20, gettext("In orders, withdrawals and margin.")),
        Column(gettext("Balance"), ColumnKind.AMOUNT, 24, gettext("All of it, less what is owed.")),
    ]


def balance_rows(
    title: Words, funds: Mapping[str, Funds], decimals: Decimals, kind: RowKind = RowKind.TOTAL
) -> list[Row]:
    """Return one row an asset that has a balance."""
    return [
        Row(kind, (None, title, None, asset, None, *_standing(held)), decimals.get(asset, 0))
        for asset, held in funds.items()
        if any(held)
    ]


def movement_row(movement: Movement, decimals: Decimals) -> Row:
    """Return the row of one movement."""
    what = str(titles.kind(movement.kind))
    if movement.late:
        what = f"{what} ({titles.TERMS['late'].title})"
    about = (movement.counts_at, what, movement.key, movement.asset, Figure(movement.change.total))
    return Row(RowKind.PLAIN, (*about, *_standing(movement.after)), decimals.get(movement.asset, 0))


def _standing(funds: Funds) -> tuple[Figure, Figure, Figure]:
    """Return available, held and total; margin is held too."""
    held = Funds(funds.held, funds.margin, customer.NOTHING.margin, customer.NOTHING.debt).total
    return Figure(funds.available), Figure(held), Figure(funds.total)


def page(asked: Asked, statement: Statement, decimals: Decimals, *, is_first: bool) -> Document:
    """Lay out one page of a statement."""
    rows = balance_rows(
        gettext("Opening balance") if is_first else gettext("Carried forward"),
        statement.opening,
        decimals,
        RowKind.SUM,
    )
    rows += [movement_row(movement, decimals) for movement in statement.movements]
    if statement.next_entry_id is None:
        rows += balance_rows(gettext("Closing balance"), statement.closing, decimals)
    return _document(asked, rows, long=False)


def whole(asked: Asked, decimals: Decimals) -> Document:
    """Lay out a whole statement; read as it is written."""

    def rows() -> Iterator[Row]:
        statement = asked.page(None, FILE_PAGE)
        yield from balance_rows(gettext("Opening balance"), statement.opening, decimals, RowKind.SUM)
        while True:
            for movement in statement.movements:
                yield movement_row(movement, decimals)
            if statement.next_entry_id is None:
                break
            statement = asked.page(statement.next_entry_id, FILE_PAGE)
        yield from balance_rows(gettext("Closing balance"), statement.closing, decimals)

    return _document(asked, rows(), long=True)


def _document(asked: Asked, rows: list[Row] | Iterator[Row], *, long: bool) -> Document:
    about: list[Words] = [asked.owner_name, wording.between(asked.period)]
    if asked.asset:
        about.insert(1, asked.asset)
    return Document("account-statement", gettext("Account statement"), about, columns(), rows, long=long)
