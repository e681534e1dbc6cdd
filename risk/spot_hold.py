"""What a spot order must keep in hold: pure integer arithmetic, used by admission and by settlement alike.

Amounts are quanta of the asset held: the quote asset for a buy, the base asset for a sell. Fee rates are integers of
10^-8.

Note [Running fee]
    A fee is charged on an order's running sum: after each fill, what has been charged in total is the exact sum of
    rate x notional, rounded up once. Rounding each fill by itself could charge one quantum a fill too much, and could
    ask for more than the hold kept. A hold is therefore defined by what is left to trade at the worst price, plus the
    fee that would then stand in total, less what was charged already. From this follows that a fill never needs more
    than the hold gives back for it, and that the last fill leaves exactly nothing.

Note [Budget]
    A buy by quote amount names all that it may cost, the fee included, and that is its hold. The engine knows of no
    fees, so it is told what may go into prices: the largest notional whose fee still fits beside it. From
    n + ceil(n * rate) <= given, where n and given are whole, follows n <= given / (1 + rate) and nothing else, so the
    division below, rounded down, is exact: one quantum more would not fit. It is then cut to whole ticks times lots.
"""

from marketdata.units import RATE_SCALE


def fee_total(accrued: int) -> int:
    """Return what has been charged in total once `accrued` (quanta x RATE_SCALE) has accrued; rounded up."""
    return -(-accrued // RATE_SCALE)


def budget_lots(given: int, rate: int, unit_quanta: int) -> int:
    """Return the budget of a buy by quote amount, in ticks times lots: Note [Budget]. Rounded down; 0 buys nothing.

    Args:
        given: All that the order may cost, in quote quanta.
        rate: The taker's fee rate: such an order never rests.
        unit_quanta: One tick times one lot, in quote quanta.
    """
    return given * RATE_SCALE // (RATE_SCALE + rate) // unit_quanta


def amend_hold(needed_now: int, needed_then: int, needed_if_filled: int) -> int:
    """Return what an amend must add to a hold, so that it covers the order before and after, whatever trades meanwhile.

    Until the engine has seen the amend, fills may shrink both the order as it is and the order as it will be. What is
    missing then is greatest either at once or when all that is open has traded. Two quanta cover the fees' rounding.

    Args:
        needed_now: The hold of what is open, at the present price.
        needed_then: The hold of what will be open, at the new price.
        needed_if_filled: The hold of what the amend adds, at the new price: what is left of it if all that is open
            trades first.
    """
    missing = max(needed_then - needed_now, needed_if_filled)
    return missing + 2 if missing > 0 else 0


def buy_hold(worst_notional: int, rate: int, *, accrued: int = 0) -> int:
    """Return the hold of a buy order, in quote quanta.

    Args:
        worst_notional: What is left to trade, at the worst price the order may get, in quote quanta.
        rate: The higher of the order's two fee rates.
        accrued: The exact fee of what has traded, quanta x RATE_SCALE: Note [Running fee].
    """
    return worst_notional + fee_total(rate * worst_notional + accrued) - fee_total(accrued)
