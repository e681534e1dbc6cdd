"""A position as integers: what opening and closing do to it. Pure.

Note [Signed open cost]
    A position keeps what its lots cost, exactly, negative when short; its entry price is cost by quantity and is never
    stored. The sum of all positions' cost of a contract is what its clearing account says, after every trade. A close
    takes out its share of cost and margin, whole quanta toward zero; the last close takes the rest, so that nothing
    remains.
"""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from exchange.kernel.errors import InvariantViolationError, require
from exchange.kernel.money import to_quanta
from marketdata.units import InstrumentSpec

LEVERAGE_DEFAULT = 10
"""The leverage of a position that nobody has chosen one for, or the most that the contract allows."""


def default_leverage(spec: InstrumentSpec) -> int:
    """Return the leverage that a trader begins with on a contract."""
    return min(LEVERAGE_DEFAULT, spec.brackets[0].leverage_max) if spec.brackets else LEVERAGE_DEFAULT


class StoredPosition(NamedTuple):
    """A position as its row has it, in units people use."""

    user_id: int
    instrument_id: int
    quantity: Decimal
    open_cost: Decimal
    margin: Decimal
    margin_missing: Decimal
    reserved: Decimal
    realised_pnl: Decimal
    leverage: int
    version: int
    is_locked: bool


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


class PositionEvent(NamedTuple):
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

    @classmethod
    def of_row(cls, row: StoredPosition, spec: InstrumentSpec) -> "PositionState":
        """Return a stored position as integers."""
        decimals = spec.quote_decimals
        return cls(
            user_id=row.user_id,
            spec=spec,
            lots=spec.signed_lots(row.quantity),
            cost=to_quanta(row.open_cost, decimals),
            margin=to_quanta(row.margin, decimals),
            margin_missing=to_quanta(row.margin_missing, decimals),
            reserved=spec.signed_lots(row.reserved),
            realised=to_quanta(row.realised_pnl, decimals),
            leverage=row.leverage,
            version=row.version,
            stored_version=row.version,
            is_locked=row.is_locked,
        )

    @classmethod
    def flat(cls, user_id: int, spec: InstrumentSpec) -> "PositionState":
        """Return the position of a trader who never had one."""
        return cls(user_id, spec, leverage=default_leverage(spec))

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
        if not 0 < lots <= self.size:
            raise InvariantViolationError(f"closing {lots} of a position of {self.lots}")
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
        if self.lots * direction < 0:
            raise InvariantViolationError(f"opening against a position of {self.lots}")
        self.lots += direction * lots
        self.cost += direction * notional
        self.margin += margin
        self.margin_missing += missing
        self.changed = True

    def add_margin(self, amount: int, at: datetime, change: Change = Change.MARGIN_ADD) -> None:
        """Put more margin into the position; what its opening could not fund is made good first."""
        require(self.lots != 0, "margin is added to an open position")
        self.margin += amount
        self.margin_missing = max(0, self.margin_missing - amount)
        self.note(change, at, margin=amount)

    def remove_margin(self, amount: int, at: datetime) -> None:
        """Take margin out of the position."""
        require(0 < amount <= self.margin, f"taking {amount} out of a margin of {self.margin}")
        self.margin -= amount
        self.note(Change.MARGIN_REMOVE, at, margin=-amount)

    def note(
        self,
        change: Change,
        at: datetime,
        *,
        lots: int = 0,
        cost: int = 0,
        margin: int = 0,
        result: int = 0,
        fee: int = 0,
        sequence: int = 0,
        trade_id: int | None = None,
        order_id: int | None = None,
        price_ticks: int | None = None,
    ) -> None:
        """Add a step to the history: exactly what was just done."""
        self.version += 1
        self.changed = True
        self.events.append(
            PositionEvent(
                self.version,
                change,
                lots,
                cost,
                margin,
                result,
                fee,
                self.leverage,
                at,
                sequence,
                trade_id,
                order_id,
                price_ticks,
            )
        )


def _toward_zero(numerator: int, denominator: int) -> int:
    """Divide, rounding toward zero."""
    quotient = abs(numerator) // denominator
    return quotient if numerator >= 0 else -quotient
