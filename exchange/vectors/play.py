"""Trades a vector on a road, and writes down what came of it: orders, journal entries, positions, wallets."""

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from exchange.kernel.clock import utc_now
from exchange.kernel.errors import InvariantViolationError, require
from exchange.kernel.money import plain
from exchange.vectors import market
from exchange.vectors.page import Vector
from exchange.vectors.road import ASSET, Ended, Placed, Road
from ledger import journal_text
from ledger.chart import AccountCode
from ledger.entries import AccountKey
from ledger.models import JournalEntry
from ledger.posting_rules import EventKind
from ledger.services import accounts, transfers
from trading.models import Order, OrderPart, Trade
from trading.order_parts import PartState

_MARKET = re.compile(r"market (\S+) of size (\S+), mark (\d+)")
_STEPS: Final = (
    ("join", re.compile(r"(\w+) has (\d+)")),
    ("leverage", re.compile(r"(\w+) takes leverage (\d+)")),
    ("mark", re.compile(r"mark (\d+)")),
    ("order", re.compile(r"(\w+) (buys|sells) (\d+) at (\d+)")),
    ("close", re.compile(r"(\w+) closes")),
    ("reverse", re.compile(r"(\w+) reverses")),
    ("withdraw", re.compile(r"(\w+) withdraws (\d+)")),
)
_IN_ONE_LINE: Final = {EventKind.ORDER_FREEZE, EventKind.ORDER_UNFREEZE, EventKind.WITHDRAWAL_HOLD}
_SIDES: Final = {"buys": "buy", "sells": "sell"}
_COLUMNS: Final = ("quantity", "entry", "margin", "reserved", "realised", "at mark", "available", "frozen")
SAVED_AGO: Final = timedelta(days=30)


def symbol_of(vector: Vector) -> str:
    """Return the contract that a vector trades in, and make its market."""
    found = _MARKET.fullmatch(vector.blocks[0].steps[0][0])
    require(found is not None, f"{vector.title} begins with its market")
    symbol, size, mark = found.groups() if found is not None else ("", "", "")
    market.make(symbol, size=Decimal(size), price=Decimal(mark))
    return symbol


class Play:
    """One vector on one road.

    Args:
        settle: Matches and settles all that waits.
    """

    def __init__(self, symbol: str, road: Road, settle: Callable[[], object]) -> None:
        self._symbol, self._road, self._settle = symbol, road, settle
        self._people: dict[str, int] = {}
        self._numbers: dict[int, int] = {}
        self._seen = 0
        self._text: list[str] = []

    def block(self, steps: Sequence[Sequence[str]]) -> str:
        """Do what a block says, line by line, and return what it shows."""
        self._text = []
        for line in steps:
            for step in line:
                if not _MARKET.fullmatch(step):
                    self._do(step)
            self._settle()
        parts = ("\n".join(self._text), *self._entries(), "\n".join([*self._table(), *self._orders()]))
        return "\n\n".join(part for part in parts if part) + "\n"

    def _do(self, step: str) -> None:
        """Do one thing."""
        for name, pattern in _STEPS:
            found = pattern.fullmatch(step)
            if found is not None:
                getattr(self, f"_{name}")(*found.groups())
                return
        raise InvariantViolationError(f"the page says {step!r}")

    def _join(self, name: str, funds: str) -> None:
        owner = self._people[name] = self._road.join(name)
        transfers.deposit([transfers.Deposit(owner, ASSET, Decimal(funds), f"vector:{owner}", "vector")], utc_now())
        self._seen = JournalEntry.objects.latest("id").id

    def _leverage(self, name: str, leverage: str) -> None:
        self._road.leverage(name, int(leverage))

    def _mark(self, price: str) -> None:
        market.mark(self._symbol, Decimal(price))

    def _order(self, name: str, side: str, quantity: str, price: str) -> None:
        placed = self._road.order(name, _SIDES[side], Decimal(quantity), Decimal(price))
        self._note(placed, f"{name} {placed.side} {quantity} at {price}")

    def _close(self, name: str) -> None:
        placed = self._road.of_position(name, "close")
        self._note(placed, f"{name} {placed.side}, the whole position")

    def _reverse(self, name: str) -> None:
        placed = self._road.of_position(name, "reverse")
        self._note(placed, f"{name} {placed.side} {plain(placed.quantity or Decimal(0))} at the market")

    def _withdraw(self, name: str, amount: str) -> None:
        address = market.address(self._people[name], saved_at=utc_now() - SAVED_AGO)
        outcome = self._road.withdraw(name, Decimal(amount), address.pk)
        self._text.append(f"{name} withdraws {amount}: {outcome}")

    def _note(self, placed: Placed, what: str) -> None:
        """Write an accepted order down."""
        number = self._numbers[placed.order_id] = len(self._numbers) + 1
        self._text.append(
            f"order {number}, {what}: {placed.intent}, reduces {plain(placed.reduces)}, opens {plain(placed.opens)},"
            f" holds {plain(placed.hold)}"
        )

    # --- what is shown --------------------------------------------------------------------------------------------
    def _entries(self) -> Iterator[str]:
        """Yield the text of every entry since the last time."""
        moved: list[str] = []
        for entry in JournalEntry.objects.filter(id__gt=self._seen).order_by("id"):
            self._seen = entry.id
            heading = f"{entry.kind} {self._key(entry.key)}"
            if entry.kind in _IN_ONE_LINE:
                moved.append(f"{heading}: {plain(abs(entry.lines.order_by('n')[0].amount))} {ASSET}")
                continue
            if moved:
                yield "\n".join(moved)
                moved = []
            yield heading + "\n" + journal_text.printed(entry.id, self._people).removeprefix("\n")
        if moved:
            yield "\n".join(moved)

    def _key(self, key: str) -> str:
        """Return an entry's key with what people can count in place of ids."""
        kind, number, *rest = key.split(":")
        if kind == "trade":
            number = str(Trade.objects.get(id=int(number)).number)
        elif kind == "order":
            number = str(self._numbers[int(number)])
        elif kind == "position":
            number = next(name for name, owner in self._people.items() if owner == int(number))
        else:
            return ":".join([kind, *rest])
        return ":".join([kind, number, *rest])

    def _table(self) -> Iterator[str]:
        """Yield what everybody has, and the clearing account, which is what open positions have cost."""
        yield f"{self._symbol:<10}" + "".join(f"{head:>11}" for head in _COLUMNS)
        quantity = unrealised = Decimal(0)
        for name in self._people:
            stands = self._road.stands(name)
            yield f"{name:<10}" + "".join(f"{'-' if item is None else plain(item):>11}" for item in stands)
            quantity += stands.quantity
            unrealised += stands.unrealised
        key = AccountKey(None, AccountCode.CLEARING, ASSET, self._symbol)
        clearing = accounts.balances([key])[key]
        require(quantity == 0 and clearing == -unrealised, f"{self._symbol}: {quantity}, {clearing}, {unrealised}")
        yield f"{'clearing':<10}{plain(clearing):>11}"

    def _orders(self) -> Iterator[str]:
        """Yield orders that are open, or lost a reservation, with their parts."""
        told: dict[int, tuple[str, Ended]] = {}
        for name in self._people:
            told |= {order.order_id: (name, order) for order in self._road.orders(name)}
        require(set(told) == set(self._numbers), "every order is told, and no other")
        parts: dict[int, list[OrderPart]] = {}
        for part in OrderPart.objects.filter(order_id__in=told, quantity__gt=0).order_by("order_id", "kind"):
            parts.setdefault(part.order_id, []).append(part)
        for order_id, number in self._numbers.items():
            mine = parts.get(order_id, [])
            if any(part.state in {PartState.TRIED, PartState.STOLEN} for part in mine):
                yield self._order_line(number, *told[order_id], mine)

    def _order_line(self, number: int, name: str, order: Ended, parts: Sequence[Any]) -> str:
        row = Order.objects.get(id=order.order_id)
        states = "".join(
            f"; {part.kind} {plain(part.quantity_left)} of {plain(part.quantity)} {part.state},"
            f" holds {plain(part.funds_left)}"
            for part in parts
        )
        ended = f"{order.status}{', ' if order.reason else ''}{order.reason}"
        what = f"order {number}, {name} {row.side} at {plain(row.worst_price)}"
        return f"{what}: {ended}, filled {plain(order.filled)}{states}"
