"""What a contract order would reserve and hold: the one reckoning behind admission, preview and amend. Pure."""

from dataclasses import replace
from typing import NamedTuple

from exchange.kernel.money import ceil_div
from marketdata.units import InstrumentSpec
from risk import contract_margin
from risk.spot_hold import amend_hold, fee_total
from trading.models import Intent
from trading.order_state import OrderState
from trading.position_state import PositionState

_INCREASE, _REDUCE, _REVERSE = map(str, (Intent.INCREASE, Intent.REDUCE, Intent.REVERSE))
"""An enumeration writes its members slowly."""


class Sizing(NamedTuple):
    """How a contract order is split, and what it costs to place. Lots, ticks, and quanta of the quote asset.

    Attributes:
        worst_ticks: The worst price at which it may trade: the order's own, or the bankruptcy price before it.
        reduce_funds: What closing at the worst price would lose beyond the margin it releases.
        increase_margin: The initial margin of the part that opens, at the worst price; the open loss is apart.
    """

    intent: str
    reduce_lots: int
    increase_lots: int
    worst_ticks: int
    reduce_funds: int
    increase_funds: int
    increase_margin: int
    open_loss: int
    is_clamped: bool

    @property
    def hold(self) -> int:
        """Everything that the order takes from available."""
        return self.reduce_funds + self.increase_funds


def size(
    position: PositionState,
    spec: InstrumentSpec,
    *,
    is_buy: bool,
    lots: int,
    worst_ticks: int,
    mark_ticks: int,
    rate: int,
    available: int,
) -> Sizing:
    """Split an order against the position, and say what each part needs.

    The part that reduces is clamped at the bankruptcy price, unless available covers what closing further out would
    lose: then that is held.

    Args:
        rate: The higher of the order's two fee rates.
        available: What the trader may hold now, in quanta; of interest only where the order closes.
    """
    reduce = min(lots, position.reducible(is_buy=is_buy))
    increase = lots - reduce

    def opening(worst: int) -> contract_margin.Opening:
        return contract_margin.opening(
            is_buy=is_buy,
            worst_ticks=worst,
            mark_ticks=mark_ticks,
            lots=increase,
            unit=spec.unit_quanta,
            leverage=position.leverage,
            rate=rate,
        )

    shortfall = closing_shortfall(position, lots=reduce, worst_ticks=worst_ticks, rate=rate) if reduce else 0
    opens = opening(worst_ticks)
    clamped = bool(shortfall) and sum(opens) + shortfall > available
    if clamped:
        worst_ticks, shortfall = closing_bound(position, rate), 0
        opens = opening(worst_ticks)
    return Sizing(
        _REVERSE if reduce and increase else _REDUCE if reduce else _INCREASE,
        reduce,
        increase,
        worst_ticks,
        reduce_funds=shortfall,
        increase_funds=sum(opens),
        increase_margin=opens.margin,
        open_loss=opens.loss,
        is_clamped=clamped,
    )


def after_fill(position: PositionState, *, is_buy: bool, lots: int, price_ticks: int, mark_ticks: int) -> PositionState:
    """Return what a position would be if so many lots filled at a price; the position itself stays as it is."""
    spec = position.spec
    after = replace(position, events=[])
    closed = min(lots, position.closable(is_buy=is_buy))
    if closed:
        after.close(closed, price_ticks * closed * spec.unit_quanta)
    if opened := lots - closed:
        margin = contract_margin.opening_margin(
            is_buy=is_buy,
            price_ticks=price_ticks,
            mark_ticks=mark_ticks,
            lots=opened,
            unit=spec.unit_quanta,
            leverage=position.leverage,
        )
        after.open(opened, price_ticks * opened * spec.unit_quanta, is_buy=is_buy, margin=margin, missing=0)
    after.reserved = min(after.reserved, after.size)
    return after


SHARES_QUANTA = 2
"""What the rounding of a share of margin and of a running fee may together ask for beyond the exact amounts."""


def closing_bound(position: PositionState, rate: int) -> int:
    """Return the worst price, in ticks, at which any part of a position closes without funds from elsewhere.

    The bankruptcy price, moved by as many ticks as the rounding of shares may cost one lot.
    """
    unit = position.spec.unit_quanta
    ticks = contract_margin.bankruptcy_ticks(
        lots=position.lots, cost=position.cost, margin=position.margin, unit=unit, rate=rate
    )
    margin = ceil_div(SHARES_QUANTA, unit)
    return ticks + margin if position.lots > 0 else max(1, ticks - margin)


def closing_shortfall(position: PositionState, *, lots: int, worst_ticks: int, rate: int) -> int:
    """Return what closing lots at a price would lose beyond the margin that they release; 0 where that pays all."""
    unit, size = position.spec.unit_quanta, position.size
    direction = 1 if position.lots > 0 else -1
    notional = worst_ticks * lots * unit
    cost = abs(position.cost) * lots // size
    loss = cost - notional if direction > 0 else notional - cost
    return max(0, loss + SHARES_QUANTA + fee_total(rate * notional) - position.margin * lots // size)


def amend_extra(
    state: OrderState, position: PositionState, *, worst_ticks: int, lots: int, mark_ticks: int
) -> tuple[int, int]:
    """Return what an amend must add to a contract order's hold, in quanta, and how many lots more would open.

    What the order reserves stays reserved; what is added opens, what is taken off was to open first.

    Args:
        lots: The new total, what has filled included.
    """
    if state.increase is None or state.reduce is None:
        return 0, 0
    open_then = lots - (state.lots - state.left_lots)
    reduce_then = min(open_then, state.reduce.left)
    increase_then = open_then - reduce_then

    def opening(count: int) -> int:
        if not count:
            return 0
        return contract_margin.opening_hold(
            is_buy=state.is_buy,
            worst_ticks=worst_ticks,
            mark_ticks=mark_ticks,
            lots=count,
            unit=state.spec.unit_quanta,
            leverage=state.leverage,
            rate=state.rate,
            accrued=state.fee_accrued,
        )

    needed = opening(increase_then)
    if reduce_then:
        needed += closing_shortfall(position, lots=reduce_then, worst_ticks=worst_ticks, rate=state.rate)
    added = max(0, open_then - state.left_lots)
    return amend_hold(state.increase.funds + state.reduce.funds, needed, opening(added)), max(
        0, increase_then - state.increase.left
    )
