"""What matches of contracts must have done to positions and books: from the log, and from the balances before.

A position's lots and cost follow from the log alone, by arithmetic of this module. What pays for a fill follows from
the wallets as they stood before its entry. The share of the order's hold is taken from the entry itself: what an order
held was decided when it was placed, from what is in no log. `audit.road` and `orders.holds` prove the shares in total.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from exchange import database
from exchange.kernel.money import from_quanta, to_quanta
from ledger import waterfall
from ledger.posting_rules import EventKind
from ledger.reconciliation.sql import line_before
from marketdata.units import InstrumentSpec

CLOSES: Final = (EventKind.CLOSE_FILL, EventKind.OPEN_TO_CLOSE)
OPENS: Final = (EventKind.OPEN_FILL, EventKind.CLOSE_TO_OPEN)
"""Which of the two says what the order was meant to do; that is in its parts, not in the log."""

_WALLETS: Final = f"""
SELECT w.entry_id, a.code, l.balance_after
FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[]) AS w (entry_id, owner_id, asset, sub)
JOIN ledger_account a ON a.owner_id = w.owner_id AND a.asset = w.asset
     AND ((a.code = '1010' AND a.sub = '') OR (a.code = '1040' AND a.sub = w.sub))
CROSS JOIN LATERAL ({line_before("a.id, w.entry_id, 0")}) l
WHERE l.account_id = a.id
"""

Pair = tuple[int, int]
"""Trader and instrument."""


@dataclass(slots=True)
class NetPosition:
    """A position as the log makes it: lots and signed open cost in quanta."""

    lots: int = 0
    cost: int = 0


class Closing(NamedTuple):
    """What a fill closes: so many of a position's lots, with what result."""

    lots: int
    of_lots: int
    result: int


@dataclass(frozen=True, slots=True)
class ExpectedSide:
    """One entry of one side of a match, as far as the log says it. Amounts in quanta.

    Args:
        suffix: What follows the trade's id in the key.
        trade: The number of the match within the shard.
        closing: What it closes; None for an entry that opens.
        margin: What opening asks for, initial margin and open loss; 0 for an entry that closes.
    """

    suffix: str
    trade: int
    kinds: Sequence[EventKind]
    user_id: int
    spec: InstrumentSpec
    at: datetime
    fee: int
    closing: Closing | None = None
    margin: int = 0

    @property
    def roles(self) -> Mapping[str, int]:
        """The roles of its posting rule."""
        return {"user": self.user_id}

    @property
    def assets(self) -> Mapping[str, str]:
        """The assets of its posting rule."""
        return {"asset": self.spec.quote}

    def kind(self, stored: str | None) -> EventKind:
        """Return the stored kind where it is one that the log allows, else the plain one."""
        return next((kind for kind in self.kinds if kind == stored), self.kinds[0])

    def amounts(self, *, hold_share: Decimal, available: Decimal, margin: Decimal) -> dict[str, Decimal]:
        """Return the amounts of its posting rule.

        Args:
            hold_share: What the entry took from the order's hold.
            available: What the trader had available before it.
            margin: What the position had as margin before it.
        """
        decimals = self.spec.quote_decimals
        share, funds = to_quanta(hold_share, decimals), to_quanta(available, decimals)
        if self.closing is None:
            opened, _ = waterfall.open_position(fee=self.fee, margin=self.margin, hold_share=share, available=funds)
            return waterfall.amounts(opened, decimals)
        released = to_quanta(margin, decimals) * self.closing.lots // self.closing.of_lots
        closed = waterfall.close_position(
            result=self.closing.result, fee=self.fee, margin=released, hold_share=share, available=funds
        )
        return waterfall.amounts(closed, decimals)


class Match(NamedTuple):
    """One side of a match, as an engine of one's own made it."""

    trade: int
    ticks: int
    lots: int
    mark_ticks: int
    at: datetime


def move(position: NetPosition, spec: InstrumentSpec, match: Match, *, is_buy: bool) -> Closing | None:
    """Let one side of a match move a position; return what it closed.

    A close takes its share of the cost, toward zero; the last one all of it. The rest opens at the match's price.
    """
    sign = 1 if is_buy else -1
    closed = min(match.lots, abs(position.lots)) if position.lots * sign < 0 else 0
    closing = None
    if closed:
        size = abs(position.lots)
        share = abs(position.cost) * closed // size if closed < size else abs(position.cost)
        worth = spec.notional_quanta(match.ticks, closed)
        closing = Closing(closed, size, worth - share if position.lots > 0 else share - worth)
        position.lots += sign * closed
        position.cost += sign * share
    opened = match.lots - closed
    if opened:
        position.lots += sign * opened
        position.cost += sign * spec.notional_quanta(match.ticks, opened)
    return closing


def opening_margin(spec: InstrumentSpec, match: Match, *, lots: int, leverage: int, is_buy: bool) -> int:
    """Return initial margin, and what the lots have lost at the mark already: section 6 of the design."""
    distance = match.ticks - match.mark_ticks if is_buy else match.mark_ticks - match.ticks
    return spec.notional_quanta(match.ticks, lots) // leverage + max(0, distance) * lots * spec.unit_quanta


def wallets_before(wanted: Iterable[tuple[int, int, str, str]]) -> dict[tuple[int, str], Decimal]:
    """Return what was available, and in the margin wallet, before entries. One statement.

    Args:
        wanted: Entry, owner, asset, contract.

    Returns:
        By entry and account code; what had no line yet is missing.
    """
    [rows] = database.fetch((_WALLETS, database.columns(list(wanted), 4)))
    return {(entry_id, code): balance for entry_id, code, balance in rows}


def amount(spec: InstrumentSpec, quanta: int) -> Decimal:
    """Return an amount of a contract's quote asset."""
    return from_quanta(quanta, spec.quote_decimals)
