"""The balance sheet as a T, for its page: what stands left, what right, and how the sides add up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext

from ledger.chart import Root
from ledger.reports import printed, titles, wording
from ledger.reports.document import Cell, Figure, Name
from ledger.reports.scopes import Scope
from ledger.reports.sheet import LEFT, RIGHT, AssetSheet, AtMark, BalanceSheet, Identity, Section
from ledger.reports.titles import Term

Cells = tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class TRow:
    """One account, or one part of the account above it."""

    name: Name
    cells: Cells
    is_part: bool = False


@dataclass(frozen=True, slots=True)
class TSection:
    """The accounts of one root with their total."""

    term: Term
    rows: list[TRow]
    total: Cells


@dataclass(frozen=True, slots=True)
class TSide:
    """One side of the T, and its total."""

    sections: list[TSection]
    letters: str
    total: Cells


@dataclass(frozen=True, slots=True)
class Equation:
    """An identity in figures: one pair of sides a column."""

    term: Term
    pairs: list[tuple[str, str, bool]]
    holds: bool


@dataclass(frozen=True, slots=True)
class Eliminated:
    """What falls away between users and platform."""

    name: Name
    cells: Cells


@dataclass(frozen=True, slots=True)
class TForm:
    """The T of one asset."""

    asset: str
    decimals: int
    left: TSide
    right: TSide
    result: Cells
    equations: list[Equation]
    eliminations: list[Eliminated]
    at_mark: list[tuple[AtMark, Figure, Figure]]
    holds: bool


def t_forms(sheet: BalanceSheet, decimals: Mapping[str, int]) -> list[TForm]:
    """Return the T of every asset."""
    return [_t_form(sheet, item, decimals.get(item.asset, 0)) for item in sheet.sheets]


def _t_form(whole: BalanceSheet, sheet: AssetSheet, decimals: int) -> TForm:
    return TForm(
        sheet.asset,
        decimals,
        _side(whole, sheet, LEFT, gettext("A + X")),
        _side(whole, sheet, RIGHT, gettext("L + E + R")),
        printed.with_change(sheet.result),
        [
            _equation("as_it_stands", sheet.as_it_stands, decimals),
            _equation("after_closing", sheet.after_closing, decimals),
        ],
        [Eliminated(_pair(item.one, item.other), printed.with_change(item.amounts)) for item in sheet.eliminations],
        [(item, Figure(item.losing), Figure(item.winning)) for item in sheet.at_mark],
        sheet.holds,
    )


def _side(whole: BalanceSheet, sheet: AssetSheet, roots: Sequence[Root], letters: str) -> TSide:
    sections = [_section(whole, sheet, sheet.sections[root]) for root in roots]
    return TSide([section for section in sections if section.rows], letters, printed.with_change(sheet.side(roots)))


def _section(whole: BalanceSheet, sheet: AssetSheet, section: Section) -> TSection:
    rows: list[TRow] = []
    for row in section.rows:
        figures = printed.figures(whole, row.root, row.code, sheet.asset, None, row.amounts)
        rows.append(TRow(printed.account_name(whole.scope, row.code), figures))
        for part in row.parts:
            figures = printed.figures(whole, row.root, row.code, sheet.asset, part.sub, part.amounts)
            rows.append(TRow(Name(part.sub or "-"), figures, is_part=True))
    return TSection(titles.ROOTS[section.root], rows, printed.with_change(section.totals))


def _equation(name: str, identity: Identity, decimals: int) -> Equation:
    pairs = [
        (wording.amount(left, decimals), wording.amount(right, decimals), left == right)
        for left, right in zip(identity.left, identity.right, strict=True)
    ]
    return Equation(titles.TERMS[name], pairs, identity.holds)


def _pair(one: str, other: str) -> Name:
    """Name an elimination by both its accounts."""
    first, second = printed.account_name(Scope.USERS, one), printed.account_name(Scope.PLATFORM, other)
    return Name(f"{first.title} / {second.title}", titles.TERMS["elimination"].meaning)
