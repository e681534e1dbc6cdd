"""Folds what matching did to contract orders into positions, parts and journal entries: pure, over integers.

A fill is a fact. It closes what the position, as it is now, has on the other side, and opens the rest; what the order
had reserved or held for another purpose than it then served is compensation, and leaves an event of its own. Nothing
here is refused: where funds do not reach, `ledger.waterfall` says what becomes debt, and what margin stays missing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from exchange.kernel.errors import InvariantViolationError, require
from exchange.kernel.money import from_quanta
from ledger import waterfall
from ledger.entries import EntryDraft
from ledger.posting_rules import EventKind, draft
from ledger.waterfall import CloseAmounts, Debts, OpenAmounts
from marketdata.units import InstrumentSpec
from matching_worker.protocol import CommandKind
from risk import contract_margin
from trading import contract_events, contract_terms
from trading.contract_events import Fill
from trading.models import OrderStatus
from trading.order_parts import Part, PartKind, Split, split
from trading.order_state import OrderState
from trading.position_state import Change, PositionState
from trading.services.outbox import DomainEvent


class SystemCommand(NamedTuple):
    """What settlement asks the engine to do with an order whose lots nothing covers."""

    kind: CommandKind
    order: OrderState
    lots: int


@dataclass(slots=True)
class ContractOutcome:
    """What contract orders' events change besides orders and entries, in order."""

    outbox: list[DomainEvent] = field(default_factory=list)
    commands: list[SystemCommand] = field(default_factory=list)
    indebted: dict[int, None] = field(default_factory=dict)
    """Traders whom a fill has left with a debt."""


class ContractFold:
    """Applies fills and ends of contract orders to loaded positions.

    Args:
        positions: By (trader, instrument); missing ones begin here.
        reserving: The orders with a live reservation on each position, newest first.
        marks: The mark price of each contract in ticks, at the point that the fold has reached.
        post: Takes an entry, and moves the wallets as it will.
        available: Returns what a trader may draw on now, in quanta of a market's quote asset.
    """

    def __init__(
        self,
        positions: dict[tuple[int, int], PositionState],
        reserving: Mapping[tuple[int, int], Sequence[OrderState]],
        marks: dict[int, int],
        post: Callable[[EntryDraft], None],
        available: Callable[[int, InstrumentSpec], int],
        debts: Debts,
    ) -> None:
        self.positions = positions
        self.marks = marks
        self.outcome = ContractOutcome()
        self._reserving = reserving
        self._post_entry = post
        self._available = available
        self._debts = debts
        self._marks_before = dict(marks)

    def marks_changed(self) -> dict[int, int]:
        """Return the marks that the events have moved."""
        return {key: ticks for key, ticks in self.marks.items() if self._marks_before.get(key) != ticks}

    # --- fills ----------------------------------------------------------------------------------------
    def take_part(self, order: OrderState, left: int, rate: int, fill: Fill) -> int:
        """Move one side of a fill: order, parts, position and journal; return its fee.

        Args:
            left: What the engine says is left of the order.
            rate: The fee rate of this side.
        """
        position = self._position(order)
        order.take(fill.lots, fill.ticks)
        if order.left_lots != left and not order.sizes_itself:
            raise InvariantViolationError(
                f"books and engine disagree on what is left of order {order.id} after trade {fill.trade_id}"
            )
        falls = _falls(order, fill.lots, position)
        key = f"trade:{fill.trade_id}:{'buy' if order.is_buy else 'sell'}"
        fee = 0
        if falls.closed:
            fee += self._close(order, position, falls, rate, fill, f"{key}:FLIP_CLOSE" if falls.opened else key)
        if falls.opened:
            fee += self._open(order, position, falls, rate, fill, f"{key}:FLIP_OPEN" if falls.closed else key)
        order.hold = _held(order)
        order.row.status = OrderStatus.PARTIAL_FILLED if left else OrderStatus.FILLED
        order.row.filled_at = None if left else fill.at
        if falls.closed:
            self._rob(position, fill.at, fill.sequence)
        return fee

    def _close(self, order: OrderState, position: PositionState, falls: Split, rate: int, fill: Fill, key: str) -> int:
        """Close part of the position: margin and result come back, what was held to open comes back exactly."""
        hold_share = 0
        if order.reduce is not None and order.increase is not None:
            hold_share = order.reduce.fill(falls.reserved) + order.increase.fill(falls.open_to_close)
            position.reserved -= falls.reserved
        notional = order.spec.notional_quanta(fill.ticks, falls.closed)
        fee = _charge(order, rate, notional)
        signed = -falls.closed if position.lots > 0 else falls.closed
        cost_before = position.cost
        closed = position.close(falls.closed, notional)
        amounts = waterfall.close_position(
            result=closed.result,
            fee=fee,
            margin=closed.margin,
            hold_share=hold_share,
            available=self._available(order.user_id, order.spec),
        )
        kind = EventKind.FLIP_CLOSE if falls.opened else EventKind.CLOSE_FILL
        if falls.open_to_close and not falls.opened:
            kind = EventKind.OPEN_TO_CLOSE
        self._post(order, kind, key, amounts, fill)
        position.note(
            Change.CLOSE,
            fill.at,
            lots=signed,
            cost=position.cost - cost_before,
            margin=-closed.margin,
            result=closed.result,
            fee=fee,
            sequence=fill.sequence,
            trade_id=fill.trade_id,
            order_id=order.id,
            price_ticks=fill.ticks,
        )
        self.outcome.outbox += contract_events.closed(order, fill, falls, amounts, closed)
        return fee

    def _open(self, order: OrderState, position: PositionState, falls: Split, rate: int, fill: Fill, key: str) -> int:
        """Open with the rest: fee first, then margin and the open loss, from the hold, then from available."""
        increase, reduce = order.increase, order.reduce
        if increase is None or reduce is None:
            raise InvariantViolationError(f"order {order.id} only reduces, and trade {fill.trade_id} opens")
        lots = min(falls.opened, increase.left)
        own = self.needed(order, min(falls.held, lots)) if increase.stolen else 0
        hold_share = increase.fill(lots, own) + reduce.fill(falls.opened - lots)
        position.reserved -= falls.opened - lots
        notional = order.spec.notional_quanta(fill.ticks, falls.opened)
        fee = _charge(order, rate, notional)
        margin = contract_margin.opening_margin(
            is_buy=order.is_buy,
            price_ticks=fill.ticks,
            mark_ticks=self.mark(order.spec, fill.ticks),
            lots=falls.opened,
            unit=order.spec.unit_quanta,
            leverage=order.leverage,
        )
        amounts, missing = waterfall.open_position(
            fee=fee, margin=margin, hold_share=hold_share, available=self._available(order.user_id, order.spec)
        )
        kind = EventKind.FLIP_OPEN if falls.closed else EventKind.OPEN_FILL
        if falls.close_to_open and not falls.closed:
            kind = EventKind.CLOSE_TO_OPEN
        self._post(order, kind, key, amounts, fill)
        position.open(falls.opened, notional, is_buy=order.is_buy, margin=amounts.margin, missing=missing)
        direction = 1 if order.is_buy else -1
        position.note(
            Change.OPEN,
            fill.at,
            lots=direction * falls.opened,
            cost=direction * notional,
            margin=amounts.margin,
            fee=fee,
            sequence=fill.sequence,
            trade_id=fill.trade_id,
            order_id=order.id,
            price_ticks=fill.ticks,
        )
        self.outcome.outbox += contract_events.opened(order, fill, falls, amounts, missing)
        return fee

    def mark(self, spec: InstrumentSpec, otherwise: int) -> int:
        """Return a contract's mark price in ticks, at the point that the fold has reached."""
        return self.marks.get(spec.id, otherwise)

    # --- ends and changes -----------------------------------------------------------------------------
    def end(self, order: OrderState) -> int:
        """End both parts of an order; return what was in hold. `hold` still says it: the caller releases it."""
        if order.reduce is None or order.increase is None:
            return order.hold
        self._position(order).reserved -= order.reduce.left
        self._position(order).changed = True
        return order.reduce.end() + order.increase.end()

    def shrink(self, order: OrderState, lots: int) -> int:
        """Take open lots off an order, those first that hold funds; return what is given back."""
        if order.reduce is None or order.increase is None:
            return 0
        held = min(lots, order.increase.left)
        if lots > held:
            self._position(order).reserved -= lots - held
            self._position(order).changed = True
        keep = self.needed(order, order.increase.left - held) if order.increase.stolen else 0
        return order.increase.shrink(held, keep) + order.reduce.shrink(lots - held)

    def amend(self, order: OrderState, lots_before: int) -> int:
        """Bring an order's parts to its new open lots and worst price; return what is given back.

        Args:
            lots_before: Its open lots before the amend; `hold` has what was held for the amend already.
        """
        if order.reduce is None or order.increase is None:
            return 0
        added = order.left_lots - lots_before
        given_back = self.shrink(order, -added) if added < 0 else 0
        extra = order.hold - given_back - _held(order)
        closing = min(extra, self._missing_to_close(order))
        if closing:
            order.reduce.grow(0, closing)
        if added > 0 or (extra > closing and order.increase.left):
            order.increase.grow(max(0, added), extra - closing)
        else:
            given_back += extra - closing
        needed = self.needed(order, order.increase.left)
        return given_back + (order.increase.trim(needed) if needed < order.increase.funds else 0)

    def needed(self, order: OrderState, lots: int) -> int:
        """Return what an order must hold to open so many lots at its worst price."""
        if not lots:
            return 0
        return contract_margin.opening_hold(
            is_buy=order.is_buy,
            worst_ticks=order.worst_ticks,
            mark_ticks=self.mark(order.spec, order.worst_ticks),
            lots=lots,
            unit=order.spec.unit_quanta,
            leverage=order.leverage,
            rate=order.rate,
            accrued=order.fee_accrued,
        )

    def _missing_to_close(self, order: OrderState) -> int:
        """Return what the part that reduces should hold besides, at the order's worst price."""
        position, part = self._position(order), order.reduce
        if part is None or not part.left:
            return 0
        needed = contract_terms.closing_shortfall(
            position, lots=part.left, worst_ticks=order.worst_ticks, rate=order.rate
        )
        return max(0, needed - part.funds)

    # --- what other orders lose -----------------------------------------------------------------------
    def _rob(self, position: PositionState, at: datetime, sequence: int) -> None:
        """Take back reservations that the position no longer covers, newest first."""
        for order in self._reserving.get((position.user_id, position.spec.id), ()):
            part = order.reduce
            if part is None or not part.left:
                continue
            excess = position.reserved - position.closable(is_buy=order.is_buy)
            if excess <= 0:
                return
            self._steal(position, order, min(excess, part.left), at, sequence)

    def _steal(self, position: PositionState, order: OrderState, lots: int, at: datetime, sequence: int) -> None:
        """Turn reserved lots of an order into lots that open: they get a hold at once, or are cancelled."""
        reduce, increase = order.reduce, order.increase
        if increase is None or reduce is None:
            raise InvariantViolationError(f"order {order.id} has no reservation")
        kept = reduce.steal(lots)
        position.reserved -= lots
        position.changed = True
        missing = max(0, self.needed(order, lots) - kept)
        covered = missing <= self._available(order.user_id, order.spec)
        if covered and missing:
            self._freeze(order, missing, f"order:{order.id}:stolen:{reduce.version}", at)
        increase.grow(lots, kept + (missing if covered else 0), stolen=lots)
        order.hold = _held(order)
        order.row.sequence, order.row.updated_at, order.changed = sequence, at, True
        if not covered:
            increase.ask_for(lots)
            whole = order.left_lots == lots
            self.outcome.commands.append(
                SystemCommand(CommandKind.CANCEL if whole else CommandKind.REDUCE, order, lots)
            )
        held = missing if covered else 0
        self.outcome.outbox.append(contract_events.stolen(order, lots, held, cancels=not covered))

    def _freeze(self, order: OrderState, amount: int, key: str, at: datetime) -> None:
        """Move funds from available into an order's hold."""
        entry = draft(
            EventKind.ORDER_FREEZE,
            key=key,
            effective_at=at,
            trace=order.trace,
            roles={"user": order.user_id},
            assets={"asset": order.hold_asset},
            amounts={"amount": from_quanta(amount, order.hold_decimals)},
            debts=self._debts,
        )
        self._post_entry(entry)

    # --- parts ----------------------------------------------------------------------------------------
    def _position(self, order: OrderState) -> PositionState:
        """Return the position that an order's fills change."""
        key = order.user_id, order.spec.id
        if key not in self.positions:
            self.positions[key] = PositionState(order.user_id, order.spec, leverage=order.leverage)
        return self.positions[key]

    def _post(
        self, order: OrderState, kind: EventKind, key: str, amounts: OpenAmounts | CloseAmounts, fill: Fill
    ) -> None:
        """Add the entry of one side's opening or closing."""
        entry = draft(
            kind,
            key=key,
            effective_at=fill.at,
            trace=fill.trace,
            roles={"user": order.user_id},
            assets={"asset": order.spec.quote},
            amounts=waterfall.amounts(amounts, order.spec.quote_decimals),
            parts={"contract": order.spec.symbol},
            debts=self._debts,
        )
        self._post_entry(entry)
        if amounts.borrowed:
            self.outcome.indebted[order.user_id] = None


def _falls(order: OrderState, lots: int, position: PositionState) -> Split:
    """Say how a fill falls on the position and on the order's parts."""
    closable = position.closable(is_buy=order.is_buy)
    if order.reduce is None or order.increase is None:
        require(
            lots <= closable, f"order {order.id} only reduces, and {lots} lots of a position of {position.lots} traded"
        )
        return Split(lots, 0, lots, 0)
    increase = order.increase
    return split(
        lots, closable=closable, reduce_left=order.reduce.left, increase_left=increase.left, stolen=increase.stolen
    )


def _held(order: OrderState) -> int:
    """Return what both parts of an order have in hold."""
    return sum(part.funds for part in (order.increase, order.reduce) if part is not None)


def _charge(order: OrderState, rate: int, notional: int) -> int:
    """Charge the fee of a value on the order's running sum; return what it adds: Note [Running fee]."""
    before = order.fee
    order.filled_notional += notional
    order.fee_accrued += rate * notional
    return order.fee - before


def new_parts(*, reduce_lots: int, increase_lots: int, reduce_funds: int, increase_funds: int) -> tuple[Part, Part]:
    """Return the INCREASE and REDUCE part of an order that is being placed."""
    increase = Part(PartKind.INCREASE, increase_lots, increase_lots, increase_funds, version=int(increase_lots > 0))
    reduce = Part(PartKind.REDUCE, reduce_lots, reduce_lots, reduce_funds, version=int(reduce_lots > 0))
    return increase, reduce
