"""Playing scenario files against the engine: what orders should do, written down away from any code.

A file holds scenarios: steps (a command and the events it must cause), the book that must stand at the end, and
what must have become of certain orders. Commands take the way production takes: encoded, cut into payloads,
decoded, applied. What production settles before the engine is settled here too: ticks and lots, the bound of a
market order, what of an amended total has already been filled.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from matching_worker import protocol
from matching_worker.engine import Engine
from matching_worker.protocol import (
    PRICE_TICKS_MAX,
    CommandKind,
    EventKind,
    OrderFlag,
    OrderType,
    Reason,
    Rows,
    SelfTrade,
    Side,
    TimeInForce,
    TradingState,
)

LEFT_OUT: Final = {"aon": "all-or-none", "fok_budget": "fill-or-kill by budget"}
"""What the engine does not do, by tag."""

SCENARIO_INSTRUMENT_ID: Final = 1

_REASONS: Final = {
    Reason.UNKNOWN_ORDER: "unknown_order",
    Reason.DUPLICATE_ORDER_ID: "duplicate_id",
    Reason.BAD_QTY: "bad_qty",
    Reason.BAD_PRICE: "bad_price",
    Reason.BAD_TRIGGER: "bad_stop_price",
    Reason.POST_ONLY_WOULD_TAKE: "post_only_would_take",
    Reason.NOT_OWNER: "not_owner",
    Reason.NOT_TRADING: "halted",
}
_MODES: Final = {state.name.lower(): state for state in TradingState}
_WAITING_TYPES: Final = frozenset(OrderType) - {OrderType.LIMIT, OrderType.MARKET}

Told = dict[str, Any]


class ScenarioFileError(Exception):
    """A file is no file of scenarios; the message names the file and the reason."""


class ScenarioMismatchError(Exception):
    """The engine did something else than a scenario says."""


@dataclass(frozen=True)
class Failure:
    """A scenario that did not hold, and the first difference in words."""

    id: str
    detail: str


@dataclass
class ScenarioResult:
    """What became of a file's scenarios.

    Attributes:
        skipped: By scenario id, what of it the engine leaves out.
    """

    passed: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


def read_scenarios(path: Path) -> list[Told]:
    """Read a file of scenarios.

    Raises:
        ScenarioFileError: The file cannot be read, or is something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ScenarioFileError(f"{path}: cannot be read: {error}") from error
    scenarios = content.get("scenarios") if isinstance(content, dict) else content
    if not isinstance(scenarios, list) or not all(isinstance(one, dict) and "id" in one for one in scenarios):
        raise ScenarioFileError(f"{path}: holds no list of scenarios with ids")
    return scenarios


def left_out(scenario: Told) -> str:
    """Return what a scenario needs and the engine leaves out, or nothing."""
    names = [name for tag, name in LEFT_OUT.items() if tag in scenario.get("needs", ())]
    return " and ".join(names)


def run(scenarios: list[Told], *, advance: Callable[[], object] | None = None) -> ScenarioResult:
    """Play scenarios, each against a new engine."""
    result = ScenarioResult()
    for scenario in scenarios:
        missing = left_out(scenario)
        if missing:
            result.skipped[str(scenario["id"])] = missing
        else:
            try:
                ScenarioPlayer(scenario.get("rules", {})).play(scenario)
                result.passed.append(str(scenario["id"]))
            except ScenarioMismatchError as error:
                result.failures.append(Failure(str(scenario["id"]), str(error)))
            except (KeyError, ValueError, TypeError, AttributeError) as error:
                detail = f"the scenario cannot be understood: {type(error).__name__}: {error}"
                result.failures.append(Failure(str(scenario["id"]), detail))
        if advance is not None:
            advance()
    return result


class ScenarioPlayer:
    """Plays the steps of one scenario. Its ids and accounts are words, the engine's are numbers."""

    def __init__(self, rules: Told) -> None:
        self.engine = Engine(shard=0, epoch=0)
        self.rules = rules
        self.ids: dict[str, int] = {}
        self.words: dict[int, str] = {}
        self.accounts: dict[str, int] = {}
        self.filled: dict[int, int] = {}
        self.refused: set[str] = set()
        if rules.get("last_price"):
            self._send(kind=CommandKind.LAST_PRICE, price_ticks=rules["last_price"])

    def play(self, scenario: Told) -> None:
        """Play all steps and look at what stands at the end.

        Raises:
            ScenarioMismatchError: The first difference, in words.
        """
        for number, step in enumerate(scenario["steps"], start=1):
            command = step["cmd"]
            told = self._play_step(command)
            if told != step["expect"]:
                raise ScenarioMismatchError(f"step {number}, {command}: {step['expect']} was due, {told} happened")
        self.engine.check()
        final = scenario.get("final", {})
        found = self._final()
        for name in final.keys() & found.keys():
            if found[name] != final[name]:
                raise ScenarioMismatchError(f"at the end {name}: {final[name]} was due, {found[name]} stand")
        for word, status in scenario.get("orders", {}).items():
            if status not in self._status(word):
                raise ScenarioMismatchError(f"at the end order {word}: {status} was due, it is {self._status(word)[0]}")

    def _play_step(self, command: Told) -> list[Told]:
        """Send one step's command; returns the events that scenarios speak of."""
        actions: dict[str, Callable[[Told], list[Told]]] = {
            "new": self._new,
            "cancel": self._cancel,
            "reduce": self._reduce,
            "amend": self._amend,
            "cancel_all": self._cancel_all,
            "set_mode": lambda one: self._send(kind=CommandKind.SET_STATE, qty_lots=_MODES[one["mode"]]),
            "set_last_price": lambda one: self._send(kind=CommandKind.LAST_PRICE, price_ticks=one["price"]),
        }
        return actions[command["op"]](command)

    def _send(self, *, order_id: int = 0, **columns: int) -> list[Told]:
        """Take one command the way of production and tell what it caused."""
        command = protocol.encode(instrument_id=SCENARIO_INSTRUMENT_ID, order_id=order_id, **columns)
        [payload] = protocol.payloads(command)
        return self._told(self.engine.apply(protocol.decode([self.engine.sequence + 1], [payload])))

    def _order_id(self, word: str) -> int:
        """Return the number of an order."""
        number = self.ids.setdefault(word, len(self.ids) + 1)
        self.words[number] = word
        return number

    def _trader_id(self, command: Told) -> int:
        """Return the number of the command's account; 0 where it names none."""
        account = command.get("account")
        return 0 if account is None else self.accounts.setdefault(account, len(self.accounts) + 1)

    def _refuse(self, command: Told, reason: str) -> list[Told]:
        """Tell a refusal."""
        if command["op"] == "new":
            self.refused.add(command["id"])
        return [{"event": "rejected", "reason": reason}]

    def _off_grid(self, command: Told) -> str:
        """Return why a price or quantity is refused before the engine, or nothing."""
        tick, lot = self.rules.get("tick", 1), self.rules.get("lot", 1)
        if any(command.get(name, 0) % tick for name in ("price", "stop_price")):
            return "bad_tick"
        return "bad_lot" if any(command.get(name, 0) % lot for name in ("qty", "open_qty", "total_qty")) else ""

    def _bound(self, side: Side, slippage: int | None) -> int:
        """Return the worst price of an order without a limit."""
        best = self.engine.best(SCENARIO_INSTRUMENT_ID)
        level = best.ask if side == Side.BUY else best.bid
        if slippage is None or level is None:
            return PRICE_TICKS_MAX if side == Side.BUY else 1
        bound = level.price_ticks + (slippage if side == Side.BUY else -slippage)
        return min(max(bound, 1), PRICE_TICKS_MAX)

    def _new(self, command: Told) -> list[Told]:
        """Place an order."""
        side, order_type = Side[command["side"].upper()], OrderType[command["type"].upper()]
        off_grid = self._off_grid(command)
        if off_grid:
            return self._refuse(command, off_grid)
        told = self._send(
            kind=CommandKind.PLACE,
            order_id=self._order_id(command["id"]),
            trader_id=self._trader_id(command),
            side=side,
            order_type=order_type,
            time_in_force=TimeInForce[command.get("tif", "GTC")],
            price_ticks=command["price"] if "price" in command else self._bound(side, command.get("slippage")),
            qty_lots=command.get("qty", 0),
            quote_lots=command.get("quote_qty", 0),
            trigger_ticks=command.get("stop_price", 0) if order_type in _WAITING_TYPES else 0,
            display_lots=command.get("display_qty", 0),
            flags=OrderFlag.POST_ONLY if command.get("post_only") else 0,
            stp=SelfTrade[command.get("stp", "none").upper()],
        )
        if any(event["event"] == "rejected" for event in told):
            self.refused.add(command["id"])
        return told

    def _cancel(self, command: Told) -> list[Told]:
        """Cancel an order."""
        order_id = self._order_id(command["id"])
        return self._send(kind=CommandKind.CANCEL, order_id=order_id, trader_id=self._trader_id(command))

    def _cancel_all(self, command: Told) -> list[Told]:
        """Cancel all orders, or those of one account."""
        return self._send(kind=CommandKind.CANCEL_ALL, trader_id=self._trader_id(command))

    def _reduce(self, command: Told) -> list[Told]:
        """Take lots off an order."""
        order_id, trader_id = self._order_id(command["id"]), self._trader_id(command)
        return self._send(kind=CommandKind.REDUCE, order_id=order_id, trader_id=trader_id, qty_lots=command["qty"])

    def _amend(self, command: Told) -> list[Told]:
        """Give an order a new price, a new open or a new total quantity."""
        off_grid = self._off_grid(command)
        if off_grid:
            return self._refuse(command, off_grid)
        order_id = self._order_id(command["id"])
        order = self.engine.order(order_id)
        price, open_qty = (order.price_ticks, order.open_lots) if order else (1, 1)
        open_qty = command.get("open_qty", open_qty)
        if "total_qty" in command and order is not None:
            open_qty = command["total_qty"] - self.filled.get(order_id, 0)
            if open_qty <= 0:
                if self.rules.get("amend_below_filled") == "cancel":
                    return self._cancel(command)
                return self._refuse(command, "qty_below_filled")
        return self._send(
            kind=CommandKind.AMEND,
            order_id=order_id,
            trader_id=self._trader_id(command),
            price_ticks=command.get("price", price),
            qty_lots=open_qty,
            trigger_ticks=command.get("stop_price", 0),
        )

    def _told(self, events: Rows) -> list[Told]:
        """Return events as scenarios write them; those they do not speak of are left out."""
        told: list[Told] = []
        for event in events:
            kind, qty = EventKind(event["kind"]), int(event["qty_lots"])
            word = self.words.get(int(event["order_id"]), "")
            if kind == EventKind.FILL:
                maker_id, price = int(event["maker_order_id"]), int(event["price_ticks"])
                for order_id in (int(event["order_id"]), maker_id):
                    self.filled[order_id] = self.filled.get(order_id, 0) + qty
                maker = self.words[maker_id]
                told.append({"event": "fill", "taker": word, "maker": maker, "price": price, "qty": qty})
            elif kind == EventKind.CANCELLED:
                told.append({"event": "canceled", "id": word, "qty": qty})
            elif kind == EventKind.REDUCED:
                told.append({"event": "reduced", "id": word, "qty": qty})
            elif kind == EventKind.TRIGGERED:
                told.append({"event": "triggered", "id": word})
            elif kind == EventKind.REJECTED:
                reason = Reason(event["reason"])
                told.append({"event": "rejected", "reason": _REASONS.get(reason, reason.name.lower())})
        return told

    def _final(self) -> Told:
        """Return what stands: prices with all open lots, hidden ones too, and the ids in queue order."""
        sides: Told = {}
        for name, side, levels in zip(("bids", "asks"), Side, self.engine.levels(SCENARIO_INSTRUMENT_ID), strict=True):
            sides[name] = []
            for price in levels[:, 0].tolist():
                ids = self.engine.queue(SCENARIO_INSTRUMENT_ID, side, price)
                orders = [self.engine.order(order_id) for order_id in ids]
                lots = sum(order.open_lots for order in orders if order is not None)
                sides[name].append([price, lots, [self.words[order_id] for order_id in ids]])
        sides["stops"] = [self.words[order_id] for order_id in self.engine.waiting(SCENARIO_INSTRUMENT_ID)]
        return sides

    def _status(self, word: str) -> tuple[str, ...]:
        """Return the words for what has become of an order."""
        order_id = self.ids.get(word, 0)
        order, filled = self.engine.order(order_id), self.filled.get(order_id, 0)
        if order is not None and order.is_waiting:
            return ("pending", "waiting")
        if order is not None:
            return ("partially_filled", "open", "resting") if filled else ("open", "resting", "new")
        if word in self.refused and not filled:
            return ("rejected",)
        return ("filled",) if filled else ("canceled", "cancelled")
