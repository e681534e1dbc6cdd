"""What an order that trades on arrival would take from a book, level by level. Pure: an estimate, not a match.

Others may come first, iceberg orders show less than they have, and the engine skips a trader's own orders where the
order asks for that; none of it is known here.
"""

from collections.abc import Iterable
from typing import NamedTuple

from marketdata.feed import Level


class Wanted(NamedTuple):
    """What an order would buy or sell at most.

    Attributes:
        worst_ticks: It takes no price beyond this one.
        lots: None for a buy by amount.
        budget: What a buy by amount may cost, in ticks times lots; None for the others.
    """

    is_buy: bool
    worst_ticks: int
    lots: int | None = None
    budget: int | None = None


def taken(levels: Iterable[Level], wanted: Wanted) -> list[Level]:
    """Return what an order would take of the other side's levels.

    Args:
        levels: Of the other side, best first.

    Returns:
        The price and the lots of each level that it reaches, best first; empty where it reaches none.
    """
    found: list[Level] = []
    lots, budget = wanted.lots, wanted.budget
    for ticks, there in levels:
        if ticks > wanted.worst_ticks if wanted.is_buy else ticks < wanted.worst_ticks:
            break
        most = there if lots is None else min(there, lots)
        if budget is not None:
            most = min(most, budget // ticks)
            budget -= most * ticks
        if not most:
            break
        found.append(Level(ticks, most))
        if lots is not None:
            lots -= most
    return found
