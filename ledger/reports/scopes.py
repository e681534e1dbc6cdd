"""Whose statement: the users', the platform's, or both as one. The only place that turns signs."""

from decimal import Decimal
from enum import StrEnum
from typing import Final

from exchange.kernel.money import EXACT
from ledger.chart import CHART, AccountCode, ChartAccount, Face, Root


class Scope(StrEnum):
    """Whose books a statement tells.

    USERS: one user's journal, or all users' together. PLATFORM: the platform's. CONSOLIDATED: users and platform as
    one: what one side owes the other (wallets and debts, two faces of one line) falls away.
    """

    USERS = "users"
    PLATFORM = "platform"
    CONSOLIDATED = "consolidated"


FACES: Final[dict[Scope, tuple[Face, ...]]] = {
    Scope.USERS: (Face.BOTH, Face.USER),
    Scope.PLATFORM: (Face.BOTH, Face.PLATFORM),
    Scope.CONSOLIDATED: (Face.USER, Face.PLATFORM),
}
DEBIT_ROOTS: Final = frozenset({Root.ASSET, Root.EXPENSE})
"""Roots whose balance grows with debits; the others grow with credits."""


def root(scope: Scope, code: str) -> Root | None:
    """Return an account's place in the statements of a scope; None where it has none."""
    account = CHART[AccountCode(code)]
    if account.face not in FACES[scope]:
        return None
    return account.platform_root if scope == Scope.PLATFORM else account.user_root or account.platform_root


def accounts(scope: Scope) -> list[ChartAccount]:
    """Return the chart as a scope sees it, in order of root, then of code."""
    order = list(Root)
    seen = [(order.index(place), row.code, row) for row in CHART.values() if (place := root(scope, row.code))]
    return [row for *_, row in sorted(seen, key=lambda item: item[:2])]


def sign(scope: Scope, code: str) -> int:
    """Return -1 where the scope sees a stored line with its sign turned, else 1."""
    return -1 if scope == Scope.PLATFORM and CHART[AccountCode(code)].face == Face.BOTH else 1


def seen(scope: Scope, code: str, stored: Decimal) -> Decimal:
    """Return a stored amount as the scope's journal has it, debit positive."""
    return stored if sign(scope, code) == 1 else negated(stored)


def natural(place: Root, amount: Decimal) -> Decimal:
    """Return an amount of a journal as its statement prints it: positive when it adds to its root."""
    return amount if place in DEBIT_ROOTS else negated(amount)


def negated(amount: Decimal) -> Decimal:
    """Turn a sign, exactly; a minus sign in Python would round to 28 digits. Zero stays a plain zero."""
    return EXACT.subtract(Decimal(0), amount)


def total(amounts: list[Decimal] | tuple[Decimal, ...]) -> Decimal:
    """Add amounts, exactly."""
    found = Decimal(0)
    for amount in amounts:
        found = EXACT.add(found, amount)
    return found
