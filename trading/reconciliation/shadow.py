"""Follows a shard's log with an engine of its own, and says which trades and entries it must have led to.

What an order holds, what a fill costs and which lines it makes are worked out here from the log, the orders' fee rates
and what their traders owed: by other code than settlement's (`trading.fold`), over the same formulas and posting rules.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

from exchange import database
from exchange.kernel.clock import from_ns
from exchange.kernel.money import from_quanta, to_quanta
from ledger.posting_rules import EventKind
from marketdata import selectors as instruments
from marketdata.units import RATE_DECIMALS, InstrumentSpec
from matching_worker.engine import Engine
from matching_worker.protocol import CommandKind, Reason, Rows, Side, trade_id_base
from matching_worker.protocol import EventKind as EngineEvent
from risk.spot_hold import buy_hold, fee_total
from trading import entry_keys
from trading.reconciliation.contracts import (
    CLOSES,
    OPENS,
    Closing,
    ExpectedSide,
    Match,
    NetPosition,
    Pair,
    move,
    opening_margin,
)
from trading.services import command_log

BATCH: Final = 2_000
"""Commands that are applied, and compared, together."""

EPOCH_STEP: Final = trade_id_base(1, 0)
"""What an epoch adds to a trade's id; the rest counts within the shard."""

_TERMS: Final = "SELECT id, maker_fee_rate, taker_fee_rate, quote_quantity, leverage FROM orders WHERE id = ANY(%s)"


@dataclass(slots=True)
class Terms:
    """An open order as the log knows it: lots, ticks, quanta; rates in 10^-8.

    `given` is all that a buy by quote amount may cost, 0 for every other order; its `left_lots` say nothing.
    """

    id: int
    user_id: int
    spec: InstrumentSpec
    is_buy: bool
    worst_ticks: int
    left_lots: int
    maker_rate: int
    taker_rate: int
    given: int
    leverage: int = 1
    spent: int = 0
    accrued: int = 0

    @property
    def hold(self) -> int:
        """What it must hold: Note [Running fee] and Note [Budget] in `risk/spot_hold.py`.

        What an order for a contract must hold is in no log: it depends on the position when it was placed.
        """
        if self.spec.is_contract:
            return 0
        if self.given:
            return self.given - self.spent - fee_total(self.accrued)
        if not self.is_buy:
            return self.spec.base_quanta(self.left_lots)
        worst = self.spec.notional_quanta(self.worst_ticks, self.left_lots) if self.left_lots else 0
        return buy_hold(worst, max(self.maker_rate, self.taker_rate), accrued=self.accrued)

    @property
    def hold_amount(self) -> Decimal:
        """The hold as an amount."""
        return from_quanta(self.hold, self.hold_decimals)

    @property
    def fee_amount(self) -> Decimal:
        """What has been charged, in the quote asset."""
        return from_quanta(fee_total(self.accrued), self.spec.quote_decimals)

    @property
    def hold_asset(self) -> str:
        """The asset of the hold."""
        return self.spec.quote if self.is_buy else self.spec.base

    @property
    def hold_decimals(self) -> int:
        """The decimals of the hold's asset."""
        return self.spec.quote_decimals if self.is_buy else self.spec.base_decimals


class ExpectedTrade(NamedTuple):
    """A match as the engine made it. `shard_number` counts the shard's trades, whatever the epoch."""

    shard_number: int
    instrument_id: int
    number: int
    buy_order_id: int
    sell_order_id: int
    price: Decimal
    quantity: Decimal


@dataclass(slots=True)
class ExpectedEntry:
    """An entry that must be in the books, as the arguments of its posting rule.

    Args:
        key: Its idempotency key; a match's is only known with its trade's stored id: `trade:` and `trade` then.
        trade: The number of the match within the shard, if it is one's.
        amended: The key of the freeze whose amount is part of what is given back, to be added.
    """

    kind: EventKind
    key: str
    roles: Mapping[str, int]
    assets: Mapping[str, str]
    amounts: dict[str, Decimal]
    at: datetime
    trade: int | None = None
    amended: str = ""


@dataclass(slots=True)
class Expected:
    """What a run of commands must have led to."""

    sequence: int
    trades: list[ExpectedTrade] = field(default_factory=list)
    entries: list[ExpectedEntry] = field(default_factory=list)
    sides: list[ExpectedSide] = field(default_factory=list)
    touched: set[int] = field(default_factory=set)
    moved: set[Pair] = field(default_factory=set)


class Shadow:
    """An engine and the open orders' terms, at one sequence of a shard's log."""

    def __init__(self, shard: int, epoch: int) -> None:
        """Start before the first command."""
        self.shard = shard
        self.engine = Engine(shard, epoch)
        self.orders: dict[int, Terms] = {}
        self.positions: dict[Pair, NetPosition] = {}
        self._marks: dict[int, int] = {}
        self._handlers: dict[int, Callable[[dict[str, Any], Any, Expected], None]] = {
            int(EngineEvent.FILL): self._fill,
            int(EngineEvent.CANCELLED): self._cancelled,
            int(EngineEvent.REDUCED): self._reduced,
            int(EngineEvent.AMENDED): self._amended,
            int(EngineEvent.REJECTED): self._rejected,
            int(EngineEvent.APPLIED): self._applied,
        }

    @property
    def sequence(self) -> int:
        """The last command that was followed."""
        return self.engine.sequence

    def follow(self, upto: int) -> Expected | None:
        """Apply the next commands, at most BATCH and none after `upto`; None when the log has none there.

        Statements: 2.
        """
        commands, _ = command_log.read(self.shard, self.sequence, min(BATCH, upto - self.sequence))
        if not len(commands):
            return None
        events = self.engine.apply(commands)
        expected = Expected(int(commands["sequence"][-1]))
        self._placed(commands, expected)
        first = int(commands["sequence"][0])
        names = events.dtype.names or ()
        marks = deque(commands[commands["kind"] == CommandKind.MARK_PRICE])
        for row in events.tolist():
            event = dict(zip(names, row, strict=True))
            while marks and int(marks[0]["sequence"]) <= event["sequence"]:
                told = marks.popleft()
                self._marks[int(told["instrument_id"])] = int(told["price_ticks"])
            handler = self._handlers.get(event["kind"])
            if handler is not None:
                handler(event, commands[event["sequence"] - first], expected)
        return expected

    def _placed(self, commands: Rows, expected: Expected) -> None:
        """Take in new orders, each with the freeze that it was accepted with."""
        placed = commands[commands["kind"] == CommandKind.PLACE]
        if not len(placed):
            return
        [rows] = database.fetch((_TERMS, (placed["order_id"].tolist(),)))
        known = {row[0]: row[1:] for row in rows}
        for row in placed:
            order_id = int(row["order_id"])
            if order_id not in known:
                continue  # the order is unknown to the books: its trades, if any, will say so
            spec = instruments.instrument_by_id(int(row["instrument_id"]))
            maker_rate, taker_rate, given, leverage = known[order_id]
            terms = Terms(
                order_id,
                int(row["trader_id"]),
                spec,
                int(row["side"]) == Side.BUY,
                int(row["price_ticks"]),
                int(row["qty_lots"]),
                to_quanta(maker_rate, RATE_DECIMALS),
                to_quanta(taker_rate, RATE_DECIMALS),
                0 if given is None else spec.quote_to_quanta(given),
                leverage or 1,
            )
            self.orders[order_id] = terms
            expected.touched.add(order_id)
            if spec.is_contract:
                continue
            expected.entries.append(
                _moved(EventKind.ORDER_FREEZE, f"order:{order_id}:freeze", terms, terms.hold, _at(row["timestamp_ns"]))
            )

    def _fill(self, event: dict[str, Any], _command: Any, expected: Expected) -> None:
        taker, maker = self.orders.get(event["order_id"]), self.orders.get(event["maker_order_id"])
        taker_buys = event["side"] == Side.BUY
        buy_id, sell_id = event["order_id"], event["maker_order_id"]
        if not taker_buys:
            buy_id, sell_id = sell_id, buy_id
        spec = instruments.instrument_by_id(event["instrument_id"])
        count = event["trade_id"] % EPOCH_STEP
        expected.trades.append(
            ExpectedTrade(
                count,
                spec.id,
                event["trade_number"],
                buy_id,
                sell_id,
                spec.ticks_to_price(event["price_ticks"]),
                spec.lots_to_qty(event["qty_lots"]),
            )
        )
        if taker is None or maker is None:
            return
        if spec.is_contract:
            self._move_positions(taker, maker, event, expected)
            return
        notional = spec.notional_quanta(event["price_ticks"], event["qty_lots"])
        taker_fee, taker_share = _take_part(taker, event["left_lots"], notional, taker.taker_rate)
        maker_fee, maker_share = _take_part(maker, event["maker_left_lots"], notional, maker.maker_rate)
        buyer_fee, seller_fee = (taker_fee, maker_fee) if taker_buys else (maker_fee, taker_fee)
        buyer, seller = (taker, maker) if taker_buys else (maker, taker)
        share = taker_share if taker_buys else maker_share
        quanta = {
            "hold_share": share,
            "improvement": share - notional - buyer_fee,
            "notional": notional,
            "buyer_fee": buyer_fee,
            "seller_fee": seller_fee,
            "total_fee": buyer_fee + seller_fee,
        }
        amounts = {name: from_quanta(value, spec.quote_decimals) for name, value in quanta.items()}
        amounts["quantity"] = from_quanta(spec.base_quanta(event["qty_lots"]), spec.base_decimals)
        expected.entries.append(
            ExpectedEntry(
                EventKind.SPOT_FILL,
                "trade:",
                {"buyer": buyer.user_id, "seller": seller.user_id},
                {"base": spec.base, "quote": spec.quote},
                amounts,
                _at(event["timestamp_ns"]),
                trade=count,
            )
        )
        for order, left in ((taker, event["left_lots"]), (maker, event["maker_left_lots"])):
            expected.touched.add(order.id)
            if not left:
                self.orders.pop(order.id, None)

    def _move_positions(self, taker: Terms, maker: Terms, event: dict[str, Any], expected: Expected) -> None:
        """Let a match move both positions, the taker's first; expect an entry a side, two where it turns."""
        spec, ticks = taker.spec, event["price_ticks"]
        mark = self._marks.get(spec.id, ticks)
        match = Match(event["trade_id"] % EPOCH_STEP, ticks, event["qty_lots"], mark, _at(event["timestamp_ns"]))
        sides = (taker, taker.taker_rate, event["left_lots"]), (maker, maker.maker_rate, event["maker_left_lots"])
        for order, rate, left in sides:
            position = self.positions.setdefault((order.user_id, spec.id), NetPosition())
            closing = move(position, spec, match, is_buy=order.is_buy)
            expected.sides += _sides(order, rate, match, closing)
            expected.moved.add((order.user_id, spec.id))
            expected.touched.add(order.id)
            order.left_lots = left
            if not left:
                self.orders.pop(order.id, None)

    def _cancelled(self, event: dict[str, Any], _command: Any, expected: Expected) -> None:
        order = self.orders.pop(event["order_id"], None)
        if order is not None:
            expected.touched.add(order.id)
            self._gives_back(order, order.hold, f"order:{order.id}:unfreeze", event, expected)

    def _reduced(self, event: dict[str, Any], _command: Any, expected: Expected) -> None:
        order = self.orders.get(event["order_id"])
        if order is None:
            return
        before = order.hold
        order.left_lots = event["left_lots"]
        expected.touched.add(order.id)
        key = f"{entry_keys.of_command(self.shard, event['sequence'], event['index'])}:unfreeze"
        self._gives_back(order, before - order.hold, key, event, expected)

    def _amended(self, event: dict[str, Any], command: Any, expected: Expected) -> None:
        order = self.orders.get(event["order_id"])
        if order is None:
            return
        before = order.hold
        order.left_lots, order.worst_ticks = event["left_lots"], int(command["price_ticks"])
        expected.touched.add(order.id)
        if order.spec.is_contract:
            return
        key = f"{entry_keys.of_command(self.shard, event['sequence'], event['index'])}:unfreeze"
        entry = _moved(EventKind.ORDER_UNFREEZE, key, order, before - order.hold, _at(event["timestamp_ns"]))
        entry.amended = f"order:{order.id}:amend:{int(command['timestamp_ns'])}"
        expected.entries.append(entry)

    def _rejected(self, event: dict[str, Any], command: Any, expected: Expected) -> None:
        if command["kind"] != CommandKind.PLACE or event["reason"] == Reason.DUPLICATE_ORDER_ID:
            return
        order = self.orders.pop(event["order_id"], None)
        if order is not None:
            expected.touched.add(order.id)
            self._gives_back(order, order.hold, f"order:{order.id}:unfreeze", event, expected)

    def _applied(self, event: dict[str, Any], command: Any, expected: Expected) -> None:
        """Let a position come from another shard, or go there, with its cost; one that has gone is no longer known."""
        if command["kind"] != CommandKind.POSITION_ADJUST:
            return
        pair = (event["trader_id"], event["instrument_id"])
        position = self.positions.setdefault(pair, NetPosition())
        position.lots += int(command["qty_lots"])
        position.cost += int(command["quote_lots"])
        expected.moved.add(pair)
        if not position.lots:
            del self.positions[pair]

    @staticmethod
    def _gives_back(order: Terms, amount: int, key: str, event: dict[str, Any], expected: Expected) -> None:
        """Expect that part of a hold goes back to available, if it is any."""
        if amount:
            expected.entries.append(_moved(EventKind.ORDER_UNFREEZE, key, order, amount, _at(event["timestamp_ns"])))


def _at(timestamp_ns: Any) -> datetime:
    return from_ns(int(timestamp_ns))


def _sides(order: Terms, rate: int, match: Match, closing: Closing | None) -> list[ExpectedSide]:
    """Return the entries of one side of a contract's match, what closes first; each is charged on the running sum."""
    spec, closed = order.spec, 0 if closing is None else closing.lots
    opened = match.lots - closed
    side = ":buy" if order.is_buy else ":sell"
    turns = bool(closed and opened)
    made = []
    for lots, ending, kinds in ((closed, ":FLIP_CLOSE", CLOSES), (opened, ":FLIP_OPEN", OPENS)):
        if not lots:
            continue
        fee_before = fee_total(order.accrued)
        order.accrued += rate * spec.notional_quanta(match.ticks, lots)
        is_close = kinds is CLOSES
        margin = 0
        if not is_close:
            margin = opening_margin(spec, match, lots=lots, leverage=order.leverage, is_buy=order.is_buy)
        made.append(
            ExpectedSide(
                side + ending if turns else side,
                match.trade,
                (EventKind(ending[1:]),) if turns else kinds,
                order.user_id,
                spec,
                match.at,
                fee_total(order.accrued) - fee_before,
                closing if is_close else None,
                margin,
            )
        )
    return made


def _take_part(order: Terms, left: int, notional: int, rate: int) -> tuple[int, int]:
    """Let an order fill; return what it is charged and the part of its hold that it uses up or gives back.

    Args:
        left: What the engine says is left of it, in lots; an order of which nothing is left holds nothing.
    """
    fee_before, hold_before = fee_total(order.accrued), order.hold
    order.left_lots = left
    order.spent += notional
    order.accrued += rate * notional
    return fee_total(order.accrued) - fee_before, hold_before - (order.hold if left else 0)


def _moved(kind: EventKind, key: str, order: Terms, amount: int, at: datetime) -> ExpectedEntry:
    """Return a freeze or its reverse."""
    return ExpectedEntry(
        kind,
        key,
        {"user": order.user_id},
        {"asset": order.hold_asset},
        {"amount": from_quanta(amount, order.hold_decimals)},
        at,
    )
