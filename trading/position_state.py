"""A position as integers: what opening and closing do to it. Pure.

Note [Signed open cost]
    A position keeps what its lots cost, exactly, negative when short; its entry price is cost by quantity and is never
    stored. The sum of all positions' cost of a contract is what its clearing account says, after every trade. A close
    takes out its share of cost and margin, whole quanta toward zero; the last close takes the rest, so that nothing
    remains.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from exchange.kernel.errors import require
from marketdata.units import InstrumentSpec


class Closed(NamedTuple):
    """What closing part of a position gives, in quanta: its result, and the margin that it releases."""

    result: int
    margin: int


class Change(StrEnum):
    """What changed a position; permanent words, stored in its history."""

    OPEN = "OPEN"
    CLOSE = "CLOSE"
    MARGIN_ADD = "MARGIN_ADD"
    MARGIN_REMOVE = "MARGIN_REMOVE"
    LEVERAGE = "LEVERAGE"


@dataclass(frozen=True, slots=True)
class PositionEvent:
    """One step of a position's history: what was added to each of its numbers, in lots and quanta."""

    version: int
    change: Change
    lots: int
    cost: int
    margin: int
    result: int
    fee: int
    leverage: int
    at: datetime
    sequence: int = 0
    trade_id: int | None = None
    order_id: int | None = None
    price_ticks: int | None = None


@dataclass(slots=True)
class PositionState:
    """A trader's position in a contract, and the lots of it that orders have reserved."""

    user_id: int
    spec: InstrumentSpec
    lots: int = 0
    cost: int = 0
    margin: int = 0
    reserved: int = 0
    realised: int = 0
    leverage: int = 1
    version: int = 0
    margin_missing: int = 0
    """What opening could not fund: such a position is to be liquidated."""
    is_locked: bool = False
    """Taken over for liquidation: its trader cannot move it."""
    stored_version: int = 0
    """The version of its row; 0 where there is none yet."""
    changed: bool = False
    events: list[PositionEvent] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Its lots without sign."""
        return abs(self.lots)

    def closable(self, *, is_buy: bool) -> int:
        """Return how many lots an order of this side could close."""
        return self.size if self.lots and (self.lots < 0) == is_buy else 0

    def reducible(self, *, is_buy: bool) -> int:
        """Return how many lots an order of this side may reserve."""
        return max(0, self.closable(is_buy=is_buy) - self.reserved)

    def close(self, lots: int, notional: int) -> Closed:
        """Close part of the position at a price.

        Args:
            notional: What the lots are worth at the price.
        """
        require(0 < lots <= self.size, f"closing {lots} of a position of {self.lots}")
        cost = self.cost if lots == self.size else _toward_zero(self.cost * lots, self.size)
        margin = self.margin * lots // self.size
        direction = 1 if self.lots > 0 else -1
        self.lots -= direction * lots
        self.cost -= cost
        self.margin -= margin
        result = direction * notional - cost
        self.realised += result
        if not self.lots:
            self.margin_missing = 0
        self.changed = True
        return Closed(result, margin)

    def open(self, lots: int, notional: int, *, is_buy: bool, margin: int, missing: int) -> None:
        """Add lots in their own direction.

        Args:
            margin: What is put up for them.
            missing: What should have been put up besides.
        """
        direction = 1 if is_buy else -1
        require(self.lots * direction >= 0, f"opening against a position of {self.lots}")
        self.lots += direction * lots
        self.cost += direction * notional
        self.margin += margin
        self.margin_missing += missing
        self.changed = True

    def note(self, change: Change, at: datetime, **numbers: int | None) -> None:
        """Add a step to the history: exactly what was just done."""
        self.version += 1
        self.changed = True
        steps: dict[str, int] = {
            name: int(numbers.pop(name, 0) or 0) for name in ("lots", "cost", "margin", "result", "fee")
        }
        self.events.append(
            PositionEvent(version=self.version, change=change, leverage=self.leverage, at=at, **steps, **numbers)  # type: ignore[arg-type]
        )


def _toward_zero(numerator: int, denominator: int) -> int:
    """Divide, rounding toward zero."""
    quotient = abs(numerator) // denominator
    return quotient if numerator >= 0 else -quotient
