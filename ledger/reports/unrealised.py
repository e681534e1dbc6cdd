"""Unrealised profit at the mark: asked of whoever knows positions and mark prices, who stand above the ledger.

The ledger knows only what was realised. The app that keeps positions provides a `Valuer` when it starts; without one
statements say nothing of unrealised profit, since zero would be a claim.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, Protocol


class ContractAtMark(NamedTuple):
    """All positions of one contract, the liquidation engine's included, at one mark price.

    Args:
        contract: The part of the clearing account, `sub`.
        asset: In which profits are paid.
        winning: Sum of the profits of positions that win, not negative.
        losing: Sum of the losses of positions that lose, not negative.
    """

    contract: str
    asset: str
    winning: Decimal
    losing: Decimal


class PositionAtMark(NamedTuple):
    """One user's position at the mark price; `profit` is negative when it loses."""

    contract: str
    asset: str
    profit: Decimal


class Valuer(Protocol):
    """Who can value open positions. None says that positions or marks of that moment are not known."""

    def contracts(self, at: datetime | None) -> Sequence[ContractAtMark] | None:
        """Return every contract with open positions as of a moment; None is now."""

    def positions(self, owner_id: int, at: datetime | None) -> Sequence[PositionAtMark] | None:
        """Return one user's open positions as of a moment; None is now."""


_PROVIDED: list[Valuer] = []


def provide(valuer: Valuer | None) -> None:
    """Say who values positions, once, when the process starts; None takes it back, for tests."""
    _PROVIDED[:] = [] if valuer is None else [valuer]


def valuer() -> Valuer | None:
    """Return who values positions, if anybody does."""
    return _PROVIDED[0] if _PROVIDED else None
