"""The two parts of a contract order, and the Flip protocol's states of each. Pure.

Note [Parts]
    On arrival an order is split against the position, less what others have reserved. Its REDUCE part reserves quantity
    of the position; its INCREASE part holds funds. What is open of an order is what is left of both. Orders that only
    reduce (`reduce_only`, `close_position`) have no parts: the engine sizes them when they trade.

Note [Flip states]
    A part begins TRIED. Each fill confirms a share of it; when all of it has been filled it is CONFIRMED. When its
    order ends before, what is left is given back and the part is CANCELLED. A REDUCE part whose position another fill
    took away
    is STOLEN: its lots go over to the INCREASE part, which must then hold funds for them. Every step is a
    compare-and-set on state and version, so that a step done twice, or out of turn, is found out.

    TRIED ──fill──▶ TRIED ──last fill──▶ CONFIRMED
      ├──cancel, expiry, refusal──▶ CANCELLED
      └──the position is gone──▶ STOLEN

    An INCREASE part that has ended is TRIED again when an amend, or lots stolen from the other part, add to it.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from exchange.kernel.errors import InvariantViolationError, require


class PartKind(StrEnum):
    """What a part is for."""

    INCREASE = "INCREASE"
    REDUCE = "REDUCE"


class PartState(StrEnum):
    """Where a part stands: Note [Flip states]."""

    TRIED = "TRIED"
    CONFIRMED = "CONFIRMED"
    CANCELLED = "CANCELLED"
    STOLEN = "STOLEN"


@dataclass(slots=True)
class Part:
    """One part of an order: its lots, and the funds in hold for them, in quanta."""

    kind: PartKind
    lots: int = 0
    left: int = 0
    funds: int = 0
    """What is in hold for what is left."""
    going: int = 0
    """Of what is left, what settlement has asked the engine to take off: nothing covers it."""
    stolen: int = 0
    """Of what is left of an INCREASE part, what came from the REDUCE part: it was meant to close."""
    state: PartState = PartState.TRIED
    version: int = 0
    """Steps taken; 0 is a part that the order does not have."""
    stored_version: int = 0
    """The version of its row; 0 where there is none yet."""

    def fill(self, lots: int, at_least: int = 0) -> int:
        """Take filled lots off; return their share of the funds, toward zero, the rest with the last lot.

        Args:
            at_least: What the lots' own hold was, where lots without any share the part: so much if there is so much.
        """
        if not lots:
            return 0
        if self.state != PartState.TRIED:
            raise InvariantViolationError(f"filling a part that is {self.state}")
        share = self._give(lots)
        more = min(max(0, at_least - share), self.funds)
        self.funds -= more
        share += more
        self._step(PartState.TRIED if self.left else PartState.CONFIRMED)
        return share

    def grow(self, lots: int, funds: int, *, stolen: int = 0) -> None:
        """Add lots and funds: an amend, or what was stolen from the other part."""
        self.lots += lots
        self.left += lots
        self.stolen += stolen
        self.funds += funds
        self._step(PartState.TRIED)

    def shrink(self, lots: int, keep: int = 0) -> int:
        """Take lots off that will not be filled, stolen ones first; return their share of the funds.

        Args:
            keep: What the rest needs, where lots without a hold share the part: so much stays if there is so much.
        """
        if not lots:
            return 0
        going, stolen = max(0, self.going - lots), max(0, self.stolen - lots)
        share = self._give(lots)
        kept = min(max(0, keep - self.funds), share)
        self.funds += kept
        share -= kept
        self.lots -= lots
        self.going, self.stolen = going, stolen
        done = PartState.CONFIRMED if self.lots else PartState.CANCELLED
        self._step(self.state if self.left else done)
        return share

    def trim(self, funds: int) -> int:
        """Keep only so much in hold; return what is given back."""
        surplus = self.funds - funds
        require(surplus >= 0, f"trimming a part that holds {self.funds} to {funds}")
        if surplus:
            self.funds = funds
            self._step(self.state)
        return surplus

    def end(self) -> int:
        """End the part with its order; return what was in hold. A part that is filled, or stolen, stays what it is."""
        funds, self.funds = self.funds, 0
        self.left = self.going = self.stolen = 0
        if self.version and self.state == PartState.TRIED:
            self._step(PartState.CANCELLED)
        return funds

    def steal(self, lots: int) -> int:
        """Lose lots to a fill that took their position away; return their share of the funds."""
        require(self.kind == PartKind.REDUCE, "only reservations are stolen")
        share = self._give(lots)
        self._step(PartState.TRIED if self.left else PartState.STOLEN)
        return share

    def _give(self, lots: int) -> int:
        """Take lots off what is left, and their share of the funds with them."""
        if not 0 < lots <= self.left:
            raise InvariantViolationError(f"taking {lots} off a part with {self.left} left")
        share = self.funds if lots == self.left else self.funds * lots // self.left
        self.left -= lots
        self.going = min(self.going, self.left)
        self.stolen = min(self.stolen, self.left)
        self.funds -= share
        return share

    def ask_for(self, lots: int) -> None:
        """Note that the engine was asked to take lots off."""
        self.going += lots
        require(self.going <= self.left, f"{self.going} lots going of {self.left} left")
        self._step(self.state)

    def _step(self, state: PartState) -> None:
        """Go one version on."""
        self.state = state
        self.version += 1


class Split(NamedTuple):
    """How a fill of an order falls on the position and on the order's parts, in lots.

    Attributes:
        closed: What it closes of the position; `opened` is the rest.
        reserved: Of what is closed, what the REDUCE part had reserved; the rest was meant to open (OPEN_TO_CLOSE).
        held: Of what is opened, what was meant to open; the rest was meant to close (CLOSE_TO_OPEN).
    """

    closed: int
    opened: int
    reserved: int
    held: int

    @property
    def open_to_close(self) -> int:
        """What was meant to open and closes."""
        return self.closed - self.reserved

    @property
    def close_to_open(self) -> int:
        """What was meant to close and opens."""
        return self.opened - self.held


def split(lots: int, *, closable: int, reduce_left: int, increase_left: int, stolen: int) -> Split:
    """Divide a fill: close first, what was reserved for it first; open the rest, what was held for it first.

    Args:
        closable: Lots of the position that the order's side closes, as the position is now.
        stolen: Of what is left of the INCREASE part, what was meant to close.
    """
    if not 0 < lots <= reduce_left + increase_left:
        raise InvariantViolationError(f"a fill of {lots} of {reduce_left} + {increase_left} left")
    closed = min(lots, closable)
    opened = lots - closed
    return Split(closed, opened, min(closed, reduce_left), min(opened, increase_left - stolen))
