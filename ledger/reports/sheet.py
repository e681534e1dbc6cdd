"""The balance sheet, as a T: assets and expenses on the left, liabilities, equity and revenue on the right.

Revenue and expenses are those since the last closed period; the result of what is closed stands in equity, as if each
close had carried it there. Both identities are computed and told, never assumed: A + X = L + E + R as the books stand,
and A = L + E once the result R - X is carried to equity. They hold per asset, since every entry balances per asset.
At a mark price the clearing account is told by its gross parts: what winning positions are owed, what losing ones owe.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from ledger.chart import AccountCode, Root
from ledger.reports import balances, moments, scopes, unrealised
from ledger.reports.balances import Amounts, Holding
from ledger.reports.moments import Cut
from ledger.reports.scopes import Scope
from ledger.reports.selection import Selection

LEFT: Final = (Root.ASSET, Root.EXPENSE)
RIGHT: Final = (Root.LIABILITY, Root.EQUITY, Root.REVENUE)
RETAINED: Final = "retained"
"""In place of an account's code: the row of the result of closed periods."""
INTERNAL: Final = (
    (AccountCode.COST_FEE, AccountCode.REVENUE_TRADING_FEE),
    (AccountCode.COST_WITHDRAW_FEE, AccountCode.REVENUE_WITHDRAW_FEE),
    (AccountCode.EXPENSE_MAKER_REBATE, AccountCode.GAIN_REBATE),
    (AccountCode.EXPENSE_BAD_DEBT, AccountCode.GAIN_DEBT_FORGIVEN),
)
"""An expense of one side that is revenue of the other: consolidated, the smaller amount of each pair falls away."""


class Part(NamedTuple):
    """A row's share that one part holds: a custody wallet, a contract."""

    sub: str
    amounts: Amounts


@dataclass(frozen=True, slots=True)
class Row:
    """One account of the chart in a statement.

    Args:
        amounts: One a column; positive when it adds to its root.
        parts: Where the account is kept in parts; else empty.
    """

    code: str
    root: Root
    amounts: Amounts
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """The rows of one root, and their sum by column."""

    root: Root
    rows: list[Row]
    totals: Amounts


@dataclass(frozen=True, slots=True)
class Identity:
    """An equation that must hold, by column."""

    left: Amounts
    right: Amounts

    @property
    def differences(self) -> Amounts:
        """Return left less right; all zero when the identity holds."""
        return _each(self.left, _negative(self.right))

    @property
    def holds(self) -> bool:
        """Tell whether both sides are equal in every column."""
        return not any(self.differences)


class Elimination(NamedTuple):
    """What falls away between users and platform: the two accounts, and the amount on each of the two sides."""

    one: str
    other: str
    amounts: Amounts


class AtMark(NamedTuple):
    """Unrealised profit, apart from the books.

    For the platform: `losing` is what losing positions owe (an asset), `winning` what winning positions are owed (a
    liability), and together they stand for `cleared`, the clearing account (a liability, of either sign). For a user:
    a gain is an asset, a loss a liability, against the unrealised result in equity; `cleared` is None.
    """

    contract: str
    winning: Decimal
    losing: Decimal
    cleared: Decimal | None

    @property
    def difference(self) -> Decimal:
        """Return what the clearing account has that the positions do not explain; zero in whole books."""
        net = scopes.total((self.winning, scopes.negated(self.losing)))
        return Decimal(0) if self.cleared is None else scopes.total((self.cleared, scopes.negated(net)))


@dataclass(frozen=True, slots=True)
class AssetSheet:
    """The balance sheet of one asset; amounts by column."""

    asset: str
    sections: dict[Root, Section]
    eliminations: list[Elimination] = field(default_factory=list)
    at_mark: list[AtMark] = field(default_factory=list)

    def side(self, roots: Sequence[Root]) -> Amounts:
        """Return the sum of some sections."""
        return _each(*(self.sections[root].totals for root in roots))

    @property
    def result(self) -> Amounts:
        """Return revenue less expenses: what closing carries to equity."""
        return _each(self.sections[Root.REVENUE].totals, _negative(self.sections[Root.EXPENSE].totals))

    @property
    def equity_after_closing(self) -> Amounts:
        """Return equity with the result carried to it."""
        return _each(self.sections[Root.EQUITY].totals, self.result)

    @property
    def as_it_stands(self) -> Identity:
        """Return assets and expenses against liabilities, equity and revenue."""
        return Identity(self.side(LEFT), self.side(RIGHT))

    @property
    def after_closing(self) -> Identity:
        """Return assets against liabilities and equity with the result in it."""
        return Identity(
            self.sections[Root.ASSET].totals, _each(self.sections[Root.LIABILITY].totals, self.equity_after_closing)
        )

    @property
    def holds(self) -> bool:
        """Tell whether both identities hold, and the clearing accounts are explained where a mark was given."""
        explained = not any(item.difference for item in self.at_mark)
        return self.as_it_stands.holds and self.after_closing.holds and explained


@dataclass(frozen=True, slots=True)
class BalanceSheet:
    """The sheets of every asset, as of each cut.

    Args:
        marked: Whether unrealised profit is told: somebody values positions and knew those of the first cut.
    """

    scope: Scope
    owner_id: int | None
    cuts: tuple[Cut, ...]
    sheets: list[AssetSheet]
    marked: bool

    @property
    def holds(self) -> bool:
        """Tell whether every identity of every asset holds."""
        return all(sheet.holds for sheet in self.sheets)


def balance_sheet(
    scope: Scope,
    at: Sequence[datetime | None],
    *,
    owner_id: int | None = None,
    asset: str | None = None,
    zeros: bool = False,
) -> BalanceSheet:
    """Return the balance sheet as of some moments, one column each.

    Two statements; one more when consolidated; two more when a period was closed; one where positions are valued.

    Args:
        at: The moments; None is the latest. Unrealised profit is told for the first.
        owner_id: One user's sheet; only in the users' scope.
        asset: This asset alone.
        zeros: Rows that are zero in every column too, the whole chart.
    """
    cuts = moments.cuts(at)
    selection = Selection(scope, owner_id=owner_id, asset=asset)
    by_asset = _by_asset(balances.totals(selection, cuts))
    retained = _retained(selection, cuts)
    wallets = _eliminated_wallets(cuts, asset) if scope == Scope.CONSOLIDATED else {}
    marked = _at_mark(scope, owner_id, cuts[0])
    sheets = []
    for code in sorted(by_asset.keys() | wallets.keys() | (marked or {}).keys()):
        if asset is not None and code != asset:
            continue
        rows = _rows(scope, _since_closing(by_asset.get(code, []), retained), len(cuts), zeros=zeros)
        if any(cut.closed_at for cut in cuts):
            rows[RETAINED] = _retained_row(code, retained, len(cuts))
        eliminations = list(wallets.get(code, []))
        if scope == Scope.CONSOLIDATED:
            eliminations += _eliminate_internal(rows)
        sections = {root: _section(root, rows, len(cuts)) for root in Root}
        at_mark = _with_clearing(scope, (marked or {}).get(code, []), by_asset.get(code, []), told=marked is not None)
        if zeros or at_mark or eliminations or any(section.rows for section in sections.values()):
            sheets.append(AssetSheet(code, sections, eliminations, at_mark))
    return BalanceSheet(scope, owner_id, cuts, sheets, marked is not None)


def _retained(selection: Selection, cuts: Sequence[Cut]) -> dict[tuple[str, str, str], Amounts]:
    """Return what revenue and expense accounts had when the last period was closed: zero where none was, by column."""
    ends = [moments.just_before(cut.closed_at) if cut.closed_at else moments.BEGINNING for cut in cuts]
    if all(end == moments.BEGINNING for end in ends):
        return {}
    before = tuple(cut._replace(head=cuts[0].head) for cut in moments.cuts(ends))
    codes = tuple(row.code.value for row in scopes.accounts(selection.scope) if _is_income(selection.scope, row.code))
    found = balances.totals(replace(selection, codes=codes), before)
    return {(holding.code, holding.asset, holding.sub): holding.amounts for holding in found}


def _is_income(scope: Scope, code: str) -> bool:
    """Tell whether an account is of revenue or expenses."""
    return scopes.root(scope, code) in {Root.REVENUE, Root.EXPENSE}


def _since_closing(holdings: Sequence[Holding], retained: dict[tuple[str, str, str], Amounts]) -> list[Holding]:
    """Take out of revenue and expenses what was there when the last period was closed."""
    return [
        holding._replace(amounts=_each(holding.amounts, _negative(before))) if before else holding
        for holding in holdings
        for before in [retained.get((holding.code, holding.asset, holding.sub))]
    ]


def _retained_row(asset: str, retained: dict[tuple[str, str, str], Amounts], columns: int) -> Row:
    """Return the result of closed periods, which is equity: what was taken out of revenue less out of expenses."""
    own = [_negative(amounts) for (_, of_asset, _), amounts in retained.items() if of_asset == asset]
    return Row(RETAINED, Root.EQUITY, _each((Decimal(0),) * columns, *own))


def _by_asset(holdings: Sequence[Holding]) -> dict[str, list[Holding]]:
    found: dict[str, list[Holding]] = defaultdict(list)
    for holding in holdings:
        found[holding.asset].append(holding)
    return found


def _rows(scope: Scope, holdings: Sequence[Holding], columns: int, *, zeros: bool) -> dict[str, Row]:
    """Return one asset's rows by account, in the order of the chart."""
    by_code: dict[str, list[Holding]] = defaultdict(list)
    for holding in holdings:
        by_code[holding.code].append(holding)
    rows = {}
    for account in scopes.accounts(scope):
        root = scopes.root(scope, account.code)
        found = by_code.get(account.code, [])
        if root is None or not (zeros or any(any(holding.amounts) for holding in found)):
            continue
        parts = tuple(
            Part(holding.sub, tuple(scopes.natural(root, amount) for amount in holding.amounts))
            for holding in found
            if zeros or any(holding.amounts)
        )
        amounts = _each((Decimal(0),) * columns, *(part.amounts for part in parts))
        in_parts = any(part.sub for part in parts)
        rows[account.code.value] = Row(account.code.value, root, amounts, parts if in_parts else ())
    return rows


def _section(root: Root, rows: dict[str, Row], columns: int) -> Section:
    own = [row for row in rows.values() if row.root == root]
    return Section(root, own, _each((Decimal(0),) * columns, *(row.amounts for row in own)))


def _eliminated_wallets(cuts: Sequence[Cut], asset: str | None) -> dict[str, list[Elimination]]:
    """Return what users own of the platform and owe it: two faces of one line, so equal on both sides."""
    codes = tuple(row.code.value for row in scopes.accounts(Scope.USERS) if scopes.root(Scope.PLATFORM, row.code))
    found = balances.totals(Selection(Scope.USERS, codes=codes, asset=asset), cuts)
    by_place: dict[tuple[str, str], Amounts] = {}
    for holding in found:
        place = (holding.asset, holding.code)
        by_place[place] = _each(by_place.get(place, (Decimal(0),) * len(cuts)), holding.amounts)
    eliminated: dict[str, list[Elimination]] = defaultdict(list)
    for (code_of_asset, code), amounts in by_place.items():
        if any(amounts):
            root = scopes.root(Scope.USERS, code) or Root.ASSET
            natural = tuple(scopes.natural(root, amount) for amount in amounts)
            eliminated[code_of_asset].append(Elimination(code, code, natural))
    return eliminated


def _eliminate_internal(rows: dict[str, Row]) -> list[Elimination]:
    """Take out of the rows what is a cost of one side and revenue of the other, and say how much."""
    eliminated = []
    for cost, revenue in INTERNAL:
        if cost.value in rows and revenue.value in rows:
            one, other = rows[cost.value], rows[revenue.value]
            amounts = tuple(max(Decimal(0), min(pair)) for pair in zip(one.amounts, other.amounts, strict=True))
            if any(amounts):
                for row in (one, other):
                    rest = _each(row.amounts, _negative(amounts))
                    rows[row.code] = Row(row.code, row.root, rest, row.parts)
                    if not any(rest):
                        del rows[row.code]
                eliminated.append(Elimination(one.code, other.code, amounts))
    return eliminated


def _at_mark(scope: Scope, owner_id: int | None, cut: Cut) -> dict[str, list[AtMark]] | None:
    """Ask for unrealised profit by asset; None when nobody can tell."""
    valuer = unrealised.valuer()
    if valuer is None or scope == Scope.CONSOLIDATED or (scope == Scope.USERS and owner_id is None):
        return None
    found: dict[str, list[AtMark]] = defaultdict(list)
    if owner_id is not None:
        positions = valuer.positions(owner_id, cut.at)
        for position in positions or ():
            gain, loss = max(position.profit, Decimal(0)), max(scopes.negated(position.profit), Decimal(0))
            found[position.asset].append(AtMark(position.contract, gain, loss, None))
        return None if positions is None else found
    contracts = valuer.contracts(cut.at)
    for item in contracts or ():
        found[item.asset].append(AtMark(item.contract, item.winning, item.losing, Decimal(0)))
    return None if contracts is None else found


def _with_clearing(scope: Scope, marked: Sequence[AtMark], holdings: Sequence[Holding], *, told: bool) -> list[AtMark]:
    """Put the clearing account of each contract beside its gross parts, contracts without positions included."""
    if scope != Scope.PLATFORM or not told:
        return list(marked)
    cleared = {
        holding.sub: scopes.natural(Root.LIABILITY, holding.amounts[0])
        for holding in holdings
        if holding.code == AccountCode.CLEARING
    }
    known = {item.contract: item for item in marked}
    found = []
    for contract in sorted(known.keys() | {sub for sub, amount in cleared.items() if amount}):
        item = known.get(contract) or AtMark(contract, Decimal(0), Decimal(0), Decimal(0))
        found.append(item._replace(cleared=cleared.get(contract, Decimal(0))))
    return found


def _each(*columns: Amounts) -> Amounts:
    """Add tuples of amounts column by column, exactly."""
    return tuple(scopes.total(amounts) for amounts in zip(*columns, strict=True))


def _negative(amounts: Amounts) -> Amounts:
    return tuple(scopes.negated(amount) for amount in amounts)
