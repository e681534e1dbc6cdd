"""Folds the engine's events into orders, trades, holdings and journal entries: pure, over integers of quanta.

Given the same rows and events the result is the same, however the events were cut into batches. A fill is a fact: it is
never refused here. What breaks an assumption stops the process (`require`).
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from exchange.kernel.clock import from_ns
from exchange.kernel.errors import InvariantViolationError, require
from exchange.kernel.money import from_quanta, to_quanta
from ledger.entries import EntryDraft
from ledger.posting_rules import EventKind, draft
from ledger.waterfall import Debts
from marketdata.units import InstrumentSpec
from matching_worker.protocol import CommandKind, Reason, Rows, Side
from matching_worker.protocol import EventKind as EngineEvent
from trading import entry_keys
from trading.contract_events import Fill
from trading.contract_fold import ContractFold
from trading.models import OrderStatus
from trading.order_parts import PartState
from trading.order_state import OrderState
from trading.position_state import PositionState
from trading.reasons import BY_OPERATOR, IN_DEBT, STOLEN
from trading.services.wallets import Wallets, follow

OF_NO_ORDER = {EngineEvent.STATE_CHANGED, EngineEvent.AUCTION_PRICE, EngineEvent.APPLIED, EngineEvent.LEVEL}
"""Events that concern an instrument or a command, not an order."""


@dataclass(slots=True)
class HoldingState:
    """What a trader bought on a market, in base quanta, and its cost in quote quanta."""

    quantity: int = 0
    cost: int = 0
    changed: bool = False

    def buy(self, quantity: int, cost: int) -> None:
        """Add what was bought, at its price without fee."""
        self.quantity += quantity
        self.cost += cost
        self.changed = True

    def sell(self, quantity: int) -> None:
        """Take cost out in proportion, toward zero; the last sale takes the rest. Deposited units have no cost."""
        sold = min(quantity, self.quantity)
        if not sold:
            return
        self.cost -= self.cost if sold == self.quantity else self.cost * sold // self.quantity
        self.quantity -= sold
        self.changed = True


class TradeFact(NamedTuple):
    """One match as the tables and feeds need it. Amounts in quanta, price and quantity in ticks and lots."""

    id: int
    number: int
    spec: InstrumentSpec
    buyer: OrderState
    seller: OrderState
    price_ticks: int
    qty_lots: int
    notional: int
    buyer_fee: int
    seller_fee: int
    taker_is_buyer: bool
    sequence: int
    executed_at: datetime


@dataclass(slots=True)
class Outcome:
    """What a run of events changes, in order."""

    trades: list[TradeFact] = field(default_factory=list)
    entries: list[EntryDraft] = field(default_factory=list)
    moved: dict[tuple[int, str], None] = field(default_factory=dict)
    """The wallets that the entries move, by owner and asset, in order."""


@dataclass(frozen=True, slots=True)
class _Purse:
    """The wallets that the events may move. Both folds have it, and it knows neither: a batch must form no cycle.

    What forms one stays in memory until a search for cycles, which then walks through whole batches.
    """

    owned: Wallets
    outcome: Outcome

    def available(self, user_id: int, spec: InstrumentSpec) -> int:
        """Return what a trader may draw on now, in quanta of a market's quote asset."""
        return to_quanta(self.owned[user_id, spec.quote]["available"], spec.quote_decimals)

    def post(self, entry: EntryDraft) -> None:
        """Add an entry, and move the wallets as it will."""
        self.outcome.entries.append(entry)
        self.outcome.moved.update(follow([entry], self.owned))


class SettlementFold:
    """Applies events one after the other to loaded orders, holdings and positions.

    Args:
        owned: The wallets that the events may move; `apply` moves them as its entries will.
        positions: By (trader, instrument), of the contracts concerned; missing ones begin.
        reserving: The orders with a live reservation on each position, newest first.
        marks: The mark price of each contract in ticks, as of the command before the first.
        shard: Whose events these are.
    """

    def __init__(
        self,
        orders: Mapping[int, OrderState],
        holdings: dict[tuple[int, int], HoldingState],
        owned: Wallets,
        debts: Debts,
        *,
        positions: dict[tuple[int, int], PositionState],
        reserving: Mapping[tuple[int, int], Sequence[OrderState]],
        marks: dict[int, int],
        shard: int = 0,
    ) -> None:
        self.shard = shard
        self.orders = orders
        self.holdings = holdings
        self.debts = debts
        self.outcome = Outcome()
        self._purse = _Purse(owned, self.outcome)
        self.contracts = ContractFold(positions, reserving, marks, self._purse.post, self._purse.available, debts)

    def apply(self, commands: Rows, events: Rows) -> Outcome:
        """Fold events in order.

        Args:
            commands: (n,) COMMAND_DTYPE, dense in sequence.
            events: (m,) EVENT_DTYPE, all events of exactly these commands.
        """
        self._first_sequence = int(commands[0]["sequence"])
        self._commands = commands
        self._marked = deque(np.flatnonzero(commands["kind"] == CommandKind.MARK_PRICE).tolist())
        self._ticks_before = 0
        handlers = {
            int(EngineEvent.FILL): self._fill,
            int(EngineEvent.RESTED): self._rested,
            int(EngineEvent.CANCELLED): self._cancelled,
            int(EngineEvent.REDUCED): self._reduced,
            int(EngineEvent.REJECTED): self._rejected,
            int(EngineEvent.TRIGGERED): self._triggered,
            int(EngineEvent.AMENDED): self._amended,
        }
        names = events.dtype.names or ()
        for row in events.tolist():
            event = dict(zip(names, row, strict=True))
            if self._marked:
                self._follow_marks(event["sequence"])
            if event["kind"] not in OF_NO_ORDER:
                handlers[event["kind"]](event)
            self._ticks_before = event["price_ticks"]
        return self.outcome

    # --- one handler an event -----------------------------------------------------------------------
    def _fill(self, event: dict[str, Any]) -> None:
        """Trade: both orders give their share of the hold, one journal entry moves everything."""
        taker, maker = self.orders[event["order_id"]], self.orders[event["maker_order_id"]]
        spec, lots, ticks = taker.spec, event["qty_lots"], event["price_ticks"]
        notional = spec.notional_quanta(ticks, lots)
        at = from_ns(event["timestamp_ns"])
        taker_share = maker_share = 0
        if spec.is_contract:
            fill = Fill(event["trade_id"], ticks, lots, event["sequence"], at, taker.trace)
            taker_fee = self.contracts.take_part(taker, event["left_lots"], taker.taker_rate, fill)
            maker_fee = self.contracts.take_part(maker, event["maker_left_lots"], maker.maker_rate, fill)
        else:
            taker_fee, taker_share = self._take_part(taker, event["left_lots"], taker.taker_rate, event, at)
            maker_fee, maker_share = self._take_part(maker, event["maker_left_lots"], maker.maker_rate, event, at)
        taker_buys = event["side"] == Side.BUY
        buyer, seller = (taker, maker) if taker_buys else (maker, taker)
        buyer_fee, seller_fee = (taker_fee, maker_fee) if taker_buys else (maker_fee, taker_fee)
        hold_share = taker_share if taker_buys else maker_share
        trade = TradeFact(
            id=event["trade_id"],
            number=event["trade_number"],
            spec=spec,
            buyer=buyer,
            seller=seller,
            price_ticks=ticks,
            qty_lots=lots,
            notional=notional,
            buyer_fee=buyer_fee,
            seller_fee=seller_fee,
            taker_is_buyer=taker_buys,
            sequence=event["sequence"],
            executed_at=at,
        )
        self.outcome.trades.append(trade)
        if not spec.is_contract:
            quantity = spec.base_quanta(lots)
            self._holding(buyer).buy(quantity, notional)
            self._holding(seller).sell(quantity)
            self._purse.post(_spot_fill(trade, hold_share, quantity, taker.trace, self.debts))
        for order in (taker, maker):
            _touch(order, event, at)
            if order.row.status == OrderStatus.FILLED:
                self._end_amend(order, event, at)

    @staticmethod
    def _take_part(order: OrderState, left: int, rate: int, event: dict[str, Any], at: datetime) -> tuple[int, int]:
        """Move one side of a fill; return its fee and the part of the hold that it uses up or gives back.

        Args:
            left: What the engine says is left of the order.
        """
        fee_before, hold_before = order.fee, order.hold
        lots, ticks = event["qty_lots"], event["price_ticks"]
        notional = order.spec.notional_quanta(ticks, lots)
        order.take(lots, ticks)
        if order.left_at(ticks) != left:
            raise InvariantViolationError(
                f"books and engine disagree on what is left of order {order.id} after trade {event['trade_id']}"
            )
        order.filled_notional += notional
        order.fee_accrued += rate * notional
        order.hold = order.hold_needed() if left else 0
        order.row.status = OrderStatus.PARTIAL_FILLED if left else OrderStatus.FILLED
        order.row.filled_at = None if left else at
        return order.fee - fee_before, hold_before - order.hold

    def _rested(self, event: dict[str, Any]) -> None:
        """The rest stands in the book, or waits for its trigger: nothing moves."""
        order = self.orders[event["order_id"]]
        require(
            order.left_lots == event["left_lots"] or order.sizes_itself,
            f"order {order.id} rests with another quantity than the books'",
        )
        if event["reason"] == Reason.WAITING:
            order.row.status = OrderStatus.UNTRIGGERED
            _touch(order, event, from_ns(event["timestamp_ns"]))

    def _triggered(self, event: dict[str, Any]) -> None:
        """The order wakes; what it then does follows as events of its own."""
        order = self.orders[event["order_id"]]
        at = from_ns(event["timestamp_ns"])
        order.row.status, order.row.triggered_at = OrderStatus.NEW, at
        _touch(order, event, at)

    def _cancelled(self, event: dict[str, Any]) -> None:
        """The order ends; what is left of its hold goes back.

        A budget that has bought something and buys no further lot is filled: there was nothing more to get for it.
        """
        order = self.orders[event["order_id"]]
        at = from_ns(event["timestamp_ns"])
        if event["reason"] == Reason.BUDGET_SPENT and order.filled_notional:
            order.row.status, order.row.filled_at = OrderStatus.FILLED, at
        else:
            order.row.status = OrderStatus.EXPIRED if event["reason"] == Reason.EXPIRED else OrderStatus.CANCELLED
            order.row.reason = self._why(order, event)
            order.row.cancelled_at = at
        self._release(order, self.contracts.end(order), f"order:{order.id}:unfreeze", at)
        self._end_amend(order, event, at)
        _touch(order, event, at)

    def _amended(self, event: dict[str, Any]) -> None:
        """The order has its new price and quantity; the hold is trimmed to what that needs."""
        order = self.orders[event["order_id"]]
        at = from_ns(event["timestamp_ns"])
        left_before = order.left_lots
        order.lots += event["left_lots"] - left_before
        order.left_lots = event["left_lots"]
        command = self._command(event)
        order.worst_ticks, trigger_ticks = int(command["price_ticks"]), int(command["trigger_ticks"])
        order.row.worst_price = order.spec.ticks_to_price(order.worst_ticks)
        if order.row.price is not None:
            order.row.price = order.row.worst_price
        if trigger_ticks:
            order.row.stop_price = order.spec.ticks_to_price(trigger_ticks)
        order.hold, order.amend_hold = order.hold + order.amend_hold, 0
        order.row.amend_requested_at = None
        if order.spec.is_contract:
            surplus = self.contracts.amend(order, left_before)
        else:
            surplus = order.hold - order.hold_needed()
        self._release(order, surplus, f"{self._key(event)}:unfreeze", at)
        _touch(order, event, at)

    def _end_amend(
        self, order: OrderState, event: dict[str, Any], at: datetime, reason: Reason = Reason.UNKNOWN_ORDER
    ) -> None:
        """Give back what was held for an amend that will not happen any more, and say why.

        Args:
            reason: What the engine says; of an order that has ended it will say that there is none.
        """
        if order.row.amend_requested_at is None:
            return
        order.row.amend_refusal = reason.name
        surplus, order.amend_hold = order.amend_hold, 0
        order.row.amend_requested_at = None
        order.hold += surplus
        self._release(order, surplus, f"{self._key(event)}:{order.id}:amend", at)
        _touch(order, event, at)

    def _key(self, event: dict[str, Any]) -> str:
        """Return the beginning of the key of what an event gives back."""
        return entry_keys.of_command(self.shard, event["sequence"], event["index"])

    def _command(self, event: dict[str, Any]) -> Any:
        """Return the command that caused an event."""
        return self._commands[event["sequence"] - self._first_sequence]

    def _reduced(self, event: dict[str, Any]) -> None:
        """Less is open: the hold of what was taken off goes back.

        A budget is decremented at its maker's price, which the maker's own event, just before this one, tells; what it
        keeps is given back when it ends.
        """
        order = self.orders[event["order_id"]]
        at = from_ns(event["timestamp_ns"])
        ticks = self._ticks_before if order.given else event["price_ticks"]
        order.take(event["qty_lots"], ticks)
        order.lots -= event["qty_lots"]
        require(
            order.left_at(ticks) == event["left_lots"] or order.sizes_itself,
            f"order {order.id} was reduced to another quantity",
        )
        if order.spec.is_contract:
            surplus = self.contracts.shrink(order, event["qty_lots"])
        else:
            surplus = order.hold - order.hold_needed()
        self._release(order, surplus, f"{self._key(event)}:unfreeze", at)
        _touch(order, event, at)

    def _rejected(self, event: dict[str, Any]) -> None:
        """The engine refused a command. A refused new order ends; a cancel that came too late changes nothing."""
        kind = self._command(event)["kind"]
        order, at = self.orders.get(event["order_id"]), from_ns(event["timestamp_ns"])
        if kind == CommandKind.AMEND and order is not None:
            self._end_amend(order, event, at, Reason(event["reason"]))
        if kind != CommandKind.PLACE or order is None:
            return
        order.row.status, order.row.reason = OrderStatus.REJECTED, Reason(event["reason"]).name
        self._release(order, self.contracts.end(order), f"order:{order.id}:unfreeze", at)
        self._end_amend(order, event, at)
        _touch(order, event, at)

    # --- parts -----------------------------------------------------------------------------------------
    def _why(self, order: OrderState, event: dict[str, Any]) -> str:
        """Return the word for why an order ended early.

        Whether its owner named the order or all of them is no difference; whether it was the owner is one.
        """
        reason = Reason(event["reason"])
        if reason not in {Reason.USER, Reason.CANCEL_ALL}:
            return reason.name
        if order.reduce is not None and order.reduce.state == PartState.STOLEN:
            return STOLEN
        if self._command(event)["trader_id"]:
            return Reason.USER.name
        return IN_DEBT if order.increase is not None and order.increase.going else BY_OPERATOR

    def _follow_marks(self, sequence: int) -> None:
        """Take over the mark prices that the log told up to a command."""
        while self._marked and self._first_sequence + self._marked[0] <= sequence:
            command = self._commands[self._marked.popleft()]
            self.contracts.marks[int(command["instrument_id"])] = int(command["price_ticks"])

    def _holding(self, order: OrderState) -> HoldingState:
        """Return the holding that an order's fills change."""
        return self.holdings.setdefault((order.user_id, order.spec.id), HoldingState())

    def _release(self, order: OrderState, amount: int, key: str, at: datetime) -> None:
        """Give part of a hold back to available."""
        if not 0 <= amount <= order.hold:
            raise InvariantViolationError(f"order {order.id} would release {amount} of a hold of {order.hold}")
        order.hold -= amount
        if amount:
            self._purse.post(
                draft(
                    EventKind.ORDER_UNFREEZE,
                    key=key,
                    effective_at=at,
                    trace=order.trace,
                    roles={"user": order.user_id},
                    assets={"asset": order.hold_asset},
                    amounts={"amount": from_quanta(amount, order.hold_decimals)},
                    debts=self.debts,
                )
            )


def _touch(order: OrderState, event: dict[str, Any], at: datetime) -> None:
    """Mark an order as changed by a command."""
    order.row.sequence, order.row.updated_at, order.changed = event["sequence"], at, True


def _spot_fill(trade: TradeFact, hold_share: int, quantity: int, trace: str, debts: Debts) -> EntryDraft:
    """Return the one entry of a spot match: posting_rules.SPOT_FILL."""
    spec = trade.spec
    improvement = hold_share - trade.notional - trade.buyer_fee
    require(improvement >= 0, f"the buyer's hold does not cover trade {trade.id}")
    amounts = {
        "hold_share": hold_share,
        "improvement": improvement,
        "notional": trade.notional,
        "buyer_fee": trade.buyer_fee,
        "seller_fee": trade.seller_fee,
        "total_fee": trade.buyer_fee + trade.seller_fee,
    }
    return draft(
        EventKind.SPOT_FILL,
        key=f"trade:{trade.id}",
        effective_at=trade.executed_at,
        trace=trace,
        roles={"buyer": trade.buyer.user_id, "seller": trade.seller.user_id},
        assets={"base": spec.base, "quote": spec.quote},
        amounts={name: from_quanta(value, spec.quote_decimals) for name, value in amounts.items()}
        | {"quantity": from_quanta(quantity, spec.base_decimals)},
        debts=debts,
    )
