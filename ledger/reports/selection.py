"""Which ledger accounts a figure is made of, as a condition in SQL. The only place that composes it."""

from dataclasses import dataclass
from typing import Any

from ledger.chart import CHART, AccountCode, Face
from ledger.reports import scopes
from ledger.reports.scopes import FACES, Scope


@dataclass(frozen=True, slots=True)
class Selection:
    """The accounts behind a figure; what is None is not asked for.

    Args:
        scope: Whose journal; decides the sign of what is read.
        owner_id: One user's accounts.
        codes: These accounts of the chart; empty means all.
        sub: This part; "" is the account that has none.
        account_id: One ledger account alone.
    """

    scope: Scope
    owner_id: int | None = None
    codes: tuple[str, ...] = ()
    asset: str | None = None
    sub: str | None = None
    account_id: int | None = None

    @property
    def adds_up(self) -> bool:
        """Tell whether the selected amounts may be added up: they are of one asset."""
        return self.asset is not None or self.account_id is not None

    @property
    def is_of_all_users(self) -> bool:
        """Tell whether accounts of every user are selected: as many as there are users."""
        one = self.owner_id is not None or self.account_id is not None
        return not one and any(CHART[AccountCode(code)].face != Face.PLATFORM for code in self._codes())

    def _codes(self) -> list[str]:
        """Return the codes that are selected and that the scope sees."""
        return [row.code.value for row in scopes.accounts(self.scope) if not self.codes or row.code in self.codes]

    def where_of_totals(self) -> tuple[str, list[Any]]:
        """Return the condition over totals `a`, which have no owner; only where every user's accounts are selected."""
        asked: list[tuple[str, Any]] = [("a.code = ANY(%s::text[])", self._codes())]
        if self.asset is not None:
            asked.append(("a.asset = %s", self.asset))
        if self.sub is not None:
            asked.append(("a.sub = %s", self.sub))
        return " AND ".join(text for text, _ in asked), [value for _, value in asked]

    def where(self) -> tuple[str, list[Any]]:
        """Return the condition over `ledger_account a`, made of constants, and its parameters."""
        faces = [face.value for face in FACES[self.scope]]
        asked: list[tuple[str, Any]] = [("a.face = ANY(%s::text[])", faces)]
        if self.owner_id is not None:
            asked.append(("a.owner_id = %s", self.owner_id))
        if self.codes:
            asked.append(("a.code = ANY(%s::text[])", [str(code) for code in self.codes]))
        if self.asset is not None:
            asked.append(("a.asset = %s", self.asset))
        if self.sub is not None:
            asked.append(("a.sub = %s", self.sub))
        if self.account_id is not None:
            asked.append(("a.id = %s", self.account_id))
        return " AND ".join(text for text, _ in asked), [value for _, value in asked]
