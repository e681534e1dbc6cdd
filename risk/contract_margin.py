"""Margin of linear perpetual contracts: pure integer arithmetic, used by admission, preview and settlement alike.

Prices are ticks, quantities lots, amounts quanta of the quote asset; `unit` is what one tick times one lot is worth
(`InstrumentSpec.unit_quanta`, the contract's size inside). Rates are integers of 1/RATE_SCALE. Source of the formulas:
section 6 of the design; they are those of isolated margin on every exchange of the kind.

Note [What an opening order holds]
    Initial margin and taker fee at the worst price it may get, and the open loss: what the position would have lost at
    the mark price in the moment of its opening. Without it, a buy far above the mark hands its maker money that the
    buyer's margin cannot cover. The open loss of a fill goes into the position's margin.

Note [Bankruptcy price]
    Closing at it, the fee included, leaves exactly nothing of a position's margin; beyond it somebody else pays. It is
    rounded to the tick that still leaves something.
"""

from collections.abc import Sequence
from typing import NamedTuple

from exchange.kernel.money import ceil_div
from marketdata.units import RATE_SCALE, Bracket
from risk.spot_hold import fee_total


def initial_margin(notional: int, leverage: int) -> int:
    """Return what a value must put up at a leverage; toward zero, to the quantum."""
    return notional // leverage


def open_loss(*, is_buy: bool, price_ticks: int, mark_ticks: int, lots: int, unit: int) -> int:
    """Return what opening at a price has lost already at the mark: Note [What an opening order holds]."""
    distance = price_ticks - mark_ticks if is_buy else mark_ticks - price_ticks
    return max(0, distance) * lots * unit


def opening_margin(*, is_buy: bool, price_ticks: int, mark_ticks: int, lots: int, unit: int, leverage: int) -> int:
    """Return the margin that opening so many lots at a price asks for: initial margin and open loss."""
    loss = open_loss(is_buy=is_buy, price_ticks=price_ticks, mark_ticks=mark_ticks, lots=lots, unit=unit)
    return initial_margin(price_ticks * lots * unit, leverage) + loss


class Opening(NamedTuple):
    """What an order must hold to open lots: Note [What an opening order holds]."""

    margin: int
    loss: int
    fee: int


def opening(
    *, is_buy: bool, worst_ticks: int, mark_ticks: int, lots: int, unit: int, leverage: int, rate: int, accrued: int = 0
) -> Opening:
    """Return what an order must hold to open so many lots, part by part.

    Args:
        rate: The higher of the order's two fee rates.
        accrued: The exact fee of what the order has traded, quanta x RATE_SCALE: Note [Running fee] in `spot_hold.py`.
    """
    notional = worst_ticks * lots * unit
    loss = open_loss(is_buy=is_buy, price_ticks=worst_ticks, mark_ticks=mark_ticks, lots=lots, unit=unit)
    fee = fee_total(rate * notional + accrued) - fee_total(accrued)
    return Opening(initial_margin(notional, leverage), loss, fee)


def opening_hold(
    *, is_buy: bool, worst_ticks: int, mark_ticks: int, lots: int, unit: int, leverage: int, rate: int, accrued: int = 0
) -> int:
    """Return the sum of what `opening` returns."""
    return sum(
        opening(
            is_buy=is_buy,
            worst_ticks=worst_ticks,
            mark_ticks=mark_ticks,
            lots=lots,
            unit=unit,
            leverage=leverage,
            rate=rate,
            accrued=accrued,
        )
    )


def bracket_of(notional: int, brackets: Sequence[Bracket]) -> Bracket:
    """Return the bracket that a value is in; the first begins at 0."""
    found = brackets[0]
    for bracket in brackets:
        if bracket.notional_floor <= notional:
            found = bracket
    return found


def notional_max(leverage: int, brackets: Sequence[Bracket]) -> int | None:
    """Return the value at which a position's leverage becomes too high; None where it never does."""
    for bracket in brackets:
        if bracket.leverage_max < leverage:
            return bracket.notional_floor
    return None


def leverage_max(notional: int, brackets: Sequence[Bracket]) -> int | None:
    """Return the highest leverage that a position of that value may have; None where nothing bounds it."""
    return min(
        (bracket.leverage_max for bracket in brackets if bracket.notional_floor < max(1, notional)), default=None
    )


def margin_to_keep(*, lots: int, cost: int, mark_ticks: int, unit: int, leverage: int) -> int:
    """Return the margin that nobody may take out of a position: its initial margin and its loss at the mark price.

    Args:
        lots: Negative when short.
        cost: Signed open cost, negative when short.
    """
    loss = max(0, -unrealised(lots=lots, cost=cost, mark_ticks=mark_ticks, unit=unit))
    return initial_margin(mark_ticks * abs(lots) * unit, leverage) + loss


def maintenance_margin(notional: int, brackets: Sequence[Bracket]) -> int:
    """Return the margin below which a position of that value is liquidated; rounded up, never below zero."""
    bracket = bracket_of(notional, brackets)
    return max(0, ceil_div(notional * bracket.maintenance_rate, RATE_SCALE) - bracket.maintenance_amount)


def unrealised(*, lots: int, cost: int, mark_ticks: int, unit: int) -> int:
    """Return a position's result at the mark price.

    Args:
        lots: Negative when short.
        cost: Signed open cost: what the lots cost, negative when short.
    """
    return mark_ticks * lots * unit - cost


def bankruptcy_ticks(*, lots: int, cost: int, margin: int, unit: int, rate: int) -> int:
    """Return the worst price at which closing a whole position is paid by its own margin: Note [Bankruptcy price].

    From margin + d * (price * size - |cost|) - rate * price * size >= 0, with d = +1 long, -1 short. A long whose
    margin covers even a price of nothing gets 1, the lowest price there is.
    """
    size = abs(lots) * unit
    if lots > 0:
        return max(1, ceil_div((cost - margin) * RATE_SCALE, size * (RATE_SCALE - rate)))
    return max(1, (margin - cost) * RATE_SCALE // (size * (RATE_SCALE + rate)))


def liquidation_ticks(*, lots: int, cost: int, margin: int, unit: int, brackets: Sequence[Bracket]) -> int | None:
    """Return the first mark price at which a margin is below maintenance; None where there is none.

    In each bracket, margin + d * (price * size - |cost|) = rate * price * size - amount; the price counts only where
    its own value lies in that bracket. Rounded toward the entry price: the first whole tick that is too far.
    """
    size, found = abs(lots) * unit, []
    for place, bracket in enumerate(brackets):
        ends = brackets[place + 1].notional_floor if place + 1 < len(brackets) else None
        rate, amount = bracket.maintenance_rate, bracket.maintenance_amount
        if lots > 0:
            ticks = (cost - margin - amount) * RATE_SCALE // (size * (RATE_SCALE - rate))
        else:
            ticks = ceil_div((margin - cost + amount) * RATE_SCALE, size * (RATE_SCALE + rate))
        value = ticks * size
        if bracket.notional_floor <= value and (ends is None or value <= ends):
            found.append(ticks)
    if not found:
        return None
    nearest = max(found) if lots > 0 else min(found)
    return nearest if nearest > 0 else None
