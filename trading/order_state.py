"""An order as integers: what it holds, what it needs to hold, and the way from and to its row. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from exchange.kernel.money import from_quanta, to_quanta
from marketdata.units import RATE_DECIMALS, InstrumentSpec, rate_units
from matching_worker.protocol import QTY_LOTS_MAX
from risk.spot_hold import amend_hold, budget_lots, buy_hold, fee_total
from trading.models import Order
from trading.order_parts import Part, PartKind


@dataclass(slots=True)
class OrderState:
    """An order as settlement moves it. Amounts in quanta; rates in 10^-8; `fee_accrued` in quanta x 10^8.

    A buy by quote amount has no quantity: as in the engine, it is the largest order that there can be, and ends when
    its budget is spent.
    """

    row: Order
    """The loaded row; this module writes only its status, reason, sequence and times."""
    id: int
    user_id: int
    spec: InstrumentSpec
    is_buy: bool
    trace: str
    worst_ticks: int
    lots: int
    left_lots: int
    filled_notional: int
    fee_accrued: int
    maker_rate: int
    taker_rate: int
    hold: int
    amend_hold: int
    """What is held besides, for an amend that the engine has not answered yet."""
    given: int = 0
    """All that a buy by quote amount may cost; 0 for every other order."""
    budget: int = 0
    """What it may still spend on prices, in ticks times lots: Note [Budget] in risk/spot_hold.py."""
    leverage: int = 1
    increase: Part | None = None
    """The parts of a contract order: Note [Parts] in order_parts.py. None for spot, and for orders that only reduce."""
    reduce: Part | None = None
    changed: bool = False

    @property
    def fee(self) -> int:
        """What has been charged: Note [Running fee]."""
        return fee_total(self.fee_accrued)

    @property
    def hold_asset(self) -> str:
        """The asset of the hold."""
        return self.spec.quote if self.is_buy or self.spec.is_contract else self.spec.base

    @property
    def hold_decimals(self) -> int:
        """The decimals of the hold's asset."""
        return self.spec.quote_decimals if self.is_buy or self.spec.is_contract else self.spec.base_decimals

    @property
    def rate(self) -> int:
        """The higher of its two fee rates."""
        return max(self.maker_rate, self.taker_rate)

    def hold_needed(self) -> int:
        """Return what must stay in hold for what is left."""
        if self.given:
            return self.given - self.filled_notional - self.fee
        return self.hold_for(self.worst_ticks, self.left_lots)

    @property
    def sizes_itself(self) -> bool:
        """Whether the engine finds its quantity when it trades: what is left of it, only the engine knows."""
        return self.row.close_position

    def left_at(self, ticks: int) -> int:
        """Return what the engine must call left after a trade at this price: of a budget, what it still buys there."""
        return min(self.left_lots, self.budget // ticks) if self.given else self.left_lots

    def take(self, lots: int, ticks: int) -> None:
        """Take lots off what is left, and what they cost at this price off the budget."""
        self.left_lots -= lots
        if self.given:
            self.budget -= lots * ticks

    def hold_for(self, worst_ticks: int, lots: int) -> int:
        """Return what must be in hold for so many lots at that worst price, after what has traded."""
        if not self.is_buy:
            return self.spec.base_quanta(lots)
        worst = self.spec.notional_quanta(worst_ticks, lots)
        return buy_hold(worst, self.rate, accrued=self.fee_accrued)


class OrderParts(NamedTuple):
    """The parts of a contract order that has just been placed, and of its `OrderState` what storing them asks for."""

    id: int
    user_id: int
    spec: InstrumentSpec
    trace: str
    increase: Part
    reduce: Part


def of_row(row: Order, spec: InstrumentSpec, parts: Mapping[PartKind, Part] | None = None) -> OrderState:
    """Turn a row into integers.

    Args:
        parts: The stored parts of a contract order; one that is not there is empty.
    """
    has_parts = spec.is_contract and not (row.reduce_only or row.close_position)
    lots = QTY_LOTS_MAX if row.quantity is None else spec.qty_to_lots(row.quantity)
    is_buy = row.side == "buy"
    hold_decimals = spec.quote_decimals if is_buy or spec.is_contract else spec.base_decimals
    filled_notional = to_quanta(row.filled_notional, spec.quote_decimals)
    return OrderState(
        row=row,
        id=row.id,
        user_id=row.user_id,
        spec=spec,
        is_buy=is_buy,
        trace=row.trace,
        worst_ticks=spec.price_to_ticks(row.worst_price),
        lots=lots,
        left_lots=lots - (spec.qty_to_lots(row.filled_quantity) if row.filled_quantity else 0),
        filled_notional=filled_notional,
        fee_accrued=to_quanta(row.fee_accrued, spec.quote_decimals + RATE_DECIMALS),
        maker_rate=rate_units(row.maker_fee_rate),
        taker_rate=rate_units(row.taker_fee_rate),
        hold=to_quanta(row.hold_remaining - row.amend_hold, hold_decimals),
        amend_hold=to_quanta(row.amend_hold, hold_decimals),
        given=0 if row.quote_quantity is None else spec.quote_to_quanta(row.quote_quantity),
        budget=budget(row, spec) - filled_notional // spec.unit_quanta if row.quote_quantity is not None else 0,
        leverage=row.leverage or 1,
        increase=(parts or {}).get(PartKind.INCREASE) or Part(PartKind.INCREASE) if has_parts else None,
        reduce=(parts or {}).get(PartKind.REDUCE) or Part(PartKind.REDUCE) if has_parts else None,
    )


def budget(row: Order, spec: InstrumentSpec) -> int:
    """Return what an order by quote amount may spend on prices, in ticks times lots; 0 for every other order."""
    if row.quote_quantity is None:
        return 0
    rate = rate_units(row.taker_fee_rate)
    return budget_lots(spec.quote_to_quanta(row.quote_quantity), rate, spec.unit_quanta)


def to_row(state: OrderState) -> Order:
    """Write an order's new integers back into its row."""
    row, spec = state.row, state.spec
    if row.quantity is not None:
        row.quantity = spec.lots_to_qty(state.lots)
    row.filled_quantity = spec.lots_to_qty(state.lots - state.left_lots)
    row.filled_notional = from_quanta(state.filled_notional, spec.quote_decimals)
    row.fee = from_quanta(state.fee, spec.quote_decimals)
    row.fee_accrued = from_quanta(state.fee_accrued, spec.quote_decimals + RATE_DECIMALS)
    row.hold_remaining = from_quanta(state.hold + state.amend_hold, state.hold_decimals)
    row.amend_hold = from_quanta(state.amend_hold, state.hold_decimals)
    return row


def amend_extra(state: OrderState, worst_ticks: int, lots: int) -> int:
    """Return what an amend must add to an order's hold, in quanta: `risk.spot_hold.amend_hold`.

    Args:
        lots: The new total, what has filled included.
    """
    open_then = lots - (state.lots - state.left_lots)
    added = max(0, open_then - state.left_lots)
    return amend_hold(
        state.hold_needed(), state.hold_for(worst_ticks, open_then), state.hold_for(worst_ticks, added) if added else 0
    )
